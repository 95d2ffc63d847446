"""The arrays for a set of cells: chains of jobs, one array per kind of job and needs."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rlvr_dynamics.schema import RunConfig

from .resources import Resources, jobs_of, resources
from .site import Site
from .submission import Array

Chain = tuple[tuple[str, tuple[str, ...], Resources], ...]


def chain(config: RunConfig, site: Site) -> Chain:
    """Return the jobs of a cell in order: kind, stages, needs."""
    return tuple(
        (job, stages, resources(job, config, site)) for job, stages in jobs_of(config, site).items()
    )


def arrays(chains: dict[int, Chain], throttle: int | None = None) -> tuple[Array, ...]:
    """Group cells with equal chains; their arrays share indices, as `aftercorr` requires.

    Slurm can limit the tasks of one array, but not of several. A cell has one task at a time, so
    with a limit of N tasks, N cells form a wave, and each wave waits for the previous one to end.

    Args:
        chains: Cell index to its jobs (for a retry, the remaining ones).
        throttle: Maximum number of tasks at a time; None for no limit.
    """
    cells = sorted(chains.items())
    size = throttle or max(len(cells), 1)
    made: list[Array] = []
    behind: tuple[str, ...] = ()
    number = 0
    for begin in range(0, len(cells), size):
        groups: dict[Chain, list[int]] = {}
        for index, jobs in cells[begin : begin + size]:
            groups.setdefault(jobs, []).append(index)
        ends: list[str] = []
        for jobs, indices in groups.items():
            before: str | None = None
            for job, stages, needs in jobs:
                key = f"{job}_{number}"
                first = behind if before is None else ()
                made.append(Array(key, job, stages, tuple(indices), needs, before, behind=first))
                before = key
            ends += [] if before is None else [before]
            number += 1
        behind = tuple(ends)
    return tuple(made)


def spell(indices: tuple[int, ...]) -> str:
    """Format array indices as Slurm does: `0-3,7`."""
    parts: list[list[int]] = []
    for index in indices:
        if parts and index == parts[-1][-1] + 1:
            parts[-1][1:] = [index]
        else:
            parts.append([index])
    return ",".join("-".join(str(end) for end in part) for part in parts)


def script_name(array: Array) -> str:
    """Return the file name of an array's batch script; kinds of job may share their stages."""
    stages = "+".join(array.stages)
    return f"{stages}.sh" if array.job == array.stages[-1] else f"{array.job}={stages}.sh"


def job_name(identity: str, round_number: int, key: str) -> str:
    """Return the job's unique name in the queue, by which a lost job id can be found."""
    return f"rlvr-{identity}-{round_number}-{key}"


def array_command(
    array: Array, name: str, after: str | None, behind: Sequence[str], folder: Path, site: Site
) -> list[str]:
    """Return the sbatch line of an array.

    Args:
        array: The array.
        name: Name of the job.
        after: Id of the array whose task with the same index must succeed first.
        behind: Ids of arrays that must have ended.
        folder: Folder of the submission.
        site: The site.
    """
    waits = [f"aftercorr:{after}"] if after else []
    waits += [f"afterany:{':'.join(behind)}"] if behind else []
    return [
        "sbatch",
        "--parsable",
        f"--job-name={name}",
        f"--array={spell(array.indices)}",
        f"--output={_literal(folder)}/logs/slurm-%x-%A_%a.out",
        *array.needs.flags(site),
        *([f"--dependency={','.join(waits)}"] if waits else []),
        *(["--kill-on-invalid-dep=yes"] if after else []),
        str(folder / script_name(array)),
    ]


def _literal(folder: Path) -> str:
    """Escape a path for one of Slurm's file name patterns."""
    return str(folder).replace("%", "%%")


def merge_command(name: str, after: list[str], folder: Path, site: Site) -> list[str]:
    """Return the sbatch line of the job that merges the tables once every chain has ended."""
    own = site.job("merge")
    return [
        "sbatch",
        "--parsable",
        f"--job-name={name}",
        f"--output={_literal(folder)}/logs/merge-%A.log",
        "--nodes=1",
        "--ntasks=1",
        *([f"--cpus-per-task={own.cpus}"] if own.cpus else []),
        f"--mem={4 if own.memory_gib is None else own.memory_gib}G",
        *([f"--time={own.time}"] if own.time else []),
        f"--dependency=afterany:{':'.join(after)}",
        str(folder / "merge.sh"),
    ]


def last_keys(made: tuple[Array, ...]) -> list[str]:
    """Return the keys of the arrays that no other array waits for."""
    waited_for = {key for array in made for key in (array.after, *array.behind)}
    return [array.key for array in made if array.key not in waited_for]


def as_shell(key: str, command: list[str]) -> str:
    """Return a shell line that submits and stores the job id under the array's key."""
    words = [word if word.startswith("--dependency=") else shlex.quote(word) for word in command]
    return f"{key}=$({' '.join(words)})"
