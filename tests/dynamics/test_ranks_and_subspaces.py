import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_dynamics.dynamics import (
    RANKS,
    align_signs,
    effective_rank,
    gaussian_spectrum,
    numerical_rank,
    principal_cosines,
    random_cosine,
    rank_k_update,
    rank_of_percent,
    rank_shares,
    ranks_of,
    rounding_floor,
    stable_rank,
    subspace_update,
    update_spectrum,
)


def gaussian(*shape, seed: int | list[int] = 0):
    return np.random.default_rng(seed).standard_normal(shape)


def axes(dimension, *chosen):
    return np.eye(dimension)[:, list(chosen)]


# Ranks as shares of the smaller side


def test_per_cent_of_the_smaller_side_rounds_up():
    assert rank_of_percent(896, 4864, 1) == 9
    assert rank_of_percent(4864, 896, 50) == 448
    assert rank_of_percent(64, 128, 1) == 1
    assert rank_of_percent(10, 10, 100) == 10
    # As floating-point numbers 7 / 100 * 100 and 0.1 / 100 * 3000 are above 7 and 3.
    assert rank_of_percent(100, 100, 7) == 7
    assert rank_of_percent(3000, 3000, 0.1) == 3
    for bad in (0, -1, 100.5, float("nan")):
        with pytest.raises(ValueError, match="%"):
            rank_of_percent(10, 10, bad)


def test_labels_and_their_ranks():
    ranks = ranks_of(1000, 2000)
    assert tuple(ranks) == RANKS and len(RANKS) == 12
    assert list(ranks.values()) == [1, 10, 50, *range(100, 1000, 100)]


def test_norm_shares_agree_with_the_matrices():
    delta = torch.from_numpy(gaussian(9, 14))
    u, sigma, vt = torch.linalg.svd(delta, full_matrices=False)
    expected = [float(((u[:, :k] * sigma[:k]) @ vt[:k]).norm() / delta.norm()) for k in (1, 4, 9)]
    assert rank_shares(sigma, (1, 4, 9, 100)) == pytest.approx([*expected, 1.0])
    assert rank_shares(update_spectrum(delta * 1e-200), (4,)) == pytest.approx(expected[1:2])
    many = rank_shares(np.stack([sigma.numpy(), np.zeros(9)]), (1, 9))
    assert many.shape == (2, 2) and many[0, 1] == 1.0 and np.isnan(many[1]).all()
    with pytest.raises(ValueError, match="at least 1"):
        rank_shares(sigma, (0, 1))


# One direction alone


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (270, 260)])
def test_one_direction_alone_has_the_norm_of_the_whole(shape):
    delta = torch.from_numpy(gaussian(*shape))
    u, _, vt = torch.linalg.svd(delta, full_matrices=False)
    for index in (1, 2, 6):
        expected = delta.norm() * torch.outer(u[:, index - 1], vt[index - 1])
        assert torch.allclose(subspace_update(delta, index), expected, atol=1e-7)
    assert torch.allclose(subspace_update(delta, 1), rank_k_update(delta, 1), atol=1e-7)


def test_a_direction_that_does_not_exist():
    single = torch.from_numpy(gaussian(5, 1) @ gaussian(1, 7, seed=1))
    assert torch.allclose(subspace_update(single, 1), single, atol=1e-12)
    assert not subspace_update(single, 2).any()
    assert not subspace_update(torch.zeros(3, 4), 1).any()
    for bad in (0, 6):
        with pytest.raises(ValueError, match="1 to 5"):
            subspace_update(single, bad)


# Ranks that are not whole


def test_ranks_of_equal_and_single_values():
    for count in (1, 3, 8):
        sigma = np.concatenate([np.full(count, 0.3), np.zeros(8 - count)])
        assert stable_rank(sigma) == pytest.approx(count)
        assert effective_rank(torch.from_numpy(sigma)) == pytest.approx(count)
        assert numerical_rank(sigma, 20 * 2**-23 * sigma.max()) == count


def test_ranks_by_hand():
    sigma = np.array([4.0, 2.0, 2.0])
    assert stable_rank(sigma) == pytest.approx(1.5)
    # Shares 1/2, 1/4, 1/4: entropy 1.5 log 2.
    assert effective_rank(sigma) == pytest.approx(2**1.5)
    assert numerical_rank(np.array([1.0, 2e-3, 0.9e-3]), 1e-3) == 2


