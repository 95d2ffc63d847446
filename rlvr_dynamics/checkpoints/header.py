"""Read the header of a safetensors file with the checks of the format's own reader.

A file is an 8-byte little-endian header length, a JSON header, then the raw values, tensor after
tensor without gaps. Nothing here needs torch, and no value is read.
Source: the README and `tensor.rs` of github.com/huggingface/safetensors, version 0.8. Stricter than
that reader: it also rejects a header that does not start with '{', duplicate keys, and lists or
objects in fields unknown to the format.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.files import require_file

HEADER_LIMIT = 100_000_000
# Bits per element, by the format's dtype names.
BITS = {
    **{"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8},
    **{"F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8},
    **{"I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32},
    **{"C64": 64, "F64": 64, "I64": 64, "U64": 64},
}
NEW_COPY = "copy or save this checkpoint again"
_METADATA = "__metadata__"
_POINTER = b"version https://git-lfs"
_LARGEST = 2**64 - 1
_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Stored:
    """One tensor of a header: bytes `begin` to `end`, counted from the file's start."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """A file's header: where its values start, the file's size in bytes, its tensors."""

    data_start: int
    size: int
    tensors: dict[str, Stored]


class _Damaged(Exception):
    """A damaged header; the message says what is wrong."""


def read_header(path: Path, *, alone: bool = False) -> Header:
    """Read and check the header of one safetensors file.

    Args:
        path: The file.
        alone: Whether the file ends after the header; `size` is that of the whole one.

    Raises:
        UserError: The file is truncated or too long, or its header violates the format.
    """
    require_file(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if start == _POINTER[:8] and start + file.read(len(_POINTER) - 8) == _POINTER:
            raise UserError(
                "a pointer of Git LFS lies here instead of the weights",
                where=str(path),
                way_out="fetch them: git lfs pull, in the repository that this folder is of",
            )
        if size < 8 or length > size - 8:
            raise _refused("truncated safetensors file: its header is cut off", path)
        if length > HEADER_LIMIT:
            raise _refused(
                f"damaged safetensors header: {length:,} bytes long, more than the format's "
                f"{HEADER_LIMIT:,}",
                path,
            )
        text = file.read(length)
    try:
        tensors = _tensors(text, 8 + length)
    except _Damaged as reason:
        raise _refused(f"damaged safetensors header: {reason}", path) from None
    expected = max((each.end for each in tensors.values()), default=8 + length)
    if alone and size == 8 + length:
        size = expected
    if size != expected:
        raise _refused(
            f"{'truncated' if size < expected else 'oversized'} safetensors file: "
            f"{size} bytes where its header promises {expected}",
            path,
        )
    return Header(data_start=8 + length, size=size, tensors=tensors)


def _refused(what: str, path: Path) -> UserError:
    return UserError(what, where=str(path), way_out=NEW_COPY)


def _tensors(text: bytes, data_start: int) -> dict[str, Stored]:
    header = _parsed(text)
    metadata = header.pop(_METADATA, None)
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    ):
        raise _Damaged(f"{_METADATA} is not an object of texts")
    tensors = {name: _tensor(name, fields, data_start) for name, fields in header.items()}
    place = data_start
    for name in sorted(tensors, key=lambda name: (tensors[name].begin, tensors[name].end)):
        if tensors[name].begin != place:
            how = "overlaps another" if tensors[name].begin < place else "leaves a hole before it"
            raise _Damaged(f"tensor {_shown(name)} {how}")
        place = tensors[name].end
    return tensors


def _tensor(name: str, fields: Any, data_start: int) -> Stored:
    where = f"tensor {_shown(name)}"
    if not isinstance(fields, dict):
        raise _Damaged(f"{where} is not an object")
    for key in ("dtype", "shape", "data_offsets"):
        if key not in fields:
            raise _Damaged(f"{where} has no {key}")
    for key in fields.keys() - {"dtype", "shape", "data_offsets"}:
        if isinstance(fields[key], dict | list):
            raise _Damaged(f"{where} has a field {_shown(key)} that the format does not know")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _Damaged(f"{where} has a dtype that the format does not know: {_shown(dtype)}")
    if not isinstance(shape, list) or not all(map(_is_count, shape)):
        raise _Damaged(f"{where} has a shape that is not a list of whole numbers from 0")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_count, offsets)):
        raise _Damaged(f"{where} has data_offsets that are not two whole numbers from 0")
    bits = 1
    for factor in (*shape, BITS[dtype]):
        bits *= factor
        if bits > _LARGEST:
            raise _Damaged(f"{where} has a shape of more elements than can be counted")
    begin, end = offsets
    if end - begin != bits // 8 or bits % 8:
        raise _Damaged(f"{where} has data_offsets that do not fit its shape")
    return Stored(dtype, tuple(shape), data_start + begin, data_start + end)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        raise _Damaged("it is not UTF-8 text") from None
    if not decoded.startswith("{"):
        raise _Damaged("it does not start with '{'")
    try:
        return json.loads(
            decoded,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_decimal,
            parse_constant=_constant,
        )
    except RecursionError:
        raise _Damaged("it is nested too deeply") from None
    except ValueError:
        raise _Damaged("it is not JSON") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Damaged(f"{_shown(key)} is there twice")
        for text in (key, value):
            # JSON can escape half of a surrogate pair, which is not valid text.
            if isinstance(text, str) and not text.isascii() and _HALF.search(text):
                raise _Damaged(f"{_shown(key)} is not text")
        found[key] = value
    return found


def _integer(digits: str) -> int | float:
    return float(digits) if digits.startswith("-") else int(digits)


def _decimal(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise _Damaged("it has a number out of range")
    return value


def _constant(word: str) -> float:
    raise _Damaged(f"it is not JSON: {word}")


def _shown(value: Any) -> str:
    """Return foreign text for a message: on one line and shortened."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
