"""The dtype that a model's config names for its weights."""

from collections.abc import Iterable
from pathlib import Path

from rlvr_dynamics.atomic import write_json
from rlvr_dynamics.files import read_object


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
    config = read_object(path, way_out="fetch or save this model again")
    named = {config.pop("torch_dtype", None), config.get("dtype")} - {None}
    if named != {dtype}:
        write_json(path, config | {"dtype": dtype})
