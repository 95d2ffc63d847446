"""Answers and hours of scoring, by hand on one benchmark and a tiny model."""

import pytest

from experiments import grid
from experiments.cells import CELLS
from rlvr_dynamics import config
from rlvr_dynamics.estimates.decoding import Engine, card_of, token_bytes
from rlvr_dynamics.estimates.lengths import Length
from rlvr_dynamics.estimates.scoring import engines_of, scoring
from rlvr_dynamics.schema import RunConfig

# default.yaml: relex and relex_raw from two windows to three targets each, two, two,
# one and four of four other methods, two of alpharl, three rebuilt; six checkpoints of the ladder,
# and the end of alpharl's window.
MODELS = 1 + 6 + 1 + (6 + 6 + 2 + 2 + 1 + 4 + 2 + 3)


def cell(*overrides: str) -> RunConfig:
    return config.load(["+exp=grpo_qwen3_4b", "scoring.half_width=null", *overrides])


def test_answers_are_counted_over_models_benchmarks_and_samples():
    need = scoring(cell())
    assert need.models == MODELS
    # MATH once; AIME 2025 and 2026, HMMT, OlympiadBench and AMC 8 times.
    assert need.answers == MODELS * (5000 + 8 * (30 + 30 + 30 + 675 + 40))
    assert need.gpus == 8
    half = scoring(cell("scoring.engines=4"))
    assert (half.answers, half.gpus) == (need.answers, 4)
    assert half.hours.low == pytest.approx(2 * need.hours.low)
    assert half.hours.high == pytest.approx(2 * need.hours.high)


def test_hours_in_closed_form():
    made = cell("benchmark=aime24", "scoring.max_tokens=4096")
    assert list(made.benchmark) == ["aime24"]
    need, shape = scoring(made), made.model.architecture
    room = (0.85 * 80 - 2) * 2**30 - 2 * shape.parameters
    engine = Engine(shape, 1, card_of(80), 256, room / token_bytes(shape))
    # The base's answers to AIME 2024: 970 tokens on average, the longest four times that; the disk
    # gives 2 GB a second.
    batch = engine.seconds(30 * 8, 170, Length(970, 3880))
    low = MODELS * (batch + 2 * shape.parameters / 2e9) / 8 / 3600
    assert need.hours.low == pytest.approx(low)
    # 7,013 tokens are more than the limit; half of the speed, and a disk of 0.5 GB a second.
    batch = 2 * engine.seconds(30 * 8, 170, Length(4096, 4096))
    high = MODELS * (batch + 2 * shape.parameters / 0.5e9) / 8 / 3600
    assert need.hours.high == pytest.approx(high)


def test_the_processor_has_no_estimate_of_hours():
    need = scoring(cell("scoring.device=cpu"))
    assert (need.hours, need.gpus) == (None, 0)
    assert need.answers == scoring(cell()).answers


def test_every_cell_scores_within_its_range():
    for made in grid.configurations(list(CELLS)):
        need = scoring(made)
        assert need.hours is not None and 0 < need.hours.low < need.hours.high, made.name
        assert need.gpus == engines_of(made) * made.scoring.tensor_parallel == 8
