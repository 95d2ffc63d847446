"""The path clock, and the averages that a forecast must beat, in closed form."""

import numpy as np
import pytest
import torch

from rlvr_dynamics.dynamics import linearity
from rlvr_dynamics.dynamics.clock import continued_path, even_spacing, power_law, step_lengths
from rlvr_dynamics.errors import TooLittle
from rlvr_dynamics.extrapolation import EXTRAPOLATORS
from rlvr_dynamics.extrapolation.on_clock import tensors_on_step
from tests.support.extrapolation_fixture import NORM, UP, build, gaussian, load, stack, wandering

STEPS = tuple(range(1, 31))


def bent(step, exponent=-0.5):
    """Length of a path whose steps shrink by a power law."""
    return float(np.sum(np.arange(1, step + 1, dtype=float) ** exponent))


def on_a_bent_line(steps):
    base, direction = gaussian(0), gaussian(1)
    return {0: base} | {
        step: {name: base[name] + 0.01 * bent(step) * direction[name] for name in base}
        for step in steps
    }


def predicted(method, trajectory, observe, target, out, **settings):
    (made,) = EXTRAPOLATORS[method].run(trajectory, observe, [target], out, **settings)
    return load(made)


def test_a_straight_line_on_a_bent_clock_is_straight_on_the_path_alone():
    steps = np.array(STEPS)
    position = np.array([bent(step) for step in STEPS])
    gram = np.outer(position, position)
    path = np.cumsum(step_lengths(gram))
    on_path, on_step = linearity(path, position), linearity(steps, position)
    assert on_path.heldout_r2 == pytest.approx(1.0, abs=1e-9)
    assert on_step.heldout_r2 < 0.5
    np.testing.assert_allclose(path, position, rtol=1e-9)


def test_a_power_law_is_continued_exactly_and_constant_steps_are_repeated():
    steps = np.array(STEPS)
    lengths = steps**-0.5
    targets = np.array([10, 31, 100])
    exact = [bent(10), bent(31), bent(100)]
    found = continued_path(steps, lengths, targets, "power_law")
    np.testing.assert_allclose(found, exact, rtol=1e-12)
    assert power_law(steps, lengths)[0] == pytest.approx(-0.5)
    rising = np.arange(9) / 10  # a warm-up from a rate of 0, longer than the window
    found = continued_path(np.arange(1, 10), rising, np.array([19]), "power_law")
    np.testing.assert_allclose(found, [rising.sum() + 10 * 0.8], rtol=0.02)
    mean = lengths[10:].mean()
    found = continued_path(steps, lengths, np.array([40]), "constant")
    np.testing.assert_allclose(found, [bent(30) + 10 * mean], rtol=1e-12)


def test_a_noisy_path_is_continued_by_the_least_squares_line_through_the_logarithms():
    generator = np.random.default_rng(2)
    steps = np.array(STEPS)
    lengths = 0.3 * steps**-0.4 * np.exp(0.2 * generator.standard_normal(len(steps)))
    lengths[15] = 0.0  # a step that did not move is no point of the line
    late = np.flatnonzero((np.arange(len(steps)) >= 10) & (lengths > 0.0))
    slope, level = np.polyfit(np.log(steps[late]), np.log(lengths[late]), 1)
    exact = lengths.sum() + sum(np.exp(level) * step**slope for step in range(31, 91))
    found = continued_path(steps, lengths, np.array([90]), "power_law")
    assert found[0] == pytest.approx(exact, rel=1e-9)


def test_every_tenth_checkpoint_has_the_same_clock():
    steps = np.array(STEPS) * 10
    lengths = (steps / 10.0) ** -0.5
    found = continued_path(steps, lengths, np.array([310, 305]), "power_law")
    assert found[0] == pytest.approx(bent(31))
    assert found[1] == pytest.approx((bent(30) + bent(31)) / 2)
    assert even_spacing(steps) == 10.0
    assert even_spacing(np.array([1, 2, 4])) is None
    assert even_spacing(np.array([2, 3, 4])) is None


@pytest.mark.parametrize("method", ["relex", "weight_extrapolation"])
def test_a_bent_line_is_continued_without_error_on_the_path_clock(tmp_path, method):
    weights = on_a_bent_line([*STEPS, 120])
    trajectory = build(tmp_path, {step: weights[step] for step in (0, *STEPS)})
    exact = weights[120]
    path = predicted(method, trajectory, 30, 120, tmp_path / "path", clock="path")
    line = predicted(method, trajectory, 30, 120, tmp_path / "line")
    for name in path:
        if name == NORM and method == "weight_extrapolation":
            continue
        size = (exact[name] - weights[0][name]).norm()
        assert (path[name].double() - exact[name]).norm() < 1e-4 * size
        assert (line[name].double() - exact[name]).norm() > 0.3 * size


def test_a_clock_that_cannot_be_computed_is_named(tmp_path):
    uneven = build(tmp_path / "gaps", wandering((1, 2, 4, 8, 9)))
    with pytest.raises(TooLittle, match="path clock needs checkpoints at even steps"):
        predicted("relex", uneven, 9, 20, tmp_path / "out", clock="path")
    short = build(tmp_path / "short", wandering((1, 2, 3)))
    with pytest.raises(TooLittle, match="needs at least 4"):
        predicted("relex", short, 3, 20, tmp_path / "out", clock="path")
    resting = wandering((1, 2, 3, 4, 5))
    for step in (2, 3, 4, 5):
        resting[step] = resting[1]
    trajectory = build(tmp_path / "resting", resting)
    settings = {"clock": "path", "continuation": "constant"}
    (made,) = EXTRAPOLATORS["relex"].run(trajectory, 5, [9], tmp_path / "out2", **settings)
    assert (
        "no step but the first moved (5 of 5 tensors)"
        in (made.folder / "manifest.json").read_text()
    )
    assert tensors_on_step(made.remarks) == 5


