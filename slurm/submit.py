"""Submit cells as chains of job arrays, and retry failed ones; every step can be repeated."""

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from rlvr_dynamics import config as configuration
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.system.atomic import write_text
from rlvr_dynamics.system.locks import LOCK, held

from . import arrays, scripts, submission
from .cells import Cell, compose
from .queue import demand, need, own_jobs
from .site import Site, check_site
from .submission import FOLDER, Array, Round, Submission

WAITING = "another call submits into this folder: waiting for it"


def plan(
    patterns: list[str], overrides: list[str], runs: Path, site: Site, throttle: int | None
) -> Submission:
    """Compose the cells and lay out their arrays; nothing is written or submitted.

    Raises:
        UserError: As in `slurm.cells.compose`.
    """
    cells, configs = compose(patterns, overrides, runs)
    made = _arrays(dict(zip(cells, configs, strict=True)), site, throttle)
    content = json.dumps([str(runs), [asdict(cell) for cell in cells], asdict(made[0])])
    return Submission(
        identity=hashlib.sha256(content.encode()).hexdigest()[:8],
        cells=tuple(cells),
        site=site.model_dump(mode="json"),
        rounds=(Round(made, throttle),),
    )


def _arrays(cells: dict[Cell, RunConfig], site: Site, throttle: int | None) -> tuple[Array, ...]:
    chains = {cell.index: arrays.chain(cells[cell], site) for cell in cells}
    return arrays.arrays(chains, throttle)


def describe(planned: Submission, runs: Path) -> str:
    """Return the manifest, every script and the exact sbatch lines, as a shell would run them."""
    folder = (runs / FOLDER).absolute()
    site = check_site(planned.site, "site")
    lines = [f"# {folder}/manifest.tsv", _manifest(planned)]
    for name, text in _scripts(planned.rounds[0], folder, site).items():
        lines += [f"# {folder}/{name}", text]
    lines += ["# sbatch"]
    this = planned.rounds[0]
    for array in this.arrays:
        command = arrays.array_command(
            array,
            arrays.job_name(planned.identity, 0, array.key),
            f"${array.after}" if array.after else None,
            [f"${key}" for key in array.behind],
            folder,
            site,
        )
        lines.append(arrays.as_shell(array.key, command))
    last = [f"${key}" for key in arrays.last_keys(this.arrays)]
    command = arrays.merge_command(
        arrays.job_name(planned.identity, 0, "merge"), last, folder, site
    )
    return "\n".join([*lines, arrays.as_shell("merge", command)])


def submit(planned: Submission, runs: Path) -> tuple[Submission, bool]:
    """Write the scripts and submit; continues an earlier call that was interrupted.

    Returns:
        The submission, and whether this call submitted anything.

    Raises:
        UserError: The folder holds another submission, or Slurm rejects a job.
    """
    need("sbatch")
    with alone(runs):
        if (runs / FOLDER / submission.FILE).exists():
            there = submission.load(runs)
            if there.rounds[0].merge is not None and _content(there) == _content(planned):
                return there, False
            planned = _continued(there, planned, runs)
        submission.save(planned, runs)
        return _send(planned, 0, runs), True


@contextmanager
def alone(runs: Path) -> Iterator[None]:
    """Lock a folder of runs while submitting, so that other calls wait."""
    folder = runs / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / LOCK, waiting=lambda: print(WAITING, file=sys.stderr, flush=True)):
        yield


def _continued(there: Submission, planned: Submission, runs: Path) -> Submission:
    """Return the plan with job ids of an interrupted earlier call; the site may have changed."""
    first = there.rounds[0]
    shapes = [
        [(array.key, array.stages, array.indices, array.after) for array in each.arrays]
        for each in (first, planned.rounds[0])
    ]
    begun = any(array.number for array in first.arrays)
    same = there.cells == planned.cells and shapes[0] == shapes[1]
    if first.merge is not None or (begun and not same):
        raise UserError(
            "another submission is there already",
            where=str(runs),
            way_out="choose another --runs DIR, or `python -m slurm retry DIR` for what failed",
        )
    if not begun:
        return planned
    kept = tuple(
        replace(array, number=old.number)
        for array, old in zip(planned.rounds[0].arrays, first.arrays, strict=True)
    )
    changed = replace(planned.rounds[0], arrays=kept)
    return replace(planned, identity=there.identity).with_round(0, changed)