def test_ranks_of_many_spectra_and_of_none():
    sigma = np.array([[3.0, 3.0], [0.0, 0.0], [1e-300, 0.0]])
    for rank in (stable_rank, effective_rank):
        assert rank(sigma)[[0, 2]] == pytest.approx([2, 1])
        assert np.isnan(rank(sigma)[1])
    assert numerical_rank(sigma, 0.0).tolist() == [2, 0, 1]


@settings(max_examples=40)
@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=12), st.floats(1e-150, 1e150))
def test_ranks_ignore_scale_and_stay_in_range(values, scale):
    sigma = np.sort(np.array([*values, 1.0]))[::-1]
    for rank in (stable_rank, effective_rank):
        assert 1 - 1e-12 <= rank(sigma) <= len(sigma) + 1e-9
        assert rank(sigma * scale) == pytest.approx(float(rank(sigma)), rel=1e-9)
    assert stable_rank(sigma) <= numerical_rank(sigma, 0.0) + 1e-9


# Gaussian matrices


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (6, 6), (5, 12), (12, 5)])
def test_the_bidiagonal_law_is_that_of_gaussian_matrices(shape):
    draws = 3000
    ours = gaussian_spectrum(shape[0], shape[1], draws, seed=1)
    real = np.linalg.svd(gaussian(draws, *shape, seed=2), compute_uv=False)
    assert ours.shape == real.shape == (draws, min(shape))
    assert np.all(np.diff(ours, axis=1) <= 0)
    for power in (1, 2):
        error = np.hypot((ours**power).std(axis=0), (real**power).std(axis=0)) / np.sqrt(draws)
        assert np.all(np.abs((ours**power).mean(axis=0) - (real**power).mean(axis=0)) < 4.5 * error)
    for i in range(min(shape)):
        grid = np.sort(np.concatenate([ours[:, i], real[:, i]]))
        below = [np.searchsorted(np.sort(x[:, i]), grid, side="right") for x in (ours, real)]
        # Two-sample Kolmogorov-Smirnov distance; 2.2 / sqrt(n / 2) has a chance of about 1e-4.
        assert np.abs(below[0] - below[1]).max() / draws < 2.2 / np.sqrt(draws / 2)


def test_the_norm_of_gaussian_spectra_is_chi_squared():
    squares = (gaussian_spectrum(20, 30, 2000, seed=3) ** 2).sum(axis=1)
    assert squares.mean() == pytest.approx(600, abs=4.5 * np.sqrt(1200 / 2000))
    assert squares.var() == pytest.approx(1200, rel=0.15)


def test_large_gaussian_spectra_reach_the_known_edges():
    m, n = 800, 1600
    sigma = gaussian_spectrum(m, n, 3, seed=0)
    assert sigma[:, 0] == pytest.approx(np.sqrt(m) + np.sqrt(n), rel=0.01)
    assert sigma[:, -1] == pytest.approx(np.sqrt(n) - np.sqrt(m), rel=0.03)
    # Davidson and Szarek: the mean of the largest lies below the edge.
    assert sigma[:, 0].mean() < np.sqrt(m) + np.sqrt(n)


def test_gaussian_spectra_repeat_and_do_not_care_which_side_is_longer():
    one = gaussian_spectrum(30, 12, 4, seed=5)
    assert np.array_equal(one, gaussian_spectrum(12, 30, 4, seed=5))
    assert not np.array_equal(one, gaussian_spectrum(12, 30, 4, seed=[5, 1]))


# Angles between subspaces


def test_cosines_of_known_planes():
    tilt = axes(5, 0, 1)
    tilt[:, 1] = np.cos(0.4) * axes(5, 1)[:, 0] + np.sin(0.4) * axes(5, 3)[:, 0]
    assert principal_cosines(tilt, axes(5, 0, 1, 2)) == pytest.approx([1, np.cos(0.4)])
    assert principal_cosines(axes(5, 0), axes(5, 3, 4)) == pytest.approx([0.0])
    # The spans count, not the columns chosen for them.
    mixed = tilt @ np.array([[3.0, -1.0], [1.0, 1e-3]])
    assert principal_cosines(torch.from_numpy(mixed), tilt) == pytest.approx([1, 1])


