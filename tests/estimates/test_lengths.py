"""The table of answer lengths: complete for the grid, sourced, and capped by the limits."""

import pytest

from experiments import grid
from experiments.cells import CELLS
from rlvr_dynamics.estimates.lengths import (
    KINDS,
    long_answers,
    mean_tokens,
    short_answers,
    table,
    training_data,
)
from rlvr_dynamics.estimates.ranges import Range


def test_every_row_is_a_range_with_its_source():
    assert len({(row.model_kind, row.data) for row in table()}) == len(table())
    for row in table():
        assert 0 < row.low <= row.high
        assert any(mark in row.source for mark in ("arXiv", "github.com", "model card", "assumed"))


def test_the_grid_needs_no_guess():
    """Every model, training set and benchmark of the cells has its row."""
    known = {(row.model_kind, row.data) for row in table()}
    for made in grid.configurations(list(CELLS)):
        kind = KINDS[made.model.name]
        wanted = {training_data(made), *made.benchmark}
        assert wanted <= {data for own, data in known if own == kind}, (made.name, kind)


def test_what_is_not_in_the_table_may_be_anything_in_it():
    short_ones, all_ones = mean_tokens("qwen3_8b", "gsm8k"), mean_tokens("another", "gsm8k")
    assert (all_ones.low, all_ones.high) == (279, 1833)
    assert all_ones.low <= short_ones.low and short_ones.high <= all_ones.high
    rows = [row for row in table() if row.model_kind == "base"]
    wide = mean_tokens("qwen3_8b", "another")
    assert wide == Range(min(row.low for row in rows), max(row.high for row in rows))


@pytest.mark.parametrize(
    ("limit", "quick", "slow"),
    [
        (10_000, (500, 2000), (3000, 10_000)),
        (1000, (500, 1000), (1000, 1000)),
        (100, (100, 100), (100, 100)),
    ],
)
def test_answers_end_at_the_limit(limit, quick, slow):
    tokens = Range(500, 3000)
    assert (short_answers(tokens, limit).mean, short_answers(tokens, limit).longest) == quick
    assert (long_answers(tokens, limit).mean, long_answers(tokens, limit).longest) == slow


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (48.2, 437.4, "48 to 440"),
        (6.12, 6.14, "6.1"),
        (1284, 7701, "1,300 to 7,700"),
        (0, 2, "0 to 2"),
    ],
)
def test_a_range_in_words_has_two_digits(low, high, text):
    assert str(Range(low, high)) == text
