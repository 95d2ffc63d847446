"""The noise of an optimizer against one that runs, and drift and noise told apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rlvr_dynamics.dynamics.increments import (
    autocorrelation,
    drift_share,
    increment_cosines,
    share_of,
    with_drift,
)
from rlvr_dynamics.dynamics.nulls import random_walk_null
from rlvr_dynamics.dynamics.optimizer_null import Optimizer, noise_correlation
from rlvr_dynamics.measurement import OptimizerRecord

D = 4000


def path_of(optimizer, count, updates=1, sizes=None, seed=0):
    """Positions of torch's optimizer on noise, shape (T, D), float64."""
    torch.manual_seed(seed)
    weights = torch.zeros(D, dtype=torch.float64, requires_grad=True)
    made = optimizer([weights])
    found = []
    for step in range(count):
        for _ in range(updates):
            size = 1.0 if sizes is None else sizes[step]
            weights.grad = size * torch.randn(D, dtype=torch.float64)
            made.step()
        found.append(weights.detach().clone())
    return torch.stack(found).numpy()


@pytest.mark.parametrize(
    ("made", "optimizer"),
    [
        (lambda w: torch.optim.Adam(w, lr=1.0), Optimizer()),
        (lambda w: torch.optim.Adam(w, lr=1.0, betas=(0.0, 0.999)), Optimizer(beta1=0.0)),
        (lambda w: torch.optim.Adam(w, lr=1.0), Optimizer(updates=3)),
        (lambda w: torch.optim.SGD(w, lr=1.0, momentum=0.9), Optimizer(beta2=None)),
    ],
    ids=["Adam", "no first moment", "three updates a step", "SGD with momentum"],
)
def test_the_correlations_are_those_of_torchs_optimizer_on_noise(made, optimizer):
    count = 20
    sizes = np.linspace(1.0, 3.0, count)
    path = path_of(made, count, optimizer.updates, sizes)
    seen = increment_cosines(path @ path.T)
    expected = noise_correlation(count, optimizer, sizes)
    # The cosine of two independent vectors has a standard deviation of 1 / sqrt(D) = 0.016.
    np.testing.assert_allclose(seen, expected, atol=5 / np.sqrt(D))
    assert np.abs(seen - expected).mean() < 1.5 / np.sqrt(D)


def test_the_correlations_of_momentum_and_of_no_first_moment_are_known_in_closed_form():
    count, decay, sizes = 25, 0.8, np.linspace(0.5, 2.0, 25)
    # d_t = Σ_{i≤t} μ^{t-i} g_i, so <d_s, d_t> = μ^{t-s} Σ_{i≤s} μ^{2(s-i)} |g_i|² for s ≤ t.
    power = np.array(
        [
            np.sum(decay ** (2.0 * (s - np.arange(s + 1))) * sizes[: s + 1] ** 2)
            for s in range(count)
        ]
    )
    lag = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    exact = decay**lag * power[np.minimum.outer(np.arange(count), np.arange(count))]
    exact /= np.sqrt(np.outer(power, power))
    found = noise_correlation(count, Optimizer(beta1=decay, beta2=None), sizes)
    # Of 40,000 independent weights: a standard deviation of 0.005.
    np.testing.assert_allclose(found, exact, atol=0.025)
    alone = noise_correlation(count, Optimizer(beta1=0.0), sizes)
    np.testing.assert_allclose(alone, np.eye(count), atol=0.025)


@pytest.mark.parametrize(
    ("made", "record"),
    [
        (
            lambda w: torch.optim.AdamW(w, lr=0.01, weight_decay=0.5),
            OptimizerRecord(weight_decay=0.5),
        ),
        (
            lambda w: torch.optim.SGD(w, lr=0.01, momentum=0.9, weight_decay=0.1),
            OptimizerRecord(beta2=None, weight_decay=0.1),
        ),
    ],
    ids=["AdamW", "SGD with momentum"],
)
def test_weight_decay_is_a_drift_of_known_length_within_the_noise(made, record):
    count, size = 12, 3.0
    torch.manual_seed(0)
    start = size * torch.randn(D, dtype=torch.float64)
    weights = start.clone().requires_grad_()
    optimizer, positions = made([weights]), []
    for _ in range(count):
        weights.grad = torch.randn(D, dtype=torch.float64)
        optimizer.step()
        positions.append((weights.detach() - start).numpy().copy())
    path = np.array(positions)
    steps = np.arange(1, count + 1)
    record = replace(record, learning_rates=dict.fromkeys(steps.tolist(), 0.01))
    lengths = np.linalg.norm(np.diff(path, axis=0, prepend=0.0), axis=1)
    share = share_of(record.shrinkage(steps) * float(start.norm()), lengths)
    noise = noise_correlation(count, Optimizer(record.beta1, record.beta2))
    expected = with_drift(noise, share)
    assert share[-1] > 0.05
    seen = increment_cosines(path @ path.T)
    assert np.abs(seen - expected).mean() < 1.5 / np.sqrt(D)
    assert np.abs(seen - noise).mean() > 2 * np.abs(seen - expected).mean()


def test_without_gradients_weight_decay_alone_is_one_straight_direction():
    steps = np.arange(1, 31)
    for beta2 in (0.999, None):
        record = OptimizerRecord(
            beta1=0.0,
            beta2=beta2,
            weight_decay=0.01,
            learning_rates=dict.fromkeys(steps.tolist(), 0.01),
        )
        lengths = 1e-4 * 7.0 * np.ones(30)
        share = share_of(record.shrinkage(steps) * 7.0, lengths)
        np.testing.assert_allclose(share, 1.0, rtol=2e-3)
        correlation = with_drift(np.eye(30), share)
        null = random_walk_null(steps, lengths, D, 20, 0, correlation)
        assert null.explained_variance.min() > 0.999
        assert null.heldout_r2.min() > 0.999


