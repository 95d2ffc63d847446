import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_dynamics.dynamics import (
    feature_kernel,
    fit_pls,
    permuted_accuracies,
    pls_loo_r2,
    pls_r2,
    walk_accuracies,
)


def noise(count, features, seed=0):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((count, features)), generator.standard_normal(count)


def drifting(count, features, seed=0):
    """Unit vectors that wander on the sphere, as a sign-aligned u1 does."""
    generator = np.random.default_rng(seed)
    path = generator.standard_normal(features) + np.cumsum(
        0.1 * generator.standard_normal((count, features)), axis=0
    )
    return path / np.linalg.norm(path, axis=1, keepdims=True)


@pytest.mark.parametrize(("count", "features"), [(2, 5), (3, 1), (6, 40), (27, 300), (50, 7)])
def test_agrees_with_scikit_learn(count, features):
    cross_decomposition = pytest.importorskip(
        "sklearn.cross_decomposition", reason="scikit-learn is the reference, not a dependency"
    )
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = noise(count, features, seed=count)
    x = x * np.logspace(-3, 3, features) + 5.0
    y = 0.5 + 0.1 * y
    theirs = cross_decomposition.PLSRegression(n_components=1, scale=True).fit(x, y)
    z = theirs.transform(x)
    line = linear_model.LinearRegression().fit(z, y)
    ours = fit_pls(x, y)
    assert ours.r2 == pytest.approx(line.score(z, y), rel=1e-10)
    assert ours.predict(x) == pytest.approx(line.predict(z), rel=1e-10)
    new = noise(4, features, seed=99)[0]
    assert ours.predict(new) == pytest.approx(line.predict(theirs.transform(new)), rel=1e-10)
    for target in (1.0, -3.0):
        position = (target - line.intercept_) / line.coef_[0]
        expected = theirs.inverse_transform(np.array([[position]]))[0]
        assert ours.invert(target) == pytest.approx(expected, rel=1e-10)
    sign = np.sign(ours.weights @ theirs.x_weights_[:, 0])
    assert ours.weights == pytest.approx(sign * theirs.x_weights_[:, 0], rel=1e-9, abs=1e-14)
    assert ours.loadings == pytest.approx(sign * theirs.x_loadings_[:, 0], rel=1e-9, abs=1e-14)


def test_a_planted_line_is_explained_and_inverted_exactly():
    direction = np.random.default_rng(0).standard_normal(30)
    place = np.array([0.0, 1.0, 1.5, 4.0, 9.0])
    features, accuracy = 2.0 + np.outer(place, direction), 0.3 + 0.05 * place
    fit = fit_pls(features, accuracy)
    assert fit.r2 == pytest.approx(1.0, abs=1e-12)
    assert pls_loo_r2(features, accuracy) == pytest.approx(1.0, abs=1e-12)
    assert fit.slope > 0 and fit.intercept == pytest.approx(accuracy.mean())
    assert fit.predict(2.0 + np.outer([20.0], direction)) == pytest.approx([1.3])
    assert fit.invert(1.3) == pytest.approx(2.0 + 20.0 * direction)


@settings(max_examples=40)
@given(st.integers(2, 15), st.integers(1, 60), st.integers(0, 9999))
def test_the_kernel_gives_what_the_features_give(count, features, seed):
    x, y = noise(count, features, seed)
    kernel = feature_kernel(x)
    draws = np.stack([y, *permuted_accuracies(y, 3, seed)])
    scores = pls_r2(kernel, draws)
    expected = [fit_pls(x, row).r2 for row in draws]
    assert scores == pytest.approx(expected, rel=1e-10, abs=1e-12)
    assert pls_r2(kernel, 7.0 - 0.01 * draws.reshape(2, 2, -1)) == pytest.approx(
        scores.reshape(2, 2), rel=1e-10, abs=1e-12
    )
    assert np.trace(kernel) == pytest.approx(features * (count - 1))
    assert kernel.sum(axis=0) == pytest.approx(np.zeros(count), abs=1e-10)


def brute_force_loo(x, y):
    error = 0.0
    for left in range(len(y)):
        rest = np.arange(len(y)) != left
        error += (y[left] - fit_pls(x[rest], y[rest]).predict(x[left : left + 1])[0]) ** 2
    return 1 - error / ((y - y.mean()) ** 2).sum()


@settings(max_examples=40)
@given(st.integers(4, 14), st.integers(1, 40), st.integers(0, 9999))
def test_leave_one_out_is_the_refit_without_the_step(count, features, seed):
    x, y = noise(count, features, seed)
    x[1:, 0] += 100.0  # the first step lies far out
    assert pls_loo_r2(x, y) == pytest.approx(brute_force_loo(x, y), rel=1e-9, abs=1e-9)


