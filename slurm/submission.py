"""The record of a submission: cells, arrays, job ids; one JSON file, complete after each step."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.atomic import write_json
from rlvr_dynamics.system.files import read_object

from .cells import Cell
from .resources import Resources

FOLDER = "slurm"
FILE = "submission.json"


@dataclass(frozen=True)
class Array:
    """One job array: one kind of job, for cells with the same needs.

    Attributes:
        key: Its name within the round, such as `measure_0`.
        job: Kind of job.
        stages: The stages it runs.
        indices: Array indices, which are lines of the manifest.
        needs: Resources of each task.
        after: Key of the array whose task with the same index must succeed first.
        behind: Keys of arrays that must have ended, successfully or not: the previous wave, if the
            number of running tasks is limited.
        number: Slurm's job id, once submitted.
    """

    key: str
    job: str
    stages: tuple[str, ...]
    indices: tuple[int, ...]
    needs: Resources
    after: str | None
    number: str | None = None
    behind: tuple[str, ...] = ()


@dataclass(frozen=True)
class Round:
    """One pass of submitting: the first, or a retry.

    Attributes:
        arrays: Its arrays, each after those it waits for.
        throttle: Maximum number of tasks at a time over all arrays; None for no limit.
        merge: The merge job's id.
        behind: Ids of earlier rounds' arrays that must have ended, successfully or not.
    """

    arrays: tuple[Array, ...]
    throttle: int | None
    merge: str | None = None
    behind: tuple[str, ...] = ()


@dataclass(frozen=True)
class Submission:
    """A submission, without the progress of its jobs.

    Attributes:
        identity: Short name shared by its jobs.
        cells: The cells, by index.
        site: Values of the site file.
        rounds: The first submission and its retries.
    """

    identity: str
    cells: tuple[Cell, ...]
    site: dict[str, Any]
    rounds: tuple[Round, ...] = field(default=())

    def latest(self) -> dict[tuple[int, str], Array]:
        """Return the latest array for each cell index and kind of job, in order of jobs."""
        found: dict[tuple[int, str], Array] = {}
        for each in self.rounds:
            for array in each.arrays:
                found |= {(index, array.job): array for index in array.indices}
        return found

    def with_round(self, number: int, changed: Round) -> "Submission":
        """Return a copy with one round replaced or appended."""
        rounds = [*self.rounds]
        rounds[number : number + 1] = [changed]
        return replace(self, rounds=tuple(rounds))


def save(submission: Submission, runs: Path) -> None:
    """Publish slurm/submission.json in a folder of runs."""
    write_json(runs / FOLDER / FILE, asdict(submission))


def load(runs: Path) -> Submission:
    """Read the submission of a folder of runs.

    Raises:
        UserError: There is none, or the file cannot be read.
    """
    path = runs / FOLDER / FILE
    try:
        values = read_object(path, way_out="restore it, or choose another --runs DIR")
        return TypeAdapter(Submission).validate_python(values)
    except FileNotFoundError as error:
        raise UserError(
            "nothing was submitted here",
            where=str(runs),
            way_out="give the folder that `python -m slurm submit` named",
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"unreadable: {error}", where=str(path)) from error
