"""Training in fp16 with verl's loss scale, on the CPU: it moves float32 weights."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from tests.support.grid_fixture import STEPS, TABLES, TRAINING, printed_configuration, run


@pytest.mark.grid
def test_fp16_trains_and_answers(tmp_path):
    tiny = ["model=tiny_llama", "model.steps_noisy=120", *TABLES]
    batch = ["trainer.mini_batch_prompts=4", "trainer.micro_batch_samples=32"]
    own = ["trainer.precision=fp16", "algorithm.kl_loss_coef=0.001", f"run_dir={tmp_path}"]
    run(["+exp=demo", *tiny, *TRAINING, *batch, *own, "stages=[prepare,train]"])
    log = (tmp_path / "train" / "verl" / "verl_1.log").read_text()
    verl = printed_configuration(log)["actor_rollout_ref"]
    assert verl["rollout"]["dtype"] == "float16"
    assert verl["ref"]["fsdp_config"]["mixed_precision"]["param_dtype"] == "fp16"
    # The scale of the loss is at work: without CUDA it would switch itself off.
    assert "GradScaler is enabled, but CUDA is not available" not in log
    norms = pd.read_parquet(tmp_path / "train" / "metrics.parquet")["actor/grad_norm"]
    # Updates whose gradients overflow at the first scales are skipped, and their norm is missing.
    assert len(norms) == STEPS and np.isfinite(norms.iloc[-1]) and norms.iloc[-1] > 0
    weights = [load_file(tmp_path / "prepare" / "base" / "model.safetensors")]
    for step in range(1, STEPS + 1):
        folder = tmp_path / "train" / "checkpoints" / f"step_{step}"
        weights.append(load_file(folder / "model.safetensors"))
    name = "model.layers.0.mlp.down_proj.weight"
    moved = [
        np.abs(late[name] - early[name]).max()
        for early, late in zip(weights, weights[1:], strict=False)
    ]
    assert weights[-1][name].dtype == np.float32
    assert sum(each > 0 for each in moved) >= 2
