"""Queries to Slurm's own programs, and their answers."""

import os
import shutil
import subprocess

from rlvr_dynamics.errors import UserError

Queue = dict[tuple[str, int], tuple[str, str]]


def own_jobs() -> tuple[str, str]:
    """Return flags that select the user's jobs, by number: a container may not know the name."""
    return "--user", str(os.getuid())


def answer(command: list[str]) -> str | None:
    """Return a program's output; None if it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout


def demand(command: list[str]) -> str:
    """Return a program's output.

    Raises:
        UserError: It fails.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(
            f"{command[0]} refused: {' '.join(done.stderr.split()) or done.returncode}",
            where=" ".join(command[1:]),
            way_out="correct the site file or the overrides; the same command submits what is "
            "missing, and what is queued stays",
        )
    return done.stdout


def need(program: str) -> None:
    """Check that a program is installed.

    Raises:
        UserError: It is not.
    """
    if shutil.which(program) is None:
        raise UserError(
            f"{program} is not here",
            where="this machine",
            way_out="submit on a login node of the cluster; dry_run=true prints what would be "
            "submitted",
        )


def read_queue() -> Queue | None:
    """Read Slurm's queue: (array id, index) to state and reason; None without Slurm."""
    listed = answer(["squeue", "--noheader", "--array", *own_jobs(), "--format=%F|%K|%T|%r"])
    if listed is None:
        return None
    rows = (line.strip().split("|") for line in listed.splitlines() if line.strip())
    return {(row[0], int(row[1])): (row[2], row[3]) for row in rows if row[1].isdecimal()}


def read_accounting(numbers: set[str]) -> dict[tuple[str, int], str]:
    """Read final states from Slurm's accounting (OUT_OF_MEMORY, TIMEOUT); empty without it."""
    command = ["sacct", "--noheader", "--parsable2", "--allocations", "--array"]
    command += [f"--jobs={','.join(sorted(numbers))}", "--format=JobID,State"]
    found = {}
    for line in (answer(command) or "" if numbers else "").splitlines():
        task, _, state = line.partition("|")
        number, _, index = task.partition("_")
        if index.isdecimal() and state:
            found[number, int(index)] = state.split()[0]
    return found
