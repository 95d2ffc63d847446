import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_dynamics.dynamics import update_spectrum, update_svd


def gaussian(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def with_spectrum(shape, sigma, seed=0):
    m, n = shape
    u = torch.linalg.qr(gaussian(m, len(sigma), seed=seed))[0]
    v = torch.linalg.qr(gaussian(n, len(sigma), seed=seed + 1))[0]
    return (u * torch.as_tensor(sigma)) @ v.mT


def decaying(shape, second=0.7, seed=0):
    """A bfloat16 update as training leaves it: a falling spectrum on a floor of noise."""
    sigma = np.arange(1, 121) ** -0.7
    sigma[1:] *= second / sigma[1]
    base = 0.02 * gaussian(*shape, seed=seed + 2)
    moved = base + 2e-2 * with_spectrum(shape, sigma, seed) + 1e-6 * gaussian(*shape, seed=seed + 3)
    return moved.bfloat16().float() - base.bfloat16().float()


def residual_of(delta, svd):
    wide = delta.double()
    right = (wide @ svd.v - svd.u * svd.singular_values).norm(dim=0)
    left = (wide.mT @ svd.u - svd.v * svd.singular_values).norm(dim=0)
    return float(torch.maximum(right, left).max() / svd.singular_values[0])


def assert_orthonormal(*sides):
    for side in sides:
        unit = torch.eye(side.shape[1], dtype=torch.float64)
        assert float((side.mT @ side - unit).abs().max()) < 1e-10


@pytest.mark.parametrize("shape", [(400, 900), (900, 400), (512, 512)])
@pytest.mark.parametrize("k", [1, 4])
def test_large_updates_take_few_passes_and_keep_the_bound(shape, k):
    delta = decaying(shape)
    svd = update_svd(delta, k)
    u, sigma, vt = torch.linalg.svd(delta.double(), full_matrices=False)
    assert svd.method == "krylov" and 0 < svd.passes <= 40
    assert svd.residual <= 1e-5
    # The one reported is computed with float32 products.
    assert svd.residual == pytest.approx(residual_of(delta, svd), rel=0.05, abs=1e-6)
    assert float((svd.singular_values - sigma[:k]).abs().max()) < 1e-6 * float(sigma[0])
    assert float((svd.u[:, 0] @ u[:, 0]).abs()) > 1 - 1e-8
    assert float((svd.v[:, 0] @ vt[0]).abs()) > 1 - 1e-8
    assert svd.frobenius == pytest.approx(float(delta.double().norm()), rel=1e-7)
    assert_orthonormal(svd.u, svd.v)


def test_the_same_seed_gives_the_same_answer_and_another_one_agrees():
    delta = decaying((300, 500))
    one, two, other = (update_svd(delta, 2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.u, two.u) and torch.equal(one.singular_values, two.singular_values)
    assert not torch.equal(one.u, other.u)
    assert torch.allclose(one.singular_values, other.singular_values, rtol=1e-6)


@pytest.mark.parametrize("shape", [(400, 700), (700, 400)])
def test_a_start_from_the_step_before_saves_passes(shape):
    before = decaying(shape)
    delta = before + 3e-6 * gaussian(*shape, seed=9).float()
    cold = update_svd(delta, 1, tolerance=1e-4)
    warm = update_svd(delta, 1, tolerance=1e-4, start=update_svd(before, 1).v)
    assert warm.method == cold.method == "krylov"
    assert warm.passes < cold.passes
    assert torch.allclose(warm.singular_values, cold.singular_values, rtol=1e-6)
    wide = update_svd(delta, 1, start=update_svd(before, 6).v)
    assert wide.method == "krylov" and wide.residual <= 1e-5


@pytest.mark.parametrize("shape", [(300, 500), (500, 300)])
def test_a_start_on_the_second_vector_is_not_taken_for_the_first(shape):
    sigma = np.concatenate([[1.0, 0.97], 0.3 * np.arange(1, 250) ** -0.5])
    delta = with_spectrum(shape, sigma).float()
    exact = torch.linalg.svd(delta.double(), full_matrices=False)
    for start in (exact.Vh[1:2].mT, exact.Vh[1:4].mT, torch.zeros(shape[1], 2)):
        svd = update_svd(delta, 1, start=start)
        assert svd.method == "krylov"
        assert float(svd.singular_values[0]) == pytest.approx(1.0, rel=1e-6)
        assert float((svd.u[:, 0] @ exact.U[:, 0]).abs()) > 1 - 1e-8


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_flat_spectrum_is_decomposed_in_full(dtype):
    delta = with_spectrum((600, 640), np.linspace(1, 0.99, 600)).to(dtype)
    svd = update_svd(delta, 6)
    assert svd.method == "gram" and svd.passes == 48
    assert svd.residual < 1e-12
    exact = torch.linalg.svdvals(delta.double())
    assert torch.allclose(svd.singular_values, exact[:6], rtol=1e-12)


def test_equal_singular_values_have_vectors_of_their_space():
    delta = torch.linalg.qr(gaussian(400, 300))[0].float()
    svd = update_svd(delta, 3)
    assert torch.allclose(svd.singular_values, torch.ones(3, dtype=torch.float64), rtol=1e-6)
    assert residual_of(delta, svd) < 1e-5
    assert_orthonormal(svd.u, svd.v)


@pytest.mark.parametrize("shape", [(300, 400), (400, 300)])
@pytest.mark.parametrize("rank", [1, 3])
def test_triples_beyond_the_rank_of_a_large_update(shape, rank):
    delta = torch.zeros(shape)
    delta[:rank, :rank] = torch.diag(torch.arange(rank, 0, -1.0))
    svd = update_svd(delta, 4)
    expected = torch.tensor([float(max(rank - i, 0)) for i in range(4)], dtype=torch.float64)
    assert torch.allclose(svd.singular_values, expected, atol=1e-5 * rank)
    assert svd.residual <= 1e-5 and residual_of(delta, svd) < 2e-5
    assert_orthonormal(svd.u, svd.v)


@pytest.mark.parametrize("shape", [(3, 5), (300, 400)])
@pytest.mark.parametrize("scale", [1e-12, 1e-30, 1e-40, 1e30])
def test_tiny_and_huge_updates(shape, scale):
    s = min(shape)
    sigma = 0.5 ** np.arange(s)
    delta = (scale * with_spectrum(shape, sigma)).float()
    svd = update_svd(delta, 2)
    exact = torch.linalg.svdvals(delta.double() / scale) * scale
    assert torch.allclose(svd.singular_values / scale, exact[:2] / scale, rtol=1e-6)
    assert svd.frobenius / scale == pytest.approx(float((delta.double() / scale).norm()), rel=1e-6)
    assert residual_of(delta.double() / scale, update_svd(delta.double() / scale, 2)) <= 1.1e-5
    assert torch.allclose(update_spectrum(delta) / scale, exact / scale, atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (4, 6), (300, 280)])
def test_no_update_has_unit_vectors_and_no_residual(shape):
    svd = update_svd(torch.zeros(shape), 3)
    assert (svd.frobenius, svd.residual, svd.passes) == (0.0, 0.0, 0)
    assert svd.singular_values.shape == (min(3, *shape),) and not svd.singular_values.any()
    assert_orthonormal(svd.u, svd.v)
    assert not update_spectrum(torch.zeros(shape)).any()


def test_one_element():
    svd = update_svd(torch.tensor([[-2.5]]), 4)
    assert float(svd.singular_values) == svd.frobenius == 2.5
    assert float(svd.u * svd.v) == -1.0
    assert update_spectrum(torch.tensor([[-2.5]])).tolist() == [2.5]


@pytest.mark.parametrize("k", [100, 299, 300, 1000])
def test_many_triples_of_a_large_update(k):
    delta = gaussian(300, 400).float()
    svd = update_svd(delta, k)
    sigma = torch.linalg.svdvals(delta.double())
    assert svd.method == "gram" and svd.passes == 0
    assert torch.allclose(svd.singular_values, sigma[:k], rtol=1e-10)
    assert_orthonormal(svd.u, svd.v)


def test_vectors_stay_orthonormal_where_the_gram_matrix_loses_them():
    delta = with_spectrum((40, 60), np.logspace(0, -13, 40))
    svd = update_svd(delta, 40)
    assert_orthonormal(svd.u, svd.v)
    assert svd.residual == pytest.approx(residual_of(delta, svd), rel=1e-3, abs=1e-14)
    loose, strict = (update_svd(delta, 20, tolerance=bound) for bound in (1e-5, 1e-13))
    assert (loose.method, strict.method) == ("gram", "full")
    assert strict.residual < 1e-14 < loose.residual < 1e-7
    assert_orthonormal(loose.u, loose.v, strict.u, strict.v)


@settings(max_examples=40)
@given(st.integers(1, 14), st.integers(1, 14), st.integers(1, 16), st.integers(0, 999))
def test_invariants_of_any_small_update(m, n, k, seed):
    delta = gaussian(m, n, seed=seed) @ torch.diag(torch.arange(n) % 3).double()
    svd = update_svd(delta, k)
    kept = min(k, m, n)
    assert svd.singular_values.shape == (kept,)
    assert svd.u.shape == (m, kept) and svd.v.shape == (n, kept)
    assert_orthonormal(svd.u, svd.v)
    assert bool((svd.singular_values.diff() <= 1e-12).all())
    assert torch.allclose(svd.singular_values, torch.linalg.svdvals(delta)[:kept], atol=1e-12)
    if n > 1:
        assert residual_of(delta, svd) < 1e-9


def test_what_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        update_svd(torch.ones(2, 2), 0)
    for bad in (float("nan"), float("inf"), -float("inf")):
        delta = torch.ones(2, 3)
        delta[1, 1] = bad
        for refuse in (lambda x: update_svd(x, 1), update_spectrum):
            with pytest.raises(ValueError, match="NaN or infinity"):
                refuse(delta)


@pytest.mark.parametrize("shape", [(30, 50), (50, 30)])
def test_a_spectrum_over_ten_orders_is_exact(shape):
    sigma = torch.logspace(0, -10, 30, dtype=torch.float64)
    delta = with_spectrum(shape, sigma)
    assert float((update_spectrum(delta) - sigma).abs().max()) < 1e-13
    # The Gram matrix alone would not have told the small ones from rounding.
    gram = torch.linalg.eigvalsh(delta @ delta.mT).flip(0)[:30].clamp(min=0.0).sqrt()
    assert float((gram - sigma).abs().max()) > 1e-10


def test_a_spectrum_far_from_zero_is_exact():
    sigma = torch.linspace(3, 0.5, 40, dtype=torch.float64)
    assert torch.allclose(update_spectrum(with_spectrum((90, 40), sigma)), sigma, rtol=1e-12)
