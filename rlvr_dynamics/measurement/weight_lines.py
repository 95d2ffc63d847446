"""Single weights: how straight their courses are, beside noise that is selected alike.

arXiv 2601.04537 fits a line in the step number to single weights, base included, and keeps those
that moved. A random walk that moved far looks like a line, so the selection raises R² by itself:
every number stands beside the same of noise, selected in the same way.

Legend: T observed steps, P = T + 1 points, k sampled weights of a tensor, K of all tensors, D
draws, 1 for the run itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from rlvr_dynamics.dynamics import BITS, linearity, noise_walks
from rlvr_dynamics.measurement.linearity_tables import (
    clocks_of,
    null_correlations,
    quantiles,
    seeds_of,
)
from rlvr_dynamics.measurement.sample import papers_count
from rlvr_dynamics.measurement.settings import MeasureSettings
from rlvr_dynamics.measurement.statistics import TensorStatistics
from rlvr_dynamics.schema.tables import (
    LINEAR_R2,
    LINEAR_SCORES,
    MEASURED,
    NULL_WALKS,
    PAPERS_MOVE,
    PAPERS_VALUES,
    SELECTIONS,
    WEIGHT_NULLS,
)
from rlvr_dynamics.statistics.intervals import weighted_quantile

MOST_DRAWS = 40
RUN = "run"
_GRIDS = {BITS["bfloat16"]: torch.bfloat16, BITS["float16"]: torch.float16}


@dataclass(frozen=True)
class Courses:
    """Lines through the sampled weights of one tensor, of the run or of a null.

    Attributes:
        weight: How many weights of the paper's sample each of ours stands for, shape (k,).
        reach: Largest minus smallest value, shape (D, k), float32.
        several: Whether there are as many distinct values as the paper asks, shape (D, k).
        r2: R² in sample by clock, shape (D, k), float32; NaN for a weight that never changed.
        heldout_r2: The same, fitted to the first half of the points and judged on the second.
    """

    weight: np.ndarray
    reach: np.ndarray
    several: np.ndarray
    r2: dict[str, np.ndarray]
    heldout_r2: dict[str, np.ndarray]


def courses_of(
    name: str, d: int, statistics: TensorStatistics, settings: MeasureSettings
) -> dict[str, Courses]:
    """Fit lines to the sampled weights of a tensor and to the nulls' walks.

    Args:
        name: The tensor.
        d: Its elements.
        statistics: Its statistics.
        settings: Draws, of which at most `MOST_DRAWS` are used, seed and optimizer.

    Returns:
        `RUN` and each of `WEIGHT_NULLS` that can be drawn; empty for a tensor without a sample.
    """
    count = statistics.sampled.shape[1]
    if not count:
        return {}
    weight = np.full(count, papers_count(d) / count)
    clocks = {
        clock: np.concatenate([[0.0], positions])
        for clock, positions in clocks_of(statistics, settings).items()
    }
    series = np.pad(statistics.sampled.T.astype(np.float64), ((0, 0), (1, 0)))
    draws = min(settings.draws, MOST_DRAWS)
    found = {RUN: _fitted([series], clocks, weight)}
    for walk, correlation in null_correlations(statistics, settings).items():
        seeds = seeds_of(settings, name)
        walks = noise_walks(series, draws, seeds, correlation, together=False)
        found[walk] = _fitted((_stored(each, statistics) for each in walks), clocks, weight)
    return found


def _stored(walk: np.ndarray, statistics: TensorStatistics) -> np.ndarray:
    """Round a walk as the run's own steps are rounded, shape (k, P)."""
    grid = _GRIDS.get(int(statistics.bits.min()))
    if grid is None:
        return walk
    base = statistics.sampled_base.astype(np.float64)[:, None]
    return torch.from_numpy(base + walk).to(grid).double().numpy() - base


