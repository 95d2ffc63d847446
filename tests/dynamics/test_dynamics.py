import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_dynamics.dynamics import (
    NullSample,
    UpdateBlocks,
    accumulate_gram,
    accumulate_gram_of_weights,
    accumulate_products,
    combine_stored,
    extend_gram,
    gram_of_stored,
    linearity,
    permuted_steps_null,
    prediction_dtype,
    random_walk_null,
    rank_k_update,
    row_combination,
    svd_of_gram,
    trajectory_gram,
    trajectory_svd,
    update_spectrum,
    update_svd,
)


def gaussian(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def orthonormal(rows, columns, seed=0):
    return torch.linalg.qr(gaussian(columns, rows, seed=seed))[0].mT


# Trajectory SVD


def test_a_line_has_one_component():
    direction = gaussian(1, 500)
    direction /= direction.norm()
    steps = np.array([3, 4, 8, 20])
    updates = torch.from_numpy(0.25 * steps)[:, None] * direction
    svd = trajectory_svd(updates, 3, steps)
    assert svd.singular_values[0] == pytest.approx(0.25 * np.sqrt((steps**2).sum()), rel=1e-12)
    assert svd.singular_values[1:] == pytest.approx([0, 0], abs=1e-6)
    assert svd.explained_variance == pytest.approx([1, 1, 1], abs=1e-12)
    assert svd.coefficients[:, 0] == pytest.approx(0.25 * steps, rel=1e-12)
    directions = row_combination(svd.rows_to_directions, updates)
    assert torch.allclose(directions[0], direction[0], atol=1e-12)
    assert not directions[1:].any()


def test_orthogonal_updates_have_equal_shares():
    updates = orthonormal(5, 300) * 2.0
    svd = trajectory_svd(updates, 5)
    assert svd.singular_values == pytest.approx([2.0] * 5)
    assert svd.explained_variance == pytest.approx(np.arange(1, 6) / 5)


def test_agrees_with_a_direct_decomposition():
    updates = gaussian(7, 900) * torch.logspace(0, -3, 7, dtype=torch.float64)[:, None]
    svd = trajectory_svd(updates, 7)
    u, sigma, vt = torch.linalg.svd(updates, full_matrices=False)
    assert svd.singular_values == pytest.approx(sigma.numpy(), rel=1e-9)
    directions = row_combination(svd.rows_to_directions, updates)
    assert torch.allclose((directions * vt).sum(1).abs(), torch.ones(7, dtype=torch.float64))
    rebuilt = torch.from_numpy(svd.coefficients) @ directions
    assert torch.allclose(rebuilt, updates, atol=1e-10)


def test_every_component_grows():
    steps = np.arange(1, 31)
    svd = trajectory_svd(gaussian(30, 100).cumsum(0), 4, steps)
    assert np.all((steps - steps.mean()) @ svd.u >= 0)


def test_no_movement_is_zero_and_undefined():
    svd = trajectory_svd(torch.zeros(4, 10), 2)
    assert not svd.singular_values.any() and not svd.coefficients.any()
    assert np.isnan(svd.explained_variance).all()
    assert not row_combination(svd.rows_to_directions, torch.zeros(4, 10)).any()
    line = linearity(np.arange(1, 5), svd.coefficients[:, 0])
    assert line.slope == 0
    assert np.isnan([line.r2, line.heldout_r2, line.loo_r2]).all()


@pytest.mark.parametrize("count", [1, 2])
def test_one_and_two_steps(count):
    updates = gaussian(count, 50)
    svd = trajectory_svd(updates, 8)
    assert len(svd.singular_values) == count
    line = linearity(np.arange(1, count + 1), svd.coefficients[:, 0])
    assert np.isnan(line.heldout_r2) and np.isnan(line.loo_r2)
    if count == 1:
        assert svd.coefficients[0, 0] == pytest.approx(float(updates.norm()))
        assert np.isnan([line.slope, line.intercept, line.r2]).all()
    else:
        assert line.r2 == pytest.approx(1.0)


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 9999), st.integers(1, 12))
def test_invariants_of_any_trajectory(count, d, seed, k):
    updates = gaussian(count, d, seed=seed).float()
    svd = trajectory_svd(updates, k)
    kept = min(k, count)
    assert svd.singular_values.shape == (kept,) and svd.u.shape == (count, kept)
    assert np.all(np.diff(svd.singular_values) <= 1e-12)
    assert np.all(np.diff(svd.explained_variance) >= 0) and svd.explained_variance[-1] <= 1
    assert svd.u.T @ svd.u == pytest.approx(np.eye(kept), abs=1e-10)
    square = float(updates.double().square().sum())
    assert (svd.singular_values**2).sum() <= square * (1 + 1e-9)


