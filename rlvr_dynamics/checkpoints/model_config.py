"""The dtype that a model's config names for its weights."""

import json
from collections.abc import Iterable
from pathlib import Path

from rlvr_dynamics.atomic import write_json
from rlvr_dynamics.errors import UserError


def widest(dtypes: Iterable[str]) -> str:
    """Return the dtype that holds the values of all: float32 unless there is only one."""
    found = set(dtypes)
    return found.pop() if len(found) == 1 else "float32"


def set_config_dtype(folder: Path, dtype: str) -> None:
    """Name the dtype of a folder's weights in its config, where there is one.

    Raises:
        UserError: The config is damaged.
    """
    # transformers loads weights in the dtype that the config names, whatever the file holds.
    path = folder / "config.json"
    if not path.exists():
        return
    try:
        config = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(
            "damaged config.json", where=str(path), way_out="fetch or save this model again"
        ) from error
    named = {config.pop("torch_dtype", None), config.get("dtype")} - {None}
    if named != {dtype}:
        write_json(path, config | {"dtype": dtype})
