"""Nothing of a training run outlives it, whoever is killed; a silent or dying verl is noticed."""

import mmap
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlvr_dynamics import config
from rlvr_dynamics.errors import StageFailed, UserError
from rlvr_dynamics.system import processes
from rlvr_dynamics.training import stall, trainer
from tests.support.supervised import start_supervised


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_closing_the_pipe_ends_every_descendant(tmp_path):
    marker = str(tmp_path)
    supervisor = start_supervised(marker, tmp_path / "log")
    assert wait_for(lambda: len(processes.marked(marker)) == 3)
    supervisor.stdin.close()
    assert supervisor.wait(timeout=60) == 75
    assert processes.marked(marker) == []


def test_a_killed_supervisor_leaves_processes_that_end_all_finds(tmp_path):
    marker = str(tmp_path)
    supervisor = start_supervised(marker, tmp_path / "log")
    assert wait_for(lambda: len(processes.marked(marker)) == 3)
    supervisor.kill()
    supervisor.wait()
    assert len(processes.marked(marker)) == 2
    processes.end_all(marker)
    assert processes.marked(marker) == []
    supervisor.stdin.close()


def test_a_parent_killed_without_warning_leaves_nothing(tmp_path):
    marker = str(tmp_path)
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[2]); "
            "from tests.support.supervised import start_supervised; "
            "keep = start_supervised(sys.argv[1], Path(sys.argv[1]) / 'log'); time.sleep(600)",
            marker,
            str(Path(__file__).parents[2]),
        ]
    )
    assert wait_for(lambda: len(processes.marked(marker)) == 3)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert wait_for(lambda: processes.marked(marker) == [])


class NoCheckpoints:
    """Stands for a verl that never saves."""

    def saved_step(self):
        return 0

    def ingest(self, deadline=None):
        return []

    def check_room(self):
        pass

    def prepare_resume(self, logged):
        return 0


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("raise RuntimeError('no luck')", "verl ended early.*RuntimeError: no luck"),
        ("import time; time.sleep(600)", "verl made no step for 2 s"),
    ],
)
def test_a_verl_that_breaks_or_hangs_is_an_error_with_its_log(
    tmp_path, monkeypatch, script, message
):
    monkeypatch.setattr(
        trainer, "verl_command", lambda *_args, **_kwargs: [sys.executable, "-c", script]
    )
    loaded = config.load(["trainer.start_timeout_seconds=2.0"])
    with pytest.raises(StageFailed, match=message) as caught:
        trainer.train(
            loaded, prepare=tmp_path, folder=tmp_path / "train", checkpoints=NoCheckpoints()
        )
    assert "verl_1.log" in str(caught.value)
    assert processes.marked(str((tmp_path / "train").resolve())) == []


@pytest.mark.parametrize(
    ("overrides", "least", "most"),
    [
        (["trainer.stall_timeout_seconds=null"], 1, 60),
        (["trainer.stall_timeout_seconds=1.0"], 1, 1),
    ],
    ids=["from the steps", "given"],
)
def test_a_step_far_longer_than_those_before_is_stuck(
    tmp_path, monkeypatch, overrides, least, most
):
    """Two steps of half a second, then none."""
    monkeypatch.setattr(stall, "LEAST_STALL_SECONDS", 1.0)
    script = (
        "import os, time\n"
        "for step in (1, 2):\n"
        "    time.sleep(0.5)\n"
        "    with open(os.environ['VERL_FILE_LOGGER_PATH'], 'a') as log:\n"
        '        log.write(\'{"step": %d, "data": {"critic/score/mean": 0.5, \' % step)\n'
        "        log.write('\"timing_s/step\": 0.5}}\\n')\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setattr(
        trainer, "verl_command", lambda *_args, **_kwargs: [sys.executable, "-c", script]
    )
    with pytest.raises(StageFailed, match=r"verl made no step for \d+ s after step 2") as caught:
        trainer.train(
            config.load(overrides),
            prepare=tmp_path,
            folder=tmp_path / "train",
            checkpoints=NoCheckpoints(),
        )
    seconds = int(re.findall(r"no step for (\d+) s", str(caught.value))[0])
    assert least <= seconds <= most


