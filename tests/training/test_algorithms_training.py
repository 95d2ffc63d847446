"""Each algorithm really trains: verl and vLLM run, and their own numbers are the method's.

verl dumps every answer with its reward. From those the advantages and the loss of the first update
are computed here by the papers' formulas and compared with what verl reports.
"""

import itertools
import statistics
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from rlvr_dynamics.grading.grade import grade
from rlvr_dynamics.results.run import load_results
from rlvr_dynamics.results.updates import clips_of_run
from rlvr_dynamics.schema.clips import DUAL_CLIPPED, POLICY_CLIPPED, VALUE_CLIPPED
from rlvr_dynamics.training.verl_command import MANAGERS
from tests.support.grid_fixture import (
    ANSWER_TOKENS,
    CELLS,
    CRITIC_RATE,
    GROUP,
    IN_MAKE_TEST,
    PROMPTS,
    STEPS,
    grid_folder,  # noqa: F401
    metrics,
    run_cell,
    settings,
    verl_configuration,
)
from tests.support.policy_gradient import advantages, answers_of, slack, unseen

GROUPED = ("grpo", "dr_grpo", "rloo", "dapo", "gspo")
EVERY = [
    pytest.param(name, marks=[pytest.mark.grid, pytest.mark.slow][: 1 + (name in IN_MAKE_TEST)])
    for name in CELLS
]


def only(*names: str) -> list:
    return [param for param in EVERY if param.values[0] in names]


@dataclass(frozen=True)
class Trained:
    """A finished cell: verl's configuration and metrics, and the answers of every step."""

    name: str
    folder: Path
    verl: dict
    metrics: pd.DataFrame
    answers: dict[int, pd.DataFrame]


@pytest.fixture
def trained(request, grid_folder, cells={}):  # noqa: B006, F811 - one cell per algorithm and session
    name = request.param
    if name not in cells:
        folder = run_cell(grid_folder, name)
        cells[name] = Trained(
            name,
            folder,
            verl_configuration(folder),
            metrics(folder),
            answers_of(folder, ANSWER_TOKENS[name]),
        )
    return cells[name]


def correct(answers: pd.DataFrame) -> np.ndarray:
    """1.0 where the grader that scoring uses calls an answer correct."""
    pairs = zip(answers["gts"], answers["output"], strict=True)
    return np.array(
        [grade(g, text, kind="integer").status == "correct" for g, text in pairs], float
    )


trains = pytest.mark.parametrize("trained", EVERY, indirect=True)


@trains
def test_verl_itself_says_which_method_it_runs(trained):
    actor = trained.verl["actor_rollout_ref"]["actor"]
    algorithm, reward = trained.verl["algorithm"], trained.verl["reward"]
    file = settings(trained.name)
    assert algorithm["adv_estimator"] == file["adv_estimator"]
    assert actor["policy_loss"]["loss_mode"] == file["loss_mode"]
    assert actor["loss_agg_mode"] == file["loss_agg_mode"]
    assert actor["clip_ratio_low"] == file["clip_ratio_low"]
    assert actor["clip_ratio_high"] == file["clip_ratio_high"]
    assert actor["clip_ratio_c"] == file["clip_ratio_c"]
    assert actor["use_kl_loss"] == (file["kl_loss_coef"] > 0)
    assert algorithm["use_kl_in_reward"] == (file["kl_reward_coef"] > 0)
    assert reward["reward_manager"]["name"] == MANAGERS[file["reward_manager"]]
    assert reward["custom_reward_function"]["path"].endswith("reward.py")
    assert trained.verl["critic"]["enable"] == (trained.name == "ppo")


@trains
def test_every_step_with_a_learning_rate_moves_the_weights_and_is_saved(trained):
    assert trained.metrics["step"].tolist() == list(range(1, STEPS + 1))
    folders = [trained.folder / "prepare" / "base"] + [
        trained.folder / "train" / "checkpoints" / f"step_{step}" for step in range(1, STEPS + 1)
    ]
    weights = [load_file(folder / "model.safetensors") for folder in folders]
    for step, (earlier, later) in enumerate(itertools.pairwise(weights), start=1):
        assert earlier.keys() == later.keys()
        moved = sum(float(np.abs(later[name] - earlier[name]).sum()) for name in later)
        # verl's warm-up begins at 0.
        assert (moved > 0) == (step > 1)
    # float32 on both sides: trainer and vLLM agree on the probabilities of the answers.
    assert trained.metrics["rollout_corr/kl"].abs().max() < 1e-3


@trains
def test_rewards_are_the_graders_and_lengths_are_the_tokens(trained):
    for step, answers in trained.answers.items():
        row = trained.metrics.set_index("step").loc[step]
        assert answers["group"].nunique() == PROMPTS
        assert (answers.groupby("group").size() == GROUP[trained.name]).all()
        assert row["critic/score/mean"] == pytest.approx(answers["score"].mean(), abs=1e-5)
        assert 0 <= unseen(answers, row) <= 0.02 * answers["tokens"].sum()
        if trained.name != "dapo":  # whose punishment has a test of its own
            assert (answers["score"] == correct(answers)).all()
    assert any(answers["score"].nunique() > 1 for answers in trained.answers.values())


