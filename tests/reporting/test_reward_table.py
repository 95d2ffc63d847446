"""The table of what training paid beside what the grader says."""

import json

import numpy as np
import pandas as pd
import pytest

from rlvr_dynamics.reporting.reward_table import reward_table
from rlvr_dynamics.results.run import load_results


def results(folder, metrics):
    (folder / "train").mkdir()
    (folder / "config.json").write_text(json.dumps({"name": "x", "data": {"reward": "dapo"}}))
    metrics.to_parquet(folder / "train" / "metrics.parquet")
    return load_results(folder)


def test_steps_are_weighted_by_their_answers_and_each_kind_has_its_rows(tmp_path):
    steps = np.arange(1, 21)
    rollouts = pd.DataFrame({"step": steps, "critic/score/mean": -0.5})
    rollouts["rollouts/problems"] = 4
    rollouts["rollouts/answers"] = np.where(steps % 2, 30, 10)
    rollouts["rollouts/acc"] = np.where(steps % 2, 0.2, 0.6)
    rollouts["rollouts/acc_exact"] = rollouts["rollouts/acc"] + 0.1
    rollouts["rollouts/paid_only"] = np.where(steps == 7, 0.04, 0.0)
    rollouts["rollouts/exact_only"] = rollouts["rollouts/paid_only"] + 0.1
    rollouts["rollouts/truncated"] = 0.5
    validation = {"problems": 16, "answers": 64, "acc": 0.25, "acc_exact": 0.25}
    validation |= dict.fromkeys(["paid_only", "exact_only", "truncated"], 0.0)
    base = {"step": 0} | {f"validation/{name}": value for name, value in validation.items()}
    table = reward_table(results(tmp_path, pd.concat([rollouts, pd.DataFrame([base])])))
    frame = table.frame
    assert frame is not None
    assert frame["answers of"].tolist() == ["training"] * 10 + ["validation"]
    assert frame["steps"].tolist()[:2] == ["1 to 2", "3 to 4"] and frame["steps"].iloc[-1] == "0"
    first = frame.iloc[0]
    assert (first["problems"], first["answers"]) == (8, 40)
    assert first["acc"] == pytest.approx(0.3)  # 30 at 0.2 and 10 at 0.6
    assert first["acc_exact"] == pytest.approx(0.4)
    assert first["score"] == -0.5 and np.isnan(frame["score"].iloc[-1])
    assert frame["paid_only"].iloc[3] == pytest.approx(0.03)
    # Steps 7 and 8: 0.03 are paid alone and 0.13 are right alone.
    assert "`dapo`" in table.caption and "up to 16.0 %" in table.caption


def test_a_run_whose_rollouts_were_not_counted_says_so(tmp_path):
    made = results(tmp_path, pd.DataFrame({"step": [1], "critic/score/mean": [0.5]}))
    table = reward_table(made)
    assert table.frame is None and "no rollouts were counted" in table.missing
