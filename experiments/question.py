"""What a question of the papers asks for, as data: cells, windows, targets, methods, benchmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from experiments.predictions import Predictions, merged, overrides_of
from rlvr_dynamics.schema import Method, Rebuilt


@dataclass(frozen=True)
class Plan:
    """What some cells must have to answer a question.

    Attributes:
        cells: Names of the cells (`experiments.runs`).
        windows: Observed shares of the training, for the methods that name none of their own.
        targets: Predicted shares of the training, above 1 beyond its end; likewise.
        methods: Extrapolations, as in `extrapolation.methods`.
        reconstructions: Rebuilt checkpoints, as in `extrapolation.reconstructions`.
        ladder: Shares of the training whose real checkpoints are scored, as in `scoring.ladder`.
        benchmarks: What all of these are scored on; empty for whatever the run has.
        tables: Tables of the stage `measure`.
    """

    cells: tuple[str, ...]
    windows: tuple[float, ...] = ()
    targets: tuple[float, ...] = (1.0,)
    methods: tuple[Method, ...] = ()
    reconstructions: tuple[Rebuilt, ...] = ()
    ladder: tuple[float, ...] = ()
    benchmarks: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()

    @property
    def predictions(self) -> Predictions:
        """Methods and reconstructions, every method with its windows and targets."""
        return Predictions.of(self.methods, self.reconstructions, self.windows, self.targets)

    @property
    def ranks(self) -> tuple[str, ...]:
        """The ranks that are compared: a number of directions, or a share of them."""
        found = ["1"] if any(each.name == "rank1_recovery" for each in self.reconstructions) else []
        for each in (*self.methods, *self.reconstructions):
            parameters: Mapping[str, object] = each.parameters
            if "rank" in parameters:
                found.append(str(parameters["rank"]))
            elif "percent" in parameters:
                found.append(f"{parameters['percent']:g}%")
            elif each.name in ("relex", "trajectory_oracle"):
                found.append("1")
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class Question:
    """One question, and the runs that answer it.

    Attributes:
        name: Name of its module here and of its file in `configs/extrapolation`, where it has one.
        asks: The question in one sentence.
        sources: Where the papers put it: tables, figures, sections.
        plans: What which cells must have; the first is the papers' own.
        artefacts: Names in `analysis` that its runs feed.
        note: What cannot be had, and why.
    """

    name: str
    asks: str
    sources: tuple[str, ...]
    plans: tuple[Plan, ...]
    artefacts: tuple[str, ...] = ()
    note: str = ""
    cells: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Collect the cells of all plans, each once."""
        cells = dict.fromkeys(cell for plan in self.plans for cell in plan.cells)
        object.__setattr__(self, "cells", tuple(cells))

    def plans_for(self, cell: str | None = None) -> list[Plan]:
        """The plans that name a cell; without one the papers' own."""
        if cell is None:
            return [self.plans[0]]
        return [plan for plan in self.plans if cell in plan.cells]


def merged_overrides(questions: Sequence[Question], cell: str | None = None) -> list[str]:
    """Overrides of one run that answers several questions: their union, each prediction once.

    Args:
        questions: Which; [] gives [].
        cell: The cell that is to be run; questions that do not name it add nothing. Without one
            the papers' own windows and targets of each question.

    Raises:
        UserError: Two of them give one label to two different methods.
    """
    plans = [plan for question in questions for plan in question.plans_for(cell)]
    ladder = sorted({share for plan in plans for share in plan.ladder})
    return overrides_of(merged([plan.predictions for plan in plans]), ladder)
