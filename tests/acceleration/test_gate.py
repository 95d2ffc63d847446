from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from scipy.stats import t as student

from rlvr_dynamics.acceleration.gate import decide, detected_gain, looks, problems_needed
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.statistics.bounded_mean import mean_p_value


def answers(wins, losses, same):
    before = np.r_[np.zeros(wins), np.ones(losses), np.ones(same)]
    after = np.r_[np.ones(wins), np.zeros(losses), np.ones(same)]
    return before[:, None], after[:, None]


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 60), st.integers(1, 4))
def test_single_answers_are_decided_by_mcnemars_exact_test(wins, losses, same, tried):
    found = decide(*answers(wins, losses, same), tried=tried)
    p_value = float(binom.sf(wins - 1, wins + losses, 0.5))
    assert found.accepted == (p_value < 0.05 / tried)
    assert found.gain == pytest.approx((wins - losses) / (wins + losses + same))
    assert (found.problems, found.answers, found.changed) == (
        wins + losses + same,
        1,
        wins + losses,
    )


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 60), st.integers(1, 4))
def test_surely_worse_is_what_would_be_accepted_the_other_way(wins, losses, same, tried):
    before, after = answers(wins, losses, same)
    found, turned = decide(before, after, tried=tried), decide(after, before, tried=tried)
    assert found.worse == turned.accepted and not (found.worse and found.accepted)
    assert found.upper == pytest.approx(-turned.lower)
    assert found.lower <= found.gain <= found.upper


@pytest.mark.parametrize(("tried", "accepted"), [(1, True), (4, True), (5, False)])
def test_the_level_is_divided_among_the_candidates(tried, accepted):
    """Nine better and one worse have a p-value of 11 / 1024, between 0.05 / 5 and 0.05 / 4."""
    assert decide(*answers(9, 1, 90), tried=tried).accepted == accepted


@pytest.mark.parametrize("count", [1, 10, 500])
@pytest.mark.parametrize("score", [0.0, 1.0])
def test_equal_answers_are_no_gain(count, score):
    scores = np.full((count, 4), score)
    found = decide(scores, scores)
    assert not found.accepted and found.gain == 0.0 and found.changed == 0
    assert found.lower == pytest.approx(-(1 - 0.05 ** (1 / count)))
    assert not decide(scores, scores, rule="better").accepted


def test_the_same_answers_in_another_order_are_equal():
    generator = np.random.default_rng(0)
    scores = generator.uniform(size=(40, 7))
    assert decide(scores, generator.permuted(scores, axis=1)).changed == 0


@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 6))
@settings(max_examples=50)
def test_order_does_not_matter_and_a_better_answer_never_hurts(seed, problems, count):
    generator = np.random.default_rng(seed)
    before, after = generator.integers(0, 2, (2, problems, count)).astype(float)
    found = decide(before, after)
    order = generator.permutation(problems)
    assert decide(before[order], after[order]).lower == pytest.approx(found.lower, abs=1e-9)
    better = after.copy()
    better[generator.integers(problems), generator.integers(count)] = 1.0
    assert decide(before, better).lower >= found.lower - 1e-9
    assert found.lower <= found.gain
    assert decide(before, after, tried=3).lower <= found.lower


def test_better_accepts_any_strictly_higher_mean():
    scores = answers(3, 2, 45)
    assert decide(*scores, rule="better").accepted and not decide(*scores).accepted
    assert not decide(*answers(2, 2, 46), rule="better").accepted


@pytest.mark.parametrize("count", range(1, 13))
def test_a_tie_is_not_ahead(count):
    """As many right answers on both sides, spread otherwise: thirds add up to nearly 0."""
    generator = np.random.default_rng(count)
    before = generator.integers(0, 2, (40, count)).astype(float)
    after = generator.permutation(before.ravel()).reshape(before.shape)
    found = decide(before, after, rule="better")
    assert found.gain == 0.0 and not found.ahead and not found.accepted


