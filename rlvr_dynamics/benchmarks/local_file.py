"""Reads a local table of questions once, so the hashed bytes are the parsed ones."""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from rlvr_dynamics.errors import UserError

Rows = list[dict[str, Any]]
Read = tuple[list[str], Rows]  # all columns, and the rows
_LARGEST_CELL = 1 << 24  # characters


class _Unreadable(Exception):
    """What is wrong with a file, and where."""


def read_local(path: Path, wanted: Collection[str]) -> tuple[list[str], Rows, str]:
    """Read a table of questions.

    Args:
        path: A file with one of the endings of `READERS`.
        wanted: Columns whose cells are needed, if they exist.

    Returns:
        All columns in order, one dictionary per row (with at least the wanted columns that the row
        has), and ``sha256:...`` of the parsed bytes.

    Raises:
        UserError: The file does not exist or is not such a table; the message names the line.
    """
    if not path.is_file():
        raise UserError(
            f"table {path} cannot be loaded: there is no such file",
            way_out="give the path of a .parquet, .jsonl, .json or .csv file, or a hub id",
        )
    try:
        data = path.read_bytes()
        columns, rows = READERS[path.suffix.lower()](data, wanted)
    except OSError as error:
        raise _cannot_load(path, error.strerror or str(error)) from error
    except _Unreadable as problem:
        raise _cannot_load(path, str(problem)) from problem
    return columns, rows, "sha256:" + hashlib.sha256(data).hexdigest()


def _cannot_load(path: Path, problem: str) -> UserError:
    return UserError(f"table {path} cannot be loaded: {problem}", way_out="repair the file")


def _text(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _Unreadable(f"line {line} is not UTF-8 text") from error
    if not text.strip():
        raise _Unreadable("the file is empty")
    return text


def _lines(data: bytes, _wanted: Collection[str]) -> Read:
    rows: Rows = []
    # Not splitlines(), which also splits at characters that may occur inside a JSON string.
    for number, line in enumerate(_text(data).split("\n"), 1):
        if line.strip():
            rows.append(_object(_parsed(line, f"line {number}"), f"line {number}"))
    return _names(rows), rows


def _json(data: bytes, wanted: Collection[str]) -> Read:
    text = _text(data)
    if not text.lstrip().startswith("["):
        return _lines(data, wanted)
    listed = _parsed(text, "the file")
    rows = [_object(row, f"row {number}") for number, row in enumerate(listed, 1)]
    return _names(rows), rows


def _names(rows: Rows) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _parsed(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise _Unreadable(f"{place} is nested too deep") from error
    except ValueError as error:
        raise _Unreadable(f"{place} is not JSON ({error})") from error


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        found = "null" if value is None else type(value).__name__
        raise _Unreadable(f"{place} is not an object with named fields but {found}")
    return value


def _csv(data: bytes, _wanted: Collection[str]) -> Read:
    csv.field_size_limit(_LARGEST_CELL)
    reader = csv.reader(io.StringIO(_text(data), newline=""), strict=True)
    try:
        names = next(reader)
        _check_names(names)
        return names, list(_records(reader, names))
    except csv.Error as error:
        raise _Unreadable(f"line {reader.line_num} is not CSV ({error})") from error


def _records(reader: Any, names: list[str]) -> Iterator[dict[str, str]]:
    for cells in reader:
        if not cells:
            continue
        if len(cells) != len(names):
            place = f"line {reader.line_num}"
            raise _Unreadable(f"{place} has {len(cells)} cells for {len(names)} columns")
        yield dict(zip(names, cells, strict=True))


def _parquet(data: bytes, wanted: Collection[str]) -> Read:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not data:
        raise _Unreadable("the file is empty")
    try:
        names = pq.read_schema(pa.BufferReader(data)).names
        _check_names(names)
        needed = [name for name in names if name in wanted]
        return names, pq.read_table(pa.BufferReader(data), columns=needed).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _Unreadable(f"it is not a sound parquet file ({first_line})") from error


def _check_names(names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise _Unreadable("two columns have one name")


READERS: dict[str, Callable[[bytes, Collection[str]], Read]] = {
    ".parquet": _parquet,
    ".jsonl": _lines,
    ".json": _json,
    ".csv": _csv,
}
