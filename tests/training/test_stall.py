"""When a step counts as stuck: what it asks beside its own rollouts takes longer."""

import pytest

from rlvr_dynamics.config import load
from rlvr_dynamics.training.stall import stall_limit

# 8 x 8 answers a step, 512 validation problems once each: as much as eight steps draw.
BENCH = ["+exp=acceleration", "run_dir=none"]


@pytest.fixture(scope="module")
def plain():
    return load([*BENCH, "trainer.stall_timeout_seconds=120"])


@pytest.fixture(scope="module")
def gated():
    every = ["trainer.stall_timeout_seconds=120", "trainer.validate_every=null"]
    return load([*BENCH, *every, "acceleration=gated", "acceleration.gate.samples=1"])


@pytest.mark.parametrize(
    ("step", "steps"), [(19, 0), (20, 9), (21, 0), (59, 0), (60, 9)], ids=lambda each: str(each)
)
def test_a_step_that_validates_has_as_much_longer_as_its_answers_take(plain, step, steps):
    limit = stall_limit(plain, step, starting=False, longest=10.0)
    assert limit == 120 + 5 * 10.0 * steps


def test_a_firing_has_as_much_longer_as_its_answers_and_rounds_take(gated):
    assert stall_limit(gated, 11, starting=False, longest=10.0) == 120
    # Three times 512 answers at most, in six rounds for each of two candidates.
    assert stall_limit(gated, 10, starting=False, longest=10.0) == 120 + 5 * 10.0 * (24 + 12)


def test_the_first_step_of_an_attempt_has_the_time_of_a_start(plain):
    assert stall_limit(plain, 1, starting=True, longest=None) == plain.trainer.start_timeout_seconds


@pytest.mark.parametrize(("longest", "limit"), [(1.0, 600.0), (200.0, 1000.0)])
def test_without_a_limit_the_longest_step_sets_it(plain, longest, limit):
    trainer = plain.trainer.model_copy(update={"stall_timeout_seconds": None})
    free = plain.model_copy(update={"trainer": trainer})
    assert stall_limit(free, 7, starting=False, longest=longest) == limit
