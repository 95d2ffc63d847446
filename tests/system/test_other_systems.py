"""Disks without locks, odd files where files belong, other runs' folders, limits and modes."""

import errno
import fcntl
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rlvr_dynamics import run
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow import extrapolate as extrapolate_stage
from rlvr_dynamics.measurement.statistics import file_of
from rlvr_dynamics.run_directory import records
from rlvr_dynamics.run_directory.lock import is_locked, locked
from rlvr_dynamics.system import alive, atomic, locks
from tests.support.small_models import SHAPES, random_tensors, save_model

CHECKOUT = Path(__file__).resolve().parents[2]
OTHER_PROCESS = """
import errno, fcntl, sys, time
from pathlib import Path
def no_locks(*_):
    raise OSError(int(sys.argv[2]), "no locks")
fcntl.flock = no_locks
from rlvr_dynamics.run_directory.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=[errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def without_locks(request, monkeypatch):
    def no_locks(*_):
        raise OSError(request.param, "no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    return request.param


def test_a_disk_without_locks_still_keeps_a_second_run_away(tmp_path, without_locks, capfd):
    folder = tmp_path / "run"
    command = [sys.executable, "-c", OTHER_PROCESS, str(folder), str(without_locks)]
    other = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        assert is_locked(folder)
        with pytest.raises(UserError, match="another process"), locked(folder):
            pass
    finally:
        other.kill()
        other.wait()
    with locked(folder):  # whoever held it is dead
        assert is_locked(folder)
    assert not is_locked(folder)
    assert "this disk knows no file locks" in capfd.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == [".lock"]


def test_a_silent_holder_elsewhere_is_one_no_more(tmp_path, without_locks):
    owner = tmp_path / ".lock.owner"
    (tmp_path / ".lock").touch()
    owner.write_text("elsewhere pid:[1] 7-7 abc\n")
    assert is_locked(tmp_path)
    long_ago = time.time() - 2 * locks.SILENT_SECONDS
    os.utime(owner, (long_ago, long_ago))
    with locked(tmp_path):
        assert owner.read_text() != "elsewhere pid:[1] 7-7 abc\n"


def test_one_of_many_takes_over_an_abandoned_lock(tmp_path, without_locks):
    (tmp_path / ".lock.owner").write_text(f"{os.uname().nodename} {locks._processes()} 1-1 x\n")
    inside, most = [], []

    def work():
        with locks.held(tmp_path / ".lock", waiting=lambda: None):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6


# --- leftovers ---


def leftover(folder, name=".x.partial-1-1-abc"):
    path = folder / name
    path.mkdir(parents=True)
    (path / "half").write_text("half")
    return path


def test_leftovers_of_others_stay(tmp_path):
    outer, elsewhere = tmp_path / "outer", tmp_path / "elsewhere"
    own = [leftover(outer), leftover(outer / "train" / "checkpoints")]
    nested, foreign = leftover(outer / "nested"), leftover(elsewhere)
    (outer / "nested" / ".lock").touch()
    (outer / "measure").symlink_to(elsewhere)
    link = outer / ".y.partial-1-1-abd"
    link.symlink_to(elsewhere)
    with subprocess.Popen(["sleep", "60"]) as living:
        written = leftover(outer, f".z.partial-{living.pid}-{alive._begin(living.pid)}-abe")
        with locked(outer):
            assert not any(path.exists() for path in own) and not link.is_symlink()
            for path in (nested, foreign, written):
                assert (path / "half").exists()
        living.kill()
    with locked(outer):
        assert not written.exists()


def test_a_run_inside_anothers_stage_is_refused(tmp_path):
    with locked(tmp_path / "outer"):
        pass
    inside = tmp_path / "outer" / "report" / "mine"
    with pytest.raises(UserError, match="lies in report/ of another run"), locked(inside):
        pass
    with locked(tmp_path / "outer" / "mine"):
        pass


def test_a_removed_prediction_is_never_half_there(tmp_path, monkeypatch):
    import pandas as pd

    elsewhere = leftover(tmp_path / "elsewhere" / "observe_1", "step_2").parent.parent
    folder = tmp_path / "predictions"
    gone = leftover(folder / "relex" / "observe_2", "step_9")
    kept = leftover(folder / "relex" / "observe_2", "step_10")
    (folder / "linked").symlink_to(elsewhere)

    def killed(path, **_):
        assert Path(path) != gone and not gone.exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    index = pd.DataFrame({"path": ["predictions/relex/observe_2/step_10"]})
    with pytest.raises(KeyboardInterrupt):
        extrapolate_stage._remove_others(folder, index)
    assert kept.is_dir() and not gone.exists()
    monkeypatch.undo()
    extrapolate_stage._remove_others(folder, index)
    assert (elsewhere / "observe_1" / "step_2" / "half").exists()


# --- limits ---


def test_a_limit_on_files_is_the_users_matter(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom rlvr_dynamics.system.atomic import write_text\n"
        "from rlvr_dynamics.system.command_line import end\n"
        "sys.exit(end(lambda: write_text(Path(sys.argv[1]), 'x' * 100000) or 0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "big")],
        cwd=CHECKOUT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "ulimit -f" in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_modes_are_what_the_umask_gives(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic.atomic_folder(tmp_path / "model") as folder:
            secret = os.open(folder / "weights", os.O_CREAT | os.O_WRONLY, 0o600)
            os.close(secret)
            (folder / "inner").mkdir(0o700)
        with atomic.atomic_path(tmp_path / "table") as path:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        modes = {
            name: (tmp_path / name).stat().st_mode & 0o777
            for name in ("model", "model/weights", "model/inner", "table")
        }
    finally:
        os.umask(before)
    assert modes == {"model": 0o750, "model/weights": 0o640, "model/inner": 0o750, "table": 0o640}


@pytest.mark.parametrize("name", ["x" * 1000, "../../up", "a/b\n", ".", "ü" * 300, "%2F", ""])
def test_any_tensor_name_has_a_file_of_its_own(tmp_path, name):
    path = file_of(tmp_path, name)
    assert path.parent == tmp_path and len(path.name.encode()) < 220
    assert file_of(tmp_path, name + "y") != path
    atomic.write_text(path, "there")
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_trajectory_with_odd_tensor_names_is_measured(tmp_path, capsys):
    odd = ["model.layers.0." + "long" * 80 + ".weight", "../up.weight", "a/b\nc.weight"]
    for step in range(4):
        tensors = random_tensors(step)
        tensors |= {name: next(iter(random_tensors(9 + step).values())) for name in odd}
        place = tmp_path / "base" if step == 0 else tmp_path / "steps" / f"step_{step}"
        save_model(place, tensors)
    assert go(tmp_path, "stages=[measure]", "measure.null_draws=20") == 0
    assert len(list((tmp_path / "out" / "measure" / "statistics").iterdir())) == len(SHAPES) + 3
    assert not (tmp_path / "out" / "up.weight.safetensors").exists()


# --- what lies where a file belongs ---


def go(source, *overrides):
    return run.main(
        [
            "+exp=trajectory",
            f"source.base={source / 'base'}",
            f"source.checkpoints={source / 'steps'}",
            f"run_dir={source / 'out'}",
            *overrides,
        ]
    )


@pytest.fixture
def source(tmp_path):
    save_model(tmp_path / "base", random_tensors(0))
    for step in (1, 2, 3):
        save_model(tmp_path / "steps" / f"step_{step}", random_tensors(step))
    return tmp_path


DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000
BASE_FILES = ["model.safetensors", "config.json", "model.safetensors.index.json"]
RUN_FILES = ["measure/stage.json", "identities.json", "config.json"]


def put(path, kind):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_text({"deep": DEEP, "half": '{"a": 1', "list": "[1]", "null": "null"}[kind])


@pytest.mark.parametrize("kind", ["pipe", "folder", "deep", "half", "list", "null"])
@pytest.mark.parametrize("name", [*BASE_FILES])
def test_what_is_no_proper_file_is_one_line(source, capsys, name, kind):
    if name.startswith("model.safetensors.index"):
        (source / "base" / "model.safetensors").rename(source / "base" / "model-00001.safetensors")
    put(source / "base" / name, kind)
    code = go(source, "stages=[measure]", "measure.null_draws=20")
    told = capsys.readouterr().err
    if name == "config.json" and code == 0:
        return  # not read where no head could be tied
    assert code == 2, told
    errors = [line for line in told.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and Path(name).name in errors[0]


@pytest.mark.parametrize("name", ["measure", "config.json", "log.jsonl", ".lock"])
@pytest.mark.parametrize("kind", ["file", "folder", "pipe"])
def test_odd_things_in_a_run_directory_end_in_no_traceback(source, capsys, name, kind):
    path = source / "out" / name
    if kind == "file":
        path.parent.mkdir()
        path.write_text("")
    else:
        put(path, kind)
    assert go(source, "stages=[measure]", "measure.null_draws=20") in (0, 2)


def test_json_of_ours_that_is_damaged_is_named(tmp_path):
    (tmp_path / "stage.json").write_text(json.dumps({"finished": True})[:-4])
    with pytest.raises(UserError, match=r"damaged stage.json"):
        records.read_record(tmp_path)