def test_leave_one_out_with_features_that_one_step_alone_moves():
    x, y = noise(8, 6)
    x[:, 1] = 0.1
    x[:, 2] = 0.3 + 0.7 * (np.arange(8) == 3)
    assert pls_loo_r2(x, y) == pytest.approx(brute_force_loo(x, y), rel=1e-9)
    # Without the step that alone differs the accuracies are level: their mean is the answer.
    x, y = noise(5, 6)
    y = np.array([0.1, 0.1, 0.7, 0.1, 0.1])
    rest = [0, 1, 3, 4]
    error = 0.6**2
    for left in rest:
        others = np.arange(5) != left
        error += (0.1 - fit_pls(x[others], y[others]).predict(x[left : left + 1])[0]) ** 2
    assert pls_loo_r2(x, y) == pytest.approx(1 - error / (0.6**2 * 0.8), rel=1e-9)
    # Level features leave the mean of the others, which scores 1 - (T / (T - 1))².
    assert pls_loo_r2(np.full((5, 3), 0.1), y) == pytest.approx(1 - (5 / 4) ** 2)


def test_what_is_undefined():
    x, y = noise(5, 4)
    for bad in (np.full(5, 0.1), np.array([0.1, np.nan, 0.2, 0.3, 0.4])):
        with pytest.raises(ValueError, match="constant or not a number"):
            fit_pls(x, bad)
        assert np.isnan(pls_r2(feature_kernel(x), bad)) and np.isnan(pls_loo_r2(x, bad))
    with pytest.raises(ValueError, match="two steps"):
        fit_pls(x[:1], y[:1])
    with pytest.raises(ValueError, match="match"):
        fit_pls(x, y[:4])
    assert np.isnan(pls_loo_r2(x[:3], y[:3]))
    assert np.isnan(pls_r2(feature_kernel(x[:1]), y[:1]))
    level = fit_pls(np.full((5, 4), 0.1), y)
    assert np.isnan(level.r2) and level.slope == 0 and not level.weights.any()
    assert level.predict(x) == pytest.approx(np.full(5, y.mean()))
    assert np.isnan(pls_r2(feature_kernel(np.full((5, 4), 0.1)), y))
    with pytest.raises(ValueError, match="nothing to invert"):
        level.invert(1.0)


def test_a_constant_feature_has_no_say():
    x, y = noise(9, 5)
    wider = np.column_stack([x, np.full(9, 0.1), np.zeros(9)])
    one, two = fit_pls(x, y), fit_pls(wider, y)
    assert two.r2 == pytest.approx(one.r2) and not two.weights[5:].any()
    assert two.scale[5:] == pytest.approx([1, 1])
    assert two.invert(2.0) == pytest.approx([*one.invert(2.0), 0.1, 0.0])


def test_noise_is_as_good_as_its_permutations():
    trials, draws = 200, 199
    p = []
    for seed in range(trials):
        x, y = noise(12, 50, seed)
        kernel = feature_kernel(x)
        null = pls_r2(kernel, permuted_accuracies(y, draws, seed))
        p.append((1 + int((null >= pls_r2(kernel, y)).sum())) / (1 + draws))
    p = np.sort(p)
    # Kolmogorov-Smirnov distance from uniform; 1.95 / sqrt(n) has a chance of 1e-3.
    grid = np.arange(trials)
    distance = max(np.abs(p - grid / trials).max(), np.abs(p - (grid + 1) / trials).max())
    assert distance < 1.95 / np.sqrt(trials)


def test_noise_scores_high_in_sample_and_not_left_out():
    fits = [noise(12, 400, seed) for seed in range(40)]
    assert np.mean([fit_pls(x, y).r2 for x, y in fits]) > 0.85
    assert np.mean([pls_loo_r2(x, y) for x, y in fits]) < 0.05


def test_any_trending_accuracy_fits_a_drifting_vector():
    features = drifting(27, 500)
    kernel = feature_kernel(features)
    walks = pls_r2(kernel, walk_accuracies(27, 300, seed=1))
    shuffled = pls_r2(kernel, permuted_accuracies(np.arange(27.0), 300, seed=1))
    assert np.median(walks) > 0.6 and np.quantile(walks, 0.975) > 0.9
    assert np.median(walks) > np.quantile(shuffled, 0.975) + 0.1
    # A plain rise, which knows nothing of the features, does better still, also left out.
    assert pls_r2(kernel, np.arange(27.0)) > 0.95
    assert pls_loo_r2(features, np.arange(27.0)) > 0.9


def test_permutations_and_walks_are_what_they_say():
    y = np.array([0.1, 0.2, 0.2, 0.9])
    rows = permuted_accuracies(y, 300, seed=3)
    assert rows.shape == (300, 4) and np.array_equal(np.sort(rows, axis=1), np.tile(y, (300, 1)))
    assert len(np.unique(rows, axis=0)) == 12
    assert np.array_equal(rows, permuted_accuracies(y, 300, seed=3))
    walks = walk_accuracies(40, 4000, seed=[0, 1])
    assert walks.shape == (4000, 40)
    assert walks.var(axis=0) == pytest.approx(np.arange(1, 41), rel=0.15)
    assert np.diff(walks, axis=1).std() == pytest.approx(1.0, rel=0.02)
