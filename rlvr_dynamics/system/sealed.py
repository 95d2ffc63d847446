"""Files that contain a hash of themselves, so that a flipped bit is detected on reading.

The seal is stored as metadata (a parquet footer, a safetensors header): `SEAL` and 32 hex digits,
the XXH3 hash of the file with these digits set to zero. Other programs read the file as usual.
Bytes are read once, checked, and parsed from memory. A JSON object has its seal under a separate
key: the digest of everything else in it.

A file without a seal, from another program or an earlier version, is accepted unchecked.
"""

import hashlib
import json
import mmap
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.files import require_file

if TYPE_CHECKING:
    import pandas as pd

SEAL = "rlvr_dynamics.seal:"
_EMPTY = "0" * 32
_KEY = b"rlvr_dynamics.seal"
_JSON_KEY = "seal"
UNSEALED = SEAL + _EMPTY
_BLOCK_BYTES = 1 << 20


class Damaged(UserError):
    """A sealed file has changed since it was written."""


def damaged(path: Path, what: str = "its content is not what was written") -> Damaged:
    """Return the error that names a damaged file."""
    return Damaged(
        f"damaged file: {what}",
        where=str(path),
        way_out="remove it and run the stage that wrote it again, or put it back from a copy",
    )


def hash_of_file(path: Path) -> str:
    """Return the XXH3 hash of a file, 128 bits in hex; for damage, not for identity."""
    found = xxhash.xxh3_128()
    block = memoryview(bytearray(_BLOCK_BYTES))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            found.update(block[:count])
    return found.hexdigest()


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes, which identifies its content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _place(data: Any) -> int:
    """Return the offset of the seal's digits; -1 without a seal."""
    place = data.rfind(SEAL.encode())
    return place if place < 0 else place + len(SEAL)


def _hash(data: memoryview, place: int) -> str:
    found = xxhash.xxh3_128(data[:place])
    found.update(_EMPTY.encode())
    found.update(data[place + len(_EMPTY) :])
    return found.hexdigest()


def seal(path: Path) -> None:
    """Write the hash of a file into the placeholder `UNSEALED`.

    Raises:
        ValueError: It has no placeholder.
    """
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        place = _place(data)
        if place < 0:
            raise ValueError(f"no room for a seal in {path}")
        with memoryview(data) as view:
            digest = _hash(view, place)
        os.pwrite(file.fileno(), digest.encode(), place)


def is_whole(path: Path) -> bool:
    """Return whether a file exists and is undamaged, without loading it into memory."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _agrees(data)
    except (OSError, ValueError):
        return False


def _agrees(data: Any) -> bool:
    place = _place(data)
    if place < 0:
        return True
    with memoryview(data) as view:
        return bytes(view[place : place + len(_EMPTY)]) == _hash(view, place).encode()


def read_sealed(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        Damaged: They are not what was written.
        OSError: It cannot be read.
    """
    data = path.read_bytes()
    if not _agrees(data):
        raise damaged(path)
    return data


def write_sealed_parquet(
    path: Path, table: "pd.DataFrame", metadata: Mapping[bytes, str] | None = None
) -> None:
    """Write a parquet file without the table's index; equal content gives equal bytes.

    Args:
        path: The file.
        table: The table.
        metadata: Further metadata for the footer.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    words = {**(arrow.schema.metadata or {}), **(metadata or {}), _KEY: UNSEALED}
    pq.write_table(arrow.replace_schema_metadata(words), path)
    seal(path)


def read_parquet(path: Path, **options: Any) -> "pd.DataFrame":
    """Return the table of a parquet file; `options` as of `pandas.read_parquet`.

    Raises:
        Damaged: It has changed since it was written, or is not a complete parquet file.
        OSError: It cannot be read.
    """
    import pandas as pd
    import pyarrow as pa

    data = read_sealed(path)
    try:
        return pd.read_parquet(BytesIO(data), **options)
    except (pa.ArrowInvalid, OSError) as error:
        raise damaged(path, "not a readable parquet file") from error


def digest(value: Any) -> str:
    """Return the hash of a JSON value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sealed_json(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with a digest of its content."""
    return {**value, _JSON_KEY: digest(dict(value))}


def read_sealed_json(path: Path) -> dict[str, Any]:
    """Return what `atomic.write_sealed_json` wrote; an object without a seal is not checked.

    Raises:
        FileNotFoundError: It does not exist.
        ValueError: It is damaged.
        UserError: It is not a regular file.
    """
    require_file(path)
    return unsealed_json(path.read_bytes())


def unsealed_json(data: bytes) -> dict[str, Any]:
    """Parse the bytes of a file that `atomic.write_sealed_json` wrote.

    Raises:
        ValueError: It is damaged.
    """
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    seal = value.pop(_JSON_KEY, None)
    if seal is not None and seal != digest(value):
        raise ValueError("its content is not what was written")
    return value
