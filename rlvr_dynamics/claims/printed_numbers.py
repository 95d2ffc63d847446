"""What the papers' printed numbers alone say about the papers' claims: no run of ours is needed."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rlvr_dynamics.claims.printed import PROVENANCE, printed
from rlvr_dynamics.claims.quoted import OUT_OF_DOMAIN, progress, progress_beside, relex_beside_real
from rlvr_dynamics.claims.trajectory_claims import PAPER as RELEX
from rlvr_dynamics.claims.update_claims import PAPER as ALPHARL
from rlvr_dynamics.claims.verdicts import FAILS, HOLDS
from rlvr_dynamics.results.formatting import number
from rlvr_dynamics.results.frames import equal, mean, select, values

ROUNDING = 0.02  # points between an average printed to two decimals and the mean of its columns
MARGIN = 2.0  # points, the non-inferiority margin of the other claims

GAMES = {"kuhn_poker_win_rate": "Kuhn poker", "math500": "MATH-500"}


@dataclass(frozen=True)
class PrintedClaim:
    """A claim that the printed numbers can be held against.

    It holds where every one of its cases meets the bar; the cases are all there are, no sample of
    more, so there is no interval.

    Attributes:
        id: Short name, `N..`.
        paper: `alpharl` or `relex`.
        claim: The statement, in plain words.
        source: Paper and place.
        statistic: What is computed.
        threshold: The bar, as text.
        value: The case that meets it least, in the unit of the statistic.
        met: How many cases meet it.
        cases: How many there are.
        unit: What a case is.
        note: The cases that do not meet it.
        origin: How far we are from the paper's own page.
    """

    id: str
    paper: str
    claim: str
    source: str
    statistic: str
    threshold: str
    value: float
    met: int
    cases: int
    unit: str
    note: str
    origin: str

    @property
    def verdict(self) -> str:
        """`holds` where every case meets the bar."""
        return HOLDS if self.met == self.cases else FAILS


def averages_match() -> PrintedClaim:
    """N1: are AlphaRL's averages those of their columns?"""
    table = progress()
    gap = (table["printed"] - table["average"]).abs().to_numpy(float)
    met = int((gap <= ROUNDING).sum())
    worst = table.iloc[int(np.argmax(gap))]
    return PrintedClaim(
        "N1",
        "alpharl",
        "The printed averages are the means of their six columns.",
        f"{ALPHARL}, tables 1, 3 and 4",
        "largest |printed average − mean of its columns|",
        f"≤ {ROUNDING:g} points",
        float(gap.max()),
        met,
        len(gap),
        "averages",
        f"{len(gap) - met} of {len(gap)} do not match; farthest off: {worst['base_model']}, "
        f"{worst['method']} at {100 * worst['train_fraction']:.0f} % prints "
        f"{number(worst['printed'], 2)}, its columns give {number(worst['average'], 2)}",
        PROVENANCE["paper"],
    )


def kept_over_96() -> PrintedClaim:
    """N2: does AlphaRL at 40 % keep over 96 % in every row?"""
    both = progress_beside("alpharl", "full_rl", 0.4, 1.0)
    kept = 100 * (both["first"] / both["second"])
    return _by_model(
        both,
        kept.to_numpy(float),
        "N2",
        "alpharl",
        "AlphaRL at 40 % of training keeps over 96 % of the full model's average, in every model.",
        f"{ALPHARL}, headline result, tables 1, 3 and 4",
        "lowest 100 · average(AlphaRL at 40 %) / average(full), averages recomputed",
        "> 96 %",
        96.0,
        PROVENANCE["paper"],
    )


def improves_everywhere() -> PrintedClaim:
    """N3: does AlphaRL lift every checkpoint it starts from?"""
    table = progress()
    shares = sorted(set(table.loc[table["method"] == "alpharl", "train_fraction"]))
    parts = [
        progress_beside("alpharl", "early_checkpoint", share, share).assign(
            base_model=lambda rows, share=share: rows["base_model"] + f" at {100 * share:.0f} %"
        )
        for share in shares
    ]
    both = pd.concat(parts, ignore_index=True)
    return _by_model(
        both,
        (both["first"] - both["second"]).to_numpy(float),
        "N3",
        "alpharl",
        "AlphaRL lifts every checkpoint it starts from.",
        f"{ALPHARL}, tables 1, 3 and 4",
        "lowest average(AlphaRL) − average(checkpoint), averages recomputed",
        "> 0 points",
        0.0,
        PROVENANCE["paper"],
    )


def rank1_in_games() -> PrintedClaim:
    """N4: does rank 1 recover over 99 % at every stage of the self-play run?"""
    rows = pd.concat([printed(paper="alpharl", table=table) for table in ("table5", "table6")])
    wide = rows.pivot_table(
        index=["benchmark", "train_fraction"], columns="method", values="value", sort=False
    ).reset_index()
    ratio = 100 * wide["rank1"] / wide["full_rl"]
    stages = wide.assign(
        base_model=[
            f"{GAMES[row['benchmark']]} at {100 * row['train_fraction']:.0f} %"
            for row in wide.to_dict("records")
        ],
        algorithm="",
    )
    return _by_model(
        stages,
        ratio.to_numpy(float),
        "N4",
        "alpharl",
        "The rank-1 update recovers over 99 % of the accuracy at every stage of the self-play run.",
        f"{ALPHARL}, tables 5 and 6",
        "lowest 100 · accuracy(rank-1) / accuracy(full)",
        "> 99 %",
        99.0,
        PROVENANCE["paper"],
    )


