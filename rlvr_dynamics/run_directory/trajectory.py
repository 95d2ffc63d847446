"""The checkpoints of a run: opened, and named by what they hold."""

from typing import TYPE_CHECKING

from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.run_directory.same_source import check_same_source

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints import Trajectory


def open_trajectory(run: Run) -> "Trajectory":
    """Base and checkpoints of a run; hashes of foreign folders are remembered in the run."""
    from rlvr_dynamics.checkpoints import Trajectory

    source = run.config.source
    published = source.published
    return Trajectory.open(
        run.base,
        run.checkpoints,
        pattern=source.pattern,
        # The steps of a published trajectory are named one by one, so a gap is meant.
        allow_gaps=source.allow_gaps or published is not None,
        cache=None if run.config.dry_run else run.folder / "identities.json",
        trusted=published.steps if published is not None and published.stream else (),
    )


def external_identities(run: Run) -> dict[str, str]:
    """Identity of checkpoints that this run did not train."""
    if run.config.source.base is None:
        return {}
    if run.config.dry_run and not run.folder.exists():
        return {"train": "not read yet"}  # nothing can be cached, and a plan reads no weights
    trajectory = open_trajectory(run)
    check_same_source(run, trajectory)
    return {"train": trajectory.identity}


def trained_now(run: Run) -> dict[str, str]:
    """Identity of the checkpoints as they are now."""
    return {"train": open_trajectory(run).identity}
