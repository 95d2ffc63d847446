"""The whole loop on the real parts: verl trains, vLLM scores, a kill in the middle is survived."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rlvr_dynamics.checkpoints.delta_names import version_name
from rlvr_dynamics.grading.grade import grade
from rlvr_dynamics.schema.clips import DUAL_CLIPPED, POLICY_CLIPPED
from rlvr_dynamics.schema.tables import TABLES
from rlvr_dynamics.system.processes import marked
from tests.support.policy_gradient import advantages, answers_of, slack

STEPS = 8  # enough that the kill after the third is before the last
OVERRIDES = [
    f"trainer.steps={STEPS}",
    "trainer.prompts_per_step=8",
    "trainer.mini_batch_prompts=8",
    "trainer.micro_batch_samples=64",
    "trainer.micro_batch_tokens=1024",  # 64 samples of up to 96 tokens: several passes
    "trainer.save_state_every=2",
    "trainer.keep=deltas",
    "model.steps_clean=420",
    "model.steps_noisy=20",
    "model.careful=0.5",
    "data.train_problems=256",
    "data.test_problems=64",
    "data.ood_problems=16",
    "extrapolation.windows=[0.5]",
    "extrapolation.targets=[1.0,2.0]",
    "scoring.ladder=[1.0]",
    "measure.null_draws=50",
]


def command(run_dir: Path) -> list[str]:
    rollouts = f"trainer.verl_overrides=['trainer.rollout_data_dir={run_dir / 'rollouts'}']"
    return [
        *(sys.executable, "-m", "rlvr_dynamics.run", f"run_dir={run_dir}", *OVERRIDES),
        rollouts,
    ]


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """One run, killed without warning after its third checkpoint, and run again from the second.

    Only every second step has a state to go on from.
    """
    run_dir = tmp_path_factory.mktemp("run") / "demo"
    marker = str((run_dir / "train").resolve())
    first = subprocess.Popen(command(run_dir), stderr=subprocess.PIPE, text=True)
    third_step = run_dir / "train" / "checkpoints" / version_name(3)
    end = time.monotonic() + 900
    while not third_step.exists() and first.poll() is None and time.monotonic() < end:
        time.sleep(0.2)
    assert first.poll() is None, first.communicate()[1]
    assert third_step.exists()
    first.send_signal(signal.SIGKILL)
    first.wait()
    end = time.monotonic() + 60
    while marked(marker) and time.monotonic() < end:
        time.sleep(0.2)
    assert marked(marker) == [], "Ray or vLLM outlived the run"
    again = subprocess.run(command(run_dir), capture_output=True, text=True, timeout=1200)
    assert again.returncode == 0, again.stderr[-4000:]
    return run_dir, again


pytestmark = pytest.mark.slow


def test_every_step_is_there_once_after_a_kill(finished_run):
    run_dir, _ = finished_run
    names = {path.name for path in (run_dir / "train" / "checkpoints").iterdir()}
    assert names == {"store.json", *(version_name(step) for step in range(1, STEPS + 1))}
    metrics = pd.read_parquet(run_dir / "train" / "metrics.parquet")
    assert metrics["step"].tolist() == list(range(1, STEPS + 1))
    attempts = list((run_dir / "train" / "verl").glob("metrics_*.jsonl"))
    assert len(attempts) == 2
    last = attempts[0] if "_2" in attempts[0].name else attempts[1]
    assert json.loads(last.read_text().splitlines()[0])["step"] > 1, "training began again at 0"
    states = list((run_dir / "train" / "verl" / "checkpoints").glob("global_step_*"))
    assert 0 < len(states) <= 3


def test_the_reward_of_a_worker_is_the_graders_and_not_silently_zero(finished_run):
    run_dir, _ = finished_run
    rollouts = [
        json.loads(line)
        for file in sorted((run_dir / "rollouts").glob("*.jsonl"))
        for line in file.read_text().splitlines()
    ]
    assert len(rollouts) >= STEPS * 64
    for row in rollouts:
        expected = grade(row["gts"], row["output"], kind="integer")
        assert row["score"] == float(expected.status == "correct")
    assert 0 < sum(row["score"] for row in rollouts) < len(rollouts)
    metrics = pd.read_parquet(run_dir / "train" / "metrics.parquet")
    assert metrics["critic/score/mean"].between(0, 1).all()
    assert metrics["critic/score/mean"].mean() > 0
    # All rollouts are learned from, so the count of all of them says the same.
    assert metrics["rollouts/acc_exact"].tolist() == pytest.approx(metrics["critic/score/mean"])
    assert (metrics["rollouts/answers"] == 64).all() and (metrics["rollouts/problems"] == 8).all()
    # Trainer and vLLM agree on the probabilities of the rollouts (float32 on both sides).
    assert metrics["rollout_corr/kl"].abs().max() < 1e-3


def test_the_loss_of_one_update_a_step_is_minus_the_mean_advantage_and_nothing_is_clipped(
    finished_run,
):
    """With one update a step every ratio is 1: the loss of GRPO's mean over tokens by hand."""
    run_dir, _ = finished_run
    metrics = pd.read_parquet(run_dir / "train" / "metrics.parquet").set_index("step")
    for step, answers in answers_of(run_dir, longest=48).items():
        value, row = advantages("grpo", answers), metrics.loc[step]
        expected = -np.average(value, weights=answers["tokens"])
        assert row["actor/pg_loss"] == pytest.approx(expected, abs=slack(value, answers, row))
        assert row[POLICY_CLIPPED] == row[DUAL_CLIPPED] == 0.0
    clips = pd.read_csv(run_dir / "report" / "tables" / "clips.csv")
    assert (clips["can act"] == "no: one update a rollout").all()
    assert (clips[["mean", "highest"]] == 0.0).all(axis=None)


