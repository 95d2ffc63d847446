"""Published checkpoints: resolves each step to a commit and files once, and records them.

Only safetensors weights and a model's small text files are used.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from huggingface_hub import constants

from rlvr_dynamics.checkpoints.companions import SUFFIXES
from rlvr_dynamics.checkpoints.identity import MANIFEST
from rlvr_dynamics.checkpoints.step_names import shortened
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub import cache
from rlvr_dynamics.hub.http import Hub, NotThere
from rlvr_dynamics.hub.lock import read_lock
from rlvr_dynamics.hub.pinned import Address, Pinned, RemoteFile, pinned_in
from rlvr_dynamics.system.atomic import write_json

_WEIGHTS = re.compile(r"model(-[0-9]{5}-of-[0-9]{5})?\.safetensors")
_COMPANIONS = tuple(sorted(SUFFIXES - {".py"}))  # no foreign code; nothing here would run it
_LARGEST_COMPANION_BYTES = 256 << 20
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*")


def pin(hub: Hub, address: Address) -> Pinned:
    """Resolve a revision to its commit and list the files that make up the model.

    Raises:
        NotThere: The repository, revision or folder does not exist.
        UserError: There are no safetensors, a name is not a plain file name, or the hub is
            unreachable.
    """
    _check_address(address)
    return _model_of(_described(hub, address.repo, address.revision), address)


def pin_all(hub: Hub, addresses: Mapping[int, Address], lock_file: Path) -> dict[int, Pinned]:
    """Resolve every step that is not in the lock file yet, and record it there.

    If a branch moves later, the recorded commit is still the one fetched.

    Raises:
        UserError: Steps are not on the hub (the message lists those that are), or the hub is
            unreachable.
    """
    known = read_steps(lock_file)
    pinned = {
        step: known[step]
        for step, address in addresses.items()
        if step in known and known[step].address == address
    }
    waiting = {step: each for step, each in addresses.items() if step not in pinned}
    for address in waiting.values():
        _check_address(address)
    described = _describe_all(hub, {(each.repo, each.revision) for each in waiting.values()})
    absent: dict[int, NotThere] = {}
    for step, address in waiting.items():
        found = described[address.repo, address.revision]
        try:
            if isinstance(found, NotThere):
                raise found
            pinned[step] = _model_of(found, address)
        except NotThere as error:
            absent[step] = error
    if waiting and pinned:
        steps = sorted((known | pinned).items())
        write_json(lock_file, {f"step_{step}": each.entry() for step, each in steps})
    if absent:
        raise _absent_steps(hub, addresses, absent, sorted(pinned))
    return dict(sorted(pinned.items()))


def read_steps(lock_file: Path) -> dict[int, Pinned]:
    """Return the recorded checkpoints by step; empty if there is no file.

    Raises:
        UserError: The file is damaged.
    """
    return {
        int(name.removeprefix("step_")): pinned_in(entry, lock_file)
        for name, entry in read_lock(lock_file).items()
        if re.fullmatch("step_[0-9]{1,9}", name)
    }


def _describe_all(hub: Hub, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Any]:
    """Query repositories at revisions in parallel; missing ones map to NotThere."""

    def describe(place: tuple[str, str]) -> tuple[tuple[str, str], Any]:
        try:
            return place, _described(hub, *place)
        except NotThere as error:
            return place, error

    return dict(hub.in_parallel(describe, places))


def _described(hub: Hub, repo: str, revision: str) -> Any:
    """Return the commit of a revision and all files of the repository with sizes and hashes."""
    known = cache.described(repo, revision) if constants.is_offline_mode() else None
    return known or hub.answer(f"models/{repo}/revision/{quote(revision, safe='')}?blobs=true")


def _model_of(described: Any, address: Address) -> Pinned:
    """Select the model's files in one folder of a repository, and check each."""
    below = f"{address.folder}/" if address.folder else ""
    try:
        paths = [str(each["rfilename"]) for each in described["siblings"]]
        if below and not any(path.startswith(below) for path in paths):
            raise NotThere(f"no folder {address.folder} there", where=address.where)
        listed = (_wanted(each, below) for each in described["siblings"])
        files = sorted((file for file in listed if file), key=lambda file: file.name)
        found = Pinned(address, str(described.get("sha", "")), tuple(files))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(
            "the hub's description of this checkpoint is not to be trusted: "
            f"{type(error).__name__}: {error}",
            where=address.where,
            way_out="check HF_ENDPOINT and the repository; nothing was written",
        ) from error
    if not any(file.is_weights for file in files):
        names = ", ".join(file.name for file in files[:5])
        raise UserError(
            "no model in safetensors here" + (f", but {names}" if names else ""),
            where=address.where,
            way_out="check the repository and its folder; weights in other formats are not read",
        )
    return found


def _wanted(entry: Mapping[str, Any], below: str) -> RemoteFile | None:
    """Return a listed file if it is part of the model, else None."""
    path = str(entry["rfilename"])
    if ".." in PurePosixPath(path).parts or path.startswith("/"):
        raise ValueError(f"{path!r} leads out of the repository")
    name, lfs = path.removeprefix(below), entry.get("lfs") or {}
    if not path.startswith(below) or "/" in name:
        return None
    size = int(lfs.get("size", entry["size"]))
    weights = _WEIGHTS.fullmatch(name) is not None
    companion = name.endswith(_COMPANIONS) and size <= _LARGEST_COMPANION_BYTES
    if not weights and not companion or name == MANIFEST:
        return None
    return RemoteFile(name, size, lfs.get("sha256"), None if lfs else entry.get("blobId"))


def _check_address(address: Address) -> None:
    parts = PurePosixPath(address.folder).parts
    if not _REPO.fullmatch(address.repo) or ".." in address.repo:
        raise UserError(
            f"not a repository: {address.repo!r}",
            where="source.published.repo",
            way_out="give OWNER/NAME",
        )
    if any(part in ("..", "/") for part in parts) or address.folder != "/".join(parts):
        raise UserError(
            f"not a folder of a repository: {address.folder!r}",
            where="source.published.folder",
            way_out="give a relative path such as step100",
        )


def _absent_steps(
    hub: Hub, addresses: Mapping[int, Address], absent: Mapping[int, NotThere], found: list[int]
) -> UserError:
    first = min(absent)
    branches = _branch_steps(hub, addresses[first], first)
    if branches:
        way_out = f"branches for these steps exist: {shortened(branches)}"
    elif found:
        way_out = f"of the steps asked for, these exist: {shortened(found)}"
    else:
        way_out = "check source.published.repo and source.published.revision"
        way_out += f"; {absent[first].way_out}" * bool(absent[first].way_out)
    return UserError(
        f"step {shortened(absent)} cannot be fetched: {absent[first].what}",
        where=addresses[first].where,
        way_out=way_out,
    )


def _branch_steps(hub: Hub, address: Address, step: int) -> list[int]:
    """Return the steps with a branch named like this step's; empty if that is unknown."""
    if not re.search(rf"(?<![0-9]){step}(?![0-9])", address.revision):
        return []
    before, _, after = address.revision.rpartition(str(step))
    try:
        refs = hub.answer(f"models/{address.repo}/refs")
        names = [str(branch["name"]) for branch in refs["branches"]]
    except (NotThere, KeyError, TypeError):
        return []
    pattern = re.compile(rf"{re.escape(before)}([0-9]{{1,9}}){re.escape(after)}")
    return sorted(int(found.group(1)) for found in map(pattern.fullmatch, names) if found)
