"""What is shown of a run while it trains, from a directory that is still being written."""

import json
import math
import re
import shutil

import numpy as np
import pytest

from rlvr_dynamics import config
from rlvr_dynamics.acceleration.remaining import predicted_end
from rlvr_dynamics.acceleration.sketch import Sketch
from rlvr_dynamics.checkpoints.published_steps import Deltas
from rlvr_dynamics.run_directory.progress import append_log
from rlvr_dynamics.system.atomic import write_sealed_json
from rlvr_dynamics.system.locks import LOCK, held
from rlvr_dynamics.training.jump_records import JumpRecords
from rlvr_dynamics.watch.__main__ import main
from rlvr_dynamics.watch.live import LiveRun
from rlvr_dynamics.watch.rows import rows, sparkline
from tests.support.small_models import random_tensors, save_model

SHAPES = {"model.layers.0.mlp.down_proj.weight": (64, 96), "model.norm.weight": (64,)}
BASE, DIRECTION = (random_tensors(seed, shapes=SHAPES) for seed in (0, 1))
LENGTH = math.sqrt(sum(float(each.square().sum()) for each in DIRECTION.values()))
SIX_SIGMA = 6 * Sketch().relative_error / 2


def place(step):
    """How far the weights are along their one direction: a straight line on the path alone."""
    return 1e-3 * math.sqrt(step)


def weights(step):
    return {name: BASE[name] + place(step) * DIRECTION[name] for name in SHAPES}


def save(run, step, folder=None):
    place = folder or run / "train" / "checkpoints" / f"step_{step}"
    return save_model(place, weights(step), manifest_step=step)


def log(run, steps, attempt=1, reward=lambda step: 0.1 + 0.01 * step):
    with (run / "train" / "verl" / f"metrics_{attempt}.jsonl").open("a") as file:
        for step in steps:
            data = {"critic/score/mean": reward(step), "timing_s/step": 30.0}
            file.write(json.dumps({"step": step, "data": data}) + "\n")


@pytest.fixture
def run(tmp_path):
    """A run that has trained three of sixty steps."""
    folder = tmp_path / "run"
    asked = ["+exp=demo", "name=a_run", "trainer.steps=60"]
    write_sealed_json(folder / "config.json", config.load(asked).model_dump(mode="json"))
    save_model(folder / "prepare" / "base", BASE, manifest_step=0)
    (folder / "train" / "verl").mkdir(parents=True)
    for step in (1, 2, 3):
        save(folder, step)
    log(folder, (1, 2, 3))
    append_log(folder, {"event": "start", "stage": "train", "command": "x"})
    return folder


@pytest.fixture
def running(run):
    with held(run / LOCK):
        yield run


def look(live):
    read = []
    return live.look(read.append), read


def test_a_length_over_a_missing_step_names_both_ends(run):
    shutil.rmtree(run / "train" / "checkpoints" / "step_2")
    (length,) = [row for row in rows(look(LiveRun(run))[0]) if row.name == "step length"]
    assert "‖W_3 − W_1‖" in length.about


def test_a_curve_that_is_straight_on_the_path_alone(run):
    for step in range(4, 21):
        save(run, step)
    found, _ = look(LiveRun(run))
    steps = np.arange(1, 21)
    assert found.weights.steps.tolist() == steps.tolist()
    expected = LENGTH * np.diff([place(step) for step in range(21)])
    assert found.weights.lengths == pytest.approx(expected, rel=SIX_SIGMA)
    assert found.weights.explained_variance == pytest.approx(1.0, abs=1e-6)
    path, step = found.weights.clocks["path"], found.weights.clocks["step"]
    assert path.r2 == pytest.approx(1.0, abs=1e-4)
    assert path.heldout_r2 == pytest.approx(1.0, abs=1e-3)
    bent = np.corrcoef(steps, np.sqrt(steps))[0, 1] ** 2
    assert step.r2 == pytest.approx(bent, abs=1e-3) and step.heldout_r2 < 0.9


def test_every_checkpoint_is_read_once_and_one_that_was_trained_again_once_more(run):
    live = LiveRun(run)
    assert look(live)[1] == [0, 1, 2, 3]
    assert look(live)[1] == []
    save(run, 4)
    first, read = look(live)
    assert read == [4]
    # A killed run went on from step 2, with other weights from there on.
    for step in (3, 4):
        shutil.rmtree(run / "train" / "checkpoints" / f"step_{step}")
    save_model(run / "train" / "checkpoints" / "step_3", weights(30), manifest_step=3)
    again, read = look(live)
    assert read == [3]
    assert again.weights.steps.tolist() == [1, 2, 3]
    assert again.weights.lengths[:2] == pytest.approx(first.weights.lengths[:2])
    assert again.weights.lengths[2] == pytest.approx(LENGTH * (place(30) - place(2)), rel=0.07)


def test_a_delta_store_shows_what_its_folders_show(run, tmp_path):
    folders, _ = look(LiveRun(run))
    shutil.rmtree(run / "train" / "checkpoints")
    store = Deltas(run / "train" / "checkpoints", run / "prepare" / "base")
    live = LiveRun(run)
    for step in (1, 2, 3):
        save(run, step, store.place(step))
        store.take(step)
        assert look(live)[0].weights.steps.tolist() == list(range(1, step + 1))
    store.finish()
    assert look(live)[0].weights.lengths == pytest.approx(folders.weights.lengths)


