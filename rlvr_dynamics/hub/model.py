"""Fetches a run's base: a published model at a recorded commit, or a local folder instead.

Downloads go to Hugging Face's cache, which is shared with other tools in both directions, and the
run's base is linked or copied from there. models.lock.json in the run directory records the commit
and the hashes of the files; another run with a copy of that file uses the same ones.
"""

import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from rlvr_dynamics.checkpoints.companions import companions_digest, copy_companions
from rlvr_dynamics.checkpoints.file_hashes import hash_files
from rlvr_dynamics.checkpoints.weight_files import INDEX, weight_file_names
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub import cache
from rlvr_dynamics.hub.download import Job, download
from rlvr_dynamics.hub.http import Hub
from rlvr_dynamics.hub.lock import MODELS, read_lock
from rlvr_dynamics.hub.pinned import Address, Pinned, RemoteFile, pinned_in
from rlvr_dynamics.hub.published import pin
from rlvr_dynamics.schema import HubModel
from rlvr_dynamics.system.atomic import full_disk_is_a_user_error, write_json
from rlvr_dynamics.system.hardware import free_bytes
from rlvr_dynamics.system.progress import bar


def fetch_model(model: HubModel, folder: Path, lock_file: Path) -> dict[str, Any]:
    """Put a published model into `folder`, with weights and tokenizer unchanged.

    Args:
        model: The model. A `repo` that is a local folder is copied. `package` is used if the hub
            does not answer, and in that run from then on.
        folder: The run's base.
        lock_file: Recorded versions to use; rewritten with the ones used.

    Returns:
        Facts for the report: source (hub, folder or package), repo, revision (the commit; None for
        a folder), weights (sha256 by file), and for a package its description.

    Raises:
        UserError: The model is unavailable, is not the recorded one or has no safetensors, or the
            disk is too small.
    """
    lock = read_lock(lock_file)
    recorded = lock.get(model.name, {})
    folder.mkdir(parents=True, exist_ok=True)
    if Path(model.repo).is_dir():
        entry = _from_folder(model, folder, recorded)
    else:
        entry = _from_hub_or_package(model, folder, recorded)
    write_json(lock_file, lock | {model.name: entry})
    shown = ("source", "repo", "revision", "weights", "package")
    return {key: entry[key] for key in shown if key in entry}


# --- a local folder ---


def _from_folder(model: HubModel, folder: Path, recorded: dict[str, Any]) -> dict[str, Any]:
    source = Path(model.repo)
    names = weight_file_names(source)
    _check_room(folder, sum((source / name).stat().st_size for name in names))
    with full_disk_is_a_user_error(folder):
        copy_companions(source, folder)
        for name in [*names, *([INDEX] if (source / INDEX).exists() else [])]:
            shutil.copyfile(source / name, folder / name)
    # Hash the copy, because the run uses the copy.
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
    if model.repo.count("/") != 1:
        raise UserError(
            f"model.repo is neither a folder here nor a hub id: {model.repo}",
            way_out="give OWNER/NAME, or the path of a Hugging Face folder",
        )
    with Hub() as hub:
        if model.package is not None and recorded.get("source", "package") == "package":
            silence = "" if recorded or _is_cached(model) else hub.silence()
            if silence:
                print(f"the hub does not answer ({silence}): {model.repo} from its package")
            if silence or recorded:
                return _from_package(model, folder, recorded)
        return _from_hub(hub, model, folder, recorded)


def _is_cached(model: HubModel) -> bool:
    """Whether the cache has the weights, which are then used without a network."""
    found = cache.described(model.repo, _asked(model)) if constants.is_offline_mode() else None
    files = (found or {}).get("siblings", ())
    return any(file["rfilename"].endswith(".safetensors") for file in files)


def _asked(model: HubModel) -> str:
    return model.revision or "main"


def _from_hub(hub: Hub, model: HubModel, folder: Path, recorded: dict[str, Any]) -> dict[str, Any]:
    pinned = _resolve(hub, model, recorded)
    weights = {file.name: file.sha256 for file in pinned.files if file.is_weights}
    entry = {"source": "hub", **pinned.entry(), "weights": weights}
    _check_weights(model, recorded, entry)
    found = {file: cache.find(pinned, file) for file in pinned.files}
    missing = [file for file, place in found.items() if place is None]
    if missing:
        with cache.alone(pinned.repo):
            found |= _download(hub, pinned, missing)
    cache.offer(pinned, newest=pinned.commit != recorded.get("revision"))
    paths = {file.name: place for file, place in found.items() if place is not None}
    elsewhere = [path for path in paths.values() if path.stat().st_dev != folder.stat().st_dev]
    _check_room(folder, sum(path.stat().st_size for path in elsewhere))
    with full_disk_is_a_user_error(folder):
        for file in pinned.files:
            # Weights are never changed in place, so they can be linked.
            put = cache.link_or_copy if file.is_weights else shutil.copyfile
            put(paths[file.name], folder / file.name)
    weight_file_names(folder)  # raises if a shard of the index is missing
    return entry


def _resolve(hub: Hub, model: HubModel, recorded: dict[str, Any]) -> Pinned:
    known = recorded.get("source") == "hub" and recorded["repo"] == model.repo
    if known and model.revision in (None, recorded["asked"], recorded["revision"]):
        return pinned_in(recorded, MODELS)
    found = pin(hub, Address(model.repo, _asked(model), ""))
    if known and found.commit != recorded["revision"]:
        raise UserError(
            f"model.revision={model.revision} of {model.repo} is commit {found.commit}, this run "
            f"recorded {recorded['revision']}",
            where=MODELS,
            way_out=f"model.revision={recorded['revision']}, another run_dir, or remove the entry "
            f"{model.name} from {MODELS}",
        )
    # Only the safetensors index is needed; that of pickled weights would be confusing.
    files = tuple(file for file in found.files if not file.name.endswith(".bin.index.json"))
    return Pinned(found.address, found.commit, files)


def _download(hub: Hub, pinned: Pinned, files: list[RemoteFile]) -> dict[RemoteFile, Path]:
    """Fetch files into the cache and return their paths."""
    found = {file: cache.find(pinned, file) for file in files}  # another run may have fetched them
    wrong = [file for file, place in found.items() if place is None]
    # Files with the same content share a blob.
    jobs = {file.hash: Job(pinned, file, cache.blob(pinned, file)) for file in wrong}
    for file in wrong:
        cache.remove(pinned, file)
    for job in jobs.values():
        _take_from_former_store(job)
    _check_room(cache.folder(), sum(job.missing_bytes for job in jobs.values()))
    with bar(
        total=sum(job.file.size for job in jobs.values()),
        desc=f"fetch {pinned.repo}",
        unit="B",
        unit_scale=True,
        disable=not jobs,
    ) as progress:
        for _ in download(hub, jobs.values(), progress.update):
            pass
    return {file: place or cache.blob(pinned, file) for file, place in found.items()}


def _take_from_former_store(job: Job) -> None:
    """Move a file from the former model store; the download verifies its hash."""
    name = job.pinned.repo.replace("/", "--")
    store = Path(constants.HF_HOME) / "rlvr_dynamics" / "models" / name / job.pinned.commit
    if not job.part.exists() and (store / job.file.name).is_file():
        job.part.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(store / job.file.name, job.part)


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
            where=MODELS,
            way_out="give the recorded source, choose another run_dir, or remove the entry "
            f"{model.name} from {MODELS} to accept these",
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
