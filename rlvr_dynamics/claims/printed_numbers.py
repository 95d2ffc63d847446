"""Claims that can be tested on the papers' printed numbers alone, without a run of ours."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlvr_dynamics.claims.claim import ALPHARL, RELEX, Threshold
from rlvr_dynamics.claims.printed import PROVENANCE, printed
from rlvr_dynamics.claims.quoted import OUT_OF_DOMAIN, progress, progress_beside, relex_beside_real
from rlvr_dynamics.results.formatting import number
from rlvr_dynamics.results.frames import equal, mean, select, values

GAMES = {"kuhn_poker_win_rate": "Kuhn poker", "math500": "MATH-500"}


@dataclass(frozen=True)
class Cases:
    """Every printed case of a claim.

    Attributes:
        names: What the cases are.
        values: Their values, in the unit of the statistic.
        unit: What a case is.
        note: Shown instead of a list of the cases that do not meet the threshold.
    """

    names: list[str]
    values: NDArray[np.float64]
    unit: str = "printed pairs"
    note: str = ""


@dataclass(frozen=True)
class PrintedClaim:
    """A claim that the printed numbers can test; attributes as in `Claim`.

    Attributes:
        id: Short name, `N..`.
        paper: `alpharl` or `relex`.
        words: The statement, in plain words.
        source: Paper and place.
        statistic: What is computed.
        threshold: What every case must meet.
        cases: The cases, from the printed numbers.
        origin: How directly the numbers were read from the paper's own page.
    """

    id: str
    paper: str
    words: str
    source: str
    statistic: str
    threshold: Threshold
    cases: Callable[[], Cases]
    origin: str


def _averages() -> Cases:
    table = progress()
    names = (table["base_model"] + " " + table["algorithm"]).tolist()
    gap = (table["printed"] - table["average"]).abs().to_numpy(float)
    worst = table.iloc[int(np.argmax(gap))]
    far = int((gap > _ROUNDING.value).sum())
    note = (
        f"{far} of {len(gap)} do not match; farthest off: {worst['base_model']}, "
        f"{worst['method']} at {100 * worst['train_fraction']:.0f} % prints "
        f"{number(worst['printed'], 2)}, its columns give {number(worst['average'], 2)}"
    )
    return Cases(names, gap, "averages", note)


def _kept() -> Cases:
    both = progress_beside("alpharl", "full_rl", 0.4, 1.0)
    return _cases(both, 100 * (both["first"] / both["second"]))


def _improvements() -> Cases:
    table = progress()
    shares = sorted(set(table.loc[table["method"] == "alpharl", "train_fraction"]))
    parts = [
        progress_beside("alpharl", "early_checkpoint", share, share).assign(
            base_model=lambda rows, share=share: rows["base_model"] + f" at {100 * share:.0f} %"
        )
        for share in shares
    ]
    both = pd.concat(parts, ignore_index=True)
    return _cases(both, both["first"] - both["second"])


def _games() -> Cases:
    rows = pd.concat([printed(paper="alpharl", table=table) for table in ("table5", "table6")])
    wide = rows.pivot_table(
        index=["benchmark", "train_fraction"], columns="method", values="value", sort=False
    ).reset_index()
    stages = [
        f"{GAMES[row['benchmark']]} at {100 * row['train_fraction']:.0f} %"
        for row in wide.to_dict("records")
    ]
    return _cases(wide.assign(base_model=stages), 100 * wide["rank1"] / wide["full_rl"])


def _concentration() -> Cases:
    rows = printed(paper="alpharl", table="table7", metric="rank1_norm_fraction_pct")
    others = select(rows, rows["algorithm"] != "dapo")
    gaps = mean(equal(rows, algorithm="dapo"), "value") - values(others, "value")
    return Cases([str(name) for name in others["algorithm"]], gaps)


def _relex_gaps(benchmarks: list[str]) -> Cases:
    both = relex_beside_real(benchmarks)
    return _cases(both, both["relex"] - both["real"])


def _ablation() -> Cases:
    rows = printed(paper="relex", table="ablation")
    wide = rows.pivot(index="step", columns="method", values="value")
    gaps = wide.drop(columns="relex_rank1_linear").rsub(wide["relex_rank1_linear"], axis=0)
    cases = gaps.reset_index().melt(id_vars="step", value_name="gap")
    names = [
        f"{row['method'].replace('_', ' ')} at step {row['step']:.0f}"
        for row in cases.to_dict("records")
    ]
    return _cases(cases.assign(base_model=names), cases["gap"])


def _farther() -> Cases:
    rows = printed(paper="relex", table="far_extrapolation")
    wide = rows.pivot(index=["base_model", "method"], columns="step", values="value")
    first, last = wide.columns.min(), wide.columns.max()
    both = wide.dropna(subset=[first, last]).reset_index()
    return _cases(both, both[last] - both[first])


def _cases(table: pd.DataFrame, found: Any) -> Cases:
    """Return one case per row, named by `base_model` and, if present, `algorithm`."""
    found = np.asarray(found, dtype=np.float64)
    known = np.isfinite(found)
    parts = [name for name in ("base_model", "algorithm") if name in table]
    names = select(table, known)[parts].agg(" ".join, axis=1)
    return Cases(names.tolist(), found[known])


_ROUNDING = Threshold("≤", 0.02, "points")  # between two decimals and the mean of the columns
_MARGIN = Threshold(">", -2, "points", "the margin is ours")  # that of the other claims
_PAPER, _COPIES = PROVENANCE["paper"], PROVENANCE["secondary"]


def _as_good(id: str, where: str, benchmarks: list[str]) -> PrintedClaim:
    return PrintedClaim(
        id,
        "relex",
        f"RELEX from 15 to 20 % of the steps is as accurate as the real model, {where}.",
        f"{RELEX}, main table",
        "lowest accuracy(RELEX) − accuracy(real)",
        _MARGIN,
        lambda: _relex_gaps(benchmarks),
        _COPIES,
    )


CLAIMS = [
    PrintedClaim(
        "N1",
        "alpharl",
        "The printed averages are the means of their six columns.",
        f"{ALPHARL}, tables 1, 3 and 4",
        "largest |printed average − mean of its columns|",
        _ROUNDING,
        _averages,
        _PAPER,
    ),
    PrintedClaim(
        "N2",
        "alpharl",
        "AlphaRL at 40 % of training keeps over 96 % of the full model's average, in every model.",
        f"{ALPHARL}, headline result, tables 1, 3 and 4",
        "lowest 100 · average(AlphaRL at 40 %) / average(full), averages recomputed",
        Threshold(">", 96, "%"),
        _kept,
        _PAPER,
    ),
    PrintedClaim(
        "N3",
        "alpharl",
        "AlphaRL lifts every checkpoint it starts from.",
        f"{ALPHARL}, tables 1, 3 and 4",
        "lowest average(AlphaRL) − average(checkpoint), averages recomputed",
        Threshold(">", 0, "points"),
        _improvements,
        _PAPER,
    ),
    PrintedClaim(
        "N4",
        "alpharl",
        "The rank-1 update recovers over 99 % of the accuracy at every stage of the self-play run.",
        f"{ALPHARL}, tables 5 and 6",
        "lowest 100 · accuracy(rank-1) / accuracy(full)",
        Threshold(">", 99, "%"),
        _games,
        _PAPER,
    ),
    PrintedClaim(
        "N5",
        "alpharl",
        "RL's rank-1 share of the update's norm is the highest of the five methods.",
        f"{ALPHARL}, table 7",
        "lowest share(DAPO) − share(other method)",
        Threshold(">", 0, "points"),
        _concentration,
        _PAPER,
    ),
    _as_good("N6", "in domain", ["math"]),
    _as_good("N6o", "out of domain", OUT_OF_DOMAIN),
    PrintedClaim(
        "N7",
        "relex",
        "Rank 1 with a line is at least as accurate as every other fit, at every target step.",
        f"{RELEX}, ablation table",
        "lowest accuracy(rank 1, line) − accuracy(other fit)",
        Threshold("≥", 0, "points"),
        _ablation,
        _COPIES,
    ),
    PrintedClaim(
        "N8",
        "relex",
        "Accuracy still grows between targets 500 and 1000.",
        f"{RELEX}, far extrapolation",
        "lowest accuracy at step 1000 − accuracy at step 500, same window",
        Threshold(">", 0, "points"),
        _farther,
        _COPIES,
    ),
]
