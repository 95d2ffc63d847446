import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_dynamics.dynamics import (
    oracle_cosines,
    prefix_drift,
    prefix_drift_null,
    trajectory_gram,
)
from rlvr_dynamics.dynamics.windows import direction_cosine


def walk(count, d, seed=0):
    steps = np.random.default_rng(seed).standard_normal((count, d))
    return torch.from_numpy(np.cumsum(steps, axis=0))


def first_direction(updates):
    return torch.linalg.svd(updates, full_matrices=False)[2][0]


def test_on_a_line_every_window_has_the_same_direction():
    direction = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 40)))
    place = torch.tensor([1.0, 2.0, 2.5, -4.0, 9.0], dtype=torch.float64)
    gram = trajectory_gram(place[:, None] * direction)
    assert direction_cosine(gram, slice(0, 2), slice(3, 5)) == pytest.approx(1.0)
    stops, cosines = prefix_drift(gram, [0.1, 0.5, 1.0])
    assert stops.tolist() == [1, 3, 5] and cosines == pytest.approx([1, 1, 1])
    assert oracle_cosines(gram, [1, 3, 100]) == pytest.approx(np.ones((5, 3)))


def test_orthogonal_increments_have_known_values():
    lengths = np.array([3.0, 2.0, 1.0])
    updates = torch.from_numpy(np.cumsum(np.diag(lengths), axis=0))
    gram = trajectory_gram(updates)
    # The first step alone points along the first axis.
    leading = np.linalg.svd(updates.numpy())[2][0]
    assert direction_cosine(gram, slice(0, 1), slice(0, 3)) == pytest.approx(abs(leading[0]))
    # Orthogonal updates: each is kept whole once its own direction is among the leading ones.
    gram = torch.diag(torch.tensor([9.0, 4.0, 1.0], dtype=torch.float64))
    assert direction_cosine(gram, slice(0, 1), slice(1, 3)) == 0.0
    assert prefix_drift(gram, [0.3, 1.0])[1] == pytest.approx([1, 1])
    assert oracle_cosines(gram, [1, 2, 3]) == pytest.approx(
        np.array([[1, 1, 1], [0, 1, 1], [0, 0, 1]])
    )


@settings(max_examples=40)
@given(st.integers(3, 9), st.integers(1, 30), st.integers(0, 9999))
def test_agrees_with_the_directions_themselves(count, d, seed):
    updates = walk(count, d, seed)
    gram = trajectory_gram(updates)
    windows = slice(0, count // 2), slice(count // 3, count)
    one, other = (first_direction(updates[rows]) for rows in windows)
    assert direction_cosine(gram, *windows) == pytest.approx(abs(float(one @ other)), abs=1e-7)
    stops, cosines = prefix_drift(gram, [0.5, 1.0])
    expected = abs(float(first_direction(updates[: stops[0]]) @ first_direction(updates)))
    assert cosines == pytest.approx([expected, 1.0], abs=1e-7)
    directions = torch.linalg.svd(updates, full_matrices=False)[2]
    found = oracle_cosines(gram, [1, 2])
    for column, rank in enumerate((1, 2)):
        top = directions[:rank]
        projected = updates @ top.mT @ top
        cosine = torch.nn.functional.cosine_similarity(updates, projected, dim=1)
        ratio = projected.norm(dim=1) / updates.norm(dim=1)
        assert found[:, column] == pytest.approx(cosine.numpy(), abs=1e-6)
        assert found[:, column] == pytest.approx(ratio.numpy(), abs=1e-6)


def test_signs_that_alternate_hide_nothing():
    # The rows cancel in any positive sum, yet they are what leads.
    updates = torch.tensor([[5.0, 0.0], [-5.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    gram = trajectory_gram(updates)
    assert direction_cosine(gram, slice(0, 3), slice(0, 1)) == pytest.approx(1.0)
    assert direction_cosine(gram, slice(0, 3), slice(2, 3)) == pytest.approx(0.0)


def test_no_movement_is_undefined():
    updates = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [2.0, 1.0]], dtype=torch.float64)
    gram = trajectory_gram(updates)
    assert np.isnan(direction_cosine(gram, slice(0, 2), slice(0, 4)))
    stops, cosines = prefix_drift(gram, [0.5, 0.75])
    assert stops.tolist() == [2, 3] and np.isnan(cosines[0]) and 0 < cosines[1] < 1
    kept = oracle_cosines(gram, [1, 2])
    assert np.isnan(kept[:2]).all() and kept[2:, 1] == pytest.approx([1, 1])
    assert np.isnan(prefix_drift_null(np.zeros(4), 9, [0.5], 3, 0)).all()
    resting = prefix_drift_null(np.array([0.0, 0.0, 1.0, 1.0]), 9, [0.5, 1.0], 3, 0)
    assert np.isnan(resting[:, 0]).all() and resting[:, 1] == pytest.approx(np.ones(3))


def test_wrong_arguments_are_refused():
    gram = trajectory_gram(walk(4, 6))
    with pytest.raises(ValueError, match="window"):
        direction_cosine(gram, slice(2, 2), slice(0, 4))
    for share in (0.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="shares"):
            prefix_drift(gram, [share])
        with pytest.raises(ValueError, match="shares"):
            prefix_drift_null(np.ones(4), 6, [share], 2, 0)
    with pytest.raises(ValueError, match="rank"):
        oracle_cosines(gram, [0, 1])


@pytest.mark.parametrize("d", [2, 5, 60])
def test_the_null_is_the_drift_of_real_walks(d):
    norms = np.array([1.0, 3.0, 0.5, 1.0, 2.0, 1.0, 1.0, 0.7])
    shares, draws = [0.25, 0.5, 1.0], 600
    null = prefix_drift_null(norms, d, shares, draws, seed=1)
    assert null.shape == (draws, 3) and null[:, 2] == pytest.approx(np.ones(draws))
    generator = np.random.default_rng(2)
    real = []
    for _ in range(draws):
        steps = generator.standard_normal((8, d))
        steps *= (norms / np.linalg.norm(steps, axis=1))[:, None]
        gram = trajectory_gram(torch.from_numpy(np.cumsum(steps, axis=0)))
        real.append(prefix_drift(gram, shares)[1])
    for ours, theirs in zip(null.T, np.array(real).T, strict=True):
        error = np.hypot(ours.std(), theirs.std()) / np.sqrt(draws)
        assert abs(ours.mean() - theirs.mean()) <= 4.5 * error + 1e-7


def test_the_null_does_not_depend_on_scale_and_repeats():
    norms = np.linspace(1, 2, 10)
    one = prefix_drift_null(norms, 50, [0.3], 20, seed=3)
    assert prefix_drift_null(1e-200 * norms, 50, [0.3], 20, seed=3) == pytest.approx(one, rel=1e-6)
    assert np.array_equal(prefix_drift_null(norms, 50, [0.3], 20, seed=3), one)
    assert not np.array_equal(prefix_drift_null(norms, 50, [0.3], 20, seed=4), one)


def test_a_walk_keeps_most_of_its_direction():
    # In very high dimension the Gram matrix of unit steps is min(s, t), whatever the draw.
    steps = np.arange(1, 61)
    gram = torch.from_numpy(np.minimum.outer(steps, steps).astype(float))
    _, expected = prefix_drift(gram, [0.15, 0.5])
    null = prefix_drift_null(np.ones(60), 10**12, [0.15, 0.5], 5, seed=0)
    assert null == pytest.approx(np.tile(expected, (5, 1)), abs=1e-4)
