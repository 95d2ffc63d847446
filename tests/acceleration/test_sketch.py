import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_dynamics.acceleration.sketch import Sketch


def weights(count, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(count, dtype=np.float32))


@given(
    st.integers(1, 200_000),
    st.lists(st.floats(0, 1), max_size=5),
    st.sampled_from([32, 256, 4096]),
    st.integers(0, 3),
)
@settings(max_examples=60)
def test_shards_of_any_sharding_add_up_to_the_whole(count, shares, size, seed):
    whole = weights(count, seed)
    edges = sorted({0, count, *(int(share * count) for share in shares)})
    sketch = Sketch(size, seed)
    parts = [
        sketch.of([("w", low, whole[low:high])])
        for low, high in zip(edges[:-1], edges[1:], strict=True)
    ]
    assert torch.stack(parts).sum(0) == pytest.approx(sketch.of([("w", 0, whole)]), abs=1e-9)


def test_tensors_add_up_and_their_order_does_not_matter():
    sketch, tensors = Sketch(64), [("a", 0, weights(500)), ("b", 0, weights(70, 1))]
    together = sketch.of(tensors)
    assert together == pytest.approx(sketch.of(tensors[:1]) + sketch.of(tensors[1:]))
    assert together == pytest.approx(sketch.of(reversed(tensors)))
    assert sketch.of([]).tolist() == [0.0] * 64
    # A process may hold no row of a small tensor.
    assert sketch.of([("a", start, weights(0)) for start in (0, 7, 64)]).tolist() == [0.0] * 64


def test_the_sketch_of_a_change_is_the_change_of_the_sketch():
    # Multiples of a power of two, so that float32 holds their sum exactly.
    before, change = (torch.round(1024 * weights(30_000, seed)) / 1024 for seed in (0, 1))
    change = change / 64
    sketch = Sketch(256)
    found = sketch.of([("w", 0, before + change)]) - sketch.of([("w", 0, before)])
    assert found == pytest.approx(sketch.of([("w", 0, change)]), abs=1e-11)


def test_a_single_block_keeps_lengths_and_products():
    """Elements of one block never meet, so nothing is lost."""
    sketch, first, second = Sketch(64), weights(64), weights(64, 1)
    one, other = sketch.of([("w", 0, first)]), sketch.of([("w", 0, second)])
    assert float(one @ one) == pytest.approx(float(first.double() @ first.double()))
    assert float(one @ other) == pytest.approx(float(first.double() @ second.double()))


SIZE, COUNT = 64, 1024


def columns():
    """All the length in one column of a matrix whose rows are as long as the sketch."""
    return torch.nn.functional.pad(weights(COUNT // SIZE, 2)[:, None], (0, SIZE - 1)).flatten()


@pytest.mark.parametrize("first", [weights(COUNT), columns(), torch.ones(COUNT)])
@pytest.mark.parametrize("same", [True, False])
def test_products_are_unbiased_and_err_as_stated(first, same):
    second = first if same else first * 0.5 + weights(COUNT, 3)
    seeds = range(800)
    found = np.array(
        [
            float(sketch.of([("w", 0, first)]) @ sketch.of([("w", 0, second)]))
            for sketch in (Sketch(SIZE, seed) for seed in seeds)
        ]
    )
    x, y = first.double().numpy(), second.double().numpy()
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - x @ y) < 4 * error
    # Pairs of elements in different blocks meet with probability 1 / size.
    apart = np.arange(COUNT) // SIZE
    apart = apart[:, None] != apart
    pairs = np.outer(x, y)
    variance = float(np.sum(apart * (pairs**2 + pairs * pairs.T))) / SIZE
    assert found.std() == pytest.approx(np.sqrt(variance), rel=0.15)
    bound = (x @ x * (y @ y) + (x @ y) ** 2) / SIZE
    assert variance <= bound
    if same:
        assert bound == pytest.approx((Sketch(SIZE).relative_error * (x @ x)) ** 2)


def test_seeds_and_names_have_signs_of_their_own():
    values = weights(10_000)
    sketches = [
        Sketch(256, seed).of([(name, 0, values)]) for seed, name in ((0, "a"), (1, "a"), (0, "b"))
    ]
    cosines = torch.corrcoef(torch.stack(sketches))
    assert cosines.triu(1).abs().max() < 0.3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_weights_are_taken_as_they_are(dtype):
    values = weights(5000).to(dtype)
    sketch = Sketch(128)
    assert sketch.of([("w", 7, values)]).equal(sketch.of([("w", 7, values.float())]))


def test_what_would_be_rounded_is_refused():
    with pytest.raises(ValueError, match="w is wider"):
        Sketch().of([("w", 0, weights(4).double())])
    for size in (0, 16, 100):
        with pytest.raises(ValueError, match="power of two"):
            Sketch(size)
