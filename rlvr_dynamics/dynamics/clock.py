"""Clocks for a trajectory: the step number, the length of the path so far, optimizer time.

Steps shrink as a run goes on, so a coefficient bends against the step number even where the
direction holds. On the path s(t) = Σ_{i≤t} ‖W_i - W_{i-1}‖ such a run is a straight line. Nothing
after the window is used: the path beyond it is continued from the window's own steps. Optimizer
time is the sum of the learning rates so far. It differs from the step number where the rate does,
in a warm-up or a decay, and is known ahead, as the schedule is.

Source: ours.

Legend: T observed steps.
"""

import numpy as np


def even_spacing(steps: np.ndarray) -> float | None:
    """Return the number of training steps between checkpoints, from the base on, if constant.

    A distance over a gap is shorter than the path through it, so lengths over unequal gaps do not
    add up to a clock.

    Args:
        steps: Saved step numbers, shape (T,), ascending; the base is step 0.

    Returns:
        The spacing; None where it varies.
    """
    gaps = np.diff(np.concatenate([[0.0], np.asarray(steps, dtype=np.float64)]))
    return float(gaps[0]) if len(gaps) and bool(np.all(gaps == gaps[0])) else None


def same_clock(positions: np.ndarray, steps: np.ndarray) -> bool:
    """Return whether positions are the step numbers but for their unit, or do not rise at all.

    Args:
        positions: Shape (T,), at least 0, with the base at 0.
        steps: Step numbers, shape (T,), ascending.
    """
    if not positions[-1] > positions[0]:
        return True
    return bool(np.allclose(positions / positions[-1], steps / steps[-1], rtol=1e-9, atol=0.0))


def step_lengths(gram: np.ndarray) -> np.ndarray:
    """Return ‖W_t - W_{t-1}‖ of every step from the Gram matrix of the updates.

    Args:
        gram: M Mᵀ, shape (T, T), float64; the row before the first is the base.

    Returns:
        Shape (T,), float64.
    """
    square = gram.diagonal().copy()
    square[1:] += gram.diagonal()[:-1] - 2.0 * gram.diagonal(1)
    return np.sqrt(np.clip(square, 0.0, None))


def continued_path(
    steps: np.ndarray, lengths: np.ndarray, targets: np.ndarray, continuation: str
) -> np.ndarray:
    """Return the length of the path at later steps, from the window's own steps alone.

    ``power_law`` fits log length on log step, by least squares over the last two thirds of the
    window; a law that rises, as in a warm-up, is not continued: its length at the window's last
    step is repeated. ``constant`` repeats the mean length of the last two thirds.

    Args:
        steps: Observed step numbers, shape (T,), evenly spaced from the base on.
        lengths: ‖W_t - W_{t-1}‖ of each, shape (T,).
        targets: Steps to continue to, shape (n,). Inside the window the walked path is
            interpolated.
        continuation: ``power_law`` or ``constant``.

    Returns:
        s at the targets, shape (n,), float64.

    Raises:
        ValueError: The steps are not evenly spaced, or fewer than three of the window's last two
            thirds moved, which a power law needs.
    """
    spacing = even_spacing(steps)
    if spacing is None:
        raise ValueError("the path has gaps of different lengths")
    observed, wanted = np.asarray(steps, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    count = len(observed)
    late = slice(count // 3, None)
    last = max(float(wanted.max(initial=0.0)), observed[-1])
    ahead = np.arange(observed[-1] + spacing, last + spacing, spacing)
    if continuation == "constant":
        longer = np.full(len(ahead), float(np.mean(lengths[late])))
    else:
        slope, level = power_law(observed[late], lengths[late])
        reached = ahead if slope < 0.0 else np.full(len(ahead), observed[-1])
        longer = np.exp(level) * reached**slope
    knots = np.concatenate([[0.0], observed, ahead])
    return np.interp(wanted, knots, np.cumsum(np.concatenate([[0.0], lengths, longer])))


def power_law(steps: np.ndarray, lengths: np.ndarray) -> tuple[float, float]:
    """Return exponent p and level q of length = exp(q) step^p, by least squares on logarithms.

    Args:
        steps: Shape (n,), positive.
        lengths: Shape (n,); steps that did not move are left out.

    Raises:
        ValueError: Fewer than three steps moved.
    """
    moved = np.asarray(lengths) > 0.0
    if int(moved.sum()) < 3:
        raise ValueError("fewer than three steps to fit a power law to")
    logs = np.log(np.asarray(steps, dtype=np.float64)[moved])
    centred = logs - logs.mean()
    values = np.log(np.asarray(lengths)[moved])
    slope = float(centred @ values / (centred @ centred))
    return slope, float(values.mean() - slope * logs.mean())
