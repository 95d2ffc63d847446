"""What a model's config says about its weights."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rlvr_dynamics.system.atomic import write_json
from rlvr_dynamics.system.files import read_object

CONFIG = "config.json"
_TIED = "tie_word_embeddings"


def widest(dtypes: Iterable[str]) -> str:
    """Return the dtype that can hold all values: float32 unless there is only one dtype."""
    found = set(dtypes)
    return found.pop() if len(found) == 1 else "float32"


def read_config(folder: Path) -> dict[str, Any]:
    """Return a folder's config; empty if there is none.

    Raises:
        UserError: The config is damaged.
    """
    path = folder / CONFIG
    return read_object(path, way_out="fetch or save this model again") if path.exists() else {}


def says_tied(folder: Path) -> bool | None:
    """Return whether a config, for the whole model or a part, ties head and embedding.

    None if it says nothing or contradicts itself.

    Raises:
        UserError: The config is damaged.
    """
    config = read_config(folder)
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    said = {bool(part[_TIED]) for part in parts if _TIED in part}
    return said.pop() if len(said) == 1 else None


def engine_ties(folder: Path) -> bool:
    """Return whether an inference engine uses the embedding as the head, whatever is stored.

    If the config does not say, the architecture's default decides.

    Raises:
        UserError: The config is damaged.
    """
    said = says_tied(folder)
    if said is not None or not read_config(folder):
        return bool(said)
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder)
    except (ValueError, OSError, KeyError, AttributeError):  # unknown architecture
        return False
    return bool(config.get_text_config().tie_word_embeddings)


def say_untied(folder: Path) -> None:
    """Write into a folder's config that head and embedding are two tensors.

    Raises:
        UserError: The config is damaged.
    """
    config = read_config(folder)
    parts = {
        name: part | {_TIED: False}
        for name, part in config.items()
        if isinstance(part, dict) and (_TIED in part or name == "text_config")
    }
    write_json(folder / CONFIG, config | parts | {_TIED: False})


def set_config_dtype(folder: Path, dtype: str) -> None:
    """Set the dtype of a folder's weights in its config, if it has one.

    Raises:
        UserError: The config is damaged.
    """
    # transformers loads weights in the config's dtype, whatever the file holds.
    path = folder / CONFIG
    if not path.exists():
        return
    config = read_config(folder)
    named = {config.pop("torch_dtype", None), config.get("dtype")} - {None}
    if named != {dtype}:
        write_json(path, config | {"dtype": dtype})
