"""Copies of a run: what is in them, and that the run never suffers from making them."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time

import pandas as pd
import pytest
from matplotlib.figure import Figure

from rlvr_dynamics import config as configuration
from rlvr_dynamics.run_directory.records import FOLDERS
from rlvr_dynamics.schema import Wandb
from rlvr_dynamics.sinks import follower
from rlvr_dynamics.sinks.__main__ import main
from rlvr_dynamics.sinks.follower import following
from rlvr_dynamics.system.atomic import write_json
from rlvr_dynamics.training.verl_metrics import write_metrics
from tests.support.reporting_fixture import build_run
from tests.support.trajectory_source import go, source

FIXTURES = (source,)
STAGES = ("train", "score", "report")
BLOCK, HEADER = 32_768, 7
REWARD = "critic/score/mean"


def settings(mode, tensorboard=False):
    own = Wandb(mode=mode, project="a_project", entity=None)
    return configuration.load([]).model_copy(update={"wandb": own, "tensorboard": tensorboard})


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of its own, empty, and no network settings of the machine."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("HTTPS_PROXY", "https_proxy", "WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = build_run(tmp_path_factory.mktemp("runs") / "grpo_lr1e_5_seed3")
    figures = folder / "report" / "figures"
    figures.mkdir(parents=True)
    Figure(figsize=(1, 1)).savefig(figures / "curve.png")
    (folder / "report" / "tables").mkdir()
    (folder / "report" / "tables" / "table_1.csv").write_text("a,b\n1.5,x\n,\n")
    for stage in STAGES:
        write_json(folder / FOLDERS[stage] / "stage.json", {"finished": True, "key": stage})
    return folder


@pytest.fixture
def run(made, tmp_path):
    folder = tmp_path / made.name
    shutil.copytree(made, folder)
    configure(folder, mode="offline")
    return folder


def configure(folder, mode, tensorboard=False):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config |= {"name": folder.name, "seed": 3}
    chosen = settings(mode, tensorboard)
    config |= {"wandb": chosen.wandb.model_dump(), "tensorboard": tensorboard}
    path.write_text(json.dumps(config))


def records(file):
    """The records of a .wandb file: a log of blocks, each piece behind checksum, length, type."""
    from wandb.proto import wandb_internal_pb2

    data, at, piece = file.read_bytes(), HEADER, b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        piece += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # whole, or the last piece
            record = wandb_internal_pb2.Record()
            record.ParseFromString(piece)
            yield record
            piece = b""


def copies(run):
    """The records of each copy of a run, by job type."""
    found = {}
    for file in run.glob("wandb/offline-run-*/*.wandb"):
        content = list(records(file))
        about = next(record.run for record in content if record.HasField("run"))
        found[about.job_type] = (about, content)
    return found


def logged(content):
    """What was logged, by name and the name within: a figure or table is a mapping."""
    return {
        tuple(item.nested_key) or (item.key,): json.loads(item.value_json)
        for record in content
        if record.HasField("history")
        for item in record.history.item
    }


def test_stages_are_copied_with_their_curves_tables_and_figures(run, home, capfd):
    with following(run, settings("offline")) as sinks:
        for stage in STAGES:
            sinks.finished(stage)
    assert capfd.readouterr().err == ""
    made = copies(run)
    assert set(made) == set(STAGES)
    about, train = made["train"]
    assert (about.run_group, about.project) == ("grpo_lr1e_5", "a_project")
    assert set(about.tags) == {"tiny", "grpo", "seed 3"}
    metrics = pd.read_parquet(run / "train" / "metrics.parquet")
    rewards = [
        json.loads(item.value_json)
        for record in train
        if record.HasField("history")
        for item in record.history.item
        if "critic/score/mean" in (item.key, *item.nested_key)
    ]
    assert rewards == pytest.approx(metrics["critic/score/mean"].tolist())
    scores = pd.read_parquet(run / "scores" / "scores.parquet")
    assert logged(made["score"][1])["tables/scores", "nrows"] == len(scores)
    report = logged(made["report"][1])
    assert report["tables/table_1", "nrows"] == 2
    assert report["figures/curve", "_type"] == "image-file"
    assert not list(home.iterdir()), "something was written outside the run directory"


def test_tensorboard_has_the_curves_and_the_figures_once(run, capfd):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    configure(run, "disabled", tensorboard=True)
    for _ in range(2):  # a stage that is given again takes the place of its earlier copy
        with following(run, settings("disabled", tensorboard=True)) as sinks:
            for stage in STAGES:
                sinks.finished(stage)
    assert capfd.readouterr().err == ""
    train = EventAccumulator(str(run / "tensorboard" / "train")).Reload()
    metrics = pd.read_parquet(run / "train" / "metrics.parquet")
    rewards = train.Scalars("critic/score/mean")
    assert [event.step for event in rewards] == metrics["step"].tolist()
    assert [event.value for event in rewards] == pytest.approx(
        metrics["critic/score/mean"].tolist()
    )
    report = EventAccumulator(str(run / "tensorboard" / "report")).Reload()
    assert report.Tags()["images"] == ["figures/curve"]
    assert not (run / "wandb").exists()


def events(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run / "tensorboard" / "train"
    scalars = {"scalars": 0}
    found = (
        EventAccumulator(str(folder), size_guidance=scalars).Reload() if folder.exists() else None
    )
    tags = found.Tags()["scalars"] if found else []
    return [(e.step, round(e.value, 6)) for e in found.Scalars(REWARD)] if REWARD in tags else []


def log(run, attempt, *rewards):
    folder = run / "train" / "verl"
    folder.mkdir(exist_ok=True)
    with (folder / f"metrics_{attempt}.jsonl").open("a") as file:
        for step, reward in rewards:
            file.write(json.dumps({"step": step, "data": {REWARD: reward}}) + "\n")


def wait_for(condition):
    end = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.5)


@pytest.mark.parametrize("sink", ["tensorboard", "wandb"])
def test_metrics_are_copied_while_the_training_goes_on(run, capfd, sink):
    mode, board = ("disabled", True) if sink == "tensorboard" else ("offline", False)
    configure(run, mode, tensorboard=board)
    record = run / "train" / "stage.json"
    write_json(record, {"finished": False, "key": "train"})
    log(run, 1, (1, 0.125), (2, 0.25), (3, 0.375))  # killed; this attempt goes on after step 1
    with following(run, settings(mode, board)) as sinks:
        sinks.started("prepare")
        sinks.started("train")
        (run / "train" / "verl" / "metrics_2.jsonl").touch()
        log(run, 2, (2, 0.5))
        if board:
            wait_for(lambda: events(run) == [(1, 0.125), (2, 0.5)])
        else:
            wait_for(lambda: list(run.glob("wandb/offline-run-*/*.wandb")))
        log(run, 2, (3, 0.75))
        if board:
            wait_for(lambda: events(run) == [(1, 0.125), (2, 0.5), (3, 0.75)])
        write_metrics(run / "train" / "verl", run / "train" / "metrics.parquet")
        write_json(record, {"finished": True, "key": "train", "seconds": 7.5})
        sinks.finished("train")
    assert capfd.readouterr().err == ""
    if board:
        assert events(run) == [(1, 0.125), (2, 0.5), (3, 0.75)]
        return
    ((about, content),) = copies(run).values()
    rewards = [
        json.loads(item.value_json)
        for record in content
        if record.HasField("history")
        for item in record.history.item
        if REWARD in (item.key, *item.nested_key)
    ]
    assert about.job_type == "train" and rewards == [0.125, 0.5, 0.75]


def test_a_process_follows_the_whole_run_and_leaves_nothing(run, monkeypatch):
    (run / "counted").mkdir()
    (run / "counted" / "wandb.py").write_text(
        "import os; open(os.path.join(os.path.dirname(__file__), str(os.getpid())), 'w')"
    )
    monkeypatch.setenv("PYTHONPATH", str(run / "counted"), prepend=os.pathsep)
    with following(run, settings("offline")) as sinks:
        for stage in STAGES:
            sinks.finished(stage)
    (mark,) = [path.name for path in (run / "counted").iterdir() if path.name.isdecimal()]
    assert not os.path.exists(f"/proc/{mark}")


def test_a_run_that_is_killed_takes_its_follower_with_it(run, monkeypatch):
    (run / "slow").mkdir()
    (run / "slow" / "wandb.py").write_text(
        "import os, time; open(os.path.join(os.path.dirname(__file__), str(os.getpid())), 'w')\n"
        "time.sleep(600)"
    )
    code = (
        "import sys, time; from pathlib import Path\n"
        "from rlvr_dynamics import config\n"
        "from rlvr_dynamics.sinks import follower\n"
        "follower.PATIENCE_SECONDS = 0.0\n"
        "settings = config.load(['wandb.mode=offline'])\n"
        "with follower.following(Path(sys.argv[1]), settings) as sinks:\n"
        "    sinks.finished('train'); time.sleep(600)"
    )
    path = os.pathsep.join([str(run / "slow"), os.environ.get("PYTHONPATH", "")])
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(run)], env={**os.environ, "PYTHONPATH": path}
    )
    marks = []
    while not marks:
        marks = [item.name for item in (run / "slow").iterdir() if item.name.isdecimal()]
        assert parent.poll() is None
        time.sleep(0.1)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{marks[0]}"):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_disabled_makes_nothing(run, capfd):
    with following(run, settings("disabled")) as sinks:
        sinks.finished("train")
    assert not (run / "wandb").exists()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("package", ["wandb", "tensorboard"])
def test_a_package_that_cannot_be_imported_is_one_line(run, tmp_path, monkeypatch, capfd, package):
    (tmp_path / "broken" / package).mkdir(parents=True)
    (tmp_path / "broken" / package / "__init__.py").write_text("raise ImportError('of no use')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"), prepend=os.pathsep)
    chosen = ("offline", False) if package == "wandb" else ("disabled", True)
    configure(run, *chosen)
    with following(run, settings(*chosen)) as sinks:
        sinks.finished("train")
        sinks.finished("score")
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(package) and line.endswith("no copy is made: of no use")


def test_a_stage_that_cannot_be_copied_does_not_take_the_next_one_with_it(run, capfd):
    (run / "scores" / "broken.csv").write_text("")
    with following(run, settings("offline")) as sinks:
        sinks.finished("score")
        sinks.finished("report")
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("wandb offline: score: ")
    assert ("tables/table_1", "nrows") in logged(copies(run)["report"][1])


def test_a_dead_network_leaves_an_offline_copy_soon(run, monkeypatch, capfd):
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        configure(run, "online")
        begin = time.monotonic()
        with following(run, settings("online")) as sinks:
            sinks.finished("train")
            started = time.monotonic() - begin
        took = time.monotonic() - begin
    assert started < follower.PATIENCE_SECONDS / 2
    assert took < follower.PATIENCE_SECONDS
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("wandb online: ") and "wandb sync" in line
    assert set(copies(run)) == {"train"}


def test_a_server_that_never_answers_is_waited_for_only_so_long(run, monkeypatch, capfd):
    monkeypatch.setattr(follower, "PATIENCE_SECONDS", 2.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        configure(run, "online")
        begin = time.monotonic()
        with following(run, settings("online")) as sinks:
            sinks.finished("train")
        assert time.monotonic() - begin < 20
    assert "not finished 2 s after the run" in capfd.readouterr().err


def test_an_interrupted_run_does_not_wait(run, monkeypatch):
    (run / "slow").mkdir()
    (run / "slow" / "wandb.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(run / "slow"))
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt), following(run, settings("offline")) as sinks:
        sinks.finished("train")
        raise KeyboardInterrupt
    assert time.monotonic() - begin < 20


def test_a_folder_that_is_no_run_is_refused(tmp_path, capfd):
    assert main([str(tmp_path)]) == 2
    assert "not a run directory" in capfd.readouterr().err
    assert main([str(tmp_path), "painting"]) == 2
    assert "'painting' is not understood -> allowed: prepare" in capfd.readouterr().err


@pytest.mark.slow
def test_a_run_copies_its_stages_and_its_numbers_do_not_change(source):
    assert go(source, "stages=[measure]") == 0
    plain = (source / "out" / "measure" / "linearity.parquet").read_bytes()
    shutil.rmtree(source / "out")
    assert go(source, "stages=[measure]", "wandb.mode=offline") == 0
    assert set(copies(source / "out")) == {"measure"}
    assert (source / "out" / "measure" / "linearity.parquet").read_bytes() == plain
    assert go(source, "stages=[measure]", "wandb.mode=offline") == 0
    assert len(list(source.glob("out/wandb/offline-run-*"))) == 1  # nothing was computed


def test_the_run_itself_never_imports_the_package():
    code = (
        "import rlvr_dynamics.run, rlvr_dynamics.sinks.follower, sys; "
        "sys.exit('wandb' in sys.modules)"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
