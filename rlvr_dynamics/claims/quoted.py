"""The papers' numbers in the unit of a claim, computed from the printed ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rlvr_dynamics.claims.printed import AVERAGE, PROVENANCE, printed
from rlvr_dynamics.results.frames import equal, last_step, mean, select, values

BENCHMARKS = ["aime24", "aime25", "gpqa", "gsm8k", "math500", "minerva"]
PROGRESS = ("table1", "table3", "table4")  # AlphaRL's tables of accuracy by share of the training
RUN = ["base_model", "algorithm"]
OUT_OF_DOMAIN = ["aime25", "aime26", "amc23", "hmmt25", "olympiadbench"]


@dataclass(frozen=True)
class Quoted:
    """A paper's number, in the unit of the claim it belongs to.

    Attributes:
        value: The number; NaN if the paper prints none.
        origin: Where it was printed, how it was computed from there, and how directly it was read
            from the paper's own page.
    """

    value: float = math.nan
    origin: str = ""


# target_step_scaling_factor in RELEX's released code: 2.0 for this model, 1.0 for the others.
FIT_AXIS = (
    "the released code counts the target of the 1.5B model twice, so its step 500 lies at 1000 on "
    "the axis of the fit, which is our target of 200 %"
)
NOT_PRINTED = Quoted(math.nan, "no number printed")


def quote(place: str, *, scale: float = 1.0, **wanted: str) -> Quoted:
    """Return one printed number times `scale`.

    Args:
        place: Where it is printed, as shown to readers.
        scale: 0.01 turns per cent into a share.
        wanted: Values of columns of `printed` that identify it.
    """
    found = printed(**wanted)
    assert len(found) == 1, wanted  # noqa: S101 - the data are ours to keep
    return Quoted(scale * float(found["value"].iloc[0]), f"{place}; {_provenance(found)}")


def _provenance(rows: pd.DataFrame) -> str:
    return ", ".join(PROVENANCE[code] for code in dict.fromkeys(rows["provenance"]))


def progress() -> pd.DataFrame:
    """Return AlphaRL's accuracies by share of training with recomputed averages, repeats once.

    Returns:
        base_model, algorithm, method, train_fraction, `average` (mean of the six benchmarks, per
        cent) and `printed` (the paper's own average).
    """
    rows = pd.concat([printed(paper="alpharl", table=table) for table in PROGRESS])
    keys = [*RUN, "method", "train_fraction"]
    wide = rows.drop_duplicates([*keys, "benchmark"]).pivot(
        index=keys, columns="benchmark", values="value"
    )
    wide = wide.assign(average=wide[BENCHMARKS].mean(axis=1), printed=wide[AVERAGE])
    return wide[["average", "printed"]].reset_index()


def progress_beside(method: str, other: str, share: float, other_share: float) -> pd.DataFrame:
    """Pair the recomputed averages of two rows of AlphaRL's tables, by model and algorithm.

    Returns:
        base_model, algorithm, `first`, `second`, per cent.
    """
    table = progress()
    first = equal(table, method=method, train_fraction=share)
    second = equal(table, method=other, train_fraction=other_share)
    both = first.merge(second, on=RUN, suffixes=("", "_second"))
    both = both.rename(columns={"average": "first", "average_second": "second"})
    return both.filter(items=[*RUN, "first", "second"]).reset_index(drop=True)


def relex_beside_real(benchmarks: Sequence[str]) -> pd.DataFrame:
    """Return accuracies of RELEX's prediction and of the real model in its main table, in per cent.

    Args:
        benchmarks: The columns to average.

    Returns:
        base_model, `relex`, `real`, one row per model.
    """
    rows = printed(paper="relex", table="main")
    rows = select(rows, rows["benchmark"].isin(list(benchmarks)))
    means = rows.pivot_table(
        index="base_model", columns="method", values="value", aggfunc="mean", sort=False
    )
    means = means.rename(columns={"full_rl": "real"}).filter(items=["relex", "real"])
    return means.reset_index().rename_axis(columns=None)


def relex_gap(benchmarks: Sequence[str], place: str) -> Quoted:
    """RELEX minus real, in points, averaged over the paper's models."""
    both = relex_beside_real(benchmarks)
    gap = float(np.mean(values(both, "relex") - values(both, "real")))
    rows = printed(paper="relex", table="main")
    return Quoted(gap, f"{place}, mean of {len(both)} models; {_provenance(rows)}; {FIT_AXIS}")


def ablation_gap(other: str) -> Quoted:
    """Rank 1 with a line minus another fit at the last step of RELEX's ablation, in points."""
    rows = printed(paper="relex", table="ablation")
    return Quoted(
        _at_the_end(rows, "relex_rank1_linear") - _at_the_end(rows, other),
        f"ablation table, step {last_step(rows)} of the 1.5B model; {_provenance(rows)}; "
        f"{FIT_AXIS}",
    )


def _at_the_end(rows: pd.DataFrame, method: str) -> float:
    return mean(equal(rows, method=method, step=last_step(rows)), "value")


def baseline_gap(other: str) -> Quoted:
    """RELEX minus a baseline on MATH for the 1.5B model with 15 % observed, in points."""
    rows = printed(paper="relex", table="baselines")
    model = str(rows["base_model"].iloc[0])
    relex = mean(equal(relex_beside_real(["math"]), base_model=model), "relex")
    return Quoted(
        relex - mean(equal(rows, method=other), "value"),
        f"baselines table beside the main table; {_provenance(rows)}; {FIT_AXIS}",
    )


def oracle_gap() -> Quoted:
    """Rank-1 reconstruction minus real at the last step, in points."""
    rows = printed(paper="relex", table="oracle")
    gap = _at_the_end(rows, "oracle_rank1_reconstruction") - _at_the_end(rows, "full_rl")
    return Quoted(gap, f"step {last_step(rows)} of the 1.5B model; {_provenance(rows)}")


def kept_at(share: float) -> Quoted:
    """AlphaRL's accuracy from a share of the training, as a fraction of the full model's."""
    both = progress_beside("alpharl", "full_rl", share, 1.0)
    kept = float(np.mean(values(both, "first") / values(both, "second")))
    return Quoted(
        kept,
        f"tables 1, 3 and 4, mean of {len(both)} models from recomputed averages; "
        f"{PROVENANCE['paper']}",
    )


def improved_at(share: float) -> Quoted:
    """AlphaRL minus the checkpoint it starts from, in points."""
    both = progress_beside("alpharl", "early_checkpoint", share, share)
    return Quoted(
        float(np.mean(values(both, "first") - values(both, "second"))),
        f"tables 1, 3 and 4, mean of {len(both)} models from recomputed averages; "
        f"{PROVENANCE['paper']}",
    )


def logits_gap() -> Quoted:
    """Extrapolated logits minus the best standard RL, mean of four benchmarks, in points."""
    rows = printed(paper="rlvr_linearity", table="table1", benchmark=AVERAGE)
    gap = mean(equal(rows, method="logits_extrapolation"), "value")
    return Quoted(
        gap - mean(equal(rows, method="full_rl"), "value"),
        f"table 1, printed means of four benchmarks, 1.5B; {_provenance(rows)}",
    )
