"""How much of the training can be skipped? The question, and its bench.

`python -m experiments.acceleration [CELL ...] [--arms A,B] [--rates R,S] [--seeds N,M] [--list]`
trains the arms of `experiments/arms.py` and makes their page; `make acceleration` calls it.
Finished work is not repeated, and a failing cell does not stop the others.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlvr_dynamics.errors import EXIT_DONE, EXIT_FAILED
from rlvr_dynamics.schema import Method, Rebuilt
from rlvr_dynamics.system.command_line import Parser, end, path_of

from .arms import ALL, ARMS, DEFAULT, RATE, ArmCell, arm_cells
from .cell_runs import analyse, chosen, exit_code, listing, run_all, scored
from .question import Plan, Question
from .runs import (
    ALPHARL_8B,
    ALPHARL_BENCHMARKS,
    ALPHARL_OTHERS,
    ALPHARL_PUBLISHED,
    BENCH,
    BENCH_RUNS,
    RELEX,
    RELEX_BENCHMARKS,
    RELEX_PUBLISHED,
    STUDY,
)

WINDOWS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
ALPHARL = Method(name="alpharl")
VARIANTS = (
    Method(name="alpharl", label="alpharl_final", windows=(0.4,), parameters={"target": "final"}),
    Method(
        name="alpharl", label="alpharl_released", windows=(0.4,), parameters={"variant": "released"}
    ),
)
# Where validation problems cost little: y* = 1 is the text's, 1.7 the released code's.
CHOSEN = Method(
    name="alpharl",
    label="alpharl_chosen",
    windows=(0.4,),
    grid={"y_star": (0.5, 0.75, 1.0, 1.7)},
)
# The rank-1 part of the last observed update is a control of AlphaRL.
STARTS = Rebuilt(name="rank1_recovery", targets=(0.1, 0.4))
PAPER = Plan(
    cells=(*ALPHARL_8B, ALPHARL_PUBLISHED, *ALPHARL_OTHERS),
    windows=WINDOWS,
    methods=(ALPHARL, *VARIANTS, Method(name="relex")),
    reconstructions=(STARTS,),
    ladder=(*WINDOWS, 1.0),
    benchmarks=ALPHARL_BENCHMARKS,
)

QUESTION = Question(
    name="acceleration",
    asks="After which share of the training does a prediction match the fully trained model?",
    sources=(
        "AlphaRL (arXiv 2510.00553), Tables 1, 3 and 4",
        "RELEX (arXiv 2605.21468), main and out-of-domain tables",
    ),
    plans=(
        PAPER,
        Plan(
            cells=(*RELEX_PUBLISHED, *RELEX),
            windows=(0.05, 0.1, 0.15),
            methods=(Method(name="relex"),),
            ladder=(0.15, 1.0),
            benchmarks=RELEX_BENCHMARKS,
        ),
        Plan(  # RELEX observes a fifth of the 8B's training, and less for the other models
            cells=("relex_published_qwen3_8b", "grpo_qwen3_8b_math"),
            windows=(0.2,),
            targets=(1.0, 1.5),
            methods=(Method(name="relex"),),
            ladder=(0.2, 1.0),
            benchmarks=RELEX_BENCHMARKS,
        ),
        replace(
            PAPER,
            cells=STUDY,
            methods=(
                # 5 % of 60 steps are too few for AlphaRL's regression.
                ALPHARL.model_copy(update={"windows": WINDOWS[1:]}),
                *VARIANTS,
                CHOSEN,
                Method(name="relex"),
            ),
            benchmarks=(),
        ),
        Plan(cells=BENCH),
    ),
    artefacts=(
        "acceleration",
        "acceleration_arms",
        "acceleration_times",
        "acceleration_costs",
        "alpharl_table_1",
        "alpharl_table_3",
        "alpharl_table_4",
        "relex_main",
        "relex_out_of_domain",
        "relex_curves",
    ),
)

RUNS, OUT = Path("outputs") / BENCH_RUNS, Path("outputs/acceleration_analysis")
MINUTES, GIB = 5.0, 0.4  # of a cell, on 2 idle cores


def cost(cells: Sequence[ArmCell]) -> str:
    """Say what the cells cost from nothing."""
    minutes = len(cells) * MINUTES
    time = f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
    return f"{len(cells)} runs, about {time} on 2 cores and {len(cells) * GIB:.0f} GiB"


def left_out(cells: Sequence[ArmCell]) -> str:
    """Say in a sentence which arms the cells do not have."""
    there = {cell.name for cell in cells}
    rates = sorted({cell.learning_rate for cell in cells})
    seeds = sorted({cell.seed for cell in cells})

    def is_there(arm: str) -> bool:
        # Plain steps at n times a rate are those of another rate.
        names = {cell.name for cell in arm_cells([arm], (RATE, *rates), seeds)}
        return bool(names & there)

    absent = [arm for arm in ARMS if not is_there(arm)]
    moved = sorted({cell.learning_rate for cell in cells if cell.arm.overrides})
    shown = f"seeds {', '.join(map(str, seeds))}"
    if moved:
        at = ", ".join(f"{rate:g}" for rate in moved)
        shown = f"arms with jumps or passes at lr {at}; {shown}"
    return f"{shown}. Left out: {', '.join(absent) or 'no arm'}."


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing and make the page; returns the exit code."""
    return end(lambda: _main(arguments), "interrupted: the same command goes on")


def _main(arguments: Sequence[str] | None) -> int:
    given = _parser().parse_args(arguments)
    every = arm_cells(given.arms, given.rates, given.seeds)
    known = {cell.name: cell for cell in (*arm_cells([ALL], given.rates, given.seeds), *every)}
    way_out = f"--arms {ALL} --list names them, with --rates and --seeds"
    cells = chosen(given.cells, known, every, "the bench", way_out)
    if given.list:
        print(*listing(cells, given.runs), sep="\n")
        return EXIT_DONE
    note = f"{cost(cells)}: {left_out(cells)}"
    print(note, flush=True)
    failed = run_all(cells, given.runs)
    done = scored(cells, given.runs)
    code = analyse(done, given.out, note) if done else EXIT_FAILED
    print(note)
    return exit_code(failed, cells, code)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m experiments.acceleration",
        description=__doc__,
        epilog="\n".join(f"{name:28}{arm.controls}" for name, arm in ARMS.items()),
    )
    parser.add_argument("cells", nargs="*", metavar="CELL", help="only these (default: all)")
    parser.add_argument(
        "--arms",
        type=_several(str),
        default=DEFAULT,
        metavar="A,B",
        help=f"arms, listed below, or {ALL} ({cost(arm_cells([ALL]))}); "
        f"default: {cost(arm_cells())}",
    )
    parser.add_argument(
        "--rates", type=_several(_rate), default=(RATE,), metavar="R,S", help="learning rates"
    )
    parser.add_argument(
        "--seeds", type=_several(_seed), default=(0,), metavar="N,M", help="seeds of the training"
    )
    parser.add_argument("--runs", type=path_of, default=RUNS, help="folder of the run directories")
    parser.add_argument("--out", type=path_of, default=OUT, help="folder of the tables and figures")
    parser.add_argument("--list", action="store_true", help="show the cells and their commands")
    return parser


def _several(of: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """Return the parser of a list with commas."""
    return lambda text: tuple(of(part.strip()) for part in text.strip("[]").split(","))


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1:
        raise argparse.ArgumentTypeError(f"given {text!r}, allowed: a number between 0 and 1")
    return rate


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"given {text!r}, allowed: 0, 1, 2, ...")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
