"""Accuracies of one model: intervals of shares and of mean@k, pass@k and the majority."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_dynamics.scoring.votes import majority_score, pass_at_k, spelling
from rlvr_dynamics.statistics.intervals import (
    average,
    mean_interval,
    percentile_interval,
    resampled_means,
    wilson,
)

Z = 1.959963984540054

# Wilson


def test_wilson_known_values():
    # Closed form at the ends: 0 of n gives [0, z^2 / (n + z^2)].
    assert wilson(0, 30) == pytest.approx((0.0, 0.0, Z**2 / (30 + Z**2)))
    assert wilson(30, 30) == pytest.approx((1.0, 30 / (30 + Z**2), 1.0))
    # At p = 1/2 it is symmetric with half width z / (2 sqrt(n + z^2)).
    half = Z / (2 * math.sqrt(100 + Z**2))
    assert wilson(50, 100) == pytest.approx((0.5, 0.5 - half, 0.5 + half))
    assert wilson(8, 10) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)


def test_wilson_without_trials_is_undefined():
    assert all(math.isnan(value) for value in wilson(0, 0))


@pytest.mark.parametrize("successes", [-1, 31])
def test_wilson_refuses_impossible_counts(successes):
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, 30)


@given(st.integers(1, 3000), st.data())
def test_wilson_is_a_proper_interval(n, data):
    successes = data.draw(st.integers(0, n))
    interval = wilson(successes, n)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.high - interval.low > 0
    mirror = wilson(n - successes, n)
    assert mirror.low == pytest.approx(1 - interval.high, abs=1e-12)
    if successes < n:
        more = wilson(successes + 1, n)
        assert more.low > interval.low and more.high > interval.high
    assert wilson(2 * successes, 2 * n).high <= interval.high
    wider = wilson(successes, n, 0.99)
    assert wider.low <= interval.low and wider.high >= interval.high


@given(st.integers(1, 60), st.data())
def test_wilson_inverts_the_score_test(n, data):
    """Its ends inside (0, 1) are the shares that lie z of their own standard errors away."""
    successes = data.draw(st.integers(0, n))
    interval = wilson(successes, n)
    for end in {interval.low, interval.high} - {0.0, 1.0}:
        distance = abs(interval.value - end) / math.sqrt(end * (1 - end) / n)
        assert distance == pytest.approx(Z, rel=1e-6)


# mean@k


def test_one_sample_per_question_is_wilson():
    means = [1.0] * 12 + [0.0] * 18
    assert mean_interval(means, 1) == pytest.approx(wilson(12, 30))


def test_copies_of_one_answer_are_worth_one_answer():
    means = [1.0] * 12 + [0.0] * 18
    assert mean_interval(means, 4) == pytest.approx(wilson(12, 30), abs=0.025)


def test_independent_samples_are_worth_all_of_them():
    means = np.random.default_rng(0).binomial(4, 0.5, size=4000) / 4
    interval, all_free = mean_interval(means, 4), wilson(means.sum() * 4, means.size * 4)
    assert interval.value == pytest.approx(all_free.value)
    assert interval.high - interval.low == pytest.approx(all_free.high - all_free.low, rel=0.05)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_wrong_or_all_right_count_questions(value):
    assert mean_interval([value] * 30, 8) == pytest.approx(wilson(30 * value, 30))


def test_equal_questions_count_questions():
    assert mean_interval([0.5] * 30, 8) == pytest.approx(wilson(15, 30))


def test_no_questions_is_undefined():
    assert all(math.isnan(value) for value in (*mean_interval([], 1), *average([])))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40))
def test_mean_at_k_is_a_proper_interval(correct):
    means = np.array(correct) / 4
    interval = mean_interval(means, 4, draws=200)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.high - interval.low > 0
    assert interval.value == pytest.approx(means.mean())
    mirror = mean_interval(1 - means, 4, draws=200)
    assert (mirror.low, mirror.high) == pytest.approx((1 - interval.high, 1 - interval.low))
    drawn = percentile_interval(
        means.mean(), resampled_means(means[None], draws=200, seed=(0,))[:, 0]
    )
    assert interval.low <= drawn.low + 1e-12 and interval.high >= drawn.high - 1e-12


@pytest.mark.parametrize(("n", "k", "a", "b"), [(100, 4, 0.5, 0.5), (30, 8, 0.1, 2.0)])
def test_clustered_interval_covers(n, k, a, b):
    generator = np.random.default_rng(1)
    hits = bare = 0
    for _ in range(300):
        means = generator.binomial(k, generator.beta(a, b, size=n)) / k
        interval = mean_interval(means, k, draws=400)
        drawn = percentile_interval(0, resampled_means(means[None], draws=400, seed=(0,))[:, 0])
        hits += interval.low <= a / (a + b) <= interval.high
        bare += drawn.low <= a / (a + b) <= drawn.high
    assert 0.89 <= hits / 300 <= 0.985
    assert hits >= bare


def test_exact_bootstrap_of_two_questions():
    """Of two questions the mean is 0, 1/2 or 1 with chances 1/4, 1/2, 1/4."""
    drawn = resampled_means(np.array([[0.0, 1.0]]), draws=4000)[:, 0]
    shares = [float((drawn == value).mean()) for value in (0, 0.5, 1)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_percentiles_leave_a_fortieth_out_on_either_side():
    drawn = np.random.default_rng(0).permutation(np.arange(1001) ** 2 / 1e6)
    assert percentile_interval(0.4, drawn) == pytest.approx((0.4, 0.025**2, 0.975**2))
    assert percentile_interval(0.4, drawn, 0.8) == pytest.approx((0.4, 0.1**2, 0.9**2))


def test_no_interval_where_too_many_draws_are_undefined():
    found = percentile_interval(1.0, np.array([np.nan] * 10 + [1.0] * 90))
    assert math.isnan(found.low) and math.isnan(found.high)


# The mean over benchmarks


def test_average_of_one_is_itself():
    assert average([wilson(3, 30)]) == pytest.approx(wilson(3, 30))


def test_average_of_four_halves_the_width():
    one = wilson(50, 100)
    found = average([one] * 4)
    assert found.value == one.value
    assert found.high - found.low == pytest.approx((one.high - one.low) / 2)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(30, 60)), min_size=1, max_size=5))
def test_average_stays_between_zero_and_one(counts):
    found = average([wilson(successes, n) for successes, n in counts])
    assert -1e-12 <= found.low <= found.value <= found.high <= 1 + 1e-12
    assert found.low < found.high


# pass@k


@given(st.integers(1, 9), st.data())
def test_pass_at_k_is_the_mean_over_all_choices(n, data):
    k, c = data.draw(st.integers(1, n)), data.draw(st.integers(0, n))
    samples = [1] * c + [0] * (n - c)
    choices = [max(chosen) for chosen in itertools.combinations(samples, k)]
    assert pass_at_k([c], n, k)[0] == pytest.approx(np.mean(choices))


def test_pass_at_k_at_its_ends():
    correct = [0, 1, 3, 4]
    assert pass_at_k(correct, 4, 1) == pytest.approx([0, 0.25, 0.75, 1])
    assert pass_at_k(correct, 4, 4).tolist() == [0, 1, 1, 1]
    assert pass_at_k([1], 10_000, 5_000)[0] == pytest.approx(0.5)
    assert pass_at_k([], 4, 2).shape == (0,)


def test_pass_at_k_is_unbiased():
    correct = np.random.default_rng(2).binomial(10, 0.3, size=20_000)
    assert pass_at_k(correct, 10, 4).mean() == pytest.approx(1 - 0.7**4, abs=0.01)
    # The plug-in 1 - (1 - c/n)^k that it replaces is not.
    assert np.mean(1 - (1 - correct / 10) ** 4) < 1 - 0.7**4 - 0.02


@given(st.integers(1, 50), st.data())
def test_pass_at_k_rises_with_k_and_with_the_correct(n, data):
    c = data.draw(st.integers(0, n))
    over_k = [float(pass_at_k([c], n, k)[0]) for k in range(1, n + 1)]
    assert over_k == sorted(over_k) and over_k[0] >= 0 and over_k[-1] <= 1
    k = data.draw(st.integers(1, n))
    assert (np.diff(pass_at_k(range(n + 1), n, k)) >= 0).all()


@pytest.mark.parametrize(
    ("correct", "n", "k"), [([1], 4, 5), ([1], 4, 0), ([5], 4, 1), ([-1], 4, 1)]
)
def test_pass_at_k_refuses_what_cannot_be(correct, n, k):
    with pytest.raises(ValueError, match="must lie"):
        pass_at_k(correct, n, k)


# The majority


@pytest.mark.parametrize(
    ("answers", "score"),
    [
        ([("7", 1.0)], 1),
        ([("7", 1.0), ("8", 0.0), ("8", 0.0)], 0),
        ([("7", 1.0), ("7", 1.0), ("8", 0.0)], 1),
        ([("7", 1.0), ("8", 0.0)], 0.5),
        ([("7", 1.0), ("8", 0.0), ("9", 0.0)], 1 / 3),
        ([(None, 0.0), (None, 0.0), ("7", 1.0)], 1),
        ([(math.nan, 0.0), ("", 0.0), ("7", 1.0)], 1),
        ([(None, 0.0), (None, 0.0)], 0),
        ([], 0),
    ],
)
def test_majority(answers, score):
    assert majority_score(answers, "integer") == pytest.approx(score)


SAMPLES = st.lists(
    st.sampled_from([("1", 1.0), ("2", 0.0), ("3", 0.0), (None, 0.0)]), min_size=1, max_size=6
)


@given(SAMPLES, st.randoms())
def test_majority_does_not_depend_on_the_order(answers, random):
    shuffled = random.sample(answers, len(answers))
    assert majority_score(shuffled, "integer") == majority_score(answers, "integer")


@given(SAMPLES)
def test_ties_are_the_mean_over_every_way_to_break_them(answers):
    """Brute force: the earliest of the most frequent answers wins, over all orders of samples."""
    scores = []
    for order in itertools.permutations(answers):
        said = [answer for answer, _ in order if answer is not None]
        best = max(said, key=said.count) if said else None
        scores.append(1.0 if best == "1" else 0.0)
    found = majority_score(answers, "integer")
    # Answers with equally many samples are first equally often.
    assert found == pytest.approx(np.mean(scores))


@pytest.mark.parametrize(
    ("kind", "one", "other", "same"),
    [
        ("integer", "+07", "7", True),
        ("integer", "-7", "7", False),
        ("math", r"\dfrac12", "0.5", True),
        ("math", "1,000", "1000", True),
        ("math", "x + 1", "x+2", False),
        ("letter", "A", " A ", True),
        ("letter", "A", "B", False),
        ("reasoning_gym", "01", "1", False),
    ],
)
def test_spellings(kind, one, other, same):
    assert (spelling(one, kind) == spelling(other, kind)) == same


@given(st.text(max_size=500))
def test_any_text_has_a_spelling(text):
    for kind in ("integer", "math", "letter", "reasoning_gym"):
        assert isinstance(spelling(text, kind), str)


def test_explosive_answers_are_counted_as_they_stand():
    tower = "9^{9^{9^{9}}}"
    assert spelling(f" {tower} ", "math") == tower
