"""The page of a study and the pages of its runs."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from rlvr_dynamics.claims.in_words import claims_in_words
from rlvr_dynamics.reporting.answer import Answer, answer
from rlvr_dynamics.reporting.build import Built, last_line
from rlvr_dynamics.reporting.ledger_view import ledger_view
from rlvr_dynamics.reporting.page import (
    entry,
    methods_section,
    picture,
    plain_entry,
    section,
    write_page,
)
from rlvr_dynamics.reporting.run_page import next_command as next_command_of_run
from rlvr_dynamics.reporting.run_page import unfinished
from rlvr_dynamics.reporting.tables import Table, write_table
from rlvr_dynamics.results.rounding import LARGEST, released_relex_in_words, rounding_of
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.system.installation import module

from . import runs

MOST_ROWS = 300  # most rows of a table on the page; the files have all
LEDGER_NAME = "claims"  # name of the ledger's main table, and prefix of its related tables
SECTIONS = (
    (
        "ours",
        "Where predictability ends",
        "Ours, in neither paper: the runs of this study side by side.",
    ),
    (
        "alpharl",
        "AlphaRL",
        "Tables and figures of “On Predictability of Reinforcement Learning Dynamics for Large "
        "Language Models” (arXiv 2510.00553), from the runs of this study.",
    ),
    (
        "relex",
        "RELEX",
        "Tables and figures of “You Only Need Minimal RLVR Training” (arXiv 2605.21468), from the "
        "runs of this study.",
    ),
)
CLAIMS_ABOUT = (
    "Every claim with the papers’ number and ours. It holds when the whole 95 % interval of our "
    "value meets its threshold and the null does not get there as well, nor, where the claim "
    "is about learning, the control; it fails when none of the interval does; otherwise it "
    "is inconclusive, as it is where it holds in one regime and fails in another. A claim "
    "that no run here could test is not measured. A number over the tensors of a single run is "
    "exact for that run and has quartiles, a spread, in place of an interval."
)
LEGEND = Markup(
    ' <span class="legend"><b>Shaded</b>: printed in the paper; the rest is ours.</span>'
)


def write_pages(
    study: Study,
    built: Sequence[Built],
    claims: pd.DataFrame | None,
    folder: Path,
    command: str,
    broken: Mapping[str, str],
    remark: str = "",
) -> None:
    """Write index.html, tables/runs.* and cells/*.

    Args:
        study: The runs.
        built: Tables and figures, in order.
        claims: The ledger, or None.
        folder: Output folder, which has `tables` and `cells`.
        command: The command that wrote it.
        broken: Name and traceback of each failure.
        remark: A sentence for its head.
    """
    known = [cell.name for cell in study.cells]
    listing = runs.runs_table(study)
    (folder / "tables").mkdir(exist_ok=True)
    write_table(listing, folder / "tables")
    files = [f"tables/{listing.name}.{ending}" for ending in ("csv", "md", "tex")]
    said = Answer("") if claims is None else answer(claims, _unfinished(study))
    lead = picture(built, said.figures)
    write_page(
        folder / "index.html",
        title=_title(study),
        answer=said.sentence,
        remark=remark,
        lead=_entry(lead, study) if lead else None,
        sections=[
            *_sections(study, [item for item in built if item is not lead], claims),
            section("numbers", "In numbers", points=_in_numbers(study, built, claims)),
            *methods_section(cell.results for cell in study.cells),
            section("runs", "Runs", entries=[plain_entry(listing, known, files)]),
        ],
        broken=[(name, last_line(error)) for name, error in broken.items()],
        command=command,
        next_command=next_command(study, built),
    )
    link = '<a href="../index.html#part-runs">All runs of the study</a>'
    back = Markup(link)  # noqa: S704 - words of ours
    for cell in study.cells:
        report = runs.own_report(cell)
        if report is None:
            _write_cell(cell, folder / "cells" / f"{cell.name}.html", back)
        else:
            kicker = f'<p class="kicker">{back}</p>'
            runs.copy_report(cell, report, folder / "cells", kicker)


def _write_cell(cell: Cell, path: Path, back: Markup) -> None:
    """Write the page of a run whose report stage has not run."""
    missing = pd.DataFrame(runs.missing_tables(cell), columns=["table", "stage that writes it"])
    table = Table("missing", "What is missing", "", missing)
    write_page(
        path,
        title=cell.name,
        answer=f"{cell.label}. This run has no page of its own: its stage report has not run.",
        back=back,
        sections=[
            section("missing", "Tables", entries=[plain_entry(table)])
            if len(missing)
            else section("missing", "Tables", "Only the page is missing: every table is there.")
        ],
        next_command=next_command_of_run(cell.results),
    )


def _title(study: Study) -> str:
    count = len(study.cells)
    models = sorted({cell.model for cell in study.cells})
    which = models[0] if len(models) == 1 else f"{len(models)} models"
    return f"{count} run{'' if count == 1 else 's'} of {which}"


def _unfinished(study: Study) -> list[str]:
    """Return the stages that no run of a study has."""
    first, *others = [unfinished(cell.results) for cell in study.cells]
    return [stage for stage in first if all(stage in lacking for lacking in others)]


def _in_numbers(study: Study, built: Sequence[Built], claims: pd.DataFrame | None) -> list[str]:
    there = sum(item.there for item in built)
    facts = dict(runs.facts_of(study, [cell.name for cell in study.cells]))
    asked = ("algorithms", "learning rates", "steps", "seeds")
    words = "; ".join(f"{question} {facts[question]}" for question in asked)
    parts = [f"{words[:1].upper()}{words[1:]}."]
    if claims is not None:
        parts += claims_in_words(claims)
    found = [rounding_of(cell.results) for cell in study.cells]
    coarse = sum(each is not None and each.share > LARGEST for each in found)
    if coarse:
        parts.append(
            f"In {coarse} of {len(found)} runs rounding to the stored dtype accounts for more than "
            f"{LARGEST:.0%} of the last update's squared norm (column rounding of the runs below), "
            "so their rank-1 shares and explained variances are read too low."
        )
    parts.append(f"{there} of {len(built)} tables and figures could be filled from these runs.")
    return parts


def _sections(
    study: Study, built: Sequence[Built], claims: pd.DataFrame | None
) -> list[dict[str, Any]]:
    found = []
    of_ledger = [item for item in built if item.artefact.name.startswith(LEDGER_NAME)]
    if claims is None:
        of_ledger = []
    else:
        files = [file for item in of_ledger for file in item.files]
        own = [file for file in files if Path(file).stem == LEDGER_NAME]
        notes = [released_relex_in_words(cell.results for cell in study.cells)]
        ledger = ledger_view(claims, {cell.name for cell in study.cells}, own, notes)
        items = [_entry(item, study, LEDGER_NAME) for item in of_ledger]
        found.append(section("claims", "Claims ledger", CLAIMS_ABOUT, items, ledger=ledger))
    for paper, heading, about in SECTIONS:
        here = [item for item in built if item.artefact.paper == paper and item not in of_ledger]
        if here:
            words = about if paper == "ours" else Markup("%s%s") % (about, LEGEND)
            found.append(section(paper, heading, words, [_entry(item, study) for item in here]))
    return found


def _entry(item: Built, study: Study, shown_above: str = "") -> dict[str, Any]:
    known = {cell.name for cell in study.cells}
    return entry(
        item,
        item.artefact.name,
        known=known,
        facts=runs.facts_of(study, [name for name in item.cells if name in known]),
        again=f"python -m analysis {item.artefact.name}" if item.there else "",
        shown_above=shown_above,
        most_rows=MOST_ROWS,
    )


def next_command(study: Study, built: Sequence[Built]) -> tuple[str, str]:
    """Suggest a command and why: finish a run, fill empty tables, or run another seed.

    Args:
        study: The runs.
        built: The built tables and figures.
    """
    for cell in study.cells:
        if unfinished(cell.results):
            typed, why = next_command_of_run(cell.results)
            return typed, f"{why} in {cell.name}"
    empty = [item for item in built if not item.there and not item.error]
    questions = list(dict.fromkeys(item.artefact.question for item in empty))
    if questions and find_spec(module("experiments.questions")):
        names = ", ".join(item.artefact.name for item in empty[:4])
        more = f" and {len(empty) - 4} more" if len(empty) > 4 else ""
        return (
            f"python -m experiments.questions {questions[0]}",
            f"says what to run for {names}{more}",
        )
    alone = (cell for cell in study.trained if len(_sisters(study, cell)) == 1)
    cell = next(alone, study.cells[-1])
    return next_command_of_run(
        cell.results, [each.results.seed for each in _sisters(study, cell).values()]
    )


def _sisters(study: Study, cell: Cell) -> dict[Any, Cell]:
    """Return the runs that differ from one in their seeds alone, by seeds."""
    found = study.where(
        model=cell.model,
        algorithm=cell.algorithm,
        learning_rate=cell.learning_rate,
        control=cell.control,
    )
    return {each.seeds: each for each in (*found, cell)}
