"""The requirements of a question as data: cells, windows, targets, methods, benchmarks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rlvr_dynamics.schema import Method, Rebuilt

from .predictions import Predictions


@dataclass(frozen=True)
class Plan:
    """What cells must have to answer a question.

    Attributes:
        cells: Names of the cells (`experiments.runs`).
        windows: Observed shares of the training, for methods without their own.
        targets: Predicted shares of the training, above 1 beyond its end; likewise.
        methods: Extrapolations, as in `extrapolation.methods`.
        reconstructions: Rebuilt checkpoints, as in `extrapolation.reconstructions`.
        ladder: Shares of the training whose real checkpoints are scored, as in `scoring.ladder`.
        benchmarks: Benchmarks for scoring all of these; empty for those of the run.
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
        """Methods and reconstructions, each method with its windows and targets."""
        return Predictions.of(self.methods, self.reconstructions, self.windows, self.targets)

    @property
    def ranks(self) -> tuple[str, ...]:
        """The compared ranks: numbers of directions, or shares of them."""
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
        name: Name of its module here and of its file in `configs/extrapolation`, if any.
        asks: The question in one sentence.
        sources: Its places in the papers: tables, figures, sections.
        plans: What its cells must have; the first is the papers' own.
        artefacts: Tables and figures in `analysis` that use its runs.
        note: What is not available, and why.
    """

    name: str
    asks: str
    sources: tuple[str, ...]
    plans: tuple[Plan, ...]
    artefacts: tuple[str, ...] = ()
    note: str = ""
    cells: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Collect the cells of all plans without repeats."""
        cells = dict.fromkeys(cell for plan in self.plans for cell in plan.cells)
        object.__setattr__(self, "cells", tuple(cells))

    def plans_for(self, cell: str | None = None) -> list[Plan]:
        """Return the plans that name a cell; without a cell, the papers' own plan."""
        if cell is None:
            return [self.plans[0]]
        return [plan for plan in self.plans if cell in plan.cells]