def test_tables_have_the_declared_columns_in_order(finished_run):
    run_dir, _ = finished_run
    for table in TABLES.values():
        path = run_dir / table.file
        if path.exists() and not table.is_open:
            assert list(pd.read_parquet(path).columns) == table.names, table.name


def test_real_and_predicted_checkpoints_are_scored(finished_run):
    run_dir, _ = finished_run
    scores = pd.read_parquet(run_dir / "scores" / "scores.parquet")
    assert {"base", "real", "rank1_recovery", "random_update", "relex"} <= set(scores["method"])
    assert scores["benchmark"].nunique() == 4
    assert set(scores["protocol"]) == {"greedy", "sampled"}
    for row in scores.to_dict("records"):
        file = run_dir / "scores" / "samples" / row["model"] / f"{row['benchmark']}.parquet"
        answers = pd.read_parquet(file).query("protocol == @row['protocol']")
        assert len(answers) == row["questions"] * row["samples"]
        assert row["accuracy"] == pytest.approx(answers["score"].mean())
        if row["samples"] == 1:  # Wilson's interval
            z, n, p = 1.959964, row["questions"], row["accuracy"]
            half = z * (p * (1 - p) / n + (z / n / 2) ** 2) ** 0.5
            ends = [(p + z * z / n / 2 - half) / (1 + z * z / n)]
            ends += [(p + z * z / n / 2 + half) / (1 + z * z / n)]
            assert [row["ci_low"], row["ci_high"]] == pytest.approx(ends, abs=1e-6)


def test_the_report_is_one_file_and_opens_with_the_claims(finished_run):
    run_dir, again = finished_run
    page = (run_dir / "report" / "index.html").read_text()
    assert "RELEX" in page
    assert 'src="http' not in page
    claims = pd.read_csv(run_dir / "report" / "claims.csv")
    assert set(claims["verdict"]) <= {"holds", "fails", "inconclusive", "not measured"}
    assert "index.html" in again.stdout


def test_a_second_call_says_that_all_is_done(finished_run):
    run_dir, _ = finished_run
    done = subprocess.run(command(run_dir), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert "everything was done already" in done.stdout


def test_somebody_elses_trajectory_is_measured_without_training(finished_run, tmp_path):
    run_dir, _ = finished_run
    done = subprocess.run(
        [
            *(sys.executable, "-m", "rlvr_dynamics.run", "+exp=trajectory"),
            f"source.base={run_dir / 'prepare' / 'base'}",
            f"source.checkpoints={run_dir / 'train' / 'checkpoints'}",
            f"run_dir={tmp_path / 'out'}",
            "extrapolation.windows=[0.4]",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report" / "index.html").exists()
    ours = pd.read_parquet(tmp_path / "out" / "measure" / "trajectory_svd.parquet")
    theirs = pd.read_parquet(run_dir / "measure" / "trajectory_svd.parquet")
    pd.testing.assert_series_equal(ours["sigma"], theirs["sigma"])


def test_a_flipped_bit_is_found(finished_run, tmp_path):
    import shutil

    run_dir, _ = finished_run
    copy = tmp_path / "checkpoints"
    shutil.copytree(run_dir / "train" / "checkpoints", copy)
    shard = copy / version_name(3) / "model-00001-of-00001.safetensors"
    data = bytearray(shard.read_bytes())
    data[-100] ^= 1
    shard.write_bytes(data)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "rlvr_dynamics.run", "+exp=trajectory"),
            f"source.base={run_dir / 'prepare' / 'base'}",
            f"source.checkpoints={copy}",
            f"run_dir={tmp_path / 'out'}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "of step 3" in done.stderr
    assert "Traceback" not in done.stderr