@pytest.mark.parametrize("trained", only(*GROUPED), indirect=True)
def test_advantages_are_the_papers(trained):
    for step, answers in trained.answers.items():
        expected = advantages(trained.name, answers)
        row = trained.metrics.set_index("step").loc[step]
        weighted = np.average(expected, weights=answers["tokens"])
        assert row["critic/advantages/max"] == pytest.approx(expected.max(), abs=1e-4)
        assert row["critic/advantages/min"] == pytest.approx(expected.min(), abs=1e-4)
        near = slack(expected, answers, row)
        assert row["critic/advantages/mean"] == pytest.approx(weighted, abs=near)


@pytest.mark.parametrize("trained", only("dr_grpo", "gspo"), indirect=True)
def test_the_loss_of_on_policy_updates_is_the_papers(trained):
    """With ratios of 1 it is minus the mean advantage, as the method means.

    Both means have equal weights for all answers, so which of them are in which mini-batch does
    not matter; a mean over tokens is in tests/flow/test_end_to_end.py, with one update a step.
    """
    answers = trained.answers[1]
    value, tokens = advantages(trained.name, answers), answers["tokens"].to_numpy()
    if trained.name == "dr_grpo":  # arXiv 2503.20783: a constant in place of the length
        value = value * tokens / ANSWER_TOKENS[trained.name]
    row = trained.metrics.set_index("step").loc[1]
    assert row["actor/pg_loss"] == pytest.approx(-value.mean(), abs=slack(value, answers, row))


@trains
def test_the_clips_act_from_the_second_update_of_a_step_on(trained):
    rows = trained.metrics.set_index("step")
    found = clips_of_run(load_results(trained.folder))
    assert found and all(clip.acts for clip in found)
    assert {clip.metric for clip in found} <= set(rows)
    # The learning rate of step 1 is 0, so its second update finds every ratio at 1, too.
    assert rows.loc[1, POLICY_CLIPPED] == rows.loc[1, DUAL_CLIPPED] == 0.0
    assert rows.loc[1, "actor/ppo_kl"] == pytest.approx(0.0, abs=1e-6)
    assert 0.0 < rows.loc[2:, POLICY_CLIPPED].max() < 1.0
    assert rows.loc[2:, "actor/ppo_kl"].abs().max() > 1e-6
    assert (VALUE_CLIPPED in rows) == (trained.name == "ppo")
    if trained.name == "ppo":
        assert 0.0 < rows[VALUE_CLIPPED].max() < 1.0


@trains
def test_the_kl_term_is_where_the_method_puts_it(trained):
    file, rows = settings(trained.name), trained.metrics.set_index("step")
    in_loss, in_reward = file["kl_loss_coef"] > 0, file["kl_reward_coef"] > 0
    assert ("timing_s/ref" in rows) == (in_loss or in_reward)
    assert ("actor/kl_loss" in rows) == in_loss
    assert ("actor/reward_kl_penalty" in rows) == in_reward
    if in_loss:
        # At the first update the policy is its own reference.
        assert rows.loc[1, "actor/kl_loss"] == pytest.approx(0.0, abs=1e-6)
        assert rows.loc[STEPS, "actor/kl_loss"] > 1e-6
        assert (rows["actor/kl_coef"] == file["kl_loss_coef"]).all()
        total = rows["actor/pg_loss"] + rows["actor/kl_coef"] * rows["actor/kl_loss"]
        np.testing.assert_allclose(rows["actor/loss"], total, atol=1e-5)
    if in_reward:
        assert (rows["actor/reward_kl_penalty_coeff"] == file["kl_reward_coef"]).all()
        assert rows.loc[1, "actor/reward_kl_penalty"] == pytest.approx(0.0, abs=1e-6)
        assert abs(rows.loc[STEPS, "actor/reward_kl_penalty"]) > 1e-6
        changed = (rows["critic/rewards/mean"] - rows["critic/score/mean"]).abs()
        assert changed.loc[STEPS] > 0
    else:
        np.testing.assert_allclose(rows["critic/rewards/mean"], rows["critic/score/mean"])


