"""A delta store in a repository of the hub."""

from pathlib import Path

from rlvr_dynamics.checkpoints.delta_open import open_store
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.store.pack import alone_in

_NOT_SENT = [".*", "**/.*"]


def push(store: Path, repository: str, *, public: bool = False) -> str:
    """Upload what a repository does not have of a store; the same call goes on after a break.

    Args:
        store: The store.
        repository: OWNER/NAME; made if it is not there.
        public: Whether a new repository can be read by everybody.

    Returns:
        Address of the repository.

    Raises:
        UserError: The folder is no store, its base lies outside of it, or the hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if open_store(store).outside is not None:
        raise UserError(
            "the base of this store lies outside of it, and a copy elsewhere could not be read",
            where=str(store),
            way_out="make one with its base: python -m rlvr_dynamics.store unpack "
            f"{store} FOLDER, then pack FOLDER NEW_STORE --base BASE",
        )
    try:
        hub = HfApi()
        made = hub.create_repo(repository, private=not public, exist_ok=True)
        hub.upload_folder(
            repo_id=repository,
            folder_path=store,
            ignore_patterns=_NOT_SENT,
            commit_message="Steps of a trajectory, as deltas",
        )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise _refused(repository, error) from error
    return str(made)


def pull(repository: str, store: Path, revision: str | None = None) -> None:
    """Download a store; files that are there and the same are kept.

    Args:
        repository: OWNER/NAME.
        store: The folder for it.
        revision: Branch, tag or commit.

    Raises:
        UserError: The hub has no such repository, or it is no store.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        with alone_in(store):
            snapshot_download(
                repository,
                revision=revision,
                local_dir=store,
                allow_patterns=["store.json", "weight_v*"],
            )
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise _refused(repository, error) from error
    open_store(store)


def _refused(repository: str, error: Exception) -> UserError:
    return UserError(
        f"the hub refused: {' '.join(str(error).split())[:300]}",
        where=repository,
        way_out="check the name, the network, and your token (`hf auth login`)",
    )
