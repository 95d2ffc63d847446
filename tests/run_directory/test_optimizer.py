"""What a run's records say of its optimizer: rates belong to the step that they moved."""

import pandas as pd
import pytest

from rlvr_dynamics.run_directory.configuration import RecordedConfig
from rlvr_dynamics.run_directory.optimizer import optimizer_of
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.system.atomic import write_parquet


@pytest.mark.parametrize(
    ("warm_up", "overrides", "first"),
    [
        (0, [], 5e-6),
        (2, [], 0.0),
        (0, ["actor_rollout_ref.actor.optim.lr_warmup_steps=2"], 0.0),
        (0, ["actor_rollout_ref.actor.optim.lr_warmup_steps_ratio=0.1"], 0.0),
        (2, ["actor_rollout_ref.actor.optim.lr_warmup_steps=-1"], 5e-6),
    ],
)
def test_verl_logs_the_rate_of_the_next_step(tmp_path, warm_up, overrides, first):
    """verl 0.9.1 logs the rate after its scheduler's step, and a warm-up begins at 0."""
    metrics = {
        "step": [1, 2, 3],
        "actor/lr": [5e-6, 1e-5, 1e-5],
        "actor/grad_norm": [0.4, 3.0, 0.5],
    }
    write_parquet(tmp_path / "train" / "metrics.parquet", pd.DataFrame(metrics))
    config = RecordedConfig.model_validate(
        {
            "algorithm": {"warmup_steps": warm_up},
            "trainer": {
                "prompts_per_step": 8,
                "mini_batch_prompts": 4,
                "verl_overrides": overrides,
            },
        }
    )
    found = optimizer_of(Run(config, tmp_path))  # pyright: ignore
    assert found.learning_rates == {1: first, 2: 5e-6, 3: 1e-5, 4: 1e-5}
    assert found.times[3] == pytest.approx(2 * (first + 1.5e-5))
    assert found.gradient_sizes == {1: 0.4, 2: 1.0, 3: 0.5}
