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
from scipy.stats import binom

Array = NDArray[np.float64]
RESAMPLES = 4_000


@dataclass(frozen=True)
class Expected:
    """The expected row of the ledger; `slack` is the tolerance of interval ends, in widths."""

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
        values, n = np.sort(frame["value"].to_numpy(float)), len(frame)
        null = frame["null"].mean() if "null" in frame else self.null
        if self.median:
            assert n % 2, "the median of an odd number is one of them"
            # A resample's median is at most the k-th value if most draws are among the first k.
            chance = 1 - binom.cdf(n // 2, n, np.arange(1, n + 1) / n)
            ends = [values[np.searchsorted(chance, tail)] for tail in (0.025, 0.975)]
            return Expected(values[n // 2], *ends, n, null, slack=0.01)
        drawn = np.random.default_rng(12).choice(values, (RESAMPLES, n)).mean(axis=1)
        return Expected(values.mean(), *np.quantile(drawn, [0.025, 0.975]), n, null)


@dataclass(frozen=True)
class ShareAbove:
    """Share of tensors with a value above a cut, with Wilson's interval.

    Attributes:
        table: Name of the table.
        column: The value.
        null: The column of the null.
        cut: The cut.
    """

    table: str
    column: str
    null: str
    cut: float = 0.98

    def of(self, run: Stored) -> Expected:
        """The expected row."""
        frame = run.table(self.table)
        frame = frame[frame[self.column].notna()]
        n, above = len(frame), int((frame[self.column] > self.cut).sum())
        p, z = above / n, 1.959964
        half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
        middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        null = float((frame[self.null].dropna() > self.cut).mean())
        return Expected(p, middle - half, middle + half, n, null, slack=1e-6)
