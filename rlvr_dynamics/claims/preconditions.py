"""The preconditions of claims about accuracy: RL lifted it (P0), and it had levelled off (P1)."""

import math

import numpy as np

from rlvr_dynamics.claims.claim import GOOD_ENOUGH, POSITIVE, Claim, Measured
from rlvr_dynamics.claims.measures import accuracies, compare
from rlvr_dynamics.claims.printed import PROVENANCE, printed
from rlvr_dynamics.claims.quoted import Quoted
from rlvr_dynamics.results.formatting import percent
from rlvr_dynamics.results.frames import equal, has, known, select, values
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import steps_of
from rlvr_dynamics.schema.model_id import REAL, ModelId
from rlvr_dynamics.statistics.intervals import Interval

LAST_PART = 0.75  # where the last quarter begins
NEAR = 0.05  # how far off a checkpoint may be, as a share of the training
FEWEST_STEPS = 4  # of y(t) in the last quarter; a line through fewer says nothing of its noise


def _levelled(results: Results, _observe: int | None) -> Measured | None:
    final = results.final_step
    if final is None:
        return None
    away = {abs(step / final - LAST_PART): step for step in steps_of(results, REAL)}
    if away and min(away) < NEAR + 1e-9:
        before = away[min(away)]
        models = [ModelId.checkpoint(step) for step in (before, final)]
        found = compare(results, models)
        if found is not None:
            return found.noted(f"steps {before} and {final}")
    return _rise(results, final)


def _rise(results: Results, final: int) -> Measured | None:
    """Return minus the rise of y(t) over the last quarter: its least-squares line, by Student.

    The residuals hold all of the noise of y(t): few answers a step, and other problems at each.
    """
    from scipy.special import stdtrit  # slow to import and rarely needed

    metrics = results.tables["metrics"]
    for kind in ("validation", "rollouts"):
        column = f"{kind}/acc_exact"
        if metrics is None or not has(metrics, column):
            continue
        rows = known(metrics, column).sort_values("step")
        rows = select(rows, rows["step"] >= LAST_PART * final)
        step, y = values(rows, "step"), 100 * values(rows, column)
        if len(step) < FEWEST_STEPS:
            continue
        away = step - step.mean()
        slope = float(away @ y) / float(away @ away)
        left = y - y.mean() - slope * away
        error = math.sqrt(float(left @ left) / (len(step) - 2) / float(away @ away))
        half = float(stdtrit(len(step) - 2, 0.975)) * error
        quarter = (1 - LAST_PART) * final
        ends = (-slope, -slope - half, -slope + half)
        value = Interval(*(quarter * end for end in ends))
        return Measured(value, len(step), "steps").noted(
            f"no checkpoint near three quarters was scored: the line of y(t) ({kind}) over the "
            f"last quarter, around {percent(float(np.mean(y)) / 100)}"
        )
    return None


def _last_fifth() -> Quoted:
    rows = equal(printed(paper="relex", table="oracle"), method="full_rl")
    by_step = dict(zip(values(rows, "step"), values(rows, "value"), strict=True))
    return Quoted(
        by_step[400] - by_step[500],
        "RELEX's run of the 1.5B model, steps 400 and 500 (its last fifth); "
        f"{PROVENANCE[str(rows['provenance'].iloc[0])]}",
    )


LIFTED = Claim(
    "P0",
    "both",
    "RL lifted the in-domain accuracy.",
    "precondition of both papers",
    "accuracy of the final checkpoint minus base, paired by question",
    POSITIVE,
    needs="needs samples of the base and of the final checkpoint",
    measure=accuracies("real", "base"),
    control_counts=True,
)
LEVELLED = Claim(
    "P1",
    "both",
    "Training had levelled off: its last quarter brought no more than the margin.",
    "without it no claim about the fully trained model holds; the margin is that of B3, which "
    "calls a model that much worse equally good",
    "accuracy of the checkpoint at 75 % − final, paired by question; where none was scored, minus "
    "the rise of y(t) over the last quarter by its line",
    GOOD_ENOUGH,
    needs="needs samples of a checkpoint at 75 % of the steps and of the final one",
    measure=_levelled,
    printed=_last_fifth(),
)
CLAIMS = [LIFTED, LEVELLED]