def _fitted(
    draws: Iterable[np.ndarray], clocks: dict[str, np.ndarray], weight: np.ndarray
) -> Courses:
    reach, several = [], []
    r2: dict[str, list[np.ndarray]] = {clock: [] for clock in clocks}
    heldout: dict[str, list[np.ndarray]] = {clock: [] for clock in clocks}
    for series in draws:
        ranked = np.sort(series, axis=1)
        reach.append((ranked[:, -1] - ranked[:, 0]).astype(np.float32))
        several.append((np.diff(ranked, axis=1) > 0.0).sum(axis=1) >= PAPERS_VALUES - 1)
        for clock, positions in clocks.items():
            lines = linearity(positions, series)
            r2[clock].append(lines.r2.astype(np.float32))
            heldout[clock].append(lines.heldout_r2.astype(np.float32))
    return Courses(
        weight,
        np.stack(reach),
        np.stack(several),
        {clock: np.stack(rows) for clock, rows in r2.items()},
        {clock: np.stack(rows) for clock, rows in heldout.items()},
    )


def weight_lines(
    found: Sequence[dict[str, Courses]], points: int, dtype: str, settings: MeasureSettings
) -> pd.DataFrame:
    """Summarise the sampled weights of all tensors: one row per clock and selection.

    Args:
        found: Of `courses_of`, for every tensor.
        points: P.
        dtype: In which weights are read.
        settings: Draws and seed.
    """
    there = [each for each in found if each]
    rows = []
    for clock in there[0][RUN].r2 if there else ():
        here = [each for each in there if clock in each[RUN].r2]
        for selection in SELECTIONS:
            run = _Selected([each[RUN] for each in here], clock, selection)
            row = {
                "clock": clock,
                "selection": selection,
                "points": points,
                "tensors": len(here),
                "sampled": run.keep.shape[1],
                "largest": float(run.reach.max()),
                "weights": int(run.keep.sum()),
                **{score: values[0] for score, values in run.scores().items()},
                "r2_low": run.quantile(0, run.r2, 0.25),
                "r2_high": run.quantile(0, run.r2, 0.75),
            }
            for walk in WEIGHT_NULLS:
                drawn = [each[walk] for each in here if walk in each]
                scores = _Selected(drawn, clock, selection).scores() if drawn else {}
                for score, values in scores.items():
                    row |= quantiles(values, NULL_WALKS[walk].of_score(score))
            drawn = {"draws": min(settings.draws, MOST_DRAWS), "seed": settings.seed}
            rows.append(row | drawn | {"dtype": dtype})
    return pd.DataFrame(rows, columns=MEASURED["weight_lines"].names)


class _Selected:
    """The weights of all tensors that a selection keeps, in every draw; arrays of shape (D, K)."""

    def __init__(self, courses: Sequence[Courses], clock: str, selection: str) -> None:
        self.weight = np.concatenate([each.weight for each in courses])
        self.reach = np.concatenate([each.reach for each in courses], axis=1)
        self.r2 = np.concatenate([each.r2[clock] for each in courses], axis=1)
        self.heldout_r2 = np.concatenate([each.heldout_r2[clock] for each in courses], axis=1)
        chosen = np.ones_like(self.reach, dtype=bool)
        if selection == "paper":
            several = np.concatenate([each.several for each in courses], axis=1)
            chosen = several & (self.reach > PAPERS_MOVE)
        elif selection == "half":
            middle = [weighted_quantile(row, self.weight, 0.5) for row in self.reach]
            chosen = self.reach > np.array(middle)[:, None]
        self.keep = chosen & np.isfinite(self.r2)

    def quantile(self, draw: int, values: np.ndarray, share: float) -> float:
        """Return a quantile of the kept weights' finite values in a draw; NaN without any."""
        usable = self.keep[draw] & np.isfinite(values[draw])
        return weighted_quantile(values[draw][usable], self.weight[usable], share)

    def scores(self) -> dict[str, np.ndarray]:
        """Return each of `LINEAR_SCORES` in every draw, shape (D,)."""
        draws = range(len(self.keep))
        above = [self._above(draw) for draw in draws]
        found = {
            "kept_share": self.keep @ self.weight / self.weight.sum(),
            "r2": np.array([self.quantile(draw, self.r2, 0.5) for draw in draws]),
            "above_share": np.array(above),
            "heldout_r2": np.array([self.quantile(draw, self.heldout_r2, 0.5) for draw in draws]),
        }
        return {score: found[score] for score in LINEAR_SCORES}

    def _above(self, draw: int) -> float:
        kept = self.keep[draw]
        if not kept.any():
            return float("nan")
        return float(np.average(self.r2[draw][kept] > LINEAR_R2, weights=self.weight[kept]))
