"""The number of updates between stored steps, recovered from files that a real AdamW has made."""

import math

import numpy as np
import pytest
import torch

from rlvr_dynamics.dynamics import (
    BITS,
    UPDATES,
    Range,
    adam_moves,
    changed_shares,
    exponent_counts,
    step_sizes,
    updates_range,
)

RATE, STEPS, COUNT = 1e-6, 16, 40_000
SAVED = np.arange(1, STEPS + 1)


def trained(updates, gradients, dtype, rates):
    """Shares of changed values and step sizes of float32 weights from `dtype`, by torch's AdamW."""
    generator = torch.Generator().manual_seed(updates)

    def drawn():
        return torch.randn(COUNT, generator=generator)

    start = (0.02 * drawn()).to(dtype)
    weight = torch.nn.Parameter(start.float())
    optimizer = torch.optim.AdamW([weight], lr=RATE, weight_decay=0.01)
    size, direction = 10 ** (drawn() - 4), drawn().sign()
    shares, sizes, before, exact = [], [], start, weight.detach().clone()
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        for _ in range(updates):
            noise = drawn()
            both = {"noise": noise, "coherent": direction, "mixed": noise + 0.5 * direction}
            weight.grad = size * both[gradients]
            optimizer.step()
        now, moved = weight.detach().to(dtype), weight.detach() - exact
        shares.append(float((now != before).float().mean()))
        sizes.append(float(moved.square().mean().sqrt()))
        before, exact = now, weight.detach().clone()
    return start, np.array(shares), np.array(sizes)


def expected(start, dtype, moves):
    counts = exponent_counts(start)
    ulps = 2.0 ** (np.flatnonzero(counts) - 127.0 - BITS[str(dtype).removeprefix("torch.")])
    held = counts[counts > 0] / counts.sum()
    shares, sizes = [], []
    for kind in moves:
        shares.append(np.array([(changed_shares(each, ulps) @ held).sum() for each in kind]))
        sizes.append(np.array([step_sizes(each).sum() for each in kind]))
    return shares, sizes


@pytest.mark.parametrize(
    ("dtype", "warmup"), [(torch.bfloat16, 0), (torch.bfloat16, 5), (torch.float16, 0)]
)
def test_the_range_covers_the_true_number_and_its_ends_are_the_two_extremes(dtype, warmup):
    rates = RATE * (np.minimum(1.0, np.arange(STEPS) / warmup) if warmup else np.ones(STEPS))
    moves = [
        [adam_moves(rates, SAVED, k, coherent=kind) for k in UPDATES] for kind in (False, True)
    ]
    for updates in (1, 2, 4, 16):
        for gradients in ("noise", "mixed", "coherent"):
            start, shares, sizes = trained(updates, gradients, dtype, rates)
            known = expected(start, dtype, moves)
            for observed, (noise, coherent) in zip((shares, sizes), known, strict=True):
                found = updates_range(observed.sum(), noise, coherent)
                case = (updates, gradients, found)
                assert found.low <= 1.1 * updates and found.high >= 0.9 * updates, case
                if gradients == "noise":
                    assert found.high == pytest.approx(updates, rel=0.1), case
                if gradients == "coherent":
                    assert found.low == pytest.approx(updates, rel=0.1), case


def test_a_gradient_that_never_changes_moves_by_the_learning_rate():
    rates = np.array([1.0, 0.5, 0.5])
    moves = adam_moves(rates, np.array([1, 3]), 4, coherent=True)
    np.testing.assert_allclose(moves, [[-4.0], [-8.0]])
    # Of a spacing of 8 only the second saved step crosses the middle, and 0.5 is crossed by both.
    np.testing.assert_array_equal(changed_shares(moves, np.array([8.5, 0.5])), [[0, 1], [1, 1]])
    np.testing.assert_allclose(step_sizes(moves), [4.0, 4.0])


def test_noise_moves_least():
    moves = adam_moves(np.ones(400), np.array([399, 400]), 1, coherent=False)
    # The first moment averages 19 gradients; over many updates each counts in full.
    assert np.std(moves[1] - moves[0]) == pytest.approx(math.sqrt(1 / 19), rel=0.1)
    assert np.std(moves[1]) == pytest.approx(math.sqrt(400), rel=0.15)


def test_what_the_files_cannot_tell_is_no_number():
    noise, coherent = np.linspace(0.1, 0.7, 7), np.linspace(0.4, 2.8, 7)
    assert updates_range(0.05, noise, coherent) == Range(0.0, 1.0)
    assert updates_range(0.8, noise, coherent) == Range(2.0, math.inf)
    assert updates_range(0.3, noise, coherent).high == pytest.approx(4.0)
    for observed, flat in ((math.nan, noise), (0.0, noise), (1.0, np.ones(7))):
        found = updates_range(observed, flat, coherent)
        assert math.isnan(found.low) and math.isnan(found.high)


def test_exponents_are_counted_where_the_weights_lie():
    counts = exponent_counts(torch.tensor([1.0, -1.5, 0.75, 2.0**-20, 0.0], dtype=torch.float16))
    # The smallest normal number of a float16 is 2^-14.
    assert {int(place) - 127: int(counts[place]) for place in np.flatnonzero(counts)} == {
        0: 2,
        -1: 1,
        -14: 2,
    }