def test_tensors_that_stay_on_the_step_number_are_counted_also_when_they_are_found_again(tmp_path):
    """Two matrices rest after the first step, a third has too few steps for a power law."""
    weights = wandering((1, 2, 3, 4, 5, 6))
    resting = list(weights[0])[:2]
    for step in (2, 3, 4, 5, 6):
        for name in resting:
            weights[step][name] = weights[1][name]
        if step in (3, 4, 5):
            weights[step][UP] = weights[2][UP]
    trajectory = build(tmp_path / "run", weights)
    for method, clock, count in (
        ("relex", "path", 3),
        ("relex", "step", 0),
        ("weight_extrapolation", "path", 3),
    ):
        for _ in range(2):
            (made,) = EXTRAPOLATORS[method].run(trajectory, 6, [9], tmp_path / clock, clock=clock)
            assert tensors_on_step(made.remarks) == count, (method, clock)


def warming(steps, warm_up=8):
    """Optimizer time of a linear warm-up whose first step has a rate of 0."""
    rates = [1e-5 * min(step / warm_up, 1.0) for step in range(steps)]
    return dict(enumerate(np.cumsum([0.0, *rates])))


@pytest.mark.parametrize("method", ["relex", "weight_extrapolation"])
def test_weights_that_follow_the_learning_rate_are_continued_without_error(tmp_path, method):
    times, base, direction = warming(60), gaussian(0), gaussian(1)
    weights = {
        step: {name: base[name] + 1e3 * times[step] * direction[name] for name in base}
        for step in (*range(13), 60)
    }
    trajectory = build(tmp_path, {step: weights[step] for step in range(13)})
    run = {"times": times, "clock": "optimizer"}
    timed = predicted(method, trajectory, 12, 60, tmp_path / "timed", **run)
    line = predicted(method, trajectory, 12, 60, tmp_path / "line", times=times)
    for name in timed:
        if name == NORM and method == "weight_extrapolation":
            continue
        size = (weights[60][name] - weights[0][name]).norm()
        assert (timed[name].double() - weights[60][name]).norm() < 1e-4 * size
        assert (line[name].double() - weights[60][name]).norm() > 0.1 * size
    # A longer schedule is another prediction, but not of a method on the step number.
    again = EXTRAPOLATORS[method].run(trajectory, 12, [60], tmp_path / "line", times=warming(99))
    assert "optimizer" not in (again[0].folder / "manifest.json").read_text()


def test_optimizer_time_that_is_unknown_or_the_step_number_is_named(tmp_path):
    trajectory = build(tmp_path / "run", wandering(range(1, 7)))
    for times, words in (
        ({}, "rates up to step 1 are not on record"),
        (warming(8), "rates up to step 9 are not on record"),
        ({step: 3e-5 * step for step in range(10)}, "the learning rate was constant"),
        ({step: float(step > 6) for step in range(10)}, "the learning rate was 0"),
    ):
        for method in ("relex", "weight_extrapolation"):
            with pytest.raises(TooLittle, match=words):
                predicted(
                    method, trajectory, 6, 9, tmp_path / "out", times=times, clock="optimizer"
                )


def test_averages_are_means_of_the_checkpoints_they_name(tmp_path):
    weights = wandering((1, 2, 3, 4))
    trajectory = build(tmp_path, weights)
    mean = predicted("average", trajectory, 4, 9, tmp_path / "mean", last=3)
    decayed = predicted("average", trajectory, 4, 9, tmp_path / "ema", kind="ema", decay=0.5)
    share = torch.tensor([0.125, 0.25, 0.5, 1.0], dtype=torch.float64) / 1.875
    for name in mean:
        rows = torch.stack([weights[step][name] for step in (1, 2, 3, 4)])
        torch.testing.assert_close(mean[name].double(), rows[1:].mean(0), rtol=1e-6, atol=1e-6)
        expected = torch.einsum("t,t...->...", share, rows)
        torch.testing.assert_close(decayed[name].double(), expected, rtol=1e-6, atol=1e-6)


def modes(steps):
    """Two modes of a linear iteration, W_t = W* + 0.8^t a + 0.5^t b; W* the limit."""
    start, one, two = gaussian(0), gaussian(1), gaussian(2)
    return {
        step: {n: start[n] + 0.8**step * one[n] + 0.5**step * two[n] for n in start}
        for step in (0, *steps)
    }, start


def test_reduced_rank_extrapolation_finds_the_limit_of_a_linear_iteration(tmp_path):
    weights, limit = modes((1, 2, 3, 4))
    trajectory = build(tmp_path, weights)
    exact = predicted("reduced_rank", trajectory, 4, 99, tmp_path / "a", damping=0.0, last=3)
    held = predicted("reduced_rank", trajectory, 4, 99, tmp_path / "b", cap=0.0)
    half = predicted("reduced_rank", trajectory, 4, 99, tmp_path / "c", damping=0.0, cap=0.1)
    for name in exact:
        torch.testing.assert_close(exact[name].double(), limit[name], rtol=1e-3, atol=1e-3)
        assert torch.equal(held[name], weights[4][name].float())
        moved = (half[name].double() - weights[4][name].float().double()).norm()
        whole = stack(weights, name, (4,)).norm()
        assert moved == pytest.approx(0.1 * float(whole), rel=1e-3)
