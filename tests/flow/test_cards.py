"""The cards of a run say which base it is and what each prediction has scored."""

from pathlib import Path

import pandas as pd

from rlvr_dynamics import config
from rlvr_dynamics.flow.cards import write_cards
from rlvr_dynamics.run_directory.run import Run
from tests.support.small_models import random_tensors, save_model


def test_a_prediction_that_was_scored_says_so_and_another_does_not(tmp_path):
    loaded = config.load(["+exp=grpo_qwen3_4b", "model.repo=owner/base"])
    rows = []
    for step in (9, 12):
        path = Path("predictions") / "relex" / "observe_4" / f"step_{step}"
        save_model(tmp_path / path, random_tensors(0), manifest_step=step)
        rows.append(
            {"method": "relex", "observe": 4, "step": step, "path": path, "uses_future": False}
        )
    scored = {"model": "relex__observe_4__step_9", "benchmark": "sums", "title": "Sums"}
    scored |= {"protocol": "greedy", "accuracy": 0.5, "ci_low": 0.25, "ci_high": 0.75}
    scores = pd.DataFrame([scored | {"questions": 64, "samples": 1}])
    write_cards(Run(loaded, tmp_path), pd.DataFrame(rows), scores)
    first, second = ((tmp_path / row["path"] / "README.md").read_text() for row in rows)
    assert "Base: owner/base." in first and 'base_model: "owner/base"' in first
    assert "| Sums | greedy | 0.500 [0.250, 0.750] | 64 x 1 |" in first
    assert "Not scored." in second and "Not scored." not in first
