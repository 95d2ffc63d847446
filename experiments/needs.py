"""What a run directory lacks for the questions, and the command that adds it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from rlvr_dynamics.run_directory.progress import progress
from rlvr_dynamics.run_directory.records import FOLDERS, read_record
from rlvr_dynamics.schema import USUAL_STAGES

from .configured import Configured
from .predictions import Triple, merged
from .question import Plan, Question
from .runs import by_cell

SHOWN = 4


@dataclass(frozen=True)
class Missing:
    """Something that a question needs from a cell and that is missing.

    Attributes:
        cell: Name of the cell.
        what: What is missing.
        command: The command that adds it; None if no command helps: the run is in progress, had to
            leave it out, or has a configuration that this version does not read.
    """

    cell: str
    what: str
    command: str | None


def missing(
    questions: Sequence[Question], folders: Sequence[Path], runs: Path = Path("outputs")
) -> list[Missing]:
    """Return what the cells of questions lack, in the order of the cells.

    A cell's command adds everything these questions need and keeps what the run has.

    Args:
        questions: The questions.
        folders: Finished and half-finished runs, by the name of their folder.
        runs: Folder for cells that have never run.
    """
    found = by_cell(folders)
    asked = dict.fromkeys(cell for question in questions for cell in question.cells)
    return [one for cell in asked for one in _of_cell(cell, questions, found.get(cell), runs)]


def _of_cell(
    cell: str, questions: Sequence[Question], folder: Path | None, runs: Path
) -> list[Missing]:
    plans = [plan for question in questions for plan in question.plans_for(cell)]
    wanted = merged([plan.predictions for plan in plans])
    ladder = sorted({share for plan in plans for share in plan.ladder})
    if folder is None:
        own = Configured.of_cell(cell, runs)
        return [Missing(cell, "not run", own.command(wanted, ladder))]
    state = progress(folder, USUAL_STAGES)
    if state.state == "running":
        return [Missing(cell, f"at work: {state.stage}", None)]
    try:
        run = Configured.of_run(cell, folder, runs)
    except (ValidationError, KeyError):
        return [Missing(cell, f"run by another version of this project: {folder}", None)]
    fill = run.command(wanted, ladder)
    if state.state in ("failed", "interrupted"):
        error = f": {state.error}" if state.error else ""
        return [Missing(cell, f"{state.state} in {state.stage}{error}", fill)]
    return [*_tables(cell, plans, folder, fill), *_predictions(cell, plans, run, fill)]


def _tables(cell: str, plans: Iterable[Plan], folder: Path, fill: str) -> list[Missing]:
    names = dict.fromkeys(name for plan in plans for name in plan.tables)
    if not names:
        return []
    place = folder / FOLDERS["measure"]
    if not read_record(place).get("finished"):
        return [Missing(cell, "not measured", fill)]
    lacking = [name for name in names if not (place / f"{name}.parquet").exists()]
    # The stage finished without writing it: there was no data for it.
    return [Missing(cell, f"left out by measure: {', '.join(lacking)}", None)] if lacking else []


def _predictions(cell: str, plans: Sequence[Plan], run: Configured, fill: str) -> list[Missing]:
    wanted = merged([plan.predictions for plan in plans]).triples()
    ladder = {("real", 0.0, share) for plan in plans for share in plan.ladder}
    if run.folder is None or not wanted | ladder:
        return []
    if "extrapolate" not in run.stages or not run.steps:
        return [Missing(cell, "no predictions", fill)]
    made = _rows(run.folder / "predictions" / "index.parquet", ["method", "candidate_of"])
    scored = _rows(run.folder / "scores" / "scores.parquet", ["method", "benchmark"])
    lacking = {one for one in wanted if run.at(one) not in made}
    left_out = lacking & run.predictions.triples()
    found = [
        (lacking - left_out, "not predicted", fill),
        (left_out, "left out by the run (its log says why)", None),
        (_unscored(plans, run, made, scored), "not scored", fill),
    ]
    return [
        Missing(cell, f"{what}: {_listed(each)}", typing) for each, what, typing in found if each
    ]


def _unscored(
    plans: Sequence[Plan],
    run: Configured,
    made: dict[tuple[str, int, int], set[str]],
    scored: dict[tuple[str, int, int], set[str]],
) -> set[Triple]:
    """Return existing predictions and real checkpoints that lack a needed accuracy."""
    lacking: set[Triple] = set()
    for plan in plans:
        wanted = {one for one in plan.predictions.triples() if run.at(one) in made}
        wanted |= {("real", 0.0, share) for share in plan.ladder}
        benchmarks = set(plan.benchmarks)
        for one in wanted:
            there = scored.get(run.at(one), set())
            if not there or benchmarks - there:
                lacking.add(one)
    return lacking


def _rows(path: Path, columns: list[str]) -> dict[tuple[str, int, int], set[str]]:
    """Return the contents of a table by method, observed step (0 for none) and step.

    Args:
        path: The parquet file, which may be absent.
        columns: The method, and a column whose values are collected.
    """
    import pyarrow.parquet as parquet

    if not path.exists():
        return {}
    table = parquet.read_table(path, columns=["observe", "step", *columns])
    found: dict[tuple[str, int, int], set[str]] = {}
    for row in table.to_pylist():
        observe = row["observe"]
        place = (0 if observe is None or observe != observe else int(observe), int(row["step"]))
        other = row[columns[1]]
        found.setdefault((row["method"], *place), set()).add(str(other))
        if columns[1] == "candidate_of" and other is not None and other == other:
            found.setdefault((str(other), *place), set())  # a grid stands for its candidates
    return found


def _listed(triples: Iterable[Triple]) -> str:
    """List the first few labels with windows and targets in per cent."""
    labels: dict[str, list[str]] = {}
    for label, window, target in sorted(triples):
        at = f"{window:.0%} to {target:.0%}" if window else f"at {target:.0%}"
        labels.setdefault(label, []).append(at)
    shown = [f"{label} ({', '.join(at)})" for label, at in labels.items()]
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return "; ".join(shown[:SHOWN]) + more
