"""Several finished runs together: the only input of `python -m analysis`."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.results.arms import PLAIN, Arm, arm_of
from rlvr_dynamics.results.formatting import distinct_titles, scientific
from rlvr_dynamics.results.run import Results, load_results
from rlvr_dynamics.run_directory.configuration import check_has_config
from rlvr_dynamics.schema.data import NO_SIGNAL
from rlvr_dynamics.schema.optimizers import optimizer_keys

NO_CONTROL, CONSTANT = "none", "constant_rewards"


@dataclass(frozen=True)
class Cell:
    """One run and what distinguishes it from the others.

    Attributes:
        name: The run's name, unique in the study; also the name of its page.
        results: Its tables.
    """

    name: str
    results: Results

    @cached_property
    def model(self) -> str:
        """Name of the model, as in `configs/model`."""
        return self.results.config.model.name or "unknown"

    @cached_property
    def algorithm(self) -> str:
        """Name of the algorithm, as in `configs/algorithm`; `given` for somebody's checkpoints.

        LoRA, or another optimizer than AdamW with its usual betas, follows it, so that no reader
        takes such a run for the algorithm as papers train it.
        """
        config = self.results.config
        if config.source.base:
            return "given"
        published = config.source.published
        if published is not None and published.method:
            return published.method
        name = config.algorithm.name or "unknown"
        return f"{name} ({self.optimizer})" if self.optimizer else name

    @cached_property
    def optimizer(self) -> str:
        """What sets it apart from AdamW with its usual betas on all weights; empty for that one."""
        config = self.results.config
        if config.source.is_given:
            return ""
        if config.algorithm.lora is not None:
            return config.algorithm.lora.in_words
        found = optimizer_keys(config.algorithm, config.trainer.verl_overrides)
        return "another optimizer" if found is None else found.unusual

    @cached_property
    def arm(self) -> Arm:
        """What was done beside plain steps: jumps of the weights, further passes."""
        return arm_of(self.results.config)

    @property
    def learning_rate(self) -> float | None:
        """The policy's learning rate, of somebody's checkpoints the one that was given."""
        config = self.results.config
        return (config.source if config.source.base else config.algorithm).learning_rate

    @property
    def steps(self) -> int | None:
        """Steps of the training."""
        return self.results.final_step

    @property
    def seed(self) -> int:
        """Seed of the training, the sampling and the bootstrap."""
        return self.results.seed

    @property
    def base_seed(self) -> int | None:
        """Seed of the base and the problems; None if both were published by others."""
        return self.results.base_seed

    @property
    def base(self) -> tuple[str, int | None]:
        """What runs with the same base weights and the same questions share."""
        return self.model, self.base_seed

    @property
    def seeds(self) -> str:
        """Both seeds in words: `1`, or `1 on base 0` where they differ."""
        apart = self.base_seed is not None and self.base_seed != self.seed
        return f"{self.seed} on base {self.base_seed}" if apart else str(self.seed)

    @property
    def control(self) -> str:
        """What makes this run a control (such as `shuffled_rewards`), or `none`."""
        data = self.results.config.data
        if data.reward in NO_SIGNAL:
            return f"{data.reward}_rewards"
        return "shuffled_rewards" if data.shuffle_answers else NO_CONTROL

    @property
    def label(self) -> str:
        """What readers see: model, algorithm, learning rate, seed, control, arm."""
        rate = "" if self.learning_rate is None else f", lr {scientific(self.learning_rate)}"
        mark = "" if self.control == NO_CONTROL else f", {self.control.replace('_', ' ')}"
        arm = "" if self.arm.kind == PLAIN else f", {self.arm.words}"
        return f"{self.model}, {self.algorithm}{rate}, seed {self.seeds}{mark}{arm}"


@dataclass(frozen=True)
class Study:
    """The runs of a study, ordered by model, algorithm, learning rate, control, seeds."""

    cells: tuple[Cell, ...]

    def where(self, **wanted: Any) -> list[Cell]:
        """Return the cells whose attributes (`model`, `seed` ...) have the wanted values."""
        return [
            cell
            for cell in self.cells
            if all(getattr(cell, name) == value for name, value in wanted.items())
        ]

    @property
    def trained(self) -> list[Cell]:
        """The cells that are not controls."""
        return self.where(control=NO_CONTROL)


def seeds_in_words(cells: Iterable[Cell]) -> list[str]:
    """Return the different seeds of runs in words, in ascending order."""
    found = {
        (-1 if cell.base_seed is None else cell.base_seed, cell.seed, cell.seeds) for cell in cells
    }
    return [words for _, _, words in sorted(found)]


def benchmarks(
    cells: Iterable[Cell], taken: Collection[str] = (), endings: Collection[str] = ("",)
) -> dict[str, str]:
    """Return the titles of all scored benchmarks by name, in-domain ones first.

    Titles are unique, even if runs use one title for several benchmarks; `taken` and `endings` as
    in `distinct_titles`.
    """
    found: dict[str, str] = {}
    cells = list(cells)
    for split in ("in_domain", "out_of_domain"):
        for cell in cells:
            for name in cell.results.benchmarks(split):
                found.setdefault(name, cell.results.benchmark_title(name))
    return distinct_titles(found, taken, endings)


def load_study(run_dirs: Sequence[Path]) -> Study:
    """Load finished (or half-finished) runs.

    Raises:
        UserError: No folder was given, one is not a run directory, or two runs share a name.
    """
    if not run_dirs:
        raise UserError("no runs were given", way_out="run_dirs=[DIR,...]")
    cells = []
    for folder in run_dirs:
        check_has_config(Path(folder))
        cells.append(Cell(Path(folder).resolve().name, load_results(Path(folder))))
    names = [cell.name for cell in cells]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"two of the runs are named {name}", way_out="rename one of the folders"
            )
    cells.sort(key=_order)
    return Study(tuple(cells))


def _order(cell: Cell) -> tuple[Any, ...]:
    rate = cell.learning_rate
    place = (cell.model, cell.algorithm, rate if rate is not None else 0.0, cell.control)
    return (*place, -1 if cell.base_seed is None else cell.base_seed, cell.seed)
