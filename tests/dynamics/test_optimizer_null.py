"""The noise of an optimizer against one that runs, and drift and noise told apart."""

import numpy as np
import pytest
import torch

from rlvr_dynamics.dynamics.increments import (
    autocorrelation,
    drift_share,
    increment_cosines,
    with_drift,
)
from rlvr_dynamics.dynamics.nulls import random_walk_null
from rlvr_dynamics.dynamics.optimizer_null import Optimizer, noise_correlation

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


def test_short_and_resting_trajectories_have_no_drift_share():
    assert np.isnan(drift_share(np.eye(30)))
    assert drift_share(np.eye(31)) == 0.0
    resting = increment_cosines(np.zeros((3, 3)))
    assert np.isnan(resting).all()
    assert np.isnan(autocorrelation(resting, 1))
