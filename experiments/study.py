"""The study: run every cell of a small grid end to end, then make all tables and figures.

`python -m experiments.study [CELL ...] [--wide] [--runs DIR] [--out DIR] [--list]`; `make study`
calls it. Finished work is not repeated, and a failing cell does not stop the others.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlvr_dynamics.errors import EXIT_DONE, EXIT_FAILED, UserError
from rlvr_dynamics.results.formatting import scientific
from rlvr_dynamics.system.command_line import Parser, end, path_of, say

from .cell_runs import (
    EXIT_PARTIAL,
    analyse,
    chosen,
    exit_code,
    listing,
    run_all,
    scored,
)

RATES = (1.0e-5, 3.0e-5, 1.0e-4, 3.0e-4)
RUNS = Path("outputs/study")
OUT = Path("outputs/analysis")
MINUTES, GIB = 6.5, 0.4  # of a cell, on 2 idle cores, with its share of bases and analysis
# What makes a cell a control, and other optimizers than AdamW with its usual betas.
CONTROLS = {
    "shuffled": "data.shuffle_answers=true",
    "random": "data.reward=random",
    "constant": "data.reward=constant",
}
OPTIMIZERS = {
    # SGD's weight decay is part of the gradient and would outweigh it.
    "sgd": ("algorithm.optimizer=sgd", "algorithm.weight_decay=0.0"),
    "beta1_0": ("algorithm.betas=[0.0,0.999]",),
}
SGD_RATE = 1.0e-2  # with momentum 0.9, steps about as long as AdamW's at 1e-5 to 1e-4


@dataclass(frozen=True)
class StudyCell:
    """One run of the study.

    Attributes:
        algorithm: A file in configs/algorithm.
        learning_rate: The policy's learning rate.
        seed: Seed of the training; of the task and the base model too if `base_seed` is None.
        base_seed: Seed of the task and the base model.
        control: A key of `CONTROLS`, or empty.
        optimizer: A key of `OPTIMIZERS`, or empty.
        donor: Name of the cell whose direction is tried at this one's length, or empty.
    """

    algorithm: str
    learning_rate: float
    seed: int
    base_seed: int | None = None
    control: str = ""
    optimizer: str = ""
    donor: str = ""

    @property
    def name(self) -> str:
        """Name of the run directory."""
        parts = [self.algorithm, rate_name(self.learning_rate), self.optimizer, self.control]
        parts += ["" if self.base_seed is None else f"base{self.base_seed}", f"seed{self.seed}"]
        return "_".join(part for part in parts if part)

    @property
    def preparation(self) -> tuple[int, bool]:
        """What cells with the same base and problems share."""
        base = self.seed if self.base_seed is None else self.base_seed
        return base, self.control == "shuffled"

    def overrides(self, runs: Path) -> list[str]:
        """The arguments of `python -m rlvr_dynamics.run`."""
        return [
            "+exp=study",
            f"algorithm={self.algorithm}",
            f"algorithm.learning_rate={self.learning_rate}",
            *OPTIMIZERS.get(self.optimizer, ()),
            *([CONTROLS[self.control]] if self.control else []),
            f"seed={self.seed}",
            *([] if self.base_seed is None else [f"base_seed={self.base_seed}"]),
            f"name={self.name}",
            f"run_dir={runs / self.name}",
        ]

    def taken_from(self, runs: Path) -> list[str]:
        """The donor of a direction, once it is there."""
        there = self.donor and (runs / self.donor / "scores").is_dir()
        return [f"extrapolation.donor={runs / self.donor}"] if there else []


def rate_name(learning_rate: float) -> str:
    """Return a learning rate as a part of a cell's name, such as `lr1e_5`."""
    return f"lr{scientific(learning_rate).replace('e-0', 'e_')}"


def _again(rate: float, base_seed: int, seed: int) -> StudyCell:
    """Return GRPO's cell of a base with another seed of RL."""
    first = StudyCell("grpo", rate, base_seed)
    return StudyCell("grpo", rate, seed, base_seed, donor=first.name)


