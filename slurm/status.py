"""The state of every job of every cell, from the queue, the attempts and the run directories."""

from dataclasses import dataclass
from pathlib import Path

from rlvr_dynamics.errors import EXIT_DONE, EXIT_INTERRUPTED
from rlvr_dynamics.run_directory.records import FOLDERS, read_record
from rlvr_dynamics.system.command_line import aligned

from .cells import Cell
from .queue import Queue, read_accounting
from .submission import FOLDER, Array, Submission

ALIVE = ("running", "queued", "waiting")
FAILURES = ("failed", "interrupted", "lost", "cancelled", "stopped")


@dataclass(frozen=True)
class State:
    """The state of one job of one cell.

    Attributes:
        word: done, running, queued, waiting (for the job before), failed, interrupted (saved, not
            requeued), lost (ended without a record: killed for memory, or its node died), cancelled
            (before it started), stopped (the job before it failed); unknown without a queue.
        detail: Exit code, Slurm's reason or state.
        attempts: Number of times it started.
        log: Log of its last attempt.
    """

    word: str
    detail: str
    attempts: int
    log: str


Table = dict[int, dict[str, State]]


def read(made: Submission, runs: Path, queue: Queue | None) -> Table:
    """Return the state of every job by cell index, then by kind of job, in order."""
    folder = runs / FOLDER
    table: Table = {cell.index: {} for cell in made.cells}
    for (index, job), array in made.latest().items():
        cell = made.cells[index]
        earlier = list(table[index].values())
        state = _state(cell, array, folder, queue, earlier[-1].word if earlier else "done")
        table[index][job] = state
    lost = {
        str(array.number)
        for (index, job), array in made.latest().items()
        if table[index][job].word in ("lost", "cancelled")
    }
    final = read_accounting(lost) if queue is not None else {}
    for (index, job), array in made.latest().items():
        known = final.get((str(array.number), index))
        if known and table[index][job].word in ("lost", "cancelled"):
            old = table[index][job]
            table[index][job] = State(old.word, known, old.attempts, old.log)
    return table


def _state(cell: Cell, array: Array, folder: Path, queue: Queue | None, before: str) -> State:
    events = _events(folder / "attempts" / f"{cell.name}.{array.job}.tsv")
    own = [event for event in events if event[1] == array.number]
    began = sum(event[0] == "start" for event in events)
    log = ""
    if own:
        task = f"{array.number}_{cell.index}.{own[-1][2]}"
        log = str(folder / "logs" / cell.name / f"{array.job}.{task}.log")
    word, detail = _word(cell, array, own, queue, before)
    return State(word, detail, began, log)


def _word(
    cell: Cell, array: Array, events: list[list[str]], queue: Queue | None, before: str
) -> tuple[str, str]:
    if array.number is None:
        return "cancelled", "not submitted yet"
    queued = (queue or {}).get((array.number, cell.index))
    if queued is not None:
        state = queued[0]
        ended = bool(events) and events[-1][0] == "end"
        if state != "PENDING" and not (ended and state == "COMPLETING"):
            return "running", ""
    if queued is not None and queued[0] == "PENDING":
        reason = queued[1]
        if reason == "DependencyNeverSatisfied" or before in FAILURES:
            return "stopped", ""
        return ("waiting", "") if reason == "Dependency" else ("queued", reason)
    if not events:
        if before in FAILURES:
            return "stopped", ""
        return ("unknown", "no queue here") if queue is None else ("cancelled", "never began")
    if events[-1][0] != "end":
        return ("unknown", "no queue here") if queue is None else ("lost", "no exit code")
    code = int(events[-1][4])
    if code == EXIT_DONE:
        open_stages = [
            stage
            for stage in array.stages
            if not read_record(Path(cell.run_dir) / FOLDERS[stage]).get("finished")
        ]
        if open_stages:
            return "failed", f"{open_stages[0]} is not in the run directory"
        return "done", ""
    return ("interrupted" if code == EXIT_INTERRUPTED else "failed"), f"exit {code}"


def _events(path: Path) -> list[list[str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [fields for line in lines if len(fields := line.split("\t")) == 6]


def left(made: Submission, table: Table) -> dict[int, tuple[str, ...]]:
    """Return what a retry submits: each failed cell's first failed job and all later ones.

    Cells that are running, queued or done are skipped.
    """
    found = {}
    for cell in made.cells:
        jobs = table[cell.index]
        words = [state.word for state in jobs.values()]
        if set(words) & set(ALIVE):
            continue
        first = next((place for place, word in enumerate(words) if word in FAILURES), None)
        if first is not None:
            found[cell.index] = tuple(jobs)[first:]
    return found


def open_cells(made: Submission, table: Table) -> dict[str, str]:
    """Return the cells that are not done, each with its first unfinished job as the reason."""
    found = {}
    for cell in made.cells:
        for job, state in table[cell.index].items():
            if state.word != "done":
                detail = f", {state.detail}" if state.detail else ""
                found[cell.name] = f"{job} {state.word}{detail}"
                break
    return found


def as_text(made: Submission, table: Table) -> str:
    """Format a line per cell, a column per kind of job, and the logs of failed jobs."""
    jobs = list(dict.fromkeys(job for states in table.values() for job in states))
    rows = [["cell", *jobs]]
    for cell in made.cells:
        states = table[cell.index]
        rows.append([cell.name, *(_cell_text(states.get(job)) for job in jobs)])
    lines = aligned(rows)
    unfinished = open_cells(made, table)
    lines += ["", f"{len(made.cells) - len(unfinished)} of {len(made.cells)} cells done"]
    for cell in made.cells:
        for job, state in table[cell.index].items():
            if state.word in ("failed", "interrupted", "lost"):
                detail = f" ({state.detail})" if state.detail else ""
                lines.append(f"{state.word}: {cell.name}, {job}{detail}: {state.log}")
    return "\n".join(lines)


def _cell_text(state: State | None) -> str:
    if state is None:
        return "-"
    again = f" ({state.attempts} attempts)" if state.attempts > 1 else ""
    return state.word + again
