"""`python -m experiments.questions`: what each question has and lacks, and the next command."""

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rlvr_dynamics.errors import EXIT_DONE, UserError, did_you_mean
from rlvr_dynamics.system.command_line import Parser, end, path_of, say

from .files import LISTED, check_checkout, write_lists
from .needs import Missing, missing
from .question import Question
from .runs import run_dirs

# One module per question, in the order of the papers.
MODULES = (
    "rank_recovery",
    "training_progress",
    "subspaces",
    "lambda_scaling",
    "linearity_pls",
    "acceleration",
    "far_extrapolation",
    "ablations",
    "baselines",
    "contrast",
    "controls",
    "seeds",
    "regimes",
    "updates",
    "real_model",
)
LEDGER = "claims"  # the name that `analysis` gives its ledger's question, which means all of these
SHOWN = 3


def all_questions() -> tuple[Question, ...]:
    """Return every question, in the order of the papers."""
    return tuple(import_module(f"{__package__}.{name}").QUESTION for name in MODULES)


def select(names: Sequence[str]) -> list[Question]:
    """Return questions by name, in the order of the papers; [] or the ledger means all.

    Raises:
        UserError: A name does not match a question.
    """
    known = {question.name: question for question in all_questions()}
    for name in names:
        if name not in (*known, LEDGER):
            way_out = f"{did_you_mean(name, known)}one of {', '.join(known)}"
            raise UserError(f"no question is called {name}", way_out=way_out)
    every = not names or LEDGER in names
    return [question for name, question in known.items() if every or name in names]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return end(lambda: _main(arguments))


def _main(arguments: list[str] | None) -> int:
    asked = _parser().parse_args(arguments)
    if asked.write:
        check_checkout()
        changed = write_lists(all_questions())
        say(f"{len(LISTED)} questions written to configs/extrapolation, {len(changed)} changed")
        return EXIT_DONE
    questions = select(asked.names)
    runs = asked.runs
    folders = run_dirs(runs)
    found = [(question, missing([question], folders, runs)) for question in questions]
    following = next_command(questions, folders, runs)
    say(as_json(found, following) if asked.json else as_text(found, following, bool(asked.names)))
    return EXIT_DONE


def _parser() -> Parser:
    parser = Parser(
        prog="python -m experiments.questions",
        description="List the questions of the papers: which runs answer them, what is missing, "
        "and the next command. Several names: one command that serves them all.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these, in full")
    parser.add_argument(
        "--runs", type=path_of, default=Path("outputs"), metavar="DIR", help="where runs are"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument("--write", action="store_true", help="write configs/extrapolation")
    return parser


def next_command(
    questions: Sequence[Question], folders: Sequence[Path], runs: Path
) -> Missing | None:
    """Return the next command for these questions: existing runs first, then small ones."""
    there = {folder.name for folder in folders}
    helped = [one for one in missing(questions, folders, runs) if one.command is not None]
    return min(
        helped, key=lambda one: (one.cell not in there, not _is_small(one.command)), default=None
    )


def _is_small(command: str | None) -> bool:
    """Whether a laptop can run it."""
    return command is not None and "+exp=study" in command


def as_json(found: Sequence[tuple[Question, list[Missing]]], following: Missing | None) -> str:
    """Return one object per question, and the next command."""
    return json.dumps(
        {
            "questions": [_described(question, lacking) for question, lacking in found],
            "next": None if following is None else following.command,
        },
        indent=1,
    )


def _described(question: Question, lacking: Sequence[Missing]) -> dict[str, Any]:
    by_cell: dict[str, list[dict[str, str | None]]] = {cell: [] for cell in question.cells}
    for one in lacking:
        by_cell[one.cell].append({"what": one.what, "command": one.command})
    return {
        "name": question.name,
        "asks": question.asks,
        "sources": list(question.sources),
        "artefacts": list(question.artefacts),
        "note": question.note,
        "cells": [{"cell": cell, "missing": items} for cell, items in by_cell.items()],
    }


def as_text(
    found: Sequence[tuple[Question, list[Missing]]], following: Missing | None, in_full: bool
) -> str:
    """Format a paragraph per question: the question, cells that answer it, what others lack."""
    lines: list[str] = []
    for question, lacking in found:
        open_cells = {one.cell for one in lacking}
        done = len(question.cells) - len(open_cells)
        lines += [f"{question.name}: {question.asks}", f"  {'; '.join(question.sources)}"]
        lines.append(f"  {done} of {len(question.cells)} cells answer it")
        shown = _grouped(lacking, in_full)
        lines += [f"  {text}" for text in (shown if in_full else shown[:SHOWN])]
        if len(shown) > SHOWN and not in_full:
            lines.append(
                f"  and {len(shown) - SHOWN} more: python -m experiments.questions {question.name}"
            )
        if in_full and question.note:
            lines.append(f"  {question.note}")
        lines.append("")
    if following is None:
        lines.append("nothing that a command would fill is missing")
    else:
        lines += [f"next ({following.cell}, {following.what}):", str(following.command)]
    return "\n".join(lines)


def _grouped(lacking: Sequence[Missing], in_full: bool) -> list[str]:
    """Group cells by what they lack, existing runs first.

    Args:
        lacking: What is missing.
        in_full: Whether to name all cells even if many lack the same.
    """
    by_what: dict[str, list[str]] = {}
    for one in lacking:
        by_what.setdefault(one.what, []).append(one.cell)
    ordered = sorted(by_what.items(), key=lambda item: item[0] == "not run")
    return [
        f"{what}: {', '.join(cells) if in_full or len(cells) <= SHOWN else f'{len(cells)} cells'}"
        for what, cells in ordered
    ]


if __name__ == "__main__":
    sys.exit(main())
