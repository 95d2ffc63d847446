"""Where a run differs from the paper that it follows: from its actual values, whoever set them."""

import pandas as pd
import pytest

from rlvr_dynamics.config import load
from rlvr_dynamics.fidelity import DIFFERS, OPEN, SAME, differences, rows_of
from rlvr_dynamics.flow.plan_in_words import describe
from rlvr_dynamics.reporting import build_report
from rlvr_dynamics.run_directory.run import Run


def rows(*overrides: str) -> dict:
    return {row.setting: row for row in rows_of(load(list(overrides)))}


def test_a_run_that_follows_no_paper_has_none():
    assert rows_of(load([])) == ()
    assert rows_of(load(["+exp=dapo_qwen3_8b", "protocol=null"])) == ()


def test_what_is_printed_is_the_same_or_differs_with_a_reason():
    found = rows("+exp=dapo_qwen3_8b")
    clip, precision = found["clip, above"], found["precision of training"]
    assert (clip.paper, clip.ours, clip.state, clip.reason) == ("0.28", "0.28", SAME, "")
    assert (precision.paper, precision.ours, precision.state) == ("fp16", "bf16", DIFFERS)
    assert "pull request 4036" in precision.reason
    assert rows("+exp=dapo_qwen3_8b", "trainer.precision=fp16")[precision.setting].state == SAME
    problems = found["training problems"]
    assert (problems.ours, problems.state) == ("17,270", DIFFERS)  # 17,398 without 128


@pytest.mark.parametrize(
    ("cell", "override", "setting", "shown"),
    [
        # Printed by the paper.
        ("dapo_qwen3_8b", "algorithm.learning_rate=2e-6", "learning rate", "1e-06 2e-06"),
        ("grpo_qwen3_4b", "trainer.steps=100", "steps", "500 100"),
        # Left open, and chosen for the grid.
        ("grpo_qwen3_4b", "algorithm.learning_rate=1e-5", "learning rate", "1e-06 1e-05"),
        ("grpo_qwen3_4b", "algorithm.warmup_steps=10", "warm-up, steps", "0 10"),
        ("dapo_qwen3_8b", "trainer.mini_batch_prompts=32", "updates a step", "1 16"),
        ("gspo_qwen3_8b", "trainer.mini_batch_prompts=512", "updates a step", "4 1"),
        (
            "grpo_qwen3_4b",
            "algorithm.lora={rank:64,alpha:32,target_modules:[q_proj]}",
            "what is trained",
            "not LoRA",
        ),
        (
            "grpo_qwen3_8b",
            "trainer.verl_overrides=['actor_rollout_ref.actor.optim.betas=[0.9,0.95]']",
            "further settings of verl",
            "none betas",
        ),
    ],
)
def test_what_a_user_changes_is_a_difference(cell, override, setting, shown):
    before, after = (
        {row.setting: row for row in differences(load([f"+exp={cell}", *more]))}
        for more in ([], [override])
    )
    assert setting not in before
    assert before.keys() < after.keys()
    row = after[setting]
    asked, here = shown.split()
    assert asked in f"{row.paper} {row.reason}"
    assert here in row.ours
    assert row.reason.startswith("chosen for this run")


def test_a_control_is_a_difference():
    row = rows("+exp=rloo_qwen3_8b", "data.shuffle_answers=true")["answers to the problems"]
    assert (row.paper, row.ours, row.state) == ("their own", "shuffled", DIFFERS)


def test_an_algorithm_that_the_paper_did_not_train_stands_beside_its_own_paper():
    ppo, dapo = rows("+exp=ppo_qwen2_5_7b"), rows("+exp=dapo_qwen3_8b")
    own = ppo["answers per problem (ppo)"]
    assert (own.paper, own.ours, own.state) == ("64", "8", DIFFERS)
    assert ppo["answers per problem"].state == SAME
    assert not [name for name in dapo if name.endswith("(dapo)")]  # AlphaRL's own
    relex = rows("+exp=dapo_qwen3_4b")
    assert relex["clip, above (dapo)"].state == SAME
    assert relex["warm-up, steps (dapo)"].state == DIFFERS
    betas = "trainer.verl_overrides=['actor_rollout_ref.actor.optim.betas=[0.9,0.95]']"
    assert rows("+exp=ppo_qwen2_5_7b", betas)["Adam's betas (ppo)"].state == SAME
    clip = "trainer.verl_overrides=['critic.cliprange_value=0.2']"
    assert ppo["value clip (ppo)"].ours == "0.5"
    assert rows("+exp=ppo_qwen2_5_7b", clip)["value clip (ppo)"].state == SAME


def test_what_is_open_is_neither_the_same_nor_a_difference():
    row = rows("+exp=grpo_qwen3_4b")["problems a step"]
    assert (row.paper, row.ours, row.state) == ("not printed (1,024; 32)", "512", OPEN)
    assert "two updates of 256" in row.reason


def test_the_dry_run_prints_the_differences_and_the_report_shows_every_setting(tmp_path):
    config = load(["+exp=dapo_qwen3_8b", "algorithm.learning_rate=2e-6", f"run_dir={tmp_path}"])
    said = describe(Run(config, tmp_path))
    for row in differences(config):
        assert f"{row.setting}: {row.paper} -> {row.ours} here" in said
    assert "learning rate: 1e-06 -> 2e-06 here; chosen for this run" in said
    assert "answers per problem:" not in said
    (tmp_path / "config.json").write_text(config.model_dump_json())
    report = build_report(tmp_path, tmp_path)
    shown = pd.read_csv(tmp_path / "tables" / "fidelity.csv").set_index("setting")
    assert "fidelity" in report.tables and len(shown) == len(rows_of(config))
    assert shown.loc["learning rate", ["paper", "here", "state"]].tolist() == [
        "1e-06",
        "2e-06",
        DIFFERS,
    ]
    assert "Differences from the paper" in report.page.read_text(encoding="utf-8")