def study_cells(*, wide: bool = False) -> list[StudyCell]:
    """Return all cells, ordered so that a half-finished study is most informative.

    Args:
        wide: Add the cells that take hours: a third base, every rate on every base, further seeds
            of RL, algorithms, optimizers and controls.
    """
    low, second, high, highest = RATES
    cells = [
        StudyCell("grpo", low, 0),
        StudyCell("grpo", high, 0),
        StudyCell("grpo", low, 0, control="shuffled"),
        StudyCell("grpo", low, 1),
        StudyCell("grpo", high, 1),
        _again(low, 0, 1),
        StudyCell("grpo", second, 0),
        StudyCell("rloo", low, 0),
        StudyCell("grpo", highest, 0),
        StudyCell("grpo", low, 0, control="random"),
    ]
    if wide:
        cells += [StudyCell("grpo", rate, base) for base in range(3) for rate in RATES]
        cells += [_again(low, 0, 2), _again(low, 1, 0), _again(high, 0, 1), _again(high, 1, 0)]
        cells += [StudyCell("grpo", SGD_RATE, base, optimizer="sgd") for base in range(2)]
        cells += [StudyCell("grpo", rate, 0, optimizer="beta1_0") for rate in (low, high)]
        cells += [StudyCell("grpo", low, 0, control="constant")]
        cells += [StudyCell("grpo", low, 1, control="shuffled")]
        cells += [StudyCell("grpo", high, 0, control="shuffled")]
        cells += [StudyCell("rloo", low, 1), StudyCell("reinforce_pp", low, 0)]
    return list(dict.fromkeys(cells))


def left_out(cells: Sequence[StudyCell]) -> str:
    """Say in a sentence what the wide study has and these cells do not."""
    missing = [cell for cell in study_cells(wide=True) if cell not in cells]
    if not missing:
        return "Nothing of the wide study is left out."
    factors = {
        "algorithm": lambda cell: cell.algorithm,
        "optimizer": lambda cell: cell.optimizer,
        "control": lambda cell: cell.control,
        "learning rate": lambda cell: scientific(cell.learning_rate),
        "base seed": lambda cell: cell.preparation[0],
    }
    parts = []
    for factor, of in factors.items():
        here = {of(cell) for cell in cells}
        absent = [str(value) for value in dict.fromkeys(map(of, missing)) if value not in here]
        if absent:
            parts.append(f"{factor} {', '.join(absent)}")
    known = "; ".join(parts) + ("; " if parts else "")
    return (
        f"Left out: {known}{len(missing)} of the {len(cells) + len(missing)} runs of the wide "
        "study (python -m experiments.study --wide)."
    )


def cost(cells: Sequence[StudyCell]) -> str:
    """Say what the cells cost from nothing."""
    hours = len(cells) * MINUTES / 60
    return f"{len(cells)} runs, about {hours:.1f} hours on 2 cores and {len(cells) * GIB:.0f} GiB"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing; returns the exit code."""
    return end(lambda: _main(arguments), "interrupted: the same command goes on")


def _main(arguments: Sequence[str] | None) -> int:
    parser = Parser(prog="python -m experiments.study", description=__doc__)
    parser.add_argument("cells", nargs="*", metavar="CELL", help="only these (default: all)")
    parser.add_argument(
        "--wide",
        action="store_true",
        help=f"{cost(study_cells(wide=True))}; without it {cost(study_cells())}",
    )
    parser.add_argument("--runs", type=path_of, default=RUNS, help="folder of the run directories")
    parser.add_argument("--out", type=path_of, default=OUT, help="folder of the tables and figures")
    parser.add_argument("--list", action="store_true", help="show the cells and their commands")
    given = parser.parse_args(arguments)
    known = {cell.name: cell for cell in study_cells(wide=True)}
    every = study_cells(wide=given.wide)
    cells = chosen(given.cells, known, every, "the study", "--wide --list names them")
    if given.list:
        print(*listing(cells, given.runs), sep="\n")
        return EXIT_DONE
    note = f"{cost(cells)}. {left_out(cells)}"
    say(note)
    failed = run_all(cells, given.runs)
    code = _analyse(cells, given.runs, given.out)
    say(note)
    return exit_code(failed, cells, code)


def _analyse(cells: Sequence[StudyCell], runs: Path, out: Path) -> int:
    """Compare directions and make every table and figure; returns the exit code."""
    done = scored(cells, runs)
    if not done:
        return EXIT_FAILED
    compared = _compare_directions(done)
    return analyse(done, out, left_out(cells)) or compared


def _compare_directions(done: Sequence[Path]) -> int:
    """Compare the runs that share a base; returns the exit code."""
    from . import directions  # it loads torch, which listing cells does not need

    try:
        directions.write_directions(done)
    except UserError as error:
        print(f"directions are not compared: {error}", file=sys.stderr)
        return EXIT_PARTIAL
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
