"""LoRA through verl and vLLM on the CPU: killed, resumed, measured, extrapolated and scored."""

import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from rlvr_dynamics.checkpoints import read_manifest
from rlvr_dynamics.config import load
from rlvr_dynamics.system.processes import marked
from rlvr_dynamics.training.adapters import ADAPTER
from rlvr_dynamics.training.jump_records import JumpRecords
from rlvr_dynamics.training.verl_environment import environment
from tests.support.grid_fixture import CRITIC, SMALL, TABLES, printed_configuration

RANK, STEPS, JUMP, KL = 4, 5, 4, 0.001
ADAPTED = ("q_proj", "v_proj", "down_proj")
OVERRIDES = [
    *("+exp=demo", "algorithm=ppo", *SMALL, *TABLES, *CRITIC),
    *("model.steps_clean=60", "model.steps_noisy=0"),  # a value model learns from any reward
    f"algorithm.lora={{rank:{RANK},target_modules:[{','.join(ADAPTED)}]}}",
    "algorithm.learning_rate=1e-3",
    "algorithm.warmup_steps=0",
    # The factors jump after step 4, so steps 0 to 4 are measured.
    *("acceleration=regrounding_10_10", "acceleration.when.every=null"),
    f"acceleration.when.steps=[{JUMP}]",
    f"algorithm.kl_loss_coef={KL}",
    f"trainer.steps={STEPS}",
    "trainer.prompts_per_step=8",
    "trainer.mini_batch_prompts=4",
    "trainer.micro_batch_samples=32",
    "trainer.save_state_every=2",
    "measure.null_draws=20",
    "extrapolation.windows=[0.6]",
    "extrapolation.targets=[1.0]",
    "extrapolation.methods=[relex]",
    "extrapolation.reconstructions=[]",
    "scoring.ladder=[1.0]",
    "scoring.validate_windows=false",
    "stages=[prepare,train,measure,extrapolate,score]",
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run, killed without warning after step 3 and run again from the state of step 2."""
    folder = tmp_path_factory.mktemp("run") / "lora"
    command = [sys.executable, "-m", "rlvr_dynamics.run", f"run_dir={folder}", *OVERRIDES]
    first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 900
    third = folder / "train" / "checkpoints" / "step_3"
    while not third.exists() and first.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
    assert first.poll() is None, first.communicate()[1]
    first.send_signal(signal.SIGKILL)
    first.communicate()
    end = time.monotonic() + 60
    while marked(str((folder / "train").resolve())) and time.monotonic() < end:
        time.sleep(0.2)
    before = load_file(folder / "train" / "checkpoints" / "step_2" / "model.safetensors")
    again = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert again.returncode == 0, again.stderr[-4000:]
    return folder, before


def weights(folder, step):
    place = f"train/checkpoints/step_{step}" if step else "prepare/base"
    return load_file(folder / place / "model.safetensors")


def metrics(folder):
    return pd.read_parquet(folder / "train" / "metrics.parquet").set_index("step")


def test_every_step_is_whole_and_differs_from_the_base_by_low_ranks_alone(finished):
    folder, _ = finished
    base = weights(folder, 0)
    norms = []
    for step in range(1, STEPS + 1):
        found = weights(folder, step)
        assert found.keys() == base.keys()
        norms.append(0.0)
        for name, values in found.items():
            if name.split(".")[-2] not in ADAPTED:
                assert torch.equal(values, base[name]), name
                continue
            sizes = torch.linalg.svdvals(values.double() - base[name].double())
            # What is left beyond the rank is the rounding of the weights to float32.
            assert sizes[RANK] < 1e-5 * sizes[0], name
            norms[-1] += float(sizes.square().sum())
    assert len(set(norms)) == STEPS and min(norms) > 0


def test_the_run_went_on_from_the_adapters_of_its_last_state(finished):
    folder, before = finished
    again = weights(folder, 2)
    assert all(torch.equal(again[name], before[name]) for name in before)
    assert metrics(folder).index.tolist() == list(range(1, STEPS + 1))
    assert len(list((folder / "train" / "verl").glob("metrics_*.jsonl"))) == 2
    # From step to step an adapter moves little beside what it has moved in all.
    for name in before:
        if name.split(".")[-2] in ADAPTED:
            base, later = weights(folder, 0)[name], weights(folder, 3)[name]
            moved = torch.linalg.norm(before[name] - base)
            assert torch.linalg.norm(later - before[name]) < moved


def test_after_a_jump_of_the_factors_the_merged_weights_go_further(finished):
    folder, _ = finished
    record = JumpRecords(folder / "train" / "acceleration").read(JUMP)
    assert record["accepted"] and record["factor"] == 2.0
    assert read_manifest(folder / "train" / "checkpoints" / "step_5")["jump"]["factor"] == 2.0
    base, before, after = (weights(folder, step) for step in (0, JUMP, JUMP + 1))

    def walked(found):
        return float(sum((found[name] - base[name]).square().sum() for name in base)) ** 0.5

    # Both factors go on: B from 0 to twice its value, A to twice its change.
    assert 1.7 < walked(after) / walked(before) < 4.3


def test_a_saved_state_has_the_adapters_and_no_base(finished):
    folder, _ = finished
    newest = folder / "train" / "verl" / "checkpoints" / "global_step_4"
    (model,) = (newest / "actor").glob("model_*.pt")
    (critic,) = (newest / "critic").glob("model_*.pt")
    assert model.stat().st_size < critic.stat().st_size / 4


def test_the_reference_is_the_base_and_vllm_has_the_trained_weights(finished):
    folder, _ = finished
    rows = metrics(folder)
    assert rows.loc[2:, "actor/kl_loss"].min() > 1e-5
    assert (rows["critic/vf_loss"] > 0).all()
    # float32 on both sides; weights rounded to bfloat16 on their way would show here.
    assert rows["training/rollout_probs_diff_max"].max() < 1e-4
    assert rows["rollout_corr/kl"].abs().max() < 1e-5
    log = folder / "train" / "verl" / "verl_2.log"
    model = printed_configuration(log.read_text())["actor_rollout_ref"]["model"]
    assert (model["lora_rank"], model["lora"]["merge"]) == (RANK, True)


def test_it_is_measured_extrapolated_and_scored(finished):
    folder, _ = finished
    svd = pd.read_parquet(folder / "measure" / "update_svd.parquet")
    last = svd[(svd["step"] == JUMP) & (svd["frobenius"] > 0)]
    assert {name.split(".")[-2] for name in last["tensor"]} == set(ADAPTED)
    beyond = last[last["index"] > RANK]
    assert len(beyond) and (beyond["sigma"] < 1e-5 * beyond["frobenius"]).all()
    trajectory = pd.read_parquet(folder / "measure" / "trajectory_svd.parquet")
    assert trajectory["optimizer_null_mean"].isna().all()
    place = folder / "predictions" / "relex" / "observe_3" / f"step_{STEPS}"
    predicted = load_file(place / "model.safetensors")
    base = weights(folder, 0)
    still = [name for name in base if name.split(".")[-2] not in ADAPTED]
    assert all(torch.equal(predicted[name], base[name]) for name in still)
    scores = pd.read_parquet(folder / "scores" / "scores.parquet")
    assert {"base", "real", "relex"} <= set(scores["method"])
    assert np.isfinite(scores["accuracy"]).all()


@pytest.mark.parametrize("ranks", [1, 2])
def test_sharded_adapters_are_merged_sent_saved_and_loaded(tmp_path, ranks):
    variables = environment(load(OVERRIDES), tmp_path / "metrics_1.jsonl")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc_per_node={ranks}", "-m", "tests.support.lora_ranks", str(tmp_path)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    for folder in tmp_path.glob("step_*/huggingface"):
        assert len(load_file(folder / ADAPTER)) == 2 * 7 * 2  # B and A of 7 matrices of 2 layers
        assert not list(folder.glob("model*.safetensors"))
