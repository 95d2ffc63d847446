"""Which arrays a set of cells makes: chains of jobs, one array per kind of job and equal needs."""

import shlex
from pathlib import Path

from rlvr_dynamics.schema import RunConfig
from slurm.resources import Resources, jobs_of, resources
from slurm.site import Site
from slurm.submission import Array

Chain = tuple[tuple[str, tuple[str, ...], Resources], ...]


def chain(config: RunConfig, site: Site) -> Chain:
    """The jobs of a cell in order: kind, stages, needs."""
    return tuple(
        (job, stages, resources(job, config, site)) for job, stages in jobs_of(config, site).items()
    )


def arrays(chains: dict[int, Chain]) -> tuple[Array, ...]:
    """Group cells whose whole chain is equal; their arrays share indices, as `aftercorr` needs.

    Args:
        chains: Cell index to its jobs (for a retry those that are left).
    """
    groups: dict[Chain, list[int]] = {}
    for index, jobs in sorted(chains.items()):
        groups.setdefault(jobs, []).append(index)
    made: list[Array] = []
    for number, (jobs, indices) in enumerate(groups.items()):
        before: str | None = None
        for job, stages, needs in jobs:
            key = f"{job}_{number}"
            made.append(Array(key, job, stages, tuple(indices), needs, before))
            before = key
    return tuple(made)


def spell(indices: tuple[int, ...]) -> str:
    """Array indices as Slurm writes them: `0-3,7`."""
    parts: list[list[int]] = []
    for index in indices:
        if parts and index == parts[-1][-1] + 1:
            parts[-1][1:] = [index]
        else:
            parts.append([index])
    return ",".join("-".join(str(end) for end in part) for part in parts)


def script_name(array: Array) -> str:
    """File name of the batch script of an array; kinds of job may share their stages."""
    stages = "+".join(array.stages)
    return f"{stages}.sh" if array.job == array.stages[-1] else f"{array.job}={stages}.sh"


def job_name(identity: str, round_number: int, key: str) -> str:
    """What the job is called in the queue; unique, so that a lost job id can be found again."""
    return f"rlvr-{identity}-{round_number}-{key}"


def array_command(
    array: Array, name: str, after: str | None, throttle: int | None, folder: Path, site: Site
) -> list[str]:
    """The sbatch line of an array; `after` is the id of the array it depends on."""
    limit = f"%{throttle}" if throttle else ""
    return [
        "sbatch",
        "--parsable",
        f"--job-name={name}",
        f"--array={spell(array.indices)}{limit}",
        *array.needs.flags(site),
        *([f"--dependency=aftercorr:{after}", "--kill-on-invalid-dep=yes"] if after else []),
        str(folder / script_name(array)),
    ]


def merge_command(name: str, after: list[str], folder: Path, site: Site) -> list[str]:
    """The sbatch line of the job that joins the tables when every chain has ended, well or not."""
    own = site.job("merge")
    return [
        "sbatch",
        "--parsable",
        f"--job-name={name}",
        "--nodes=1",
        "--ntasks=1",
        *([f"--cpus-per-task={own.cpus}"] if own.cpus else []),
        f"--mem={4 if own.memory_gib is None else own.memory_gib}G",
        *([f"--time={own.time}"] if own.time else []),
        f"--dependency=afterany:{':'.join(after)}",
        str(folder / "merge.sh"),
    ]


def last_keys(made: tuple[Array, ...]) -> list[str]:
    """Keys of the arrays on which no other array waits."""
    waited_for = {array.after for array in made}
    return [array.key for array in made if array.key not in waited_for]


def as_shell(key: str, command: list[str]) -> str:
    """A line for a shell that submits and keeps the job id under the array's key."""
    words = [word if "$" in word else shlex.quote(word) for word in command]
    return f"{key}=$({' '.join(words)})"
