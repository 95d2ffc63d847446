"""The copy on Weights & Biases: what is in it, and that a run never suffers from making it."""

import json
import os
import shutil
import socket
import sys
import time

import pandas as pd
import pytest
from matplotlib.figure import Figure

from rlvr_dynamics.run_directory.records import FOLDERS
from rlvr_dynamics.schema import Wandb
from rlvr_dynamics.sinks import mirror
from rlvr_dynamics.system.atomic import write_json
from tests.support.reporting_fixture import build_run
from tests.support.trajectory_source import go

STAGES = ("train", "score", "report")
BLOCK, HEADER = 32_768, 7


def settings(mode):
    return Wandb(mode=mode, project="a_project", entity=None)


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


def configure(folder, mode):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config |= {"name": folder.name, "seed": 3}
    config["wandb"] = settings(mode).model_dump()
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


def test_stages_are_copied_with_their_curves_tables_and_figures(run, home, capsys):
    with mirror.mirrored(run, settings("offline")) as copy:
        for stage in STAGES:
            copy.copy(stage)
    assert capsys.readouterr().err == ""
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


def test_disabled_makes_nothing(run, capsys):
    with mirror.mirrored(run, settings("disabled")) as copy:
        copy.copy("train")
    assert not (run / "wandb").exists()
    assert capsys.readouterr().err == ""


def test_an_absent_package_is_one_line(run, monkeypatch, capsys):
    monkeypatch.setattr(mirror, "find_spec", lambda name: None)
    with mirror.mirrored(run, settings("offline")) as copy:
        copy.copy("train")
        copy.copy("score")
    (line,) = capsys.readouterr().err.splitlines()
    assert "the package wandb is not installed" in line
    assert not (run / "wandb").exists()


def test_a_package_that_cannot_be_imported_is_one_line(run, tmp_path, monkeypatch, capsys):
    (tmp_path / "broken" / "wandb").mkdir(parents=True)
    (tmp_path / "broken" / "wandb" / "__init__.py").write_text("raise ImportError('of no use')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    with mirror.mirrored(run, settings("offline")) as copy:
        copy.copy("train")
        copy.copy("score")
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "mirror: train, score: no copy is made: of no use"


def test_a_dead_network_leaves_an_offline_copy_soon(run, monkeypatch, capsys):
    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        configure(run, "online")
        begin = time.monotonic()
        with mirror.mirrored(run, settings("online")) as copy:
            copy.copy("train")
            started = time.monotonic() - begin
        took = time.monotonic() - begin
    assert started < mirror.PATIENCE_SECONDS / 2
    assert took < mirror.PATIENCE_SECONDS
    (line,) = capsys.readouterr().err.splitlines()
    assert "does not answer" in line and "wandb sync" in line
    assert set(copies(run)) == {"train"}


def test_a_server_that_never_answers_is_waited_for_only_so_long(run, monkeypatch, capsys):
    monkeypatch.setattr(mirror, "PATIENCE_SECONDS", 2.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        configure(run, "online")
        begin = time.monotonic()
        with mirror.mirrored(run, settings("online")) as copy:
            copy.copy("train")
        assert time.monotonic() - begin < 20
    assert "not finished 2 s after the run" in capsys.readouterr().err


def test_an_interrupted_run_does_not_wait(run, monkeypatch):
    (run / "slow").mkdir()
    (run / "slow" / "wandb.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(run / "slow"))
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt), mirror.mirrored(run, settings("offline")) as copy:
        copy.copy("train")
        raise KeyboardInterrupt
    assert time.monotonic() - begin < 20


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    assert mirror.main([str(tmp_path)]) == 2
    assert "not a run directory" in capsys.readouterr().err
    assert mirror.main([str(tmp_path), "painting"]) == 2
    assert "no stage is called painting" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_mirrors_its_stages_and_its_numbers_do_not_change(source):
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
        "import rlvr_dynamics.run, rlvr_dynamics.sinks.mirror, sys; "
        "sys.exit('wandb' in sys.modules)"
    )
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
