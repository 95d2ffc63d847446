"""Keep a run directory to one set of external checkpoints; a second set is rejected.

Moved folders, added or removed steps, and single steps repaired in place count as the same
trajectory. Another base, or other weights under the same step numbers, do not: their results would
replace the existing ones.
"""

from typing import TYPE_CHECKING, Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.run_directory.records import FOLDERS, RECORD, inputs_of, read_record
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.system.atomic import write_sealed_json
from rlvr_dynamics.system.sealed import read_parquet, read_sealed_json

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints import Trajectory

SOURCE_FILE = "source.json"
_OF_SOURCE = ("measure", "extrapolate", "score", "behaviour")


def check_same_source(run: Run, trajectory: "Trajectory") -> None:
    """Check that the checkpoints are those whose results this run directory holds.

    Their identities are stored in `source.json`.

    Raises:
        UserError: They belong to another trajectory.
    """
    identities = trajectory.identities
    now = {
        "base": identities[0],
        "steps": {str(step): identities[step] for step in trajectory.steps},
        "base_folder": str(run.base.absolute()),
        "checkpoints_folder": str(run.checkpoints.absolute()),
    }
    path = run.folder / SOURCE_FILE
    try:
        then = read_sealed_json(path)
    except FileNotFoundError:  # a new run, or one from an earlier version
        then = _measured(run)
        if not then and _has_results(run) and not _made_from(run, trajectory.identity):
            raise UserError(
                "this run directory holds results that were not made from exactly these "
                "checkpoints, and from which ones is not on record",
                where=str(run.folder),
                way_out="choose another run_dir=..., or move this folder away",
            ) from None
    except (OSError, ValueError, RecursionError) as error:
        then = {}
        if _has_results(run) and not _made_from(run, trajectory.identity):
            raise UserError(
                f"{SOURCE_FILE} is damaged, and the results here are not of exactly these "
                "checkpoints",
                where=str(path),
                way_out="remove it if they are of the same run, or choose another run_dir=...",
            ) from error
        print(f"damaged, written anew: {path}")
    if then and _has_results(run):
        reason = _difference(then, now)
        if reason:
            raise UserError(
                f"this run directory holds the results of other checkpoints: {reason}",
                where=str(run.folder),
                way_out="choose another run_dir=..., or give the checkpoints of before "
                f"({then['checkpoints_folder']}), or move this folder away",
            )
    if then != now and not run.config.dry_run:
        write_sealed_json(path, now)


def _measured(run: Run) -> dict[str, Any]:
    """Return the checkpoints listed in a measurement's table; empty without a measurement."""
    path = run.of("measure") / "checkpoints.parquet"
    if not path.is_file():
        return {}
    table = read_parquet(path, columns=["step", "identity"])
    steps = {str(step): name for step, name in zip(table["step"], table["identity"], strict=True)}
    place = f"the one that {path} lists"
    return {
        "base": steps.pop("0", ""),
        "steps": steps,
        "base_folder": place,
        "checkpoints_folder": place,
    }


def _has_results(run: Run) -> bool:
    """Whether a stage has written anything except its record."""
    for name in _OF_SOURCE:
        folder = run.folder / FOLDERS[name]
        if folder.is_dir() and any(path.name != RECORD for path in folder.iterdir()):
            return True
    return False


def _made_from(run: Run, identity: str) -> bool:
    """Whether all results were made from the checkpoints with this identity."""
    records = [read_record(run.folder / FOLDERS[name]) for name in _OF_SOURCE]
    return all(inputs_of(record).get("train") == identity for record in records if record)


def _difference(then: dict[str, Any], now: dict[str, Any]) -> str:
    """Describe how two trajectories differ; empty if they are the same."""
    if then["base"] != now["base"]:
        return f"their base is {then['base_folder']}, with other weights than the one given now"
    common = then["steps"].keys() & now["steps"].keys()
    other = [step for step in common if then["steps"][step] != now["steps"][step]]
    # A warm-up may leave the first steps of every run at the base.
    telling = [step for step in common if then["steps"][step] != then["base"]]
    in_place = then["checkpoints_folder"] == now["checkpoints_folder"]
    if not telling and len(then["steps"]):
        return f"they have no step in common with those in {then['checkpoints_folder']}"
    if other and not (in_place and 2 * len(other) < len(telling)):
        first = min(other, key=int)
        place = f" of {then['checkpoints_folder']}" if not in_place else ""
        return f"step {first}{place} had other weights"
    return ""