def test_the_gram_matrix_is_accumulated_in_float64():
    updates = (1.0 + 1e-3 * gaussian(3, 200_000)).float()
    exact = updates.double() @ updates.double().mT
    assert torch.allclose(trajectory_gram(updates), exact, rtol=1e-13)


@settings(max_examples=40)
@given(
    st.integers(0, 6),
    st.integers(0, 4),
    st.lists(st.sampled_from([1, 100, 8191, 8192, 8193, 20_000]), min_size=1, max_size=3),
    st.integers(0, 9999),
)
def test_more_steps_need_only_their_own_rows(old, new, widths, seed):
    updates = gaussian(old + new, sum(widths), seed=seed).float()
    earlier, later = updates[:old], updates[old:]
    gram = torch.zeros(old, old, dtype=torch.float64)
    products = torch.zeros(old, new, dtype=torch.float64)
    corner = torch.zeros(new, new, dtype=torch.float64)
    start = 0
    for width in widths:
        part = slice(start, start + width)
        accumulate_gram(gram, earlier[:, part])
        accumulate_products(products, earlier[:, part], later[:, part])
        accumulate_gram(corner, later[:, part])
        start += width
    extended = extend_gram(gram, products, corner)
    square = updates.double().norm(dim=1)
    allowed = 1e-12 * torch.outer(square, square)
    for other in (trajectory_gram(updates), updates.double() @ updates.double().mT):
        assert extended.shape == other.shape
        assert bool(((extended - other).abs() <= allowed).all())


def test_products_of_different_columns_are_refused():
    with pytest.raises(ValueError, match="columns"):
        accumulate_products(torch.zeros(2, 3).double(), torch.zeros(2, 5), torch.zeros(3, 4))


@pytest.mark.parametrize("threads", [1, 2])
def test_the_gram_matrix_does_not_depend_on_the_threads(threads):
    updates = gaussian(20, 20_000).float()
    before = torch.get_num_threads()
    one = trajectory_gram(updates)
    torch.set_num_threads(threads)
    try:
        assert torch.allclose(trajectory_gram(updates), one, rtol=1e-13, atol=1e-9)
    finally:
        torch.set_num_threads(before)


# Update SVD and rank-k recovery


@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (12, 12), (1, 9), (5, 1)])
def test_update_svd_agrees_with_a_direct_decomposition(shape):
    delta = gaussian(*shape)
    svd = update_svd(delta, 4)
    u, sigma, vt = torch.linalg.svd(delta, full_matrices=False)
    k = min(4, *shape)
    assert torch.allclose(svd.singular_values, sigma[:k], rtol=1e-9)
    assert svd.frobenius == pytest.approx(float(delta.norm()))
    assert torch.allclose((svd.u * u[:, :k]).sum(0).abs(), torch.ones(k, dtype=torch.float64))
    assert torch.allclose((svd.v * vt[:k].mT).sum(0).abs(), torch.ones(k, dtype=torch.float64))
    assert torch.allclose(delta @ svd.v, svd.u * svd.singular_values, atol=1e-9)
    assert torch.allclose(update_spectrum(2 * delta), 2 * sigma, rtol=1e-9)