@settings(max_examples=30)
@given(st.integers(2, 12), st.data(), st.integers(0, 999))
def test_cosines_are_symmetric_and_in_range(m, data, seed):
    k, j = data.draw(st.integers(1, m)), data.draw(st.integers(1, m))
    a, b = gaussian(m, k, seed=seed), gaussian(m, j, seed=seed + 1)
    cosines = principal_cosines(a, b)
    assert cosines.shape == (min(k, j),)
    assert np.all(np.diff(cosines) <= 0) and cosines[-1] >= 0 and cosines[0] <= 1
    assert principal_cosines(b, a) == pytest.approx(cosines, abs=1e-9)


@pytest.mark.parametrize(("d", "k", "j"), [(2, 1, 1), (9, 1, 1), (12, 2, 5), (8, 5, 3)])
def test_the_random_cosine_is_that_of_random_subspaces(d, k, j):
    draws = 800
    ours = random_cosine(d, k, j, draws, seed=1)
    real = [
        principal_cosines(gaussian(d, k, seed=[i, 0]), gaussian(d, j, seed=[i, 1]))[0]
        for i in range(draws)
    ]
    grid = np.sort(np.concatenate([ours, real]))
    below = [np.searchsorted(np.sort(x), grid, side="right") / draws for x in (ours, real)]
    assert np.abs(below[0] - below[1]).max() < 2.2 / np.sqrt(draws / 2)


def test_random_cosines_in_closed_form():
    # Between two lines cos² has mean 1 / d; two subspaces too large to avoid each other meet.
    squares = random_cosine(1000, 1, 1, 4000, seed=0) ** 2
    assert squares.mean() == pytest.approx(1e-3, abs=4.5 * np.sqrt(2) * 1e-3 / np.sqrt(4000))
    assert random_cosine(7, 4, 4, 3, seed=0).tolist() == [1.0] * 3
    assert np.array_equal(random_cosine(50, 3, 4, 5, seed=2), random_cosine(50, 4, 3, 5, seed=2))
    large = random_cosine(10**9, 8, 8, 20, seed=0)
    assert np.all(large < 1e-3) and np.all(large > 0)
    for k, j in ((0, 1), (1, 8)):
        with pytest.raises(ValueError, match="dimensions"):
            random_cosine(7, k, j, 1, seed=0)


# Signs along a trajectory


def test_signs_follow_the_last_step():
    direction = gaussian(30)
    signs = np.array([1, -1, -1, 1, -1])
    vectors = signs[:, None] * (direction + 0.1 * gaussian(5, 30, seed=1))
    aligned, flipped = align_signs(torch.from_numpy(vectors))
    assert flipped.tolist() == (signs != signs[-1]).tolist()
    assert np.all(np.sum(aligned[1:] * aligned[:-1], axis=1) > 0)
    assert np.array_equal(aligned[-1], vectors[-1])
    assert np.array_equal(np.abs(aligned), np.abs(vectors))


def test_signs_are_passed_on_from_neighbour_to_neighbour():
    # Turning by 60 degrees a step: the first has a negative cosine with the last, and stays.
    angles = np.deg2rad([0, 60, 120])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    aligned, flipped = align_signs(vectors)
    assert not flipped.any() and np.array_equal(aligned, vectors)


def test_a_vector_of_zero_breaks_no_chain():
    vectors = np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    aligned, flipped = align_signs(vectors)
    assert flipped.tolist() == [True, False, False]
    assert aligned.tolist() == [[1.0, -0.0], [0.0, 0.0], [1.0, 0.0]]
    assert vectors[0, 0] == -1.0


@pytest.mark.parametrize("shape", [(256, 256), (64, 512)])
def test_rounding_alone_stays_under_its_floor_and_a_direction_above_it(shape):
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(*shape, generator=generator)
    stored = weights.bfloat16().float()
    floor = rounding_floor(*shape, 2**-7, float(stored.norm()))
    noise = torch.linalg.svdvals(stored - weights)
    assert numerical_rank(noise, floor) == 0 and float(noise[0]) > 0.2 * floor
    u, v = (torch.nn.functional.normalize(torch.randn(side), dim=0) for side in shape)
    moved = (weights + 5 * floor * torch.outer(u, v)).bfloat16().float() - stored
    assert numerical_rank(torch.linalg.svdvals(moved), floor) == 1
