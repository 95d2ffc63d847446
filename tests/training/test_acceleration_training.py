"""Jumps inside real verl and vLLM: asked, kept or taken back, killed in the middle, and resumed."""

import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from rlvr_dynamics.checkpoints import read_manifest
from rlvr_dynamics.system.processes import marked
from rlvr_dynamics.training.jump_records import JumpRecords

pytestmark = pytest.mark.slow
JUMPS, LAST = (2, 4), 24
# At the last firing 20 rewards are known since the last jump, so the end is foreseen there.
OVERRIDES = [
    f"trainer.steps={LAST + 6}",
    "stages=[prepare,train]",
    "trainer.prompts_per_step=4",
    "trainer.mini_batch_prompts=4",
    "trainer.micro_batch_samples=32",
    "model.steps_clean=60",
    "model.steps_noisy=10",
    "data.train_problems=256",
    "data.test_problems=64",
    "data.ood_problems=16",
    "algorithm.learning_rate=1e-4",
    "acceleration=gated",
    "acceleration.when.every=null",
    f"acceleration.when.steps=[{JUMPS[0]},{JUMPS[1]},{LAST}]",
    "acceleration.stop={below:99,act:true}",
    "acceleration.how_far.search=[1.5,2.0]",
    "acceleration.gate.kind=validation",
    "acceleration.gate.samples=2",
    "acceleration.clock=step",
    "acceleration.gate.level=0.45",
    # Every firing asks, whatever the one before it found.
    "acceleration.gate.back_off=false",
    "acceleration.optimizer=restart",
]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run that was killed while its first jump was decided, and run again."""
    place = tmp_path_factory.mktemp("accelerated") / "run"
    command = [sys.executable, "-m", "rlvr_dynamics.run", f"run_dir={place}", *OVERRIDES]
    marker = str((place / "train").resolve())
    first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    second_state = place / "train/verl/checkpoints/global_step_2/data.pt"
    end = time.monotonic() + 1200
    while not second_state.exists() and first.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert first.poll() is None and second_state.exists()
    first.send_signal(signal.SIGKILL)
    first.wait()
    end = time.monotonic() + 60
    while marked(marker) and time.monotonic() < end:
        time.sleep(0.2)
    again = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert again.returncode == 0, again.stderr[-4000:]
    return place


def weights(run_dir, step):
    return load_file(run_dir / f"train/checkpoints/step_{step}/model.safetensors")


def distance(one, other):
    return float(sum((one[name] - other[name]).double().square().sum() for name in one)) ** 0.5


def test_every_firing_is_on_record_once_with_what_it_cost(run_dir):
    records = JumpRecords(run_dir / "train/acceleration").all()
    assert [record["step"] for record in records] == [*JUMPS, LAST]
    for record in records:
        answered = [record["answered"], *(each["answered"] for each in record["tried"])]
        assert set(answered) <= {16, 32, 64}
        assert all(each["problems"] <= each["answered"] for each in record["tried"])
        asked = 2 * sum(answered)
        assert record["rollouts"] == asked and record["tokens"] >= asked
        assert record["decision"] in ("accepted", "rejected")
        kept = [each for each in record["tried"] if each["accepted"]]
        assert record["factor"] == (kept[-1]["factor"] if kept else None)
        assert all((each["lower"] > 0) == each["accepted"] for each in record["tried"])
    assert not list((run_dir / "train/acceleration").glob("kept_*"))


def test_the_training_ends_where_its_record_says_that_little_is_left_to_gain(run_dir):
    records = JumpRecords(run_dir / "train/acceleration")
    for step in JUMPS:
        too_early = records.read(step)["remaining"]
        assert too_early["steps"] < 10 and too_early["upper"] is None and not too_early["ends"]
    found = records.read(LAST)["remaining"]
    assert found["steps"] >= 10 and found["upper"] < 0.99 and found["ends"]
    assert records.end() == LAST
    assert len(list((run_dir / "train/checkpoints").glob("step_*"))) == LAST


def test_a_checkpoint_has_the_weights_before_the_jump_and_the_next_one_those_after(run_dir):
    records = JumpRecords(run_dir / "train/acceleration")
    for step in JUMPS:
        record, told = (
            records.read(step),
            read_manifest(run_dir / f"train/checkpoints/step_{step + 1}"),
        )
        before, after = weights(run_dir, step), weights(run_dir, step + 1)
        usual = distance(weights(run_dir, 1), weights(run_dir, 2))
        moved = distance(before, after)
        if record["accepted"]:
            assert told["jump"]["factor"] == record["factor"]
            assert moved == pytest.approx(record["length"], abs=1.5 * usual)
            assert moved > 0.5 * record["length"]
        else:
            assert "jump" not in told
            assert moved < 2.5 * usual


def test_the_metrics_have_every_step_once_and_the_jumps_in_their_rows(run_dir):
    metrics = pd.read_parquet(run_dir / "train/metrics.parquet").set_index("step")
    assert metrics.index.tolist() == list(range(1, LAST + 1))
    told = metrics["acceleration/accepted"].dropna()
    assert told.index.tolist() == [*JUMPS, LAST]
    # The trainer and vLLM agree on the probabilities of the rollouts after a jump as before it.
    assert metrics["rollout_corr/kl"].abs().max() < 1e-3


def test_the_saved_anchor_is_that_of_the_last_firing(run_dir):
    anchor = load_file(
        run_dir
        / f"train/verl/checkpoints/global_step_{LAST}/actor/anchor_world_size_1_rank_0.safetensors"
    )
    record = JumpRecords(run_dir / "train/acceleration").read(4)
    before = {name: value.reshape(-1) for name, value in weights(run_dir, 4).items()}
    same = all(torch.equal(anchor[name], before[name]) for name in anchor)
    assert same != record["accepted"]
