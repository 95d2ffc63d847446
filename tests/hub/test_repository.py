"""Push and pull against a hub on loopback, through huggingface_hub; nothing goes without a yes."""

import filecmp
import subprocess
import sys

import pytest

from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.hub.__main__ import main
from rlvr_dynamics.hub.repository import parcel_of
from rlvr_dynamics.store.pack import pack
from rlvr_dynamics.system.atomic import write_sealed_json
from tests.support.hub_fixture import write_trajectory
from tests.support.hub_uploads import UploadHub
from tests.support.small_models import random_tensors, save_model


@pytest.fixture
def hub(tmp_path):
    with UploadHub(tmp_path / "served") as served:
        yield served


@pytest.fixture
def command(hub, tmp_path):
    """Run a command that has no terminal, against the loopback hub."""

    def run(module, *words):
        line = [sys.executable, "-m", f"rlvr_dynamics.{module}", *map(str, words)]
        found = subprocess.run(
            line,
            env=hub.environment(tmp_path / "home"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        return found.returncode, found.stdout + found.stderr

    return run


def sent(hub):
    return [each.path for each in hub.requests if each.method in ("POST", "PUT")]


@pytest.fixture
def store(tmp_path):
    write_trajectory(tmp_path / "run", (1, 2))
    folder = tmp_path / "store"
    pack(tmp_path / "run", folder, base=tmp_path / "run" / "base", anchor_every=4)
    return folder


def test_a_store_goes_to_the_hub_and_comes_back(hub, command, store, tmp_path):
    code, said = command("hub", "push", store, "owner/deltas")
    assert code == 2 and "--yes" in said and not sent(hub), said
    code, said = command("hub", "push", store, "owner/deltas", "--yes")
    assert code == 0 and f"{hub.endpoint}/owner/deltas" in said, said
    assert hub.private == {"owner/deltas": True}
    uploads = sum(path.startswith("/upload/") for path in sent(hub))
    assert uploads
    code, said = command("store", "pull", "owner/deltas", tmp_path / "back")
    assert code == 0 and "all 2 steps are whole" in said, said
    names = parcel_of(store).files
    same, other, broken = filecmp.cmpfiles(store, tmp_path / "back", names, shallow=False)
    assert (sorted(same), other, broken) == (sorted(names), [], [])
    # The same push once more sends no weights.
    code, said = command("store", "push", store, "owner/deltas", "--yes")
    assert code == 0, said
    assert sum(path.startswith("/upload/") for path in sent(hub)) == uploads


def test_a_prediction_comes_back_with_its_card(hub, command, tmp_path):
    folder = save_model(tmp_path / "prediction", random_tensors(0), manifest_step=9)
    (folder / "README.md").write_text("# Step 9")
    code, said = command("hub", "push", folder, "owner/step_9", "--yes", "--public")
    assert code == 0, said
    assert hub.private == {"owner/step_9": False}
    code, said = command("hub", "pull", "owner/step_9", tmp_path / "back")
    assert code == 0, said
    assert (tmp_path / "back" / "README.md").read_text() == "# Step 9"
    Trajectory.of_one(tmp_path / "back").verify()


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    write_sealed_json(folder / "config.json", {"seed": 1})
    for stage, finished in (("prepare", True), ("measure", True), ("scores", True), ("x", False)):
        write_sealed_json(folder / stage / "stage.json", {"finished": finished})
        (folder / stage / "table.parquet").write_bytes(b"PAR1")
    for name in ("scores/samples/base/sums.parquet", "measure/statistics/a.json", "log.jsonl"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    save_model(folder / "scores" / "a_model", random_tensors(0), manifest_step=1)
    return folder


def test_of_a_run_results_go_and_no_problems_answers_or_weights(run):
    assert parcel_of(run).files == (
        "config.json",
        *("measure/stage.json", "measure/table.parquet"),
        *("scores/stage.json", "scores/table.parquet"),
    )


@pytest.mark.parametrize(("answer", "code"), [("no", 1), ("", 1)])
def test_a_terminal_is_asked_and_no_is_no(run, monkeypatch, capsys, answer, code):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _question: answer)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["push", str(run), "owner/run"]) == code
    out = capsys.readouterr().out
    assert "results of a run, 5 files" in out and "private" in out and "paths and hardware" in out
    assert "nothing was sent" in out


def test_what_is_nothing_of_ours_is_refused(tmp_path, capsys):
    assert main(["push", str(tmp_path), "owner/x", "--yes"]) == 2
    assert "no run directory with a finished stage" in capsys.readouterr().err
    assert main(["push", str(tmp_path / "none"), "owner/x", "--yes"]) == 2


def test_a_hub_that_refuses_is_one_line(hub, command, tmp_path):
    code, said = command("hub", "pull", "owner/none", tmp_path / "back")
    assert code == 2 and "the hub refused" in said and "Traceback" not in said
