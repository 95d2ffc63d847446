"""How far a jump goes: a number of steps ahead as a factor on the change since the anchor.

On a clock s, the line from the anchor A through the weights W reaches A + f (W - A) at the step
whose position is f times that of W, both counted from the anchor. The clock is the step number or
the length of the path walked, continued from the steps so far
(`rlvr_dynamics.dynamics.continued_path`).

Legend: T steps, the first of them one spacing after the start of the path; m from the anchor on.
"""

from typing import NamedTuple

import numpy as np

from rlvr_dynamics.dynamics import continued_path


class Ahead(NamedTuple):
    """A factor, and why it is not on the clock that was asked for.

    Attributes:
        factor: f, above 1.
        remark: Empty, or the reason for the step number in place of the path.
    """

    factor: float
    remark: str


def factor_ahead(
    steps: np.ndarray, lengths: np.ndarray, ahead: float, clock: str, anchor: int = 0
) -> Ahead:
    """Return the factor that takes the line through anchor and weights some steps ahead.

    f = (s(t + h) - s(a)) / (s(t) - s(a)) for anchor a, last step t and h steps ahead. A path that
    cannot be continued falls back on the step number, with a remark, as the extrapolators do.

    Args:
        steps: Steps counted from the start of the path, shape (T,), evenly spaced from it on.
        lengths: ‖W_t - W_{t-1}‖ of each, shape (T,), without jumps; not read with clock `step`.
        ahead: h, in steps.
        clock: `step` or `path`.
        anchor: a: 0, the start of the path, or one of `steps` but the last.
    """
    by_number = float((steps[-1] + ahead - anchor) / (steps[-1] - anchor))
    if clock != "path":
        return Ahead(by_number, "")
    targets = np.array([anchor, steps[-1], steps[-1] + ahead])
    try:
        first, now, later = continued_path(steps, lengths, targets, "power_law")
    except ValueError as reason:
        return Ahead(by_number, f"on the step number: {reason}")
    if now <= first or later <= now:
        return Ahead(by_number, "on the step number: no step since the anchor moved")
    return Ahead(float((later - first) / (now - first)), "")


def backtest_horizon(ahead: int, window: int, history: int) -> int:
    """Return the steps ahead whose backtest is most like a jump's.

    With enough steps that is the jump's own horizon, tested over a line as long as the jump's.
    Otherwise the line and the horizon shrink together, so that the factor stays.

    Args:
        ahead: h, steps that the jump goes ahead.
        window: m, steps from the anchor to the present.
        history: T, steps known up to the present, at least m and 2.

    Returns:
        Between 1 and T - 1.
    """
    if ahead <= history - window:
        return ahead
    return min(history - 1, max(1, round(history * ahead / (window + ahead))))
