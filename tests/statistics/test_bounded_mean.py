import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from rlvr_dynamics.statistics.bounded_mean import mean_lower_bound, mean_p_value


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.05, 0.01, 0.2]))
def test_for_two_values_it_is_clopper_and_pearsons(successes, failures, level):
    if successes + failures == 0:
        failures = 1
    values = np.r_[np.ones(successes), np.zeros(failures)]
    expected = float(beta.ppf(level, successes, failures + 1)) if successes else 0.0
    assert mean_lower_bound(values, 0.0, level) == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 80), st.integers(0, 80), st.integers(0, 300))
def test_for_signs_it_is_the_exact_sign_test(ups, downs, zeros):
    values = np.r_[np.ones(ups), -np.ones(downs), np.zeros(zeros + 1)]
    expected = float(binom.sf(ups - 1, ups + downs, 0.5))
    assert mean_p_value(values, -1.0) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("count", [1_000, 100_000])
@pytest.mark.parametrize("share", [0.999, 0.6, 0.5])
def test_many_values_and_far_tails_are_exact_too(count, share):
    ups = int(share * count)
    values = np.r_[np.ones(ups), -np.ones(count - ups)]
    expected = 2 * float(beta.ppf(0.05, ups, count - ups + 1)) - 1
    assert mean_lower_bound(values, -1.0, 0.05) == pytest.approx(expected, abs=1e-9)
    for mean in (-0.9, 0.0, 0.9, expected):
        chance = (1 + mean) / 2
        assert mean_p_value(values, -1.0, mean) == pytest.approx(
            float(binom.sf(ups - 1, count, chance)), abs=1e-10
        )


@pytest.mark.parametrize(("count", "seed"), [(3, 0), (20, 1), (150, 2)])
def test_it_is_the_quantile_of_dirichlet_weights(count, seed):
    generator = np.random.default_rng(seed)
    values = generator.uniform(-0.4, 1.0, count)
    weights = generator.dirichlet(np.ones(count + 1), 200_000)
    drawn = weights @ np.append(values, -1.0)
    for mean in np.quantile(drawn, [0.02, 0.3, 0.8]):
        assert mean_p_value(values, -1.0, mean) == pytest.approx(np.mean(drawn <= mean), abs=0.004)
    bound = mean_lower_bound(values, -1.0, 0.05)
    assert np.mean(drawn <= bound) == pytest.approx(0.05, abs=0.002)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.floats(0.001, 0.4))
@settings(max_examples=60)
def test_the_bound_is_where_the_p_value_is_the_level(values, level):
    bound = mean_lower_bound(values, -1.0, level)
    assert -1.0 <= bound <= max(values)
    if max(values) > -0.99:
        assert mean_p_value(values, -1.0, bound) == pytest.approx(level, abs=1e-5)


def test_many_values_are_near_the_normal_interval():
    values = np.random.default_rng(0).uniform(-1, 1, 1500)
    normal = values.mean() - 1.6449 * values.std() / np.sqrt(len(values))
    assert mean_lower_bound(values, -1.0, 0.05) == pytest.approx(normal, abs=2e-3)


def test_the_lowest_values_have_the_lowest_bound():
    assert mean_lower_bound([-1.0, -1.0], -1.0, 0.05) == -1.0
    assert mean_p_value([-1.0, -1.0], -1.0) == 1.0


@pytest.mark.parametrize("values", [[], [np.nan], [np.inf], [-1.5]])
def test_what_has_no_bounded_mean_is_refused(values):
    with pytest.raises(ValueError, match="bounded mean"):
        mean_lower_bound(values, -1.0, 0.05)
