"""Claims of other papers about the same updates, as far as these runs bear on them."""

import numpy as np

from rlvr_dynamics.claims.measures import (
    GOOD_ENOUGH,
    MARGIN,
    POSITIVE,
    columns_mean,
    compare_predictions,
    over_tensors,
)
from rlvr_dynamics.claims.over_runs import AT_MOST_ONE, SHARE, LedgerClaim
from rlvr_dynamics.claims.relex_weights import PAPER_WINDOWS, forecast_rows
from rlvr_dynamics.claims.verdicts import Claim
from rlvr_dynamics.results.frames import equal, has, last_step, values
from rlvr_dynamics.results.run import Results

WINDOW_NEEDED = "needs samples of its prediction of the final step from 15 or 20 %"


def sparse(results: Results) -> Claim:
    """F1: most weights keep their stored value."""
    words = Claim(
        "F1",
        "RL changes at most 30 % of the weights (5 to 30 % in bf16).",
        "arXiv 2505.11711",
        "mean over tensors of the share of elements equal to the base's, as stored",
        "> 0.7",
        note="needs the measure stage",
    )
    table = results.tables["norms"]
    if table is None or not has(table, "changed_share"):
        return words
    rows = equal(table, step=last_step(table))
    rows = rows.assign(kept=1 - values(rows, "changed_share"))
    row = over_tensors(results, words, rows, "kept", threshold=0.7, n_unit="tensors")
    return row.noted(f"stored as {results.dtype or 'unknown'}: fewer bits hide more changes")


def full_rank(results: Results) -> Claim:
    """F2: the update has nearly full rank all the same."""
    words = Claim(
        "F2",
        "The update has nearly full rank.",
        "arXiv 2505.11711; the bar is ours",
        "mean over matrices of the numerical rank of ΔW / min(m, n) at the final step",
        "> 0.9",
        note="needs the measure stage",
    )
    table = results.tables["update_rank"]
    if table is None or not has(table, "numerical_rank", "full_rank"):
        return words
    rows = equal(table, step=last_step(table))
    rows = rows.assign(share=values(rows, "numerical_rank") / values(rows, "full_rank"))
    return over_tensors(results, words, rows, "share", threshold=0.9)


def off_principal(results: Results) -> Claim:
    """F3: the update avoids the base's principal directions."""
    words = Claim(
        "F3",
        "The update's leading directions lie no closer to the base's principal ones than random "
        "ones do.",
        "arXiv 2511.08567",
        "mean over matrices of (cosine between random subspaces − largest principal cosine of "
        "update and base), left and right averaged",
        "> 0",
        note="needs the measure stage",
    )
    table = results.tables["update_rank"]
    sides = ("base_cosine_left", "base_cosine_right")
    nulls = tuple(f"{side}_null" for side in sides)
    if table is None or not has(table, *sides, *nulls):
        return words
    rows = equal(table, step=last_step(table))
    away = columns_mean(rows, *nulls) - columns_mean(rows, *sides)
    return over_tensors(results, words, rows.assign(away=away), "away", threshold=0)


def two_point_line(results: Results) -> Claim:
    """F4: the line through the base and one checkpoint reaches the trained model."""
    words = Claim(
        "F4",
        "A line through the base and one early checkpoint predicts a model as accurate as the "
        "real one.",
        "arXiv 2601.04537",
        "accuracy(two-point line) − accuracy(real final), in domain",
        GOOD_ENOUGH,
        note=WINDOW_NEEDED,
    )
    methods = ["weight_extrapolation", "real"]
    return compare_predictions(results, words, methods, PAPER_WINDOWS, threshold=MARGIN)


def expo_lifts(results: Results) -> Claim:
    """F5: ExPO improves the checkpoint it starts from."""
    words = Claim(
        "F5",
        "ExPO is more accurate than the checkpoint it extrapolates from.",
        "arXiv 2404.16792",
        "accuracy(ExPO, its factor chosen on validation problems) − accuracy(last observed)",
        POSITIVE,
        note=WINDOW_NEEDED,
    )
    methods = ["expo", "hold_last"]
    return compare_predictions(results, words, methods, PAPER_WINDOWS, threshold=0)


def first_update(results: Results) -> Claim:
    """F6: the very first update, scaled up, reaches the trained model."""
    words = Claim(
        "F6",
        "The first update alone, scaled, is as accurate as the real final model.",
        "an independent replication of RELEX (Baseten), which chose the factor on the test set",
        "accuracy(first update, scaled) − accuracy(real final), in domain",
        GOOD_ENOUGH,
        note=WINDOW_NEEDED,
    )
    methods = ["first_update", "real"]
    return compare_predictions(results, words, methods, PAPER_WINDOWS, threshold=MARGIN)


def momentum(results: Results) -> Claim:
    """F7: the last two steps forecast better than the held checkpoint."""
    words = Claim(
        "F7",
        "The line of the last two observed steps forecasts the final weights better than the "
        "last observed checkpoint.",
        "an independent study of short horizons on Qwen2.5-1.5B (comm-eff)",
        "median over tensors of skill = 1 − SSE(forecast) / SSE(hold the last checkpoint)",
        "> 0",
        note="needs a forecast by momentum of the final step from 15 or 20 %",
    )
    rows = forecast_rows(results, "momentum")
    return over_tensors(
        results, words, rows, "skill", threshold=0, statistic=np.median, n_unit="tensors"
    )


CLAIMS: list[LedgerClaim] = [
    LedgerClaim(sparse, "follow_up", 0.7, bounds=SHARE),
    LedgerClaim(full_rank, "follow_up", 0.9, bounds=SHARE),
    LedgerClaim(off_principal, "follow_up", 0),
    LedgerClaim(two_point_line, "follow_up", MARGIN, needs_gain=True),
    LedgerClaim(expo_lifts, "follow_up", 0, needs_gain=True),
    LedgerClaim(first_update, "follow_up", MARGIN, needs_gain=True),
    LedgerClaim(momentum, "follow_up", 0, bounds=AT_MOST_ONE),
]
