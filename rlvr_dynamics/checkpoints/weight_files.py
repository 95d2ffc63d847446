"""Find the weight files of a folder: one file, an index with its shards, or a complete set.

Nothing here opens a weight file. Errors name the cause and the way out.
"""

import re
from pathlib import Path

from rlvr_dynamics.checkpoints.header import NEW_COPY
from rlvr_dynamics.checkpoints.other_formats import refuse_unreadable
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.files import read_object

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_model.safetensors"

# `model-00001-of-00004`, also `model-1-of-61` and `model-00001-of-000163`, with any first part.
_NUMBERED = re.compile(r"(?P<name>.+?)[-_](?P<number>\d{1,9})-of-(?P<total>\d{1,9})\.safetensors")
_SHOWN = 3


def weight_file_names(folder: Path) -> list[str]:
    """Return the weight files of a folder, sorted, each checked to exist.

    Raises:
        UserError: The folder does not exist, has no safetensors weights, lacks a shard, or it is
            ambiguous which of its files count.
    """
    if folder.is_file():
        raise UserError(
            "a checkpoint is a folder, and this is a file",
            where=str(folder),
            way_out=f"give the folder that it lies in: {folder.parent}",
        )
    if not folder.is_dir():
        hub = re.fullmatch(r"[\w.-]+/[\w.-]+", str(folder))
        raise UserError(
            "checkpoint folder not found",
            where=str(folder),
            way_out="check the path that you gave"
            + ("; a model of the hub is given as the folder it was downloaded to" if hub else ""),
        )
    single, index = folder / SINGLE, folder / INDEX
    if index.exists():
        files = _indexed_files(folder)
        if single.exists() and files != [SINGLE]:
            raise _unclear(folder, [SINGLE, INDEX])
        return files
    sets = _numbered_sets(folder)
    if single.exists():
        if "model" in {name for name, _ in sets}:
            raise _unclear(folder, [SINGLE, *sorted(next(iter(sets.values())).values())[:1]])
        return [SINGLE]
    if len(sets) > 1:
        raise _unclear(folder, sorted(min(files.values()) for files in sets.values()))
    for (_, total), files in sets.items():
        return _complete(folder, total, files)
    refuse_unreadable(folder)
    raise AssertionError("unreachable")


def holds_weights(folder: Path) -> bool:
    """Return whether a folder appears to hold safetensors weights of a full model."""
    return (folder / SINGLE).exists() or (folder / INDEX).exists() or bool(_numbered_sets(folder))


def holds_adapter(folder: Path) -> bool:
    """Return whether a folder holds a low-rank adapter."""
    return (folder / ADAPTER).exists()


def _unclear(folder: Path, files: list[str]) -> UserError:
    return UserError(
        f"{' and '.join(files[:_SHOWN])} are both present; which of them counts is not clear",
        where=str(folder),
        way_out="remove what is out of date",
    )


def _numbered_sets(folder: Path) -> dict[tuple[str, int], dict[int, str]]:
    """Return the files named `NAME-i-of-n`, by (NAME, n) and i."""
    found: dict[tuple[str, int], dict[int, str]] = {}
    for path in sorted(folder.iterdir()):
        matched = _NUMBERED.fullmatch(path.name)
        if matched is None or matched["name"].endswith("adapter_model"):
            continue
        mine = found.setdefault((matched["name"], int(matched["total"])), {})
        number = int(matched["number"])
        if number in mine:
            raise _unclear(folder, [mine[number], path.name])
        mine[number] = path.name
    return found


def _complete(folder: Path, total: int, files: dict[int, str]) -> list[str]:
    """Return the files of a set without an index, if it is complete."""
    first = 0 if 0 in files else 1  # some tools count from 0
    missing = [number for number in range(first, first + min(total, 10**6)) if number not in files]
    odd = [name for number, name in files.items() if not first <= number < first + total]
    if missing or odd:
        known = next(iter(files.values()))
        number = re.search(r"\d+(?=-of-)", known)
        width = len(number.group()) if number else 0
        names = [re.sub(r"\d+(?=-of-)", str(each).zfill(width), known) for each in missing[:_SHOWN]]
        raise UserError(
            f"shards are missing: {', '.join(names)}"
            + (f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else "")
            if missing
            else f"a shard too many: {odd[0]}",
            where=str(folder),
            way_out="finish the download or copy, then run again",
        )
    return [files[number] for number in sorted(files)]


def _read_weight_map(index: Path) -> dict[str, str]:
    try:
        weight_map = read_object(index, way_out=NEW_COPY)["weight_map"]
        return {str(name): str(file) for name, file in weight_map.items()}
    except (KeyError, AttributeError) as error:
        raise UserError(
            f"damaged weight index ({type(error).__name__})", where=str(index), way_out=NEW_COPY
        ) from error


def _indexed_files(folder: Path) -> list[str]:
    files = sorted(set(_read_weight_map(folder / INDEX).values()))
    for file in files:
        if Path(file).name != file or "\\" in file or not file.endswith(".safetensors"):
            raise UserError(
                f"the weight index names {file!r}, which is not a safetensors file of this folder",
                where=str(folder / INDEX),
                way_out="do not use this checkpoint unless you trust its origin; an index must "
                "name files beside it",
            )
        if not (folder / file).is_file():
            raise UserError(
                f"shard {file} is in the weight index but not in the folder",
                where=str(folder),
                way_out="finish the download or copy, then run again",
            )
    return files


def check_index(folder: Path, home: dict[str, str]) -> None:
    """Compare the index, if there is one, with the shards.

    Raises:
        UserError: They disagree about a tensor.
    """
    if not (folder / INDEX).exists():
        return
    listed = _read_weight_map(folder / INDEX)
    wrong = sorted(
        name for name in listed.keys() | home.keys() if listed.get(name) != home.get(name)
    )
    if wrong:
        raise UserError(
            f"the weight index and the shards disagree about {', '.join(wrong[:_SHOWN])}",
            where=str(folder / INDEX),
            way_out=NEW_COPY,
        )