def rl_is_most_concentrated() -> PrintedClaim:
    """N5: is RL's rank-1 share of the norm the highest of the five methods?"""
    rows = printed(paper="alpharl", table="table7", metric="rank1_norm_fraction_pct")
    others = select(rows, rows["algorithm"] != "dapo")
    gaps = mean(equal(rows, algorithm="dapo"), "value") - values(others, "value")
    both = pd.DataFrame({"base_model": others["algorithm"], "algorithm": ""})
    return _by_model(
        both,
        gaps,
        "N5",
        "alpharl",
        "RL's rank-1 share of the update's norm is the highest of the five methods.",
        f"{ALPHARL}, table 7",
        "lowest share(DAPO) − share(other method)",
        "> 0 points",
        0.0,
        PROVENANCE["paper"],
    )


def relex_as_good(benchmarks: list[str], id: str, where: str) -> PrintedClaim:
    """N6: is RELEX as accurate as the real model, model by model?"""
    both = relex_beside_real(benchmarks).assign(algorithm="")
    return _by_model(
        both,
        (both["relex"] - both["real"]).to_numpy(float),
        id,
        "relex",
        f"RELEX from 15 to 20 % of the steps is as accurate as the real model, {where}.",
        f"{RELEX}, main table",
        "lowest accuracy(RELEX) − accuracy(real)",
        f"> −{MARGIN:.0f} points (the margin is ours)",
        -MARGIN,
        PROVENANCE["secondary"],
    )


def rank1_line_is_best() -> PrintedClaim:
    """N7: is rank 1 with a line the best of the ablation at every target?"""
    rows = printed(paper="relex", table="ablation")
    wide = rows.pivot(index="step", columns="method", values="value")
    gaps = wide.drop(columns="relex_rank1_linear").rsub(wide["relex_rank1_linear"], axis=0)
    cases = gaps.reset_index().melt(id_vars="step", value_name="gap")
    both = pd.DataFrame(
        {
            "base_model": [
                f"{row['method'].replace('_', ' ')} at step {row['step']:.0f}"
                for row in cases.to_dict("records")
            ],
            "algorithm": "",
        }
    )
    return _by_model(
        both,
        cases["gap"].to_numpy(float),
        "N7",
        "relex",
        "Rank 1 with a line is at least as accurate as every other fit, at every target step.",
        f"{RELEX}, ablation table",
        "lowest accuracy(rank 1, line) − accuracy(other fit)",
        "≥ 0 points",
        -1e-9,
        PROVENANCE["secondary"],
    )


def farther_is_better() -> PrintedClaim:
    """N8: does accuracy still grow from step 500 to step 1000?"""
    rows = printed(paper="relex", table="far_extrapolation")
    wide = rows.pivot(index=["base_model", "method"], columns="step", values="value")
    first, last = wide.columns.min(), wide.columns.max()
    both = wide.dropna(subset=[first, last]).reset_index().assign(algorithm="")
    return _by_model(
        both,
        (both[last] - both[first]).to_numpy(float),
        "N8",
        "relex",
        f"Accuracy still grows between targets {first:.0f} and {last:.0f}.",
        f"{RELEX}, far extrapolation",
        f"lowest accuracy at step {last:.0f} − accuracy at step {first:.0f}, same window",
        "> 0 points",
        0.0,
        PROVENANCE["secondary"],
    )


def _by_model(
    cases: pd.DataFrame,
    found: np.ndarray,
    id: str,
    paper: str,
    claim: str,
    source: str,
    statistic: str,
    threshold: str,
    bar: float,
    origin: str,
) -> PrintedClaim:
    """A claim with one value per case, named by `base_model` and `algorithm`."""
    known = np.isfinite(found)
    cases, found = select(cases, known), found[known]
    above = found > bar
    names = [
        " ".join(part for part in (str(row["base_model"]), str(row["algorithm"])) if part)
        for row in cases.to_dict("records")
    ]
    below = [
        f"{name} {number(value, 1)}"
        for name, value, met in zip(names, found, above, strict=True)
        if not met
    ]
    note = f"{int(above.sum())} of {len(found)} meet it"
    return PrintedClaim(
        id,
        paper,
        claim,
        source,
        statistic,
        threshold,
        float(found.min()) if len(found) else math.nan,
        int(above.sum()),
        len(found),
        "printed pairs",
        f"{note}; not: {', '.join(below)}" if below else note,
        origin,
    )


CLAIMS: list[Callable[[], PrintedClaim]] = [
    averages_match,
    kept_over_96,
    improves_everywhere,
    rank1_in_games,
    rl_is_most_concentrated,
    lambda: relex_as_good(["math"], "N6", "in domain"),
    lambda: relex_as_good(OUT_OF_DOMAIN, "N6o", "out of domain"),
    rank1_line_is_best,
    farther_is_better,
]
