"""How the steps of a trajectory relate to each other, from its T x T Gram matrix alone.

With ΔW_t the rows of M, the increment of step t is d_t = ΔW_t - ΔW_{t-1} and the products of the
increments are D Dᵀ = B M Mᵀ Bᵀ, where B takes differences of neighbouring rows. An increment is
much shorter than the whole update, so its products lose digits to cancellation: with the Gram
matrix in float64 they keep about ten for 500 even steps.

Source: ours.

Legend: T observed steps, the first counted from the base.
"""

import numpy as np

PLATEAU_LAG = 30
"""From this lag on Adam's first moment (β1 = 0.9) remembers less than 0.9^30 = 4 %."""
SIGNAL_LAG = 10
"""Steps apart at which noise and signal are told apart: long enough for Adam's noise to forget two
thirds, short enough for a signal that turns within a training."""


def increment_cosines(gram: np.ndarray) -> np.ndarray:
    """Return the cosines between all increments.

    Args:
        gram: M Mᵀ of the updates from the base, shape (T, T), float64.

    Returns:
        Shape (T, T), float64; NaN in the row and column of a step that did not move.
    """
    return cosines(np.diff(np.diff(np.pad(gram, ((1, 0), (1, 0))), axis=0), axis=1))


def cosines(products: np.ndarray) -> np.ndarray:
    """Return the cosines of a Gram matrix; NaN in the row and column of a vector of length 0."""
    length = np.sqrt(np.clip(products.diagonal(), 0.0, None))
    length[length == 0.0] = np.nan
    return products / np.outer(length, length)


def autocorrelation(cosines: np.ndarray, lag: int) -> float:
    """Return the mean cosine between increments that are `lag` steps apart; NaN without any.

    Args:
        cosines: Of `increment_cosines`, shape (T, T).
        lag: At least 1.
    """
    apart = np.diagonal(cosines, lag)
    usable = apart[np.isfinite(apart)]
    return float(usable.mean()) if len(usable) else float("nan")


def drift_share(cosines: np.ndarray) -> float:
    """Return the share of the increments' squared length that is one constant drift.

    Steps d_t = |d_t| (sqrt(ρ) e + sqrt(1 - ρ) n_t) along one unit vector e, with noise n_t that is
    uncorrelated over more than `PLATEAU_LAG` steps, have the mean cosine ρ at such lags. Noise with
    a mean cosine c there gives ρ + (1 - ρ) c, and no drift gives c: the share that the noise's own
    correlations have.

    Args:
        cosines: Of `increment_cosines`, or correlations of noise, shape (T, T).

    Returns:
        ρ, the mean cosine over all pairs at least `PLATEAU_LAG` apart, at least 0; NaN where no
        two steps are.
    """
    apart = cosines[np.triu_indices(len(cosines), PLATEAU_LAG)]
    usable = apart[np.isfinite(apart)]
    return max(0.0, float(usable.mean())) if len(usable) else float("nan")


def share_of(drift: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the share of each step's squared length that is a drift of known length, at most 1.

    Args:
        drift: Its length in each step, shape (T,).
        lengths: Length of each step, shape (T,).

    Returns:
        Shape (T,), float64; 0 where the step did not move.
    """
    ratio = np.divide(drift, lengths, out=np.zeros(len(lengths)), where=np.asarray(lengths) > 0.0)
    return np.clip(ratio, 0.0, 1.0) ** 2


def with_drift(correlation: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """Return the correlations of steps that share a drift: √(ρ_s ρ_t) + √((1 - ρ_s)(1 - ρ_t)) C.

    Args:
        correlation: C of the noise, shape (T, T).
        share: ρ, the share of a step's squared length: one for all, or of each, shape (T,).
    """
    drift = np.broadcast_to(np.asarray(share, dtype=np.float64), len(correlation))
    return np.sqrt(np.outer(drift, drift)) + np.sqrt(np.outer(1 - drift, 1 - drift)) * correlation


def noise_energy(lengths: np.ndarray, noise: np.ndarray, cosine: float) -> float:
    """Return the expected squared length of the noise in a sum of increments.

    Increments d_t = |d_t| (sqrt(ρ) e_t + sqrt(1 - ρ) n_t), whose noise has the correlations C and
    whose direction e_t turns slowly, have the mean cosine ρ + (1 - ρ) c at `SIGNAL_LAG`, c the mean
    of C there. So ρ is known, and the noise in their sum is (1 - ρ) Σ |d_s| |d_t| C_st.

    Args:
        lengths: |d_t| of the summed increments, shape (n,).
        noise: C between all increments of the trajectory, of which these are the last, shape (T, T)
            with T above `SIGNAL_LAG`.
        cosine: Mean cosine of increments `SIGNAL_LAG` apart, of `autocorrelation`.

    Returns:
        At least 0; NaN where the cosine is.
    """
    expected = float(np.diagonal(noise, SIGNAL_LAG).mean())
    share = np.clip((cosine - expected) / (1.0 - expected), 0.0, 1.0)
    last = noise[-len(lengths) :, -len(lengths) :]
    return float((1.0 - share) * (lengths @ last @ lengths))


def reliability(energy: float, length: float) -> float:
    """Return the share of a sum's squared length that is not noise, at least 0.

    Two runs with the same signal and noise of their own have updates whose cosine is the geometric
    mean of their reliabilities: the ceiling of what two runs can share.

    Args:
        energy: Of `noise_energy`.
        length: Length of the sum; NaN is returned for 0.
    """
    return float(np.maximum(0.0, 1.0 - energy / length**2)) if length else float("nan")
