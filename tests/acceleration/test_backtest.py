import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_dynamics.acceleration.backtest import backtest
from rlvr_dynamics.acceleration.sketch import Sketch
from rlvr_dynamics.dynamics import trajectory_gram


def gram_of(increments):
    return trajectory_gram(torch.from_numpy(np.cumsum(increments, axis=0))).numpy()


def along_one_line(lengths):
    """Steps of these lengths along one direction."""
    return gram_of(np.asarray(lengths, dtype=np.float64)[:, None] * np.full((1, 4), 0.5))


STEPS = np.arange(1, 17)


def test_a_straight_path_is_continued_perfectly():
    found = backtest(STEPS, along_one_line(np.ones(16)), 4)
    assert (found.skill, found.scale, found.best_skill) == pytest.approx((1, 1, 1))
    assert found.standard_error == pytest.approx(0, abs=1e-9) and found.worth_trying
    assert [(cut.anchor, cut.step, cut.target, cut.factor) for cut in found.cuts] == [
        (0, 12, 16, 4 / 3),
        (0, 8, 12, 1.5),
    ]


@pytest.mark.parametrize(("horizon", "line"), [(1, 15), (4, 12), (8, 8)])
def test_of_a_random_walk_nothing_can_be_said(horizon, line):
    """SSE is h + (h / m)² m, and h is held's, so the skill is -h / m."""
    found = backtest(STEPS, gram_of(np.eye(16)), horizon, most=1)
    assert found.cuts[0].step == line
    assert found.skill == pytest.approx(-horizon / line)
    assert found.scale == pytest.approx(0, abs=1e-12)
    assert found.best_skill == pytest.approx(0, abs=1e-12)
    assert not found.worth_trying


def test_the_scale_is_what_the_move_should_have_been():
    """From step 12 on the steps are half as long, so half the move would have been right."""
    found = backtest(STEPS, along_one_line([1.0] * 12 + [0.5] * 4), 4, most=1)
    assert found.scale == pytest.approx(0.5) and found.best_skill == pytest.approx(1)
    assert found.skill == pytest.approx(0)


@pytest.mark.parametrize("power", [-0.3, -0.7])
def test_the_path_clock_follows_steps_that_shrink(power):
    gram = along_one_line(STEPS**power)
    path, number = (backtest(STEPS, gram, 4, clock=clock) for clock in ("path", "step"))
    assert path.skill == pytest.approx(1, abs=1e-9) and number.skill < 0.95
    assert number.scale < 1 == pytest.approx(path.scale)


def test_the_line_is_as_long_as_the_jumps_where_the_steps_go_back_that_far():
    found = backtest(np.arange(1, 21), gram_of(np.eye(20)), 5, anchor=10)
    assert [(cut.anchor, cut.step, cut.target) for cut in found.cuts] == [
        (5, 15, 20),
        (0, 10, 15),
        (0, 5, 10),
    ]
    few = backtest(np.arange(1, 21), gram_of(np.eye(20)), 5)
    assert [(cut.anchor, cut.step) for cut in few.cuts] == [(0, 15), (0, 10)]


def test_steps_after_a_jump_use_the_path_before_it():
    lengths = np.arange(1.0, 31.0) ** -0.5
    gram = along_one_line(lengths[20:])
    steps = np.arange(21, 31)
    found = backtest(steps, gram, 3, clock="path", before=lengths[:20])
    assert found.skill == pytest.approx(1, abs=1e-9)
    assert [cut.anchor for cut in found.cuts] == [20] * len(found.cuts)
    alone = backtest(steps, gram, 3, clock="path")
    assert 0.99 < alone.skill < 0.999999


def test_checkpoints_every_few_steps_are_counted_in_steps():
    found = backtest(5 * STEPS, along_one_line(np.ones(16)), 20, anchor=40)
    assert found.skill == pytest.approx(1)
    assert (found.cuts[0].anchor, found.cuts[0].step, found.cuts[0].factor) == (20, 60, 1.5)