def test_a_disk_that_verl_filled_is_the_users_to_free(tmp_path, monkeypatch):
    script = "raise OSError(28, 'No space left on device')"
    monkeypatch.setattr(
        trainer, "verl_command", lambda *_args, **_kwargs: [sys.executable, "-c", script]
    )
    with pytest.raises(UserError, match="no space left") as caught:
        trainer.train(
            config.load([]),
            prepare=tmp_path,
            folder=tmp_path / "train",
            checkpoints=NoCheckpoints(),
        )
    assert "the same command" in caught.value.way_out


@pytest.mark.slow
def test_a_dead_worker_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "WORKER_CHECK_SECONDS", 0.2)
    monkeypatch.setattr(trainer, "DEAD_WORKER_GRACE_SECONDS", 1.0)
    worker = (
        "import os, subprocess, time; "
        'row = \'{"step": 1, "data": {"critic/score/mean": 0.5, "timing_s/step": 0.1}}\'; '
        "open(os.environ['VERL_FILE_LOGGER_PATH'], 'w').write(row + chr(10)); "
        "subprocess.Popen(['bash', '-c', 'exec -a ray::WorkerDict sleep 3']).wait(); "
        "time.sleep(600)"
    )
    monkeypatch.setattr(
        trainer, "verl_command", lambda *_args, **_kwargs: [sys.executable, "-c", worker]
    )
    with pytest.raises(StageFailed, match="a worker of verl died: ray::WorkerDict"):
        trainer.train(
            config.load([]),
            prepare=tmp_path,
            folder=tmp_path / "train",
            checkpoints=NoCheckpoints(),
        )


def test_a_process_that_hides_its_environment_is_found_by_its_folder(tmp_path):
    marker = str(tmp_path)
    folder = tmp_path / f"{processes.folder_prefix(marker)}x"
    folder.mkdir()
    with subprocess.Popen(["sleep", "600"], cwd=folder, env={}) as hidden:
        assert [process.pid for process in processes.marked(marker)] == [hidden.pid]
        folder.rmdir()
        processes.end_all(marker)
        assert not processes.is_alive(hidden.pid)


# Maps two segments that nobody tidies up, says so, and dies without a word.
LEAKING = """
import os, signal, sys, time
from multiprocessing import resource_tracker, shared_memory
segments = [shared_memory.SharedMemory(create=True, size=4096) for _ in range(2)]
for segment in segments:
    resource_tracker.unregister(segment._name, "shared_memory")
open(sys.argv[1], "w").write(" ".join(segment.name for segment in segments))
while not os.path.exists(sys.argv[1] + ".go"):
    time.sleep(0.05)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_shared_memory_of_a_worker_that_died_goes_unless_somebody_else_uses_it(tmp_path):
    marker, said = str(tmp_path), tmp_path / "names"
    quick = (
        "import sys; from rlvr_dynamics.system import supervise; "
        "supervise.MEMORY_CHECK_SECONDS = 0.0; sys.exit(supervise.main(sys.argv[1:]))"
    )
    supervisor = subprocess.Popen(
        [
            *(sys.executable, "-c", quick, marker, str(tmp_path / "log"), "--"),
            *(sys.executable, "-c", LEAKING, str(said)),
        ],
        stdin=subprocess.PIPE,
        env={**os.environ, processes.MARKER: marker},
    )
    assert wait_for(lambda: said.exists() and len(said.read_text().split()) == 2)
    lost, used = (processes.SHARED_MEMORY / name for name in said.read_text().split())
    try:
        time.sleep(1.0)
        with used.open("r+b") as file, mmap.mmap(file.fileno(), 4096):
            Path(f"{said}.go").touch()
            supervisor.wait(timeout=60)
            assert not lost.exists()
            assert used.exists()
    finally:
        lost.unlink(missing_ok=True)
        used.unlink(missing_ok=True)
        supervisor.stdin.close()


def test_a_signal_to_the_supervisor_ends_what_it_watches(tmp_path):
    marker = str(tmp_path)
    supervisor = start_supervised(marker, tmp_path / "log")
    assert wait_for(lambda: len(processes.marked(marker)) == 3)
    supervisor.terminate()
    assert supervisor.wait(timeout=60) == 75
    assert processes.marked(marker) == []
    supervisor.stdin.close()
