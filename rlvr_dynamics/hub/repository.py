"""Results, predictions and stores in a repository of the hub, which is asked about and private."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rlvr_dynamics.checkpoints.delta_names import is_store
from rlvr_dynamics.checkpoints.delta_open import open_store
from rlvr_dynamics.checkpoints.identity import MANIFEST, check_companions, read_manifest
from rlvr_dynamics.checkpoints.weight_files import holds_weights
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.sealed import read_sealed_json

CONFIG, RECORD = "config.json", "stage.json"  # of a run, and of each of its stages
_ABOUT_A_RUN = (CONFIG, "provenance.json")
_RESULTS = frozenset({".parquet", ".csv", ".json", ".md", ".tex", ".html", ".pdf", ".png"})
# Problems and answers stay here, as do weights: a store or prediction is pushed by itself.
_STAYS = frozenset(
    {"prepare", "checkpoints", "verl", "acceleration", "samples", "validation", "statistics"}
)


class Parcel(NamedTuple):
    """What is to be pushed.

    Attributes:
        kind: In words, for the question and the commit.
        folder: Where it lies.
        files: Paths below the folder, sorted.
        remark: What a reader of the repository learns besides; empty if nothing.
    """

    kind: str
    folder: Path
    files: tuple[str, ...]
    remark: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum((self.folder / name).stat().st_size for name in self.files)


def parcel_of(folder: Path) -> Parcel:
    """Find out what a folder is and which of its files are pushed.

    Raises:
        UserError: It is neither a run directory with a finished stage, nor a checkpoint that this
            package wrote, nor a store that has its base; or it is damaged.
    """
    if not folder.is_dir():
        raise UserError("no such folder", where=str(folder), way_out="check the path")
    if is_store(folder):
        store = open_store(folder)
        store.refuse_broken()
        if store.outside is not None:
            raise UserError(
                "the base of this store lies outside of it, and a copy elsewhere could not be read",
                where=str(folder),
                way_out="make one with its base: python -m rlvr_dynamics.store unpack "
                f"{folder} FOLDER, then pack FOLDER NEW_STORE --base BASE",
            )
        return Parcel("delta store", folder, tuple(_files(folder)))
    manifest = read_manifest(folder) if holds_weights(folder) else None
    if manifest is not None:
        check_companions(folder, manifest)
        return Parcel("checkpoint", folder, tuple(_files(folder)))
    results = tuple(_results(folder)) if (folder / CONFIG).is_file() else ()
    if not results:
        raise UserError(
            "this is no run directory with a finished stage, no store, and no checkpoint with a "
            f"{MANIFEST}",
            where=str(folder),
            way_out="give RUN_DIR, RUN_DIR/predictions/METHOD/observe_K/step_N, or a delta store",
        )
    remark = "the files config.json and provenance.json tell paths and hardware of this machine"
    return Parcel("results of a run", folder, results, remark)


def push(
    folder: Path, repository: str, *, agreed: Callable[[str], bool], public: bool = False
) -> str | None:
    """Upload a run's results, a checkpoint or a store, if that is agreed to.

    Files of weights that the hub has already are not sent again, so the same call goes on after a
    break.

    Args:
        folder: What to push.
        repository: OWNER/NAME; made if it is not there.
        agreed: Asks the question that it is given.
        public: Whether a new repository can be read by everybody.

    Returns:
        Address of the repository; None if it was not agreed to.

    Raises:
        UserError: As of `parcel_of`, or the hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    parcel = parcel_of(folder)
    seen = "public" if public else "private"
    question = (
        f"Push a {parcel.kind}, {len(parcel.files)} files, {parcel.size / 2**20:,.1f} MiB, to "
        f"{repository} (if it is new: {seen})?"
    )
    if not agreed(f"{parcel.remark.capitalize()}. {question}" if parcel.remark else question):
        return None
    hub = HfApi()
    with _refusals(repository):
        made = hub.create_repo(repository, private=not public, exist_ok=True)
        hub.create_commit(
            repository,
            [CommitOperationAdd(name, str(folder / name)) for name in parcel.files],
            commit_message=parcel.kind.capitalize(),
        )
    return str(made)


def pull(
    repository: str,
    folder: Path,
    revision: str | None = None,
    patterns: Sequence[str] | None = None,
) -> None:
    """Download a repository; files that are there and the same are kept.

    Args:
        repository: OWNER/NAME.
        folder: Where to.
        revision: Branch, tag or commit.
        patterns: Which files; all by default.

    Raises:
        UserError: The hub has no such repository.
    """
    from huggingface_hub import snapshot_download

    allowed = None if patterns is None else list(patterns)
    with _refusals(repository):
        snapshot_download(repository, revision=revision, local_dir=folder, allow_patterns=allowed)


@contextmanager
def _refusals(repository: str) -> Iterator[None]:
    from httpx import HTTPError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except (HfHubHTTPError, HFValidationError, HTTPError, OSError) as error:
        raise UserError(
            f"the hub refused: {' '.join(str(error).split())[:300]}",
            where=repository,
            way_out="check the name, the network, and your token (`hf auth login`)",
        ) from error


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            yield name.as_posix()


def _results(run: Path) -> Iterator[str]:
    """Yield the tables, figures, pages and records of the finished stages of a run."""
    finished = [record.parent for record in sorted(run.glob(f"*/{RECORD}")) if _finished(record)]
    if finished:
        yield from (name for name in _ABOUT_A_RUN if (run / name).is_file())
    for stage in finished:
        for name in _files(stage):
            path = stage / name
            inner = path.relative_to(run).parts
            if (
                path.suffix in _RESULTS
                and not _STAYS & set(inner)
                and not _beside_weights(path, run)
            ):
                yield "/".join(inner)


def _beside_weights(path: Path, run: Path) -> bool:
    return any(holds_weights(each) for each in path.parents if each != run and run in each.parents)


def _finished(record: Path) -> bool:
    try:
        return read_sealed_json(record).get("finished") is True
    except ValueError as error:
        raise UserError(
            f"damaged {RECORD}", where=str(record), way_out="run the stage again"
        ) from error
