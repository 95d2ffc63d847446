"""Files that record what they were made from, so that they can be reused or made again.

The maker of a file names its material: everything that the content depends on. Its digest, the
key, is stored with the file. A file that is damaged or has another key counts as absent.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.system.atomic import atomic_path
from rlvr_dynamics.system.sealed import (
    UNSEALED,
    Damaged,
    digest,
    is_whole,
    read_parquet,
    read_sealed,
    seal,
    write_sealed_parquet,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_FACTS = b"rlvr_dynamics"


def keyed(material: Any) -> dict[str, str]:
    """Return the facts that record a file's material."""
    return {"key": digest(material)}


def is_made_from(facts: Mapping[str, Any], material: Any) -> bool:
    """Return whether a file's facts match a material."""
    return facts.get("key") == digest(material)


def write_table(path: Path, table: "pd.DataFrame", facts: Mapping[str, Any]) -> None:
    """Publish a parquet file that carries facts; equal content gives equal bytes."""
    with atomic_path(path) as temporary:
        write_sealed_parquet(temporary, table, {_FACTS: json.dumps(facts, sort_keys=True)})


def facts_of(path: Path) -> dict[str, Any]:
    """Return the facts of a file that `write_table` wrote; {} if absent, damaged or not ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        return {}
    if not is_whole(path):
        print(f"damaged, made again: {path}")
        return {}
    try:
        stored = pq.read_schema(path).metadata or {}
    except (pa.ArrowInvalid, OSError):
        return {}
    return json.loads(stored.get(_FACTS, b"{}"))


def stored_or_made(path: Path, material: Any, make: Callable[[], "pd.DataFrame"]) -> "pd.DataFrame":
    """Return a stored table, or make it if it is missing or was made from something else.

    Args:
        path: The parquet file.
        material: All that it depends on, a JSON value.
        make: Function that makes it.
    """
    if not is_made_from(facts_of(path), material):
        write_table(path, make(), keyed(material))
    return read_parquet(path)


def write_arrays(path: Path, arrays: Mapping[str, "np.ndarray"], facts: Mapping[str, str]) -> None:
    """Publish a safetensors file of arrays that carries facts."""
    from safetensors.numpy import save_file

    with atomic_path(path) as temporary:
        save_file(dict(arrays), temporary, metadata={**facts, "seal": UNSEALED})
        seal(temporary)


def read_arrays(path: Path) -> tuple[dict[str, "np.ndarray"], dict[str, str]] | None:
    """Return the arrays and facts of a file that `write_arrays` wrote; None if there is none."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        data = read_sealed(path)
        length = 8 + int.from_bytes(data[:8], "little")
        facts = dict(json.loads(data[8:length]).get("__metadata__", {}))
        facts.pop("seal", None)
        return load(data), facts
    except Damaged as error:
        print(f"damaged, made again: {error.where}")
        return None
    except (OSError, SafetensorError, ValueError):
        return None