def test_scores_on_another_scale_give_the_gain_on_that_scale():
    generator = np.random.default_rng(1)
    before, after = generator.integers(0, 2, (2, 50, 4)).astype(float)
    plain, scaled = decide(before, after), decide(2 * before - 1, 2 * after - 1, span=(-1.0, 1.0))
    assert scaled.gain == pytest.approx(2 * plain.gain)
    assert scaled.lower == pytest.approx(2 * plain.lower)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.1, 1.5])
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_score_that_is_no_score_is_refused(wrong, side):
    scores = {"before": np.zeros((4, 2)), "after": np.ones((4, 2))}
    scores[side][2, 1] = wrong
    with pytest.raises(UserError, match=f"a score {side} the jump is not a number from 0 to 1"):
        decide(**scores)


@pytest.mark.parametrize(
    ("first", "second", "settings"),
    [
        (np.zeros((3, 2)), np.zeros((3, 1)), {}),
        (np.zeros(3), np.zeros(3), {}),
        (np.zeros((0, 2)), np.zeros((0, 2)), {}),
        (np.zeros((3, 2)), np.zeros((3, 2)), {"rule": "mean"}),
        (np.zeros((3, 2)), np.zeros((3, 2)), {"tried": 0}),
        (np.zeros((3, 2)), np.zeros((3, 2)), {"level": 0.5}),
        (np.zeros((3, 2)), np.zeros((3, 2)), {"share": 0.0}),
    ],
)
def test_what_cannot_be_compared_is_refused(first, second, settings):
    with pytest.raises(ValueError, match="paired|gate"):
        decide(first, second, **settings)


def no_effect(generator, runs, problems, count):
    chances = generator.uniform(size=(runs, problems))
    return (generator.binomial(count, chances) - generator.binomial(count, chances)) / count


def rare(generator, runs, problems, chance):
    share = [chance, 1 - 2 * chance, chance]
    return generator.choice([-1.0, 0.0, 1.0], p=share, size=(runs, problems))


def many_small_gains_and_few_losses(generator, runs, problems):
    """The mean is 0: eight answers, one more of them right nearly always, seven fewer sometimes."""
    return generator.choice([0.125, -0.875], p=[0.875, 0.125], size=(runs, problems))


RUNS = 1500
NULLS = {
    "no effect, 4 answers": lambda each: no_effect(each, RUNS, 64, 4),
    "no effect, 1 answer": lambda each: no_effect(each, RUNS, 200, 1),
    "few problems": lambda each: no_effect(each, RUNS, 8, 2),
    "rare differences": lambda each: rare(each, RUNS, 64, 0.02),
    "skewed": lambda each: many_small_gains_and_few_losses(each, RUNS, 64),
}


@pytest.mark.parametrize("null", NULLS)
def test_the_level_holds_without_an_effect(null):
    """The gate accepts if its p-value is below the level, as tested above and in statistics."""
    drawn = NULLS[null](np.random.default_rng(0))
    known = {row.tobytes(): mean_p_value(row, -1.0) for row in np.sort(drawn, axis=1)}
    p_values = np.array([known[row.tobytes()] for row in np.sort(drawn, axis=1)])
    for level in (0.05, 0.05 / 3):
        assert np.mean(p_values < level) < most_by_chance(level)
    if null == "skewed":  # the reason for the bound: a t interval accepts it far too often
        errors = drawn.std(axis=1, ddof=1) / np.sqrt(drawn.shape[1])
        statistic = drawn.mean(axis=1) / np.maximum(errors, 1e-12)
        accepted = statistic > student.ppf(0.95, drawn.shape[1] - 1)
        assert np.mean(accepted) > most_by_chance(0.05)


def most_by_chance(level):
    return level + 3 * np.sqrt(level * (1 - level) / RUNS)


def settled(differences, tried=1):
    """Return whether a candidate is accepted, look by look, and how many problems that takes.

    `decide` accepts where the p-value is below the level, as tested above.
    """
    for asked, share in looks(len(differences), "lower_bound"):
        part = differences[asked]
        accepted = mean_p_value(part, -1.0) < share * 0.05 / tried
        if accepted or part.mean() <= 0.0:
            break
    return accepted, len(part)