@pytest.mark.parametrize(
    ("steps", "gram", "horizon"),
    [
        (STEPS, along_one_line(np.ones(16)), 16),
        (np.array([1]), along_one_line([1.0]), 1),
        (STEPS, np.zeros((16, 16)), 4),
    ],
)
def test_without_evidence_nothing_is_tried(steps, gram, horizon):
    found = backtest(steps, gram, horizon)
    assert math.isnan(found.skill) and not found.worth_trying


def test_a_path_that_stands_still_is_tested_on_the_step_number():
    lengths = np.r_[1.0, np.zeros(11), np.ones(4)]
    found = backtest(STEPS, along_one_line(lengths), 4, clock="path", most=1)
    assert "step number" in found.cuts[0].remark
    assert found.cuts[0].factor == pytest.approx(4 / 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": np.array([1, 2, 4])},
        {"anchor": 3},
        {"anchor": 7},
        {"horizon": 0},
        {"steps": np.array([2, 4, 6]), "horizon": 3},
        {"before": np.ones(2)},
    ],
)
def test_what_does_not_fit_is_refused(changes):
    arguments = {"steps": np.array([1, 2, 3]), "gram": np.eye(3), "horizon": 1} | changes
    with pytest.raises(ValueError, match="step"):
        backtest(**arguments)


@given(st.integers(0, 1000), st.floats(0, 1), st.integers(1, 8), st.sampled_from(["step", "path"]))
@settings(max_examples=40)
def test_hindsight_is_never_worse_and_units_do_not_matter(seed, drift, horizon, clock):
    generator = np.random.default_rng(seed)
    increments = drift * generator.standard_normal(30) + generator.standard_normal((16, 30))
    found = backtest(STEPS, gram_of(increments), horizon, clock=clock)
    assert found.skill <= found.best_skill + 1e-9 <= 1 + 1e-8
    assert min(cut.skill for cut in found.cuts) - 1e-9 <= found.skill
    assert found.skill <= max(cut.skill for cut in found.cuts) + 1e-9
    other = backtest(STEPS, 1e-8 * gram_of(increments), horizon, clock=clock)
    assert other.skill == pytest.approx(found.skill, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("clock", ["step", "path"])
@pytest.mark.parametrize("drift", [0.0, 0.3])
def test_the_interval_covers_the_exact_skill_of_sketched_steps(clock, drift):
    generator = np.random.default_rng(0)
    increments = math.sqrt(drift) * generator.standard_normal(20_000)
    increments = increments + math.sqrt(1 - drift) * generator.standard_normal((16, 20_000))
    updates = torch.from_numpy(np.cumsum(increments * STEPS[:, None] ** -0.3, axis=0)).float()
    exact = backtest(STEPS, trajectory_gram(updates).numpy(), 4, clock=clock, most=1)
    distances, above = [], 0
    for seed in range(120):
        sketch = Sketch(256, seed)
        rows = torch.stack([sketch.of([("w", 0, row)]) for row in updates])
        gram = trajectory_gram(rows).numpy()
        found = backtest(STEPS, gram, 4, clock=clock, size=256, most=1)
        distances.append((found.skill - exact.skill) / found.standard_error)
        above += found.lower > exact.skill
    assert np.std(distances) == pytest.approx(1, abs=0.2)
    assert above / 120 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 120)


def test_cuts_that_disagree_widen_the_interval():
    """The jackknife of a ratio of sums, here by refitting without each cut."""
    found = backtest(STEPS, along_one_line([1.0] * 12 + [0.5] * 4), 4)
    hold, sse = np.array([4.0, 16.0]), np.array([4.0, 0.0])
    assert found.skill == pytest.approx(1 - sse.sum() / hold.sum())
    without = 1 - sse[::-1] / hold[::-1]
    assert found.lower == pytest.approx(found.skill - 1.6449 * found.standard_error, abs=1e-4)
    assert found.standard_error == pytest.approx(
        np.sqrt(np.sum((without - without.mean()) ** 2) / 2)
    )
