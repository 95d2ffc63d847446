"""The noise of accuracies: its size, the R² it allows, and u1 beside the step number."""

import numpy as np
import pytest

from rlvr_dynamics.dynamics import (
    feature_kernel,
    fit_pls,
    linearity,
    noise_of,
    noisy_walks,
    pls_r2,
    pls_r2_error,
    without_line,
)
from rlvr_dynamics.dynamics.accuracy_noise import COUNTED, DIFFERENCES, UNKNOWN

EVEN = np.arange(1, 31)
UNEVEN = np.cumsum(np.random.default_rng(0).integers(1, 9, 30))


@pytest.mark.parametrize("steps", [EVEN, UNEVEN])
def test_a_line_has_no_noise_and_a_zigzag_is_all_noise(steps):
    line = 0.2 + 0.001 * steps
    assert noise_of(steps, line, {}, 0).sds == pytest.approx(np.zeros(30), abs=1e-12)
    zigzag = noise_of(EVEN, 0.5 + 0.1 * (-1.0) ** EVEN, {}, 0)
    # Second differences of ±0.4: 0.16 / 6.
    assert zigzag.variance == pytest.approx(0.16 / 6) and zigzag.source == DIFFERENCES


@pytest.mark.parametrize("steps", [EVEN, UNEVEN])
def test_planted_noise_is_found_with_its_degrees_of_freedom(steps):
    rng = np.random.default_rng(1)
    curve = 0.4 + 0.3 * (1 - np.exp(-steps / steps[-1]))
    found = [noise_of(steps, curve + 0.05 * rng.standard_normal(30), {}, 0) for _ in range(3_000)]
    variances = np.array([noise.variance for noise in found])
    assert variances.mean() == pytest.approx(0.0025, rel=0.03)
    # A χ² with f degrees has a relative variance of 2 / f; uneven steps have a little less.
    freedom = 2 / (variances.var() / variances.mean() ** 2)
    assert found[0].freedom == pytest.approx(freedom, rel=0.1)


def test_standard_errors_are_preferred_where_every_step_has_one():
    y = np.linspace(0.1, 0.7, 6)
    errors = {step: 0.01 * step for step in range(1, 7)}
    known = noise_of(np.arange(1, 7), y, errors, 90)
    assert known.source == COUNTED and known.variance == pytest.approx(1e-4 * 91 / 6)
    assert noise_of(np.arange(2, 8), y, errors, 90).source == DIFFERENCES
    few = noise_of(np.arange(2, 7), y[:5], {2: 0.1}, 90)
    assert few.source == UNKNOWN and np.isnan(few.variance) and not few.sds.any()
    assert np.isnan(few.ceilings(y)).all()


def test_the_ceiling_is_the_true_relations_r2_and_its_interval_covers_that():
    """y = true + noise, with the true accuracy as the only feature."""
    rng = np.random.default_rng(2)
    true = 0.5 + 0.15 * np.sin(np.arange(60) / 9)
    r2, ceilings = [], []
    for _ in range(1_500):
        y = true + 0.05 * rng.standard_normal(60)
        r2.append(fit_pls(true[:, None], y).r2)
        ceilings.append(noise_of(np.arange(60), y, {}, 0).ceilings(y))
    middle, low, high = np.array(ceilings).T
    assert np.mean(r2) == pytest.approx(middle.mean(), abs=0.01)
    assert np.mean(np.array(r2) / middle) == pytest.approx(1, abs=0.015)
    assert (low < middle).all() and (middle < high).all()
    expected = 1 - 0.0025 / (true.var(ddof=1) + 0.0025)
    assert np.mean((low < expected) & (expected < high)) == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(
    ("misfit", "size", "most"),
    [(0.1, 0.02, 1.1), (0.0, 0.05, 1.45)],  # what is left is a misfit, or is noise alone
)
def test_the_error_of_r2_is_how_far_it_scatters_with_the_noise(misfit, size, most):
    """Many features that hold one part of the true accuracy; another part is in none."""
    rng = np.random.default_rng(3)
    part = 0.15 * np.sin(np.arange(60) / 9)
    features = np.outer(part, rng.standard_normal(30)) + 0.02 * rng.standard_normal((60, 30))
    kernel, sds = feature_kernel(features), size * np.linspace(0.4, 1.6, 60)
    true = 0.5 + part + misfit * np.cos(np.arange(60))
    drawn = true + sds * rng.standard_normal((4_000, 60))
    errors = [pls_r2_error(kernel, y, sds) for y in drawn[:300]]
    scatter = pls_r2(kernel, drawn).std()
    assert 0.92 * scatter < np.sqrt(np.mean(np.square(errors))) < most * scatter
    # The gradient by central differences.
    y, nudge = drawn[0], 1e-6 * np.eye(60)
    slope = (pls_r2(kernel, y + nudge) - pls_r2(kernel, y - nudge)) / 2e-6
    assert errors[0] == pytest.approx(np.linalg.norm(slope * sds), rel=1e-6)


def test_walks_are_noise_to_the_share_that_the_accuracies_are():
    y = np.linspace(0.2, 0.8, 40)
    sds = np.linspace(0.01, 0.09, 40)
    drawn = noisy_walks(y, sds, 4_000, [0, 7])
    assert drawn.shape == (4_000, 40)
    assert drawn.var(axis=1, ddof=1).mean() == pytest.approx(y.var(ddof=1), rel=0.02)
    # Neighbours differ by a step of the walk and the noise of both.
    smooth = noisy_walks(y, np.zeros(40), 4_000, [0, 7])
    rough = np.diff(drawn, axis=1).var(axis=0) - np.diff(smooth, axis=1).var(axis=0) * (
        1 - np.mean(sds**2) / y.var(ddof=1)
    )
    assert rough == pytest.approx(sds[1:] ** 2 + sds[:-1] ** 2, rel=0.15, abs=2e-4)
    # Accuracies that are noise alone have nulls that are, too.
    alone = noisy_walks(y, np.full(40, 9.0), 500, 1)
    assert np.corrcoef(alone[:, :-1].ravel(), alone[:, 1:].ravel())[0, 1] == pytest.approx(
        0, abs=0.03
    )
    assert np.array_equal(drawn, noisy_walks(y, sds, 4_000, [0, 7]))


def test_a_wave_beside_a_line_is_explained_by_it_alone():
    """u1 holds the step number and a wave; the accuracy both, or the step number only."""
    wave = np.sin(UNEVEN)
    wave = without_line(UNEVEN, wave)
    features = np.outer(UNEVEN, [0.3, -0.1, 0.2]) + np.outer(wave, [1.0, 2.0, -1.0])
    kernel = feature_kernel(without_line(UNEVEN, features.T).T)
    y = 0.1 + 0.004 * UNEVEN + 0.05 * wave
    assert pls_r2(kernel, without_line(UNEVEN, y)) == pytest.approx(1)
    line = ((0.004 * (UNEVEN - UNEVEN.mean())) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert float(linearity(UNEVEN, y).r2) == pytest.approx(line)
    assert np.isnan(pls_r2(kernel, without_line(UNEVEN, 0.1 + 0.004 * UNEVEN)))
    still = feature_kernel(without_line(UNEVEN, np.outer(UNEVEN, [0.3, -0.1]).T).T)
    assert not still.any()
