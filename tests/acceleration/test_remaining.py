import math

import numpy as np
import pytest

from rlvr_dynamics.acceleration.remaining import predicted_end, remaining_gain

STEPS = np.arange(1.0, 61.0)


def test_a_line_without_noise_goes_on():
    found = remaining_gain(0.1 + 0.01 * np.arange(40), 20)
    assert found.gain == pytest.approx(0.2) and found.upper == pytest.approx(0.2)
    assert found.steps == 20


def test_no_gain_exceeds_what_is_missing():
    found = remaining_gain(0.5 + 0.01 * np.arange(40), 1000)
    assert found.gain == pytest.approx(0.11) and found.upper == pytest.approx(0.11)


def test_a_fall_is_predicted_but_may_end():
    found = remaining_gain(0.9 - 0.01 * np.arange(40), 20)
    assert found.gain == pytest.approx(-0.2) and found.upper == 0.0


def test_too_few_steps_say_nothing():
    found = remaining_gain(np.linspace(0, 1, 18), 10)
    assert math.isnan(found.gain) and found.upper == math.inf
    assert remaining_gain([], 10).upper == math.inf


def noise(generator, count, correlation):
    steps = generator.standard_normal(count) * 0.03
    series = steps.copy()
    for place in range(1, count):
        series[place] = correlation * series[place - 1]
        series[place] += math.sqrt(1 - correlation**2) * steps[place]
    return series


CURVES = {
    "line": lambda step: 0.1 + 0.006 * step,
    "levels off soon": lambda step: 0.7 - 0.6 * np.exp(-step / 10),
    "levels off late": lambda step: 0.7 - 0.6 * np.exp(-step / 60),
    "logarithm": lambda step: 0.1 + 0.12 * np.log(step),
}


@pytest.mark.parametrize("correlation", [0.0, 0.5])
@pytest.mark.parametrize("curve", CURVES)
def test_the_upper_end_lies_above_the_true_gain(curve, correlation):
    generator = np.random.default_rng(0)
    true = CURVES[curve](80.0) - CURVES[curve](60.0)
    found = [
        remaining_gain(CURVES[curve](STEPS) + noise(generator, 60, correlation), 20)
        for _ in range(300)
    ]
    below = np.mean([each.upper < true for each in found])
    assert below < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    if curve == "line":
        assert np.mean([each.gain for each in found]) == pytest.approx(true, abs=0.01)


def test_a_curve_that_has_levelled_off_is_told_from_one_that_has_not():
    generator = np.random.default_rng(0)
    over, rising = (
        [remaining_gain(curve + noise(generator, 200, 0.0), 50).upper < 0.02 for _ in range(100)]
        for curve in (0.7 - 0.6 * np.exp(-np.arange(200) / 15), 0.1 + 0.002 * np.arange(200))
    )
    assert np.mean(over) > 0.7 and not any(rising)


def test_the_end_of_a_line_without_noise():
    rising = predicted_end(0.1 + 0.01 * np.arange(40), 20)
    assert rising.value == pytest.approx(0.69) and rising.high == pytest.approx(0.69)
    assert rising.low == pytest.approx(0.49), "it may level off at once"
    assert predicted_end(0.1 + 0.01 * np.arange(40), 1000).value == 1.0
    assert math.isnan(predicted_end(np.linspace(0, 1, 18), 10).high)


@pytest.mark.parametrize("correlation", [0.0, 0.5])
@pytest.mark.parametrize("curve", CURVES)
def test_the_end_lies_in_its_interval(curve, correlation):
    generator = np.random.default_rng(0)
    true = CURVES[curve](80.0)
    found = [
        predicted_end(CURVES[curve](STEPS) + noise(generator, 60, correlation), 20)
        for _ in range(300)
    ]
    outside = np.mean([not each.low <= true <= each.high for each in found])
    assert outside < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    assert np.median([each.high - each.low for each in found]) < 0.5


@pytest.mark.parametrize(("rewards", "left"), [([0.1, math.nan], 5), ([0.1] * 30, -1)])
def test_what_is_no_curve_is_refused(rewards, left):
    with pytest.raises(ValueError, match="remaining gain"):
        remaining_gain(rewards, left)