@pytest.mark.parametrize("trained", only("ppo"), indirect=True)
def test_ppo_learns_a_value_model(trained):
    rows = trained.metrics.set_index("step")
    assert trained.verl["algorithm"]["adv_estimator"] == "gae"
    assert (rows["critic/vf_loss"] > 0).all()
    assert (rows["critic/grad_norm"] > 0).all()
    assert (rows["critic/lr"] == CRITIC_RATE).all()
    assert (rows["actor/lr"] != rows["critic/lr"]).all()
    assert rows["critic/values/mean"].nunique() == STEPS
    # gamma = lambda = 1: the return of every token is the answer's reward, whatever the values.
    for step, answers in trained.answers.items():
        assert rows.loc[step, "critic/returns/max"] == pytest.approx(
            answers["score"].max(), abs=1e-4
        )
        assert rows.loc[step, "critic/returns/min"] == pytest.approx(
            answers["score"].min(), abs=1e-4
        )
    # Advantages are normalised over the tokens of the batch.
    assert rows["critic/advantages/mean"].abs().max() < 1e-4
    newest = trained.folder / "train" / "verl" / "checkpoints" / f"global_step_{STEPS}" / "critic"
    assert list(newest.glob("model_*.pt"))
    assert list(newest.glob("optim_*.pt"))


@pytest.mark.parametrize("trained", only("reinforce_pp"), indirect=True)
def test_reinforce_pp_normalises_returns_over_the_batch(trained):
    """arXiv 2501.03262: (return - mean) / deviation over all tokens, with no groups in it."""
    rows = trained.metrics.set_index("step")
    answers = trained.answers[1]  # before there is a KL penalty, a return is the reward
    returns = np.repeat(answers["score"].to_numpy(), answers["tokens"].to_numpy())
    expected = (returns - returns.mean()) / returns.std(ddof=1)
    near = slack(expected, answers, rows.loc[1])
    assert rows.loc[1, "critic/advantages/max"] == pytest.approx(expected.max(), abs=near)
    assert rows.loc[1, "critic/advantages/min"] == pytest.approx(expected.min(), abs=near)
    assert rows["critic/advantages/mean"].abs().max() < 1e-4


@pytest.mark.parametrize("trained", only("dapo"), indirect=True)
def test_dapo_samples_dynamically_and_punishes_length(trained):
    reward = trained.verl["reward"]["reward_kwargs"]
    buffer, longest = reward["overlong_buffer_cfg"]["len"], reward["max_resp_len"]
    assert (buffer, longest) == (6, 32)
    punished = 0
    for step, answers in trained.answers.items():
        right = correct(answers)
        # Equation 13 of arXiv 2503.14476.
        excess = answers["tokens"].to_numpy() - (longest - buffer)
        expected = right - np.clip(excess / buffer, 0.0, None)
        differ = ~np.isclose(answers["score"], expected, atol=1e-5)
        assert differ.sum() <= unseen(answers, trained.metrics.set_index("step").loc[step])
        punished += int((excess > 0).sum())
        # Every group that is learned from has both right and wrong answers.
        shares = pd.Series(right).groupby(answers["group"].to_numpy()).mean()
        assert ((shares > 0) & (shares < 1)).all()
    assert punished > 0
    evicted = trained.metrics.filter(like="filter_groups/evicted_samples")
    assert evicted.sum().sum() > 0


@trains
def test_every_rollout_is_counted(trained):
    rows = trained.metrics.set_index("step")
    for step, answers in trained.answers.items():
        row, kept = rows.loc[step], len(answers)
        dropped = row.filter(like="training/filter_groups/").sum() * GROUP[trained.name]
        assert row["rollouts/answers"] == kept + dropped
        assert row["rollouts/problems"] == row["rollouts/answers"] / GROUP[trained.name]
        if trained.name == "dapo":  # what was dropped is all right or all wrong
            assert row["rollouts/acc_exact"] * row["rollouts/answers"] >= correct(answers).sum()
        else:
            assert dropped == 0
            assert row["rollouts/acc_exact"] == pytest.approx(correct(answers).mean())


@pytest.mark.parametrize("trained", only("dapo"), indirect=True)
def test_a_validation_is_verls_and_begins_with_the_base(trained):
    table = pd.read_parquet(trained.folder / "train" / "metrics.parquet").set_index("step")
    validated = table.dropna(subset=["validation/answers"])
    assert validated.index.tolist() == [0, 2, STEPS]
    assert (validated["validation/problems"] == 16).all()
    assert (validated["validation/answers"] == 16 * 4).all()
    for name, verls in (("acc", "val-core"), ("acc_exact", "val-aux")):
        np.testing.assert_allclose(
            validated[f"validation/{name}"], validated[f"{verls}/arithmetic/{name}/mean@4"]
        )
    assert validated["validation/acc_exact"].between(0, 1, inclusive="neither").any()


@pytest.mark.parametrize("trained", only("gspo"), indirect=True)
def test_gspo_clips_whole_answers_close_to_one(trained):
    rows = trained.metrics.set_index("step")
    assert trained.verl["actor_rollout_ref"]["actor"]["clip_ratio_high"] == 4e-4
    # None is clipped twice.
    assert (rows["actor/pg_clipfrac_lower"] == 0.0).all()
    assert statistics.fmean(rows["actor/ppo_kl"].abs()) < 0.1
