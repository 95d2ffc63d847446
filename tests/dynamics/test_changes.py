import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_dynamics.dynamics import (
    UpdateBlocks,
    accumulate_gram_of_weights,
    changes_of,
    combine_stored,
    gram_of_stored,
)
from rlvr_dynamics.dynamics.changes import DENSE, increments_product

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def trained(count, columns, dtype=torch.bfloat16, share=0.1, seed=0):
    """A base and steps in which a share of the columns moves, in a tenth of the steps."""
    generator = torch.Generator().manual_seed(seed)
    moving = torch.rand(columns, generator=generator) < share
    rows = [(0.02 * torch.randn(columns, generator=generator)).to(dtype)]
    for _ in range(count):
        now = moving & (torch.rand(columns, generator=generator) < 0.1)
        moved = rows[-1].float() + 1e-3 * torch.randn(columns, generator=generator)
        rows.append(torch.where(now, moved.to(dtype), rows[-1]))
    return rows


def brute_force(rows):
    """M Mᵀ of the same bits in float64, with nothing left out."""
    wide = torch.stack(rows).double()
    return (wide[1:] - wide[0]) @ (wide[1:] - wide[0]).mT


def sigmas(gram):
    return torch.linalg.eigvalsh(gram).flip(0).clamp(min=0.0).sqrt()


@settings(max_examples=40, deadline=None)
@given(
    count=st.sampled_from([1, 2, 7, 60]),
    columns=st.sampled_from([1, 2, 513, 9000]),
    dtype=st.sampled_from(DTYPES),
    share=st.sampled_from([0.0, 0.05, 0.4, 0.6, 1.0]),
    seed=st.integers(0, 99),
)
def test_active_columns_are_all_that_changed_and_give_the_same_gram_matrix(
    count, columns, dtype, share, seed
):
    rows = trained(count, columns, dtype, share, seed)
    changes = changes_of(rows)
    stacked = torch.stack(rows)
    active = (stacked != stacked[0]).any(0)
    if float(active.double().mean()) > DENSE:
        assert changes.columns is None and all(map(torch.equal, changes.rows, rows))
    else:
        assert changes.columns is not None
        assert torch.equal(changes.columns, active.nonzero()[:, 0])
        assert torch.equal(torch.stack(tuple(changes.rows)), stacked[:, active])
    assert torch.equal(changes.base, rows[0])
    exact = brute_force(rows)
    found = gram_of_stored([changes.rows], count)
    assert torch.allclose(found, exact, rtol=1e-12, atol=1e-12 * float(exact.max()))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("count", [4, 64, 130])
def test_singular_values_are_those_of_the_same_bits_in_float64(dtype, share, count):
    rows = trained(count, 20_000, dtype, share)
    exact = sigmas(brute_force(rows))
    found = sigmas(gram_of_stored([changes_of(rows).rows], count))
    assert float((found - exact).abs().max()) < 1e-9 * float(exact[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_rare_changes_are_multiplied_as_increments(dtype):
    rows = torch.stack(trained(80, 3000, dtype, share=0.6))
    found = increments_product(rows)
    exact = brute_force(list(rows))
    assert found is not None and torch.equal(found, found.mT)
    assert float((found - exact).abs().max()) < 1e-14 * float(exact.max())
    gram = torch.ones(80, 80, dtype=torch.float64)
    accumulate_gram_of_weights(gram, rows)
    assert torch.equal(gram, 1.0 + found)
    assert torch.equal(gram_of_stored([rows.unbind()], 80), found)


def test_frequent_changes_and_few_steps_are_multiplied_densely():
    generator = torch.Generator().manual_seed(0)
    often = torch.randn(81, 300, generator=generator)
    assert increments_product(often) is None
    assert increments_product(often[:20].clone()) is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_many_steps_that_change_everything_keep_a_symmetric_gram_matrix(dtype):
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(140, 16_500, generator=generator).to(dtype)
    gram = torch.zeros(139, 139, dtype=torch.float64)
    accumulate_gram_of_weights(gram, weights)
    assert torch.allclose(gram, gram.mT, rtol=1e-14)
    exact = brute_force(list(weights))
    assert float((gram - exact).abs().max()) < 1e-13 * float(exact.max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_predictions_are_those_of_all_columns_and_keep_the_base_elsewhere(dtype, share):
    rows = trained(6, 5000, dtype, share)
    rows[0][17] = -0.0
    for row in rows[1:]:
        row[17] = -0.0
    weights = np.random.default_rng(0).standard_normal((3, 6))
    blocks = UpdateBlocks(6, torch.float64)
    changes = changes_of(rows)
    moved = combine_stored(weights, changes.rows, blocks).to(dtype)
    found = torch.stack([changes.spread(row) for row in moved])
    dense = combine_stored(weights, rows, blocks).to(dtype)
    assert torch.equal(found, dense)
    still = (torch.stack(rows) == rows[0]).all(0)
    bits = {4: torch.int32, 2: torch.int16}[rows[0].element_size()]
    if share < 1.0:
        assert torch.equal(
            found[:, still].view(bits), rows[0][still].view(bits).expand(3, -1).contiguous()
        )


def test_bits_count_as_they_are_stored():
    base = torch.tensor([0.0, float("nan"), 1.0, 2.0, 3.0])
    after = torch.tensor([-0.0, float("nan"), 1.0, 2.0, 3.0])
    assert changes_of([base, after]).columns.tolist() == [0]
