"""Which models of a cell give how many answers."""

from collections import Counter

import pytest

from rlvr_dynamics.config import load
from rlvr_dynamics.schema.model_id import ModelId
from rlvr_dynamics.scoring.sizes import planned_answers, planned_models, whole_models

ALPHARL = 2 * 30 + 500 + 272 + 198 + 1319
RELEX = 3 * 30 + 40 + 675


@pytest.mark.parametrize(
    ("cell", "given", "answers"),
    [
        ("grpo_qwen3_8b", ["scoring.half_width=null"], 34 * 32 * ALPHARL),
        ("grpo_qwen3_8b", [], 7 * 32 * ALPHARL + 27 * 10_912),
        ("grpo_qwen3_4b", [], 34 * (5000 + 8 * RELEX)),
        ("grpo_qwen3_4b", ["benchmark=gsm8k"], 34 * 8 * 1319),
    ],
)
def test_the_answers_of_a_cell(cell, given, answers):
    config = load([f"+exp={cell}", *given])
    assert sum(asked.answers for asked in planned_answers(config)) == answers


def test_an_interval_of_two_points_needs_fewer_answers_on_more_questions():
    asked = planned_answers(load(["+exp=dapo_qwen3_8b"]))
    few = {each.benchmark: each.samples for each in asked if each.models == 27}
    assert few == {
        "aime24": 32, "aime25": 32, "math500": 4, "minerva": 8, "gpqa_diamond": 11, "gsm8k": 2,
    }  # fmt: skip
    assert {each.samples for each in asked if each.models == 7} == {32}


def test_models_of_a_paper_and_what_tables_put_beside_them_answer_in_full():
    config = load(["+exp=dapo_qwen3_8b", "trainer.steps=100"])
    planned = planned_models(config)
    assert len(planned) == len(set(planned)) == 34
    assert {str(model) for model in whole_models(config, planned)} == {
        "base", "step_100", "step_40", "alpharl__observe_40__step_100",
        "alpharl_released__observe_40__step_100", "rank1_recovery__step_40",
        "rank1_recovery__step_100",
    }  # fmt: skip
    # A rebuilt step stands beside the step itself.
    rebuilt = [ModelId.parse(name) for name in ("rank1_recovery__step_50", "step_50", "step_60")]
    rebuilt.append(ModelId.checkpoint(100))
    found = Counter(str(model) for model in whole_models(config, rebuilt))
    assert found == Counter({"rank1_recovery__step_50": 1, "step_50": 1, "step_100": 1})
