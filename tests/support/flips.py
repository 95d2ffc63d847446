"""Flips bits in a finished run, one at a time: each must be named, healed, or have no effect.

`python -m tests.support.flips N SEED RUN_DIR COMMAND...` does this to your own run: COMMAND is the
command that made it, without `python -m rlvr_dynamics.run`. The run directory is restored after
every flip.
"""

import contextlib
import io
import os
import random
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rlvr_dynamics.run import main

RESULTS = ("measure/*.parquet", "predictions/*.parquet", "scores/*.parquet")
SAMPLES, PREDICTED = "scores/samples/**/*.parquet", "predictions/**/*.safetensors"
PRINTED = ("report/claims.csv", "report/tables/*.csv")
TIMES = ("seconds", "minutes")


@dataclass(frozen=True)
class Outcome:
    """How a flip ended: `named` (exit code 2, with the file), `healed`, `no effect` or `WRONG`."""

    file: str
    verdict: str
    said: str


def results(run_dir, printed=True):
    """Return all that readers or later stages take from a run; the report only if `printed`."""
    found = {}
    for pattern in (*RESULTS, SAMPLES):
        for path in run_dir.glob(pattern):
            found[str(path.relative_to(run_dir))] = pd.read_parquet(path)
    for pattern in (PREDICTED, *(PRINTED if printed else ())):
        for path in run_dir.glob(pattern):
            found[str(path.relative_to(run_dir))] = path.read_bytes()
    return found


def different(one, other):
    """Return the results in which two runs differ."""
    return [
        name
        for name in sorted(one.keys() | other.keys())
        if not (name in one and name in other and _equal(one[name], other[name]))
    ]


def same(one, other):
    """Whether two runs hold the same results."""
    return not different(one, other)


def _equal(one, other):
    return one.equals(other) if isinstance(one, pd.DataFrame) else one == other


def flip(path, bit, keep_times):
    """Flip one bit of a file, like a disk (`keep_times`) or like a program."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ (1 << bit % 8)]))
    if keep_times:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def files_of(run_dir):
    """Return all files of a run, including the largest."""
    return sorted(
        path
        for path in run_dir.rglob("*")
        if path.is_file() and path.stat().st_size and path.name != ".lock"
    )


def call(arguments):
    """Run the command in this process; returns exit code and all output."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(list(arguments))
    return code, said.getvalue()


def try_flip(run_dir, arguments, draw, reference, forget=()):
    """Flip a random bit of a random file, run the command again, and restore everything.

    Args:
        run_dir: A finished run.
        arguments: The command line that made it.
        draw: A `random.Random`.
        reference: `results` of the finished run.
        forget: Records to remove first, as if these stages had been killed at their end.
    """
    copy = run_dir.with_name(f"{run_dir.name}.whole")
    shutil.copytree(run_dir, copy, symlinks=True)
    # Draw a stage first, then one of its files; otherwise most draws would be report figures.
    files = files_of(run_dir)
    part = draw.choice(sorted({path.relative_to(run_dir).parts[0] for path in files}))
    path = draw.choice([path for path in files if path.relative_to(run_dir).parts[0] == part])
    name = str(path.relative_to(run_dir))
    for record in forget:
        (run_dir / record).unlink(missing_ok=True)
    try:
        if path.exists():
            flip(path, draw.randrange(8 * path.stat().st_size), draw.random() < 0.5)
        code, said = call(arguments)
        lines = [line for line in said.splitlines() if line.strip()]
        worked = [line for line in lines if "finished in" in line and "(finished" not in line]
        last = next((line for line in lines if line.startswith("error:")), "")
        if code == 2 and path.name in last:
            verdict = "named"
        elif code == 0 and same(reference, results(run_dir, not forget)):
            verdict = "healed" if worked and not forget else "no effect"
        else:
            verdict = f"WRONG (exit code {code})"
        told = last or next(
            (line for line in lines if "amaged" in line), lines[-1] if lines else ""
        )
        return Outcome(name, verdict, told)
    finally:
        shutil.rmtree(run_dir)
        copy.rename(run_dir)


def flips(run_dir, arguments, count, seed, forget=()):
    """Try flips one by one."""
    draw = random.Random(seed)  # noqa: S311
    reference = results(run_dir, not forget)
    for _ in range(count):
        yield try_flip(run_dir, arguments, draw, reference, forget)


if __name__ == "__main__":
    count, seed, place, *command = sys.argv[1:]
    kept = tuple(part for part in os.environ.get("FORGET", "").split(",") if part)
    verdicts: Counter[str] = Counter()
    for each in flips(Path(place), command, int(count), int(seed), kept):
        verdicts[each.verdict] += 1
        print(f"{each.verdict:<22} {each.file}: {each.said[:150]}", flush=True)
    print(dict(verdicts))
    sys.exit(any(verdict.startswith("WRONG") for verdict in verdicts))
