"""The numbers of the ledger, computed from stored tables independently of the package.

Values use plain numpy and pandas; 95 % intervals use separate bootstraps. For tests only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]
RESAMPLES = 4_000


@dataclass(frozen=True)
class Expected:
    """The expected row of the ledger; `slack` is the tolerance of interval ends, in widths.

    The ends are those of an interval, or the quartiles over the tensors of a run.
    """

    value: float
    low: float
    high: float
    n: int
    null: float = np.nan
    slack: float = 0.06


@dataclass(frozen=True)
class Stored:
    """A run directory."""

    folder: Path

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The table of scores."""
        return pd.read_parquet(self.folder / "scores" / "scores.parquet")

    def benchmarks(self, split: str) -> list[str]:
        """Names of the benchmarks of a split."""
        return sorted(set(self.scores.loc[self.scores["split"] == split, "benchmark"]))

    def answers(self, models: Sequence[str], benchmark: str, protocol: str = "sampled") -> Array:
        """Mean score of each common question, shape (models, questions)."""
        columns = []
        for model in models:
            samples = pd.read_parquet(
                self.folder / "scores" / "samples" / model / f"{benchmark}.parquet"
            )
            here = samples[samples["protocol"] == protocol]
            columns.append(here.groupby("question_id")["score"].mean())
        return pd.concat(columns, axis=1, join="inner").to_numpy().T

    def accuracy(self, model: str, benchmark: str, protocol: str = "sampled") -> float:
        """Accuracy of a model on a benchmark, a share."""
        return float(self.answers([model], benchmark, protocol).mean())

    def table(self, name: str, **where: Any) -> pd.DataFrame:
        """The rows of a table whose columns have the given values, on the clock of the step."""
        found = next(self.folder.glob(f"*/{name}.parquet"))
        table = pd.read_parquet(found)
        if "clock" in table:
            where = {"clock": "step"} | where
        for column, value in where.items():
            table = table[table[column] == value]
        return table


Formula = Callable[[Any], Any]


def points(m: Any) -> Any:
    """First minus second, in points."""
    return 100 * (m[0] - m[1])


def ratio(m: Any) -> Any:
    """First over second."""
    return m[0] / m[1]


def gain(m: Any) -> Any:
    """Share of the second's gain over the third that the first reaches."""
    return (m[0] - m[2]) / (m[1] - m[2])


@dataclass(frozen=True)
class Accuracies:
    """A formula of models' mean accuracies; benchmarks have equal weight.

    Attributes:
        formula: Function of an array whose first axis is the models.
        models: Their ids.
        control: The model that replaces the first one for the null.
        split: The benchmarks.
    """

    formula: Formula
    models: tuple[str, ...]
    control: str | None = None
    split: str = "in_domain"

    def of(self, run: Stored) -> Expected:
        """The expected row."""
        groups = [run.answers(self.models, name) for name in run.benchmarks(self.split)]
        generator = np.random.default_rng(11)
        drawn = np.mean(
            [
                group
                @ generator.multinomial(
                    group.shape[1], np.full(group.shape[1], 1 / group.shape[1]), RESAMPLES
                ).T
                / group.shape[1]
                for group in groups
            ],
            axis=0,
        )
        low, high = np.quantile(self.formula(drawn), [0.025, 0.975])
        value, half = self.value(run), 1.959964 * self.error(groups)
        low, high, null = min(low, value - half), max(high, value + half), np.nan
        if self.control is not None:
            null = Accuracies(self.formula, (self.control, *self.models[1:]), None, self.split)
            null = null.value(run)
        return Expected(value, low, high, sum(group.shape[1] for group in groups), null)

    def error(self, groups: Sequence[Array]) -> float:
        """Standard error with two extra questions per benchmark, one won and one lost."""
        means = np.mean([group.mean(axis=1) for group in groups], axis=0)
        nudges = 1e-6 * np.eye(len(means))
        slopes = [(self.formula(means + d) - self.formula(means - d)) / 2e-6 for d in nudges]
        variance = 0.0
        for group in groups:
            imagined = np.array([1, -1]) * np.abs(slopes).max()
            variance += np.concatenate([slopes @ group, imagined]).var() / (group.shape[1] + 2)
        return float(np.sqrt(variance) / len(groups))

    def value(self, run: Stored) -> float:
        """The number only."""
        groups = [run.answers(self.models, name) for name in run.benchmarks(self.split)]
        return float(self.formula(np.mean([group.mean(axis=1) for group in groups], axis=0)))


@dataclass(frozen=True)
class OverTensors:
    """Mean or median over the rows of a table.

    Attributes:
        rows: Makes a frame from a run, with `value` and perhaps `null`, one row per tensor.
        median: Whether to take the median instead of the mean.
        null: A number if the null is known by definition.
    """

    rows: Callable[[Stored], pd.DataFrame]
    median: bool = False
    null: float = np.nan

    def of(self, run: Stored) -> Expected:
        """The expected row."""
        frame = self.rows(run)
        frame = frame[frame["value"].notna()]
        values = frame["value"]
        nulls = [frame[name].mean() for name in frame if str(name).startswith("null")]
        ends = values.quantile(0.25), values.quantile(0.75)
        value = values.median() if self.median else values.mean()
        return Expected(value, *ends, len(frame), max([*nulls, self.null]), slack=1e-6)


@dataclass(frozen=True)
class ShareAbove:
    """Share of tensors with a value above a cut; the null is the highest of the columns' shares.

    Attributes:
        column: The value, in the table of lines.
        clock: What the line is fitted against.
        cut: The cut.
    """

    column: str
    clock: str
    cut: float = 0.98

    def of(self, run: Stored) -> Expected:
        """The expected row."""
        frame = run.table("linearity", clock=self.clock)
        frame = frame[frame[self.column].notna()]
        share = (frame[self.column] > self.cut).mean()
        nulls = [f"{walk}{self.column}_null_mean" for walk in ("", "optimizer_")]
        null = max((frame[name].dropna() > self.cut).mean() for name in nulls)
        return Expected(share, np.nan, np.nan, len(frame), null)
