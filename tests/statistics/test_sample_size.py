import math

import numpy as np
import pytest

from rlvr_dynamics.statistics.intervals import normal_quantile
from rlvr_dynamics.statistics.sample_size import drawing_half_width, samples_needed

Z = normal_quantile(0.95)


def test_the_half_width_is_what_drawing_answers_gives():
    generator = np.random.default_rng(0)
    questions, few, many, repeats = 60, 3, 8, 4000
    chances = generator.uniform(size=(repeats, questions))
    one = generator.binomial(few, chances) / few
    other = generator.binomial(many, chances) / many
    spread = (one - other).mean(axis=1).std()
    assert drawing_half_width(questions, few, many) == pytest.approx(Z * spread, rel=0.04)
    # v = 1/6 and k = K: z sqrt(2 v / (k Q)).
    assert drawing_half_width(50, 4, 4) == pytest.approx(Z * math.sqrt(1 / 600))


@pytest.mark.parametrize("questions", [30, 198, 272, 500, 1319, 5000])
@pytest.mark.parametrize("most", [1, 8, 32])
@pytest.mark.parametrize("half_width", [0.005, 0.02, 0.05])
def test_no_smaller_number_suffices(questions, most, half_width):
    found = samples_needed(questions, most, half_width)
    assert 1 <= found <= most
    if found < most:
        assert drawing_half_width(questions, found, most) <= half_width * (1 + 1e-9)
    if found > 1:
        assert drawing_half_width(questions, found - 1, most) > half_width


def test_thirty_questions_cannot_decide_between_close_models():
    """AIME: 32 answers of both models leave more than the margin of 2 points, so all are asked."""
    assert drawing_half_width(30, 32, 32) > 0.036
    assert samples_needed(30, 32, 0.02) == 32
