"""Grouping of runs into panels, and the look of each run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

from matplotlib.lines import Line2D

from rlvr_dynamics.results.formatting import scientific
from rlvr_dynamics.results.study import NO_CONTROL, Cell, Study, seeds_in_words
from rlvr_dynamics.system.palette import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION

ALGORITHM_COLOURS = {
    "grpo": BLUE,
    "dapo": VERMILLION,
    "rloo": GREEN,
    "ppo": ORANGE,
    "dr_grpo": PURPLE,
    "gspo": SKY,
    "reinforce_pp": BLACK,
}
SEED_MARKERS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class Group:
    """Runs that share model, learning rate and control; algorithms and seeds differ.

    Attributes:
        cells: At least one run.
        title: What they share, as a panel's title.
    """

    cells: tuple[Cell, ...]
    title: str


def groups(cells: Iterable[Cell], *, by_algorithm: bool = False) -> list[Group]:
    """Divide runs into panels: one model, learning rate and control each, controls last.

    Args:
        cells: The runs, in the order of the study.
        by_algorithm: Whether to divide by algorithm too.
    """
    found: dict[tuple, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: cell.control != NO_CONTROL):
        algorithm = cell.algorithm if by_algorithm else ""
        key = (cell.model, algorithm, cell.learning_rate, cell.control)
        found.setdefault(key, []).append(cell)
    return [Group(tuple(members), _title(*key)) for key, members in found.items()]


def _title(model: str, algorithm: str, learning_rate: float | None, control: str) -> str:
    rate = "" if learning_rate is None else f"lr\N{NO-BREAK SPACE}{scientific(learning_rate)}"
    mark = "" if control == NO_CONTROL else control.replace("_", " ")
    return ", ".join(part for part in (model, algorithm, rate, mark) if part)


@dataclass(frozen=True)
class Looks:
    """Colour by algorithm and marker by seed, the same in every panel of a figure.

    Attributes:
        cells: The runs of the figure.
    """

    cells: tuple[Cell, ...]

    def colour(self, cell: Cell) -> str:
        """Return the colour of the run's algorithm; grey if it has none."""
        return ALGORITHM_COLOURS.get(cell.algorithm, GREY)

    def marker(self, cell: Cell) -> str:
        """Return the marker of the run's seed."""
        return SEED_MARKERS[self._seeds.index(cell.seeds) % len(SEED_MARKERS)]

    def of(self, cell: Cell) -> dict[str, Any]:
        """Return a run's colour and marker, for matplotlib."""
        return {"color": self.colour(cell), "marker": self.marker(cell)}

    @property
    def _seeds(self) -> list[str]:
        return seeds_in_words(self.cells)

    def handles(self) -> list[Line2D]:
        """Return legend entries for colours and markers."""
        algorithms = sorted({cell.algorithm for cell in self.cells})
        colours = [
            key(name, color=ALGORITHM_COLOURS.get(name, GREY), linewidth=2) for name in algorithms
        ]
        return [*colours, *self.seed_handles(markersize=4)]

    def seed_handles(self, **look: Any) -> list[Line2D]:
        """Return legend entries for markers."""
        return [
            key(f"seed {seed}", color=GREY, linestyle="", marker=marker, **look)
            for seed, marker in zip(self._seeds, cycle(SEED_MARKERS), strict=False)
        ]


def key(label: str, **look: Any) -> Line2D:
    """Return a legend entry."""
    return Line2D([], [], label=label, **look)


def dodge(place: int, count: int, width: float = 0.6) -> float:
    """Return the shift of one of several marks at a place, so that intervals do not overlap."""
    return 0.0 if count < 2 else (place / (count - 1) - 0.5) * width


def left_out(lacking: dict[str, list[str]], total: int) -> str:
    """Say what a figure lacks, in a sentence for each set of runs; empty if nothing.

    Args:
        lacking: What is missing, with the names of the runs that lack it.
        total: Number of runs.
    """
    by_runs: dict[tuple[str, ...], list[str]] = {}
    for what, names in lacking.items():
        by_runs.setdefault(tuple(dict.fromkeys(names)), []).append(what)
    return " ".join(
        f"Not measured in {'any run' if len(names) == total else _some(names)}: {'; '.join(whats)}."
        for names, whats in by_runs.items()
        if names
    )


def _some(names: Sequence[str], most: int = 4) -> str:
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def runs_and_seeds(cells: Sequence[Cell]) -> str:
    """Say the number of runs, their seeds and their checkpoints' number format."""
    seeds = ", ".join(seeds_in_words(cells))
    dtypes = ", ".join(sorted({cell.results.dtype or "unknown dtype" for cell in cells}))
    runs = "1 run" if len(cells) == 1 else f"{len(cells)} runs"
    return f"{runs}, {'seed' if ',' not in seeds else 'seeds'} {seeds}; checkpoints in {dtypes}"


def row_name(cell: Cell) -> str:
    """Return a short name for a run: algorithm, learning rate, seed, control."""
    rate = "" if cell.learning_rate is None else scientific(cell.learning_rate)
    mark = "" if cell.control == NO_CONTROL else cell.control.split("_")[0]
    parts = (cell.algorithm, rate.replace("e-0", "e−"), f"s{cell.seeds}", mark)
    return " ".join(part for part in parts if part)


def names_of(study: Study, cells: Iterable[Cell]) -> tuple[str, ...]:
    """Return the names of runs, in the order of the study."""
    wanted = {cell.name for cell in cells}
    return tuple(cell.name for cell in study.cells if cell.name in wanted)