def test_the_sketches_that_a_run_writes_are_used_and_counted_from_its_last_jump(run):
    records, sketch = JumpRecords(run / "train" / "acceleration"), Sketch()
    for step in range(8):
        values = [(name, 0, each.reshape(-1)) for name, each in weights(step).items()]
        records.write_sketch(step, sketch.of(values).numpy())
    live = LiveRun(run)
    found, read = look(live)
    assert read == list(range(8)) and found.weights.steps.tolist() == list(range(1, 8))
    records.write({"step": 4, "accepted": True})
    jumped, read = look(live)
    assert read == [] and (jumped.weights.origin, jumped.weights.steps.tolist()) == (5, [6, 7])
    assert jumped.weights.lengths == pytest.approx(found.weights.lengths[-2:])
    records.write({"step": 6, "accepted": True})
    (waiting,) = [row for row in rows(look(live)[0]) if row.name == "step length"]
    assert waiting.about == "no checkpoint yet after step 7, the first since a jump"


@pytest.mark.parametrize("harm", ["half a row", "half a checkpoint", "no metrics", "no weights"])
def test_what_is_half_written_does_not_hide_the_rest(run, harm):
    if harm == "half a row":
        with (run / "train" / "verl" / "metrics_1.jsonl").open("a") as file:
            file.write('{"step": 4, "data": {"critic/sc')
    elif harm == "half a checkpoint":
        file = save(run, 4) / "model.safetensors"
        file.write_bytes(file.read_bytes()[:5000])
    elif harm == "no metrics":
        shutil.rmtree(run / "train" / "verl")
    else:
        shutil.rmtree(run / "train" / "checkpoints")
    found, _ = look(LiveRun(run))
    assert found.step == (0 if harm == "no metrics" else 3)
    assert found.weights.steps.tolist() == ([] if harm == "no weights" else [1, 2, 3])
    assert bool(found.weights.remarks) == (harm == "half a checkpoint")
    shown = {row.name: row.now for row in rows(found)}
    assert (shown["reward"] == "–") == (harm == "no metrics")
    assert (shown["step length"] == "–") == (harm == "no weights")


def test_the_end_is_forecast_from_the_accuracies_so_far(run):
    found, _ = look(LiveRun(run))
    assert found.end is None and "3 of the 19" in found.end_source
    generator = np.random.default_rng(0)
    rewards = 0.2 + 0.01 * np.arange(40) + 0.02 * generator.standard_normal(40)
    log(run, range(1, 41), attempt=2, reward=lambda step: rewards[step - 1])
    found, _ = look(LiveRun(run))
    # The rollouts of step 40 are drawn from the weights of step 39: 21 steps are left.
    assert found.end == predicted_end(rewards, 21)
    (row,) = [row for row in rows(found) if row.name == "forecast"]
    assert re.match(r"0\.\d{3} \[0\.\d{3}, [01]\.\d{3}\]$", row.now)
    assert "step 60" in row.about and "last 20 accuracies" in row.about


def test_a_block_for_every_new_step_until_the_run_is_over(running, monkeypatch, capsys):
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            save(running, 4)
            log(running, [4])
        if len(waits) == 3:
            write_sealed_json(running / "train" / "stage.json", {"finished": True, "key": "x"})

    monkeypatch.setattr("rlvr_dynamics.watch.__main__.sleep", sleep)
    assert main([str(running), "--seconds", "7", "--page"]) == 0
    assert waits == [7, 7, 7]
    out = capsys.readouterr().out
    assert re.findall(r"(\d) of 60", out) == ["3", "4", "4"]
    assert "a_run: running, stage train" in out and "30 s a step, about 28 min left" in out
    assert "refresh" not in (running / "live.html").read_text()


def test_the_page_is_loaded_again_while_the_run_goes_on(running, monkeypatch):
    def stop(_seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("rlvr_dynamics.watch.__main__.sleep", stop)
    assert main([str(running), "--page"]) == 75
    page = (running / "live.html").read_text()
    assert '<meta http-equiv="refresh" content="5">' in page and "3 of 60" in page


def test_a_killed_run_and_a_finished_one_are_shown_once(run, capsys):
    assert main([str(run)]) == 0
    assert "a_run: interrupted, stage train" in capsys.readouterr().out
    assert main([str(run), "--once"]) == 0
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert main([str(run)]) == 0
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "not a run directory" in capsys.readouterr().err
    assert main([str(tmp_path / "none")]) == 2
    assert "no such run directory" in capsys.readouterr().err


def test_a_name_does_not_reach_the_terminal_or_the_page_as_commands(run, capsys):
    content = json.loads((run / "config.json").read_text())
    content["name"] = "\x1b[2J<script>alert(1)</script>"
    write_sealed_json(run / "config.json", {k: v for k, v in content.items() if k != "seal"})
    assert main([str(run), "--page"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert "<script>alert" not in (run / "live.html").read_text()


@pytest.mark.parametrize(
    ("values", "drawn"),
    [([], ""), ([math.nan], ""), ([2.0, 2.0], "▁▁"), ([0, 1, 0.5], "▁█▅"), (range(64), 32)],
)
def test_sparklines(values, drawn):
    found = sparkline(list(values))
    assert len(found) == drawn if isinstance(drawn, int) else found == drawn
