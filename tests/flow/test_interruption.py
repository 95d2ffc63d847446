"""A run that is asked to stop, or finds the disk full, keeps what was finished and goes on."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from rlvr_dynamics import config
from rlvr_dynamics.checkpoints import Trajectory, verl_run
from rlvr_dynamics.checkpoints.cast import store_base
from rlvr_dynamics.checkpoints.published_steps import Folders
from rlvr_dynamics.checkpoints.verl_run import VerlRun
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system import processes
from rlvr_dynamics.training import trainer
from tests.support.small_models import random_tensors, save_model
from tests.support.verl_stand_in import stand_in_command

ROOT = Path(__file__).parents[2]
STOP_SECONDS = 60
"""What Slurm leaves between its request and the kill (KillWait)."""

# The command line itself, with verl replaced and everything else as it is.
DRIVER = """
import sys
from rlvr_dynamics import run
from rlvr_dynamics.training import trainer
root, steps, then, *arguments = sys.argv[1:]
sys.path.insert(0, root)
from tests.support.verl_stand_in import stand_in_command
trainer.verl_command = stand_in_command(steps, then)
sys.exit(run.main(arguments))
"""


def start(run_dir, steps, then):
    overrides = [
        "stages=[prepare,train]",
        "trainer.steps=5",
        "model.steps_clean=0",
        "model.steps_noisy=0",
        "data.train_problems=64",
        "data.test_problems=16",
        "data.ood_problems=16",
        f"run_dir={run_dir}",
    ]
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(ROOT), str(steps), then, *overrides],
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("request_to_stop", [signal.SIGTERM, signal.SIGUSR1])
def test_a_request_to_stop_keeps_every_saved_step_and_leaves_nothing_running(
    tmp_path, request_to_stop
):
    run_dir = tmp_path / "run"
    marker = str((run_dir / "train").resolve())
    verl = run_dir / "train" / "verl" / "checkpoints"
    first = start(run_dir, 3, "wait")
    half = verl / "global_step_4"
    end = time.monotonic() + 240
    while not half.exists() and first.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    assert first.poll() is None, first.communicate()[1]
    begin = time.monotonic()
    first.send_signal(request_to_stop)
    said = first.communicate(timeout=STOP_SECONDS)[1]
    assert time.monotonic() - begin < STOP_SECONDS
    assert first.returncode == 75, said
    assert "run the same command again" in said
    assert processes.marked(marker) == []
    published = run_dir / "train" / "checkpoints"
    assert sorted(path.name for path in published.iterdir()) == ["step_1", "step_2", "step_3"]


@pytest.fixture
def training(tmp_path, monkeypatch):
    """Train with the stand-in for a number of steps, of 5 asked for."""
    save_model(tmp_path / "prepare" / "base", random_tensors(0))
    store_base(tmp_path / "prepare" / "base", "float32", "test")
    folder = tmp_path / "train"

    def train(steps, then):
        monkeypatch.setattr(trainer, "verl_command", stand_in_command(steps, then))
        checkpoints = VerlRun(
            folder / "verl" / "checkpoints",
            Folders(folder / "checkpoints"),
            tmp_path / "prepare" / "base",
            2,
            dtype="float32",
            critic=False,
            steps=5,
        )
        loaded = config.load(["trainer.steps=5", "trainer.start_timeout_seconds=30.0"])
        return trainer.train(
            loaded, prepare=tmp_path / "prepare", folder=folder, checkpoints=checkpoints
        )

    yield train, folder
    assert processes.marked(str(folder.resolve())) == []


@pytest.mark.slow
def test_a_disk_that_would_fill_stops_training_before_it_does(training, monkeypatch):
    train, folder = training

    def free(_folder):
        saved = (folder / "checkpoints" / "step_2").exists()
        return 100 if saved else 10**12

    monkeypatch.setattr(verl_run, "free_bytes", free)
    with pytest.raises(UserError, match="needs .* bytes, 100 are free") as caught:
        train(2, "wait")
    assert str(folder / "verl" / "checkpoints") in str(caught.value)
    assert "the same command" in caught.value.way_out
    assert len(list((folder / "checkpoints").iterdir())) == 2
    monkeypatch.setattr(verl_run, "free_bytes", lambda _folder: 10**12)
    assert train(5, "end") == 2
    trajectory = Trajectory.open(folder.parent / "prepare" / "base", folder / "checkpoints")
    trajectory.verify()
    assert trajectory.steps == (1, 2, 3, 4, 5)
    metrics = pd.read_parquet(folder / "metrics.parquet")
    assert metrics["step"].tolist() == [1, 2, 3, 4, 5]