@pytest.mark.parametrize(("problems", "count", "tried"), [(64, 4, 1), (200, 1, 1), (128, 8, 3)])
@pytest.mark.parametrize("alike", [True, False])
def test_a_gain_of_the_stated_size_is_found_with_the_stated_power(problems, count, tried, alike):
    gain = detected_gain(problems, count, tried=tried, alike=alike)
    generator = np.random.default_rng(0)
    accepted = []
    for _ in range(400):
        if alike:
            chances = generator.uniform(0, 1 - gain, problems)
            later = chances + gain
        else:
            solved = generator.random(problems) < gain
            chances, later = np.where(solved, 0.0, 0.5), np.where(solved, 1.0, 0.5)
        before, after = (generator.binomial(count, each) / count for each in (chances, later))
        accepted.append(settled(after - before, tried)[0])
    assert 0.8 - 3 * np.sqrt(0.16 / 400) < np.mean(accepted) < 0.95


def test_the_looks_together_hold_the_level():
    """A tenth of the answers differ, as many for the better as for the worse."""
    drawn = rare(np.random.default_rng(0), RUNS, 512, 0.05)
    accepted, asked = np.array([settled(each) for each in drawn]).T
    assert np.mean(accepted) < most_by_chance(0.05)
    # Half are not ahead at the first look, or level.
    assert set(asked) == {128, 256, 512} and 0.4 < np.mean(asked == 128) < 0.65


@given(st.integers(0, 10**6), st.integers(4, 200), st.floats(0.0, 1.0))
@settings(max_examples=30, deadline=None)
def test_an_earlier_look_is_stricter(seed, problems, better):
    generator = np.random.default_rng(seed)
    before = generator.integers(0, 2, (problems, 1)).astype(float)
    after = np.where(generator.random((problems, 1)) < better, 1.0, before)
    whole = decide(before, after)
    assert whole.ahead == (whole.gain > 0.0) >= whole.accepted
    shares = [share for _, share in looks(problems, "lower_bound")]
    assert sum(shares) == pytest.approx(1.0) and min(shares) > 0.0
    assert decide(before, after, share=shares[0]).lower <= whole.lower


@given(st.integers(5, 3000), st.integers(1, 16), st.integers(1, 5), st.floats(0.5, 0.95))
@settings(max_examples=60)
def test_sizes_and_gains_are_each_others_inverse(problems, count, tried, power):
    gain = detected_gain(problems, count, tried=tried, power=power)
    if gain < 1.0:
        needed = problems_needed(gain * (1 + 1e-9), count, tried=tried, power=power)
        assert needed <= problems
        assert detected_gain(needed, count, tried=tried, power=power) <= gain * (1 + 1e-6)


def test_more_answers_problems_and_level_find_smaller_gains():
    gains = [detected_gain(n, k) for n, k in ((50, 1), (50, 4), (100, 4), (400, 4), (400, 16))]
    assert gains == sorted(gains, reverse=True)
    assert detected_gain(100, 4, tried=3) > detected_gain(100, 4)
    assert detected_gain(100, 4, alike=True) < detected_gain(100, 4)
    assert detected_gain(1, 1) == 1.0


@pytest.mark.parametrize("gain", [0.0, -0.1, 1.1, 1e-6])
def test_no_number_of_problems_finds_nothing(gain):
    with pytest.raises(ValueError, match="no number of problems"):
        problems_needed(gain, 4)


@pytest.mark.parametrize("problems", [1, 2, 3, 4, 5, 64])
def test_every_look_asks_more_and_the_last_all(problems):
    masks = [look.asked for look in looks(problems, "lower_bound")]
    asked = [int(each.sum()) for each in masks]
    assert asked == sorted(set(asked)) and asked[-1] == problems
    (only,) = looks(problems, "better")
    assert only.asked.all() and only.share == 1.0
    for fewer, more in pairwise(masks):
        assert (more | ~fewer).all()
    # No part of a table that repeats itself is left out of a look.
    if problems == 64:
        assert {int(place) % 4 for place in np.flatnonzero(masks[0])} == {0, 1, 2, 3}