def test_vectors_stay_orthonormal_beyond_the_rank():
    delta = gaussian(8, 1) @ gaussian(1, 10, seed=1)
    svd = update_svd(delta, 5)
    assert torch.allclose(svd.u.mT @ svd.u, torch.eye(5, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(svd.v.mT @ svd.v, torch.eye(5, dtype=torch.float64), atol=1e-9)
    assert float(svd.singular_values[1]) < 1e-12


def test_small_singular_values_keep_the_promised_accuracy():
    sigma = torch.logspace(0, -12, 13, dtype=torch.float64)
    delta = orthonormal(13, 40).mT @ (sigma[:, None] * orthonormal(13, 50, seed=1))
    assert float((update_spectrum(delta)[:13] - sigma).abs().max()) < 1e-13


def test_no_update():
    svd = update_svd(torch.zeros(4, 6), 2)
    assert svd.frobenius == 0 and not svd.singular_values.any()
    assert not rank_k_update(torch.zeros(4, 6), 1).any()


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_rank_k_update_is_rescaled_and_of_rank_k(shape):
    delta = gaussian(*shape)
    u, sigma, vt = torch.linalg.svd(delta, full_matrices=False)
    for k in (1, 3):
        best = (u[:, :k] * sigma[:k]) @ vt[:k]
        expected = best * (delta.norm() / best.norm())
        assert torch.allclose(rank_k_update(delta, k), expected, atol=1e-12)
    for k in (6, 100):
        assert torch.equal(rank_k_update(delta, k), delta)
    with pytest.raises(ValueError, match="rank"):
        rank_k_update(delta, 0)


def test_rank_1_recovery_of_a_rank_1_update_is_exact():
    delta = gaussian(7, 1) @ gaussian(1, 5, seed=1)
    assert torch.allclose(rank_k_update(delta, 1), delta, atol=1e-12)


# Linearity


def test_a_line_in_the_step_number_scores_one():
    steps = np.array([1, 2, 4, 8, 16, 32])
    line = linearity(steps, 3.0 * steps - 5.0)
    assert (line.slope, line.intercept) == (pytest.approx(3.0), pytest.approx(-5.0))
    assert line.r2 == pytest.approx(1.0) and line.heldout_r2 == pytest.approx(1.0)
    assert line.loo_r2 == pytest.approx(1.0)


def test_scores_agree_with_their_definition():
    steps, values = np.arange(1, 8), np.array([0.0, 1.0, 1.5, 4.0, 4.5, 4.0, 9.0])
    line = linearity(steps, values)
    fitted = np.polyval(np.polyfit(steps, values, 1), steps)
    assert line.r2 == pytest.approx(1 - ((values - fitted) ** 2).sum() / (7 * values.var()))
    early = np.polyval(np.polyfit(steps[:4], values[:4], 1), steps[4:])
    rest = values[4:]
    assert line.heldout_r2 == pytest.approx(1 - ((rest - early) ** 2).sum() / (3 * rest.var()))


@settings(max_examples=30)
@given(st.integers(3, 12), st.integers(0, 9999))
def test_press_is_the_refit_without_the_step(count, seed):
    generator = np.random.default_rng(seed)
    steps = np.cumsum(generator.integers(1, 9, count))
    values = generator.standard_normal((2, count))
    line = linearity(steps, values)
    for row, found in zip(values, line.loo_r2, strict=True):
        error = 0.0
        for left in range(count):
            rest = np.arange(count) != left
            slope, intercept = np.polyfit(steps[rest], row[rest], 1)
            error += (row[left] - slope * steps[left] - intercept) ** 2
        assert found == pytest.approx(1 - error / (count * row.var()), rel=1e-7, abs=1e-7)
    assert np.all(line.loo_r2 <= line.r2)


def test_a_constant_has_no_r2_and_axes_are_kept():
    line = linearity(np.arange(1, 7), np.full((2, 3, 6), 0.1))
    assert line.loo_r2.shape == (2, 3) and np.isnan(line.loo_r2).all()
    assert line.r2.shape == (2, 3) and np.isnan(line.r2).all() and np.isnan(line.heldout_r2).all()
    assert line.slope == pytest.approx(np.zeros((2, 3)), abs=1e-12)


@settings(max_examples=30)
@given(
    st.lists(st.floats(-10, 10), min_size=5, max_size=12),
    st.floats(0.1, 50),
    st.floats(-20, 20),
)
def test_r2_ignores_scale_and_sign(values, scale, shift):
    values = np.array(values) + np.linspace(0, 1, len(values)) ** 2 * 7
    steps = np.arange(1, len(values) + 1)
    one, two = linearity(steps, values), linearity(steps, -scale * values + shift)
    if float(np.var(values)) > 1e-3 and float(np.var(values[-2:])) > 1e-3:
        assert two.r2 == pytest.approx(float(one.r2), rel=1e-6, abs=1e-6)
        assert two.heldout_r2 == pytest.approx(float(one.heldout_r2), rel=1e-5, abs=1e-5)


# Nulls

SCORES = ("explained_variance", "r2", "heldout_r2", "loo_r2")


def walked_for_real(steps, norms, d, draws, seed):
    generator = np.random.default_rng(seed)
    explained, r2, heldout, loo = [], [], [], []
    for _ in range(draws):
        rows = generator.standard_normal((len(norms), d))
        rows *= (norms / np.linalg.norm(rows, axis=1))[:, None]
        u, sigma, _ = np.linalg.svd(np.cumsum(rows, axis=0), full_matrices=False)
        line = linearity(steps, u[:, 0])
        explained.append(sigma[0] ** 2 / (sigma**2).sum())
        r2.append(float(line.r2))
        heldout.append(float(line.heldout_r2))
        loo.append(float(line.loo_r2))
    return np.array(explained), np.array(r2), np.array(heldout), np.array(loo)


@pytest.mark.parametrize("d", [1, 3, 11, 12, 13, 14, 60, 400])
def test_the_null_is_the_walk_in_d_dimensions(d):
    steps = np.array([1, 2, 3, 4, 6, 8, 9, 10, 13, 14, 15, 20])
    norms = np.random.default_rng(5).uniform(0.2, 3.0, 12)
    draws = 2500
    null = random_walk_null(steps, norms, d, draws, seed=1)
    real = walked_for_real(steps, norms, d, draws, seed=2)
    for ours, theirs in zip((null.explained_variance, null.r2), real, strict=False):
        error = np.hypot(ours.std(), theirs.std()) / np.sqrt(draws)
        assert abs(ours.mean() - theirs.mean()) <= 4.5 * error + 1e-12
    scores = (null.explained_variance, null.r2, null.heldout_r2, null.loo_r2)
    for ours, theirs in zip(scores, real, strict=True):
        # Two-sample Kolmogorov-Smirnov distance; 2.2 / sqrt(n / 2) has a chance of about 1e-4.
        grid = np.sort(np.concatenate([ours, theirs]))
        below = [np.searchsorted(np.sort(x), grid, side="right") / draws for x in (ours, theirs)]
        if d > 1:
            assert np.abs(below[0] - below[1]).max() < 2.2 / np.sqrt(draws / 2)


def test_the_null_knows_its_limits():
    steps, norms = np.arange(1, 121), np.ones(120)
    # In very high dimension the Gram matrix is min(s, t): eigenvalues 1 / (4 sin²(...)).
    gram = np.minimum.outer(steps, steps).astype(float)
    values, vectors = np.linalg.eigh(gram)
    null = random_walk_null(steps, norms, 10**12, 10, seed=0)
    assert null.explained_variance == pytest.approx(values[-1] / values.sum(), rel=1e-4)
    assert null.r2 == pytest.approx(float(linearity(steps, vectors[:, -1]).r2), rel=1e-4)


def test_the_null_does_not_depend_on_scale_and_repeats():
    steps, norms = np.arange(1, 11), np.linspace(1, 2, 10)
    one = random_walk_null(steps, norms, 50, 20, seed=3)
    two = random_walk_null(steps, norms * 1e-200, 50, 20, seed=3)
    assert one.r2 == pytest.approx(two.r2, rel=1e-9)
    assert np.array_equal(one.r2, random_walk_null(steps, norms, 50, 20, seed=3).r2)
    assert not np.array_equal(one.r2, random_walk_null(steps, norms, 50, 20, seed=4).r2)


def test_the_null_of_nothing_and_of_resting_steps():
    nothing = random_walk_null(np.arange(3), np.zeros(3), 9, 5, 0)
    assert isinstance(nothing, NullSample)
    assert np.isnan([getattr(nothing, name) for name in SCORES]).all()
    resting = random_walk_null(np.arange(1, 5), np.array([1.0, 0.0, 0.0, 0.0]), 9, 5, 0)
    assert resting.explained_variance == pytest.approx(1.0) and np.isnan(resting.r2).all()
    single = random_walk_null(np.array([1]), np.array([2.0]), 9, 5, 0)
    assert single.explained_variance == pytest.approx(1.0) and np.isnan(single.r2).all()


@pytest.mark.parametrize("count", [3, 8, 30])
def test_shuffled_steps_score_one_over_the_steps(count):
    steps = np.cumsum(np.random.default_rng(0).integers(1, 9, count))
    values = 0.1 * steps + np.random.default_rng(1).standard_normal(count)
    draws = 4000
    null = permuted_steps_null(steps, values, draws, seed=2)
    assert all(getattr(null, name).shape == (draws,) for name in SCORES)
    error = null.r2.std() / np.sqrt(draws)
    assert abs(null.r2.mean() - 1 / (count - 1)) <= 4.5 * error
    assert np.isnan(null.explained_variance).all() and null.loo_r2.mean() < 0
    assert np.isnan(null.heldout_r2).all() == (count < 4)
    again = permuted_steps_null(steps, values, draws, seed=2)
    assert np.array_equal(null.r2, again.r2)
    assert not np.array_equal(null.r2, permuted_steps_null(steps, values, draws, seed=3).r2)


def test_shuffling_a_constant_is_undefined():
    null = permuted_steps_null(np.arange(5), np.full(5, 0.1), 4, seed=0)
    assert np.isnan([getattr(null, name) for name in SCORES]).all()


def test_svd_of_gram_sums_over_columns():
    updates = gaussian(6, 64)
    halves = trajectory_gram(updates[:, :30]) + trajectory_gram(updates[:, 30:])
    one = svd_of_gram(halves, 2, np.arange(1, 7))
    two = trajectory_svd(updates, 2)
    assert one.singular_values == pytest.approx(two.singular_values, rel=1e-12)
    assert one.coefficients == pytest.approx(two.coefficients, abs=1e-12)


@settings(max_examples=25)
@given(
    count=st.integers(1, 6),
    columns=st.sampled_from([1, 300, 8192, 8192 * 2 + 17]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    seed=st.integers(0, 99),
)
def test_gram_from_saved_weights_is_that_of_the_differences(count, columns, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(count + 1, columns, generator=generator).to(dtype)
    updates = weights[1:].double() - weights[:1].double()
    gram = torch.zeros(count, count, dtype=torch.float64)
    accumulate_gram_of_weights(gram, weights)
    assert torch.allclose(gram, updates @ updates.mT, rtol=1e-12, atol=1e-12)


def stored_rows(count, columns, dtype=torch.bfloat16, scale=1e-4, seed=0):
    """Weights as a run stores them: a base and steps that drift away from it and wander."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(columns, generator=generator) * 0.02
    drift = torch.randn(columns, generator=generator)
    rows = [base.to(dtype)]
    for step in range(1, count + 1):
        noise = torch.randn(columns, generator=generator)
        rows.append((base + scale * (step * drift + noise)).to(dtype))
    return rows


@pytest.mark.parametrize("count", [1, 3, 20, 64])
@pytest.mark.parametrize("columns", [700, 16_384, 70_001])
def test_singular_values_of_stored_rows_are_those_in_float64(count, columns):
    """The smallest is a thousandth of σ1, where float32 products would lose 3e-8 of σ1."""
    rows = stored_rows(count, columns)
    wide = torch.stack(rows).double()
    exact = torch.linalg.svdvals(wide[1:] - wide[0])
    cuts = sorted({0, 513, columns // 3, columns})
    pieces = [
        [row[low:high] for row in rows] for low, high in zip(cuts[:-1], cuts[1:], strict=True)
    ]
    found = torch.linalg.eigvalsh(gram_of_stored(pieces, count)).flip(0).clamp(min=0.0).sqrt()
    assert float((found - exact).abs().max()) < 1e-9 * float(exact[0])


def test_only_large_16_bit_tensors_are_combined_in_float32():
    assert prediction_dtype(torch.bfloat16, 1 << 20) == torch.float32
    assert prediction_dtype(torch.float16, 1 << 20) == torch.float32
    assert prediction_dtype(torch.bfloat16, 1000) == torch.float64
    assert prediction_dtype(torch.float32, 1 << 20) == torch.float64


@pytest.mark.parametrize("scale", [1e-24, 0.0, 1e22])
def test_updates_whose_squares_leave_float32(scale):
    rows = stored_rows(2, 1 << 16)
    rows = [
        torch.zeros_like(rows[0]),
        *(((row - rows[0]).float() * scale).bfloat16() for row in rows[1:]),
    ]
    updates = torch.stack(rows[1:]).double()
    found = gram_of_stored([rows], 2)
    assert torch.allclose(found, updates @ updates.mT, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_combinations_of_stored_rows(dtype):
    rows = stored_rows(5, 20_000)
    weights = np.random.default_rng(0).standard_normal((2, 5)) * 10
    wide = torch.stack(rows).double()
    expected = wide[0] + torch.from_numpy(weights) @ (wide[1:] - wide[0])
    found = combine_stored(weights, rows, UpdateBlocks(5, dtype))
    assert found.dtype == dtype
    error = float((found - expected).abs().max())
    assert error <= (1e-7 if dtype == torch.float32 else 1e-15) * float(expected.abs().max())