def test_a_rate_that_is_not_known_leaves_the_decay_out_and_the_length_missing():
    steps = np.array([1, 2, 4])
    record = OptimizerRecord(weight_decay=0.1, learning_rates={1: 0.1, 2: 0.2, 4: 0.2}, updates=3)
    np.testing.assert_allclose(record.shrinkage(steps), [0.03, 0.06, 0.0], rtol=1e-5)
    np.testing.assert_allclose(record.rates_between(steps), [0.3, 0.6, np.nan])
    for other in (
        OptimizerRecord(beta2=None, learning_rates={1: 0.1}),
        OptimizerRecord(beta1=None),
    ):
        assert np.isnan(other.rates_between(np.array([1]))).all()
    np.testing.assert_array_equal(share_of(np.ones(2), np.array([0.0, 2.0])), [0.0, 0.25])


@pytest.mark.parametrize(("count", "explained"), [(9, 0.950), (30, 0.924), (75, 0.884)])
def test_a_run_of_adam_on_noise_lies_inside_its_band_and_above_the_independent_walks(
    count, explained
):
    path = path_of(lambda w: torch.optim.Adam(w, lr=1.0), count)
    steps = np.diff(path, axis=0, prepend=0.0)
    path = np.cumsum(steps / np.linalg.norm(steps, axis=1)[:, None], axis=0)
    share = np.linalg.svd(path, compute_uv=False) ** 2
    share = share[0] / share.sum()
    order = np.arange(1, count + 1)
    correlation = noise_correlation(count, Optimizer())
    null = random_walk_null(order, np.ones(count), D, 200, 0, correlation).explained_variance
    walk = random_walk_null(order, np.ones(count), D, 200, 0).explained_variance
    assert null.min() < share < null.max()
    assert null.mean() == pytest.approx(explained, abs=0.004)
    assert walk.max() < null.min()


def test_drift_is_told_from_noise():
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((100, D))
    drift = generator.standard_normal(D)
    steps = np.sqrt(0.2) * drift / np.linalg.norm(drift)
    steps = steps + np.sqrt(0.8) * noise / np.linalg.norm(noise, axis=1)[:, None]
    path = np.cumsum(steps * generator.uniform(0.5, 2.0, (100, 1)), axis=0)
    cosines = increment_cosines(path @ path.T)
    assert drift_share(cosines) == pytest.approx(0.2, abs=0.01)
    assert autocorrelation(cosines, 1) == pytest.approx(0.2, abs=0.01)
    np.testing.assert_allclose(cosines, with_drift(np.eye(100), 0.2), atol=5 / np.sqrt(D))


def test_the_gram_matrix_gives_what_the_increments_themselves_give():
    generator = np.random.default_rng(1)
    path = np.cumsum(1.0 + generator.standard_normal((40, 300)), axis=0)
    steps = np.diff(path, axis=0, prepend=0.0)
    unit = steps / np.linalg.norm(steps, axis=1)[:, None]
    found = increment_cosines(path @ path.T)
    np.testing.assert_allclose(found, unit @ unit.T, atol=1e-9)
    pairs = [(s, t) for s in range(40) for t in range(s + 1, 40)]
    for lag in (1, 10):
        apart = [unit[s] @ unit[t] for s, t in pairs if t - s == lag]
        assert autocorrelation(found, lag) == pytest.approx(np.mean(apart), abs=1e-9)
    far = [unit[s] @ unit[t] for s, t in pairs if t - s >= 30]
    assert drift_share(found) == pytest.approx(np.mean(far), abs=1e-9)


def test_short_and_resting_trajectories_have_no_drift_share():
    assert np.isnan(drift_share(np.eye(30)))
    assert drift_share(np.eye(31)) == 0.0
    resting = increment_cosines(np.zeros((3, 3)))
    assert np.isnan(resting).all()
    assert np.isnan(autocorrelation(resting, 1))


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.99])
def test_what_memory_alone_gives_as_a_drift_is_known_in_closed_form(decay):
    """m_t = Σ β^(t-j) g_j from moments of zero: corr(m_s, m_t) = β^(t-s) √((1-β^2s) / (1-β^2t))."""
    count = 60
    early, late = np.triu_indices(count, 30)
    sizes = (1 - decay ** (2.0 * (early + 1))) / (1 - decay ** (2.0 * (late + 1)))
    exact = np.mean(decay ** (late - early) * np.sqrt(sizes))
    found = drift_share(noise_correlation(count, Optimizer(decay, None)))
    assert found == pytest.approx(exact, abs=0.004)
    assert found == pytest.approx({0.0: 0.0, 0.9: 0.02, 0.99: 0.35}[decay], abs=0.005)
    # Adam's bias correction only scales the steps; its second moment hardly matters.
    adam = drift_share(noise_correlation(count, Optimizer(decay)))
    assert adam == pytest.approx(exact, abs=0.05 if decay == 0.99 else 0.01)
    # A drift of 0.2 is read as 0.2 and a part of the memory.
    seen = drift_share(with_drift(noise_correlation(count, Optimizer(decay, None)), 0.2))
    assert seen == pytest.approx(0.2 + 0.8 * found, abs=1e-9)
