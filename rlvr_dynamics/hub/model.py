"""The base of a run: a published model at a recorded commit, or a local folder in its place.

What the hub gives is kept in a folder beside Hugging Face's own cache, shared by all runs on this
machine; the run's base is linked or copied from there. models.lock.json in the run directory says
which commit and which bytes were used, and another run that is given this file uses the same.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlvr_dynamics.benchmarks.lock import read_lock
from rlvr_dynamics.checkpoints.companions import companions_digest, copy_companions
from rlvr_dynamics.checkpoints.file_hashes import hash_files
from rlvr_dynamics.checkpoints.weight_files import INDEX, weight_file_names
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub.download import Job, download, is_as_published
from rlvr_dynamics.hub.http import Hub
from rlvr_dynamics.hub.prompt_setup import set_prompt
from rlvr_dynamics.hub.published import Address, Pinned, RemoteFile, pin
from rlvr_dynamics.schema import HubModel
from rlvr_dynamics.system.atomic import full_disk_is_a_user_error, write_json
from rlvr_dynamics.system.hardware import free_bytes
from rlvr_dynamics.system.locks import LOCK, held
from rlvr_dynamics.system.progress import bar

LOCK_FILE = "models.lock.json"
PROBE_SECONDS = 10.0


def fetch_model(model: HubModel, folder: Path, lock_file: Path) -> dict[str, Any]:
    """Put a published model into `folder`: weights as they are, its own tokenizer, our prompt form.

    Args:
        model: Which one. A `repo` that is a folder here is copied. `package` is taken when the hub
            does not answer, and from then on.
        folder: The run's base.
        lock_file: What was used before, to be kept to; written with what is used.

    Returns:
        Facts for the report: source (hub, folder or package), repo, revision (the commit; None for
        a folder), weights (sha256 by file), prompt, stop_tokens.

    Raises:
        UserError: The model cannot be had, is not what was recorded, has no safetensors, or cannot
            be asked as configured; or the disk is too small.
    """
    lock = read_lock(lock_file)
    recorded = lock.get(model.name, {})
    folder.mkdir(parents=True, exist_ok=True)
    if Path(model.repo).is_dir():
        entry = _from_folder(model, folder, recorded)
    else:
        entry = _from_hub_or_package(model, folder, recorded)
    facts = set_prompt(model, folder)
    write_json(lock_file, lock | {model.name: entry})
    shown = ("source", "repo", "revision", "weights", "package")
    return {key: entry[key] for key in shown if key in entry} | facts


# --- a folder of this machine ---


def _from_folder(model: HubModel, folder: Path, recorded: dict[str, Any]) -> dict[str, Any]:
    source = Path(model.repo)
    names = weight_file_names(source)
    _check_room(folder, sum((source / name).stat().st_size for name in names))
    with full_disk_is_a_user_error(folder):
        copy_companions(source, folder)
        for name in [*names, *([INDEX] if (source / INDEX).exists() else [])]:
            shutil.copyfile(source / name, folder / name)
    # The copy is what the run uses, so the copy is what is hashed.
    hashes = hash_files(folder / name for name in names)
    entry = {
        "source": "folder",
        "repo": model.repo,
        "revision": None,
        "weights": dict(zip(names, hashes, strict=True)),
        "companions": companions_digest(folder),
    }
    _check_weights(model, recorded, entry)
    return entry


# --- the hub ---


def _from_hub_or_package(model: HubModel, folder: Path, recorded: dict[str, Any]) -> dict[str, Any]:
    if "/" not in model.repo or model.repo.count("/") > 1:
        raise UserError(
            f"model.repo is neither a folder here nor a hub id: {model.repo}",
            way_out="give OWNER/NAME, or the path of a Hugging Face folder",
        )
    if model.package is not None:
        if recorded.get("source") == "package":
            return _from_package(model, folder, recorded)
        if not recorded and (silence := _silence()):
            print(f"the hub does not answer ({silence}): {model.repo} from its package")
            return _from_package(model, folder, recorded)
    with Hub() as hub:
        return _from_hub(hub, model, folder, recorded)


def _silence() -> str:
    """Say why the hub cannot be reached; empty when it answers whatever it says."""
    import httpx
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    endpoint = os.environ.get("HF_ENDPOINT") or str(constants.ENDPOINT)
    try:
        httpx.head(endpoint, timeout=PROBE_SECONDS)
    except (httpx.RequestError, httpx.InvalidURL) as error:
        return str(error) or type(error).__name__
    return ""


def _from_hub(hub: Hub, model: HubModel, folder: Path, recorded: dict[str, Any]) -> dict[str, Any]:
    pinned = _resolve(hub, model, recorded)
    entry = {
        "source": "hub",
        "repo": pinned.repo,
        "asked": pinned.revision,
        "revision": pinned.commit,
        "files": [asdict(file) for file in pinned.files],
        "weights": {file.name: file.sha256 for file in pinned.files if file.is_weights},
    }
    _check_weights(model, recorded, entry)
    store = _store(pinned)
    with _alone(store):
        _download(hub, pinned, store)
    weight_file_names(store)  # also: no shard of the index is missing
    _check_room(folder, 0 if _same_disk(store, folder) else pinned.size)
    with full_disk_is_a_user_error(folder):
        for file in pinned.files:
            if file.is_weights:
                _link_or_copy(store / file.name, folder / file.name)
            else:
                shutil.copyfile(store / file.name, folder / file.name)
    return entry


def _resolve(hub: Hub, model: HubModel, recorded: dict[str, Any]) -> Pinned:
    known = recorded.get("source") == "hub" and recorded["repo"] == model.repo
    if known and model.revision in (None, recorded["asked"], recorded["revision"]):
        return Pinned(
            repo=recorded["repo"],
            revision=recorded["asked"],
            folder="",
            commit=recorded["revision"],
            files=tuple(RemoteFile(**file) for file in recorded["files"]),
        )
    found = pin(hub, Address(model.repo, model.revision or "main", ""))
    if known and found.commit != recorded["revision"]:
        raise UserError(
            f"model.revision={model.revision} of {model.repo} is commit {found.commit}, this run "
            f"recorded {recorded['revision']}",
            where=LOCK_FILE,
            way_out=f"model.revision={recorded['revision']}, another run_dir, or remove the entry "
            f"{model.name} from {LOCK_FILE}",
        )
    # A model has its index in safetensors; that of pickled weights would only confuse.
    files = tuple(file for file in found.files if not file.name.endswith(".bin.index.json"))
    return Pinned(found.repo, found.revision, found.folder, found.commit, files)


def _store(pinned: Pinned) -> Path:
    """Folder of a commit that all runs share."""
    from huggingface_hub import constants

    name = pinned.repo.replace("/", "--")
    return Path(constants.HF_HOME) / "rlvr_dynamics" / "models" / name / pinned.commit


def _download(hub: Hub, pinned: Pinned, store: Path) -> None:
    jobs = []
    for file in pinned.files:
        if Path(file.name).name != file.name:
            raise UserError(f"not a plain file name: {file.name!r}", where=LOCK_FILE)
        jobs.append(Job(pinned, file, store / file.name))
    for job in jobs:
        if job.target.exists() and not is_as_published(job):
            print(f"damaged in the store of models, fetched again: {job.target}")
            job.target.unlink()
    missing = [job for job in jobs if not job.target.exists()]
    _check_room(store, sum(job.missing_bytes for job in missing))
    for job in missing:
        _take_from_cache(job)
    with bar(
        total=sum(job.file.size for job in missing),
        desc=f"fetch {pinned.repo}",
        unit="B",
        unit_scale=True,
        disable=not missing,
    ) as progress:
        for _ in download(hub, missing, progress.update):
            pass


def _take_from_cache(job: Job) -> None:
    """Begin with what huggingface_hub has fetched before; the download proves its hash."""
    from huggingface_hub import try_to_load_from_cache

    if job.part.exists():
        return
    cached = try_to_load_from_cache(job.pinned.repo, job.file.name, revision=job.pinned.commit)
    if isinstance(cached, str) and Path(cached).is_file():
        with full_disk_is_a_user_error(job.target):
            shutil.copyfile(cached, job.part)


@contextmanager
def _alone(store: Path) -> Iterator[None]:
    """Keep other runs from fetching into the same folder; they wait."""
    with ExitStack() as stack:
        try:
            store.mkdir(parents=True, exist_ok=True)
            stack.enter_context(
                held(
                    store / LOCK,
                    waiting=lambda: print(
                        f"waiting for another run that fetches the same model ({store})"
                    ),
                )
            )
        except OSError as error:
            raise UserError(
                f"models cannot be stored: {error.strerror}",
                where=str(store),
                way_out="set HF_HOME to a folder that can be written",
            ) from error
        yield


def _link_or_copy(source: Path, target: Path) -> None:
    # Weights are never changed in place, so one copy on a disk is enough.
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _same_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


# --- a package of the Python registry ---


def _from_package(model: HubModel, folder: Path, recorded: dict[str, Any]) -> dict[str, Any]:
    from rlvr_dynamics.hub.gguf_package import write_packaged_model

    if model.package is None:
        raise ValueError("no package")
    facts = write_packaged_model(model.package, model.architecture, folder)
    entry = {
        "source": "package",
        "repo": f"{model.repo} from package {facts['package']}",
        "revision": facts["version"],
        "weights": {model.package.file: facts["gguf_sha256"]},
        "package": facts,
    }
    _check_weights(model, recorded, entry)
    return entry


# --- checks ---


def _check_weights(model: HubModel, recorded: dict[str, Any], entry: dict[str, Any]) -> None:
    for part, name in (("weights", "weights"), ("companions", "config and tokenizer files")):
        if part not in recorded or part not in entry or recorded[part] == entry[part]:
            continue
        raise UserError(
            f"the {name} of {entry['repo']} are not those that were recorded from "
            f"{recorded['repo']}",
            where=LOCK_FILE,
            way_out="give the recorded source, choose another run_dir, or remove the entry "
            f"{model.name} from {LOCK_FILE} to accept these",
        )


def _check_room(folder: Path, need: int) -> None:
    free = free_bytes(folder)
    if need > free:
        raise UserError(
            f"the model needs {need:,} bytes, {free:,} are free",
            where=str(folder),
            way_out="free some space, or choose run_dir=... (for downloads: HF_HOME) on a larger "
            "disk",
        )
