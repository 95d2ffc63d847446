"""Open the checkpoints of a run and identify them by content."""

from pathlib import Path
from typing import TYPE_CHECKING

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.run_directory.configuration import read_config
from rlvr_dynamics.run_directory.records import FOLDERS, read_record
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.run_directory.same_source import check_same_source

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints import Trajectory


def open_trajectory(run: Run, *, as_measured: bool = False) -> "Trajectory":
    """Open base and checkpoints of a run; hashes of external folders are cached in the run.

    Args:
        run: The run.
        as_measured: Round weights as `measure.round_to` says.
    """
    from rlvr_dynamics.checkpoints import Trajectory

    source = run.config.source
    published = source.published
    return Trajectory.open(
        run.base,
        run.checkpoints,
        pattern=source.pattern,
        # The steps of a published trajectory are listed one by one, so a gap is intended.
        allow_gaps=source.allow_gaps or published is not None,
        cache=None if run.config.dry_run else run.folder / "identities.json",
        trusted=published.steps if published is not None and published.stream else (),
        round_to=run.config.measure.round_to if as_measured else None,
    )


def trajectory_of(run_dir: Path) -> "Trajectory":
    """Open base and checkpoints of a run that has finished its training, perhaps another's.

    Raises:
        UserError: It is not a run directory, its training has not finished, or its checkpoints are
            damaged or streamed.
    """
    from rlvr_dynamics.checkpoints import Trajectory

    source, train = read_config(run_dir).source, run_dir / FOLDERS["train"]
    if source.base is None and not read_record(train).get("finished"):
        raise UserError(
            "this run has not finished its training",
            where=str(run_dir),
            way_out="finish it, or name another run",
        )
    return Trajectory.open(
        Path(source.base or run_dir / FOLDERS["prepare"] / "base"),
        Path(source.checkpoints or train / "checkpoints"),
        pattern=source.pattern,
        allow_gaps=source.allow_gaps or source.published is not None,
    )


def external_identities(run: Run) -> dict[str, str]:
    """Return the identity of checkpoints that this run did not train."""
    if run.config.source.base is None:
        return {}
    if run.config.dry_run and not run.folder.exists():
        return {"train": "not read yet"}  # nothing can be cached, and planning reads no weights
    trajectory = open_trajectory(run)
    check_same_source(run, trajectory)
    return {"train": trajectory.identity}


def trained_now(run: Run) -> dict[str, str]:
    """Return the current identity of the checkpoints."""
    return {"train": open_trajectory(run).identity}
