"""Every graded rollout is counted, per step and attempt, whatever verl keeps of it."""

import json

import numpy as np
import pandas as pd
import pytest

from rlvr_dynamics.training.rollout_counts import Recorder, counts, folder_of
from rlvr_dynamics.training.verl_metrics import write_metrics

REWARD = "critic/score/mean"


def record(folder, step, split, *verdicts):
    """Verdicts as (problem, acc, acc_exact, truncated)."""
    recorder = Recorder(folder)
    for problem, acc, exact, cut in verdicts:
        row = {"global_steps": step, "uid": problem, "extra_info": {"split": split}}
        recorder.add(row, {"acc": acc, "acc_exact": exact, "truncated": cut})


def log(folder, attempt, *rows):
    folder.mkdir(exist_ok=True)
    path = folder / f"metrics_{attempt}.jsonl"
    lines = [json.dumps({"step": step, "data": data}) + "\n" for step, data in rows]
    path.write_text("".join(lines))
    return folder_of(path)


def test_shares_are_of_all_rollouts_of_a_step(tmp_path):
    record(tmp_path, 1, "train", ("a", 1.0, 1.0, 0.0), ("a", 1.0, 0.0, 0.0))
    record(tmp_path, 1, "train", ("b", 0.0, 1.0, 0.0), ("b", 0.0, 0.0, 1.0), ("b", 0.0, 1.0, 0.0))
    record(tmp_path, 1, "val", ("v", 0.0, 1.0, 0.0))
    record(tmp_path, 2, "train", ("c", 1.0, 1.0, 0.0))
    (tmp_path / "other-1.jsonl").write_text('[2,"train","d",0,0,0]\n[2,"train","e",1,')
    found = counts(tmp_path)
    assert found[1] == {
        "rollouts/problems": 2,
        "rollouts/answers": 5,
        "rollouts/acc": pytest.approx(0.4),
        "rollouts/acc_exact": pytest.approx(0.6),
        "rollouts/paid_only": pytest.approx(0.2),
        "rollouts/exact_only": pytest.approx(0.4),
        "rollouts/truncated": pytest.approx(0.2),
        # Right of a: 1 of 2, of b: 2 of 3; p = 0.6: sqrt(2 (0.2² + 0.2²)) / 5.
        "rollouts/acc_exact_se": pytest.approx(0.08),
        "validation/problems": 1,
        "validation/answers": 1,
        "validation/acc": 0.0,
        "validation/acc_exact": 1.0,
        "validation/paid_only": 0.0,
        "validation/exact_only": 1.0,
        "validation/truncated": 0.0,
    }
    assert (found[2]["rollouts/answers"], found[2]["rollouts/acc"]) == (2, 0.5)
    assert counts(tmp_path / "none") == {}


def test_a_standard_error_is_over_problems_where_these_change_and_over_answers_where_not(tmp_path):
    """Two problems, one always and one never solved: only another choice of problems differs."""
    for split in ("train", "val"):
        record(tmp_path, 1, split, *[("a", 1.0, 1.0, 0.0)] * 4, *[("b", 0.0, 0.0, 0.0)] * 4)
        mixed = [(name, right, right, 0.0) for name in "abc" for right in (1.0, 1.0, 0.0, 0.0)]
        record(tmp_path, 2, split, *mixed)
    found = counts(tmp_path)
    assert found[1]["rollouts/acc_exact_se"] == pytest.approx(0.5)
    assert found[1]["validation/acc_exact_se"] == 0.0
    # Three problems, each right in 2 of 4: 4² · 0.25 / 3 each, over 12 answers.
    assert found[2]["rollouts/acc_exact_se"] == 0.0
    assert found[2]["validation/acc_exact_se"] == pytest.approx(2 / 12)


def test_the_standard_error_is_how_far_shares_scatter(tmp_path):
    """Brute force: 400 steps of 12 other problems each, 3 to 9 answers to a problem."""
    rng = np.random.default_rng(4)
    for step in range(1, 401):
        chances, sizes = rng.beta(0.8, 0.6, 12), rng.integers(3, 10, 12)
        rows = [
            (f"{place}", 1.0, float(rng.random() < chance), 0.0)
            for place, (chance, size) in enumerate(zip(chances, sizes, strict=True))
            for _ in range(size)
        ]
        record(tmp_path, step, "train", *rows)
    found = pd.DataFrame(counts(tmp_path).values())
    mean_square = np.sqrt((found["rollouts/acc_exact_se"] ** 2).mean())
    assert mean_square == pytest.approx(found["rollouts/acc_exact"].std(), rel=0.08)


def test_the_verdict_of_another_reward_function_is_not_counted(tmp_path):
    row = {"global_steps": 1, "uid": "a", "extra_info": {"split": "train"}}
    Recorder(tmp_path).add(row, {"acc": 0.5})
    assert counts(tmp_path) == {}


def test_a_step_has_the_rollouts_of_the_attempt_that_trained_it(tmp_path):
    verl = tmp_path / "verl"
    right, wrong = ("a", 1.0, 1.0, 0.0), ("a", 0.0, 0.0, 0.0)
    # The first attempt validates the base and step 2, and is killed while it draws step 3.
    trained = {REWARD: 0.5}
    first = log(
        verl, 1, (0, {"val-core/x/acc/mean@1": 0.0}), (1, trained), (2, trained | {"val-core/x": 1})
    )
    record(first, 0, "val", wrong)
    record(first, 1, "train", wrong)
    record(first, 2, "train", wrong)
    record(first, 2, "val", right)
    record(first, 3, "train", wrong, wrong)
    # The second goes on after step 2, which it validates once more.
    second = log(verl, 2, (2, {"val-core/x": 0}), (3, {REWARD: 0.25}))
    record(second, 2, "val", wrong, right)
    record(second, 3, "train", right)
    write_metrics(verl, tmp_path / "metrics.parquet")
    table = pd.read_parquet(tmp_path / "metrics.parquet").set_index("step")
    assert table.index.tolist() == [0, 1, 2, 3]
    assert table["rollouts/acc"].fillna(-1).tolist() == [-1, 0, 0, 1]
    assert table["rollouts/answers"].fillna(-1).tolist() == [-1, 1, 1, 1]
    assert table["validation/acc_exact"].fillna(-1).tolist() == [0, -1, 0.5, -1]
    assert table[REWARD].fillna(-1).tolist() == [-1, 0.5, 0.5, 0.25]
