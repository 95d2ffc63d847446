"""The time of a training step, by hand on a tiny model, and next to published timings."""

from dataclasses import replace
from pathlib import Path

import pytest

from experiments import grid
from experiments.cells import CELLS
from rlvr_dynamics.estimates.decoding import H100, H200, Card, Engine, card_of
from rlvr_dynamics.estimates.hours import FAST, SLOW, Speed, Work, steps_of, training_hours, work_of
from rlvr_dynamics.estimates.lengths import Length
from rlvr_dynamics.schema import Architecture
from tests.support import published_timings

SHAPE = Architecture(
    family="llama",
    hidden=1000,
    layers=10,
    heads=10,
    kv_heads=5,
    head_dim=100,
    intermediate=3000,
    vocabulary=1000,
    context=10**6,
    tied=False,
)
# q and o 1000 x 1000, k and v 1000 x 500, three matrices 1000 x 3000, two norms; 10 layers,
# embedding and head, the last norm.
TOTAL = 10 * (3_000_000 + 9_000_000 + 2_000) + 2_000_000 + 1_000
TOKEN = 2 * 2 * 10 * 5 * 100  # keys and values, bfloat16: 20,000 bytes
SLOW_CARD = Card("test", 1e12, 1e9)  # reading the weights takes 0.244042 s
PLAIN = Speed(utilisation=0.5, decoding=1.0, candidates=3.0, sync=1e-9, disk=1e9)
WORK = Work(
    shape=SHAPE,
    critic=0,
    card=SLOW_CARD,
    gpus=4,
    shard=2,
    engine_gpus=2,
    sequences=8,
    cache_tokens=1e9,
    samples=32,
    filtered=False,
    training_passes=1,
    updates=2,
    critic_updates=2,
    update_bytes=28,
    reference=False,
    prompt=100,
    saved_bytes=3e9,
    validated=16,
    validations=0.25,
)
LENGTH = Length(mean=200, longest=1000)


def test_a_step_in_closed_form():
    step = WORK.step(LENGTH, PLAIN)
    weights = 2 * TOTAL / 1e9
    # Two engines of two GPUs with 16 samples each, 8 at once: 400 steps, then 800 of one answer.
    together = 0.0025 + (weights + 8 * (100 + 100) * TOKEN / 1e9) / 2
    alone = 0.0025 + (weights + (100 + 1000) * TOKEN / 1e9) / 2
    assert step.generating == pytest.approx(16 * 200 / 8 * together + 800 * alone)
    tokens, rate = 32 * 300, 4 * 1e12 * 0.5
    assert step.scoring == pytest.approx(2 * TOTAL * tokens / rate)
    update = 28 * TOTAL / 2 / 1e9
    assert step.training == pytest.approx(8 * TOTAL * tokens / rate + 2 * update)
    assert step.syncing == pytest.approx(TOTAL * 1e-9)
    assert step.saving == pytest.approx(3)
    # Eight answers an engine, all at once.
    assert step.validating == pytest.approx((200 * together + 800 * alone) / 4)
    assert step.total == pytest.approx(sum(vars(step).values()))


def test_many_answers_at_once_are_bound_by_operations():
    card = Card("test", 1e12, 1e15)  # reading costs nothing
    engine = Engine(SHAPE, 1, card, sequences=1000, cache_tokens=1e9)
    assert engine.step_seconds(1000, 0) == pytest.approx(0.0025 + 2 * TOTAL * 1000 / 1e12)


def test_a_full_cache_makes_answers_wait():
    room = Engine(SHAPE, 1, SLOW_CARD, sequences=8, cache_tokens=4 * 300)
    assert room.at_once(16, 100, LENGTH) == 4
    assert replace(room, cache_tokens=10).at_once(16, 100, LENGTH) == 1
    assert replace(room, cache_tokens=1e9).at_once(5, 100, LENGTH) == 5


def test_adapters_need_no_gradients_of_the_weights():
    adapted = replace(WORK, adapters=TOTAL // 100)
    plain, step = WORK.step(LENGTH, PLAIN), adapted.step(LENGTH, PLAIN)
    tokens, rate = 32 * 300, 4 * 1e12 * 0.5
    passes = (6 * TOTAL + 8 * adapted.adapters) * tokens / rate
    assert step.training == pytest.approx(passes + 2 * 28 * adapted.adapters / 2 / 1e9)
    assert (step.generating, step.scoring) == (plain.generating, plain.scoring)


@pytest.mark.parametrize(
    ("change", "phases"),
    [
        ({"filtered": True}, {"generating"}),
        ({"reference": True}, {"scoring"}),
        ({"critic": TOTAL}, {"scoring", "training"}),
        ({"updates": 8}, {"training"}),
        ({"training_passes": 2}, {"training"}),
        ({"critic": TOTAL, "critic_updates": 8}, {"scoring", "training"}),
        ({"saved_bytes": 6e9}, {"saving"}),
        ({"validated": 32}, {"validating"}),
        ({"validations": 0.5}, {"validating"}),
        ({"sequences": 4}, {"generating", "validating"}),
        ({"samples": 64}, {"generating", "scoring", "training"}),
        ({"card": replace(SLOW_CARD, flops=5e11)}, {"scoring", "training"}),
    ],
)
def test_what_costs_time_costs_it_in_its_phase(change, phases):
    before, after = WORK.step(LENGTH, PLAIN), replace(WORK, **change).step(LENGTH, PLAIN)
    longer = {name for name, value in vars(after).items() if value > vars(before)[name]}
    assert longer == phases
    assert after.total > before.total


def test_longer_answers_and_fewer_gpus_take_longer():
    before = WORK.step(LENGTH, PLAIN)
    for length in (replace(LENGTH, mean=400), replace(LENGTH, longest=2000)):
        assert WORK.step(length, PLAIN).generating > before.generating
    halved = replace(WORK, gpus=2).step(LENGTH, PLAIN)
    assert halved.generating > before.generating
    assert halved.scoring == pytest.approx(2 * before.scoring)


def test_a_critic_and_dropped_groups_in_closed_form():
    made = replace(WORK, critic=1000, reference=True, filtered=True).step(LENGTH, PLAIN)
    tokens, rate = 32 * 300, 4 * 1e12 * 0.5
    assert made.scoring == pytest.approx((4 * TOTAL + 2 * 1000) * tokens / rate)
    thrice = replace(WORK, samples=96).step(LENGTH, PLAIN)
    assert made.generating == pytest.approx(thrice.generating)


def test_every_cell_has_a_range_and_the_slow_end_is_slower_in_every_phase():
    for made in grid.configurations(list(CELLS)):
        fast, slow = steps_of(made)
        for phase, seconds in vars(fast).items():
            assert 0 <= seconds <= vars(slow)[phase], (made.name, phase)
            skipped = phase == "validating" and made.trainer.validate_every is None
            assert (seconds == 0) == skipped, (made.name, phase)
        hours = training_hours(made)
        assert hours.low == pytest.approx(made.trainer.steps * fast.total / 3600)
        assert hours.high == pytest.approx(made.trainer.steps * slow.total / 3600)
        assert work_of(made).card == H100
    assert FAST.utilisation > SLOW.utilisation
    assert card_of(141) == H200


def test_the_page_shows_published_timings_next_to_the_estimates():
    """After a change: python -m tests.support.published_timings prints the lines."""
    page = Path(__file__).parents[2] / "docs" / "performance.md"
    assert "\n".join(published_timings.lines()) in page.read_text(encoding="utf-8")
