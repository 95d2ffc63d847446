"""A training is cut where its weights jumped, and the longest part is measured."""

from types import SimpleNamespace

import pytest

from rlvr_dynamics.run_directory.stretches import longest_stretch, stretches, stretches_in_words


@pytest.mark.parametrize(
    ("jumps", "parts", "longest"),
    [
        ({}, [(0, 20)], (0, 20)),
        ({5: {}}, [(0, 4), (5, 20)], (5, 20)),
        ({11: {}, 16: {}}, [(0, 10), (11, 15), (16, 20)], (0, 10)),
        ({20: {}}, [(0, 19), (20, 20)], (0, 19)),
    ],
)
def test_a_stretch_after_a_jump_begins_at_the_first_step_saved_after_it(jumps, parts, longest):
    assert stretches(20, jumps) == parts
    trajectory = SimpleNamespace(steps=tuple(range(1, 21)))
    assert longest_stretch(trajectory, jumps) == longest


def test_the_words_name_the_jump_by_the_step_before_it():
    said = stretches_in_words(stretches(20, {5: {}})[1], {5: {}})
    assert "after step 4" in said and "counted from step 5" in said