def retry(
    there: Submission, left: dict[int, tuple[str, ...]], runs: Path, site: Site | None = None
) -> Submission:
    """Submit the remaining jobs of cells as a new round.

    Args:
        there: The submission.
        left: Cell index to the kinds of job to run again, in order.
        runs: Its folder.
        site: A corrected site (more memory, another partition); None to keep the old one.

    Raises:
        UserError: A configuration no longer composes, or Slurm rejects a job.
    """
    need("sbatch")
    if site is None:
        site = check_site(there.site, str(runs / FOLDER / submission.FILE))
    there = replace(there, site=site.model_dump(mode="json"))
    chains = {}
    for index, jobs in left.items():
        cell = there.cells[index]
        config = configuration.load([*cell.overrides, f"stages=[{','.join(cell.stages)}]"])
        chains[index] = tuple(item for item in arrays.chain(config, site) if item[0] in jobs)
    throttle = there.rounds[-1].throttle
    number = len(there.rounds)
    # Jobs still in the queue count too.
    behind = tuple(sorted(_still_queued(there), key=int)) if throttle else ()
    this = Round(arrays.arrays(chains, throttle), throttle, behind=behind)
    planned = there.with_round(number, this)
    submission.save(planned, runs)
    return _send(planned, number, runs)


def finish_round(there: Submission, runs: Path) -> Submission:
    """Submit what an interrupted call left unsubmitted in the last round."""
    return _send(there, len(there.rounds) - 1, runs)


def _content(made: Submission) -> tuple[object, ...]:
    first = made.rounds[0]
    bare = tuple(replace(array, number=None) for array in first.arrays)
    return made.cells, made.site, bare, first.throttle


def _manifest(made: Submission) -> str:
    return scripts.manifest([cell.manifest_line for cell in made.cells])


def _scripts(this: Round, folder: Path, site: Site) -> dict[str, str]:
    texts = {
        arrays.script_name(array): scripts.task_script(array.job, array.stages, folder, site)
        for array in this.arrays
    }
    return texts | {"merge.sh": scripts.merge_script(folder, site)}


def _send(made: Submission, number: int, runs: Path) -> Submission:
    folder = (runs / FOLDER).absolute()
    site = check_site(made.site, str(folder / submission.FILE))
    this = made.rounds[number]
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    write_text(folder / "manifest.tsv", _manifest(made))
    for name, text in _scripts(this, folder, site).items():
        write_text(folder / name, text)
    numbers: dict[str, str] = {}
    for place, array in enumerate(this.arrays):
        if array.number is None:
            after = None if array.after is None else numbers[array.after]
            name = arrays.job_name(made.identity, number, array.key)
            behind = [numbers[key] for key in array.behind]
            if array.after is None and not behind:
                behind = list(this.behind)
            command = arrays.array_command(array, name, after, behind, folder, site)
            array = replace(array, number=_sbatch(command, name))
            changed = (*this.arrays[:place], array, *this.arrays[place + 1 :])
            this = replace(this, arrays=changed)
            made = made.with_round(number, this)
            submission.save(made, runs)
        numbers[array.key] = str(array.number)
    name = arrays.job_name(made.identity, number, "merge")
    last = {numbers[key] for key in arrays.last_keys(this.arrays)} | _still_queued(made)
    command = arrays.merge_command(name, sorted(last, key=int), folder, site)
    made = made.with_round(number, replace(this, merge=_sbatch(command, name)))
    submission.save(made, runs)
    return made


def _still_queued(made: Submission) -> set[str]:
    """Return earlier rounds' arrays that are still queued; the tables wait for them too."""
    known = {str(array.number) for each in made.rounds for array in each.arrays}
    listed = demand(["squeue", "--noheader", *own_jobs(), "--format=%F"])
    return known & set(listed.split())


def _sbatch(command: list[str], name: str) -> str:
    """Submit unless a job with this unique name is already queued; returns its id."""
    listed = demand(["squeue", "--noheader", *own_jobs(), f"--name={name}", "--format=%F"]).split()
    if listed:
        return listed[0]
    return demand(command).strip().partition(";")[0]
