"""The GPU check: steps in order, the first failure stops, the same command goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import psutil
import pytest

from experiments.gpu_check import __main__ as command
from experiments.gpu_check import environment, measuring, report, runner
from experiments.gpu_check.bench import Bench
from experiments.gpu_check.finding import FAILED, NEEDS_GPU, PASSED
from experiments.gpu_check.step import Step
from experiments.gpu_check.steps import STEPS
from rlvr_dynamics.config import load
from rlvr_dynamics.estimates.memory import misfits
from rlvr_dynamics.schema.tables import MEASURED
from tests.support import gpu_check_steps as made

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"versions": {"torch": "2.11.0"}, "gpus": ["H100"], "driver": "580"}
SOURCE = ENVIRONMENT | {"machine": {"cores": 2, "gpus": []}, "commit": None}


def steps(*works):
    return [Step(work.__name__, f"Step {work.__name__}", work, 1, 1) for work in works]


def bench(folder, device="cuda"):
    return Bench(str(folder), device, int(device == "cuda"), 80)


def go(folder, chosen, environment=ENVIRONMENT):
    place = bench(folder)
    return runner.go(
        chosen,
        place,
        environment,
        lambda found: report.write(place, chosen, found, SOURCE, "the command"),
        lambda text: None,
    )


def ran(folder):
    file = folder / "ran"
    return file.read_text().split() if file.exists() else []


def test_the_first_failure_stops_and_the_same_command_goes_on_from_there(tmp_path):
    chosen = steps(made.first, made.second, made.third)
    verdicts = [result.verdict for result in go(tmp_path, chosen)]
    assert verdicts == [PASSED, FAILED] and ran(tmp_path) == ["first", "second"]
    told = json.loads((tmp_path / "report.json").read_text())
    assert [step["verdict"] for step in told["steps"]] == [PASSED, FAILED, "not run"]
    assert told["steps"][2]["seconds"] is None and told["next"] == "the command"
    (tmp_path / "mended").touch()
    verdicts = [result.verdict for result in go(tmp_path, chosen)]
    assert verdicts == [PASSED, PASSED, NEEDS_GPU]
    assert ran(tmp_path) == ["first", "second", "second", "third"]
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["next"] == report.FIRST_CELL
    assert told["summary"] == "GPU check: of 3 steps 2 passed, 1 need a GPU."
    page = (tmp_path / "report.md").read_text()
    assert "| residual | 1e−7 | at most 1e−5 | passed |" in page
    assert "| memory | – | within the estimate | needs a GPU |" in page
    assert go(tmp_path, chosen) and ran(tmp_path) == ["first", "second", "second", "third"]


def test_a_step_runs_again_in_another_environment_and_so_do_all_after_it(tmp_path):
    chosen = steps(made.first, made.third)
    go(tmp_path, chosen)
    (tmp_path / "third" / "run").mkdir()
    go(tmp_path, chosen, ENVIRONMENT | {"driver": "590"})
    assert ran(tmp_path) == ["first", "third"] * 2
    assert not (tmp_path / "third" / "run").exists()  # made in the other environment
    newer = [chosen[0], replace(chosen[1], version=2)]
    go(tmp_path, newer, ENVIRONMENT | {"driver": "590"})
    assert ran(tmp_path) == ["first", "third"] * 2 + ["third"]
    newest = [replace(chosen[0], version=2), newer[1]]
    go(tmp_path, newest, ENVIRONMENT | {"driver": "590"})
    assert ran(tmp_path)[-2:] == ["first", "third"]


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (made.refused, "no space left (here) -> free some"),
        (made.broken, "ZeroDivisionError: one | two"),
        (made.killed, "the step's process ended: SIGKILL"),
    ],
)
def test_a_step_that_breaks_has_failed_with_its_reason(tmp_path, work, told):
    (result,) = go(tmp_path, steps(work, made.first))
    assert (result.verdict, result.error) == (FAILED, told)
    assert told.replace("|", "\\|") in (tmp_path / "report.md").read_text()
    if work is made.broken:
        assert "Traceback" in Path(result.log).read_text()


def test_a_step_that_hangs_is_ended_with_all_that_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "LIMIT_UNIT", 5.0)
    monkeypatch.setattr(runner, "GRACE_SECONDS", 0.5)
    begin = time.monotonic()
    (result,) = go(tmp_path, steps(made.hangs))
    assert 5 <= time.monotonic() - begin < 30
    assert result.verdict == FAILED and "not finished within 1 minutes" in result.error
    child = int((tmp_path / "started").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"


DRIVER = """
import sys
from experiments.gpu_check import __main__ as command
from tests.support import gpu_check_steps as made
from experiments.gpu_check.step import Step
command.STEPS = tuple(Step(w.__name__, w.__name__, w, 1, 1) for w in (made.first, made.waits))
sys.exit(command.main(["--rehearse", "--out", sys.argv[1]]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_check_goes_on(tmp_path, number):
    def start():
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    process = start()
    end = time.monotonic() + 60
    while not (tmp_path / "began").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 75 and "the same command goes on" in said
    assert json.loads((tmp_path / "report.json").read_text())["steps"][1]["verdict"] == "not run"
    process = start()
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 0, said
    assert ran(tmp_path) == ["first"]
    assert "next: python -m experiments.gpu_check" in said


def test_without_a_gpu_the_way_out_is_the_rehearsal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "gpus_found", list)
    assert command.main(["--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "no GPU found" in said and "--rehearse" in said
    assert command.main(["--rehearse", "--gpus", "8", "--out", str(tmp_path / "out")]) == 2
    assert "--rehearse --gpus 8" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_list_names_nine_steps_and_starts_nothing(tmp_path, capsys):
    assert command.main(["--list", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert [line[:2] for line in said.splitlines() if line[0].isdigit()] == [
        f"{number}." for number in range(1, 10)
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_every_command_of_every_step_is_a_run_that_fits(tmp_path, device):
    place = bench(tmp_path, device)
    runs = {
        (step.name, name): load(one.arguments)
        for step in STEPS
        for name, one in step.commands(place).items()
    }
    for name, config in runs.items():
        assert config.run_dir.startswith(str(tmp_path)), name
        assert device == "cpu" or not config.trains or misfits(config) == [], name
    updates = runs["shapes", "run"].trainer
    assert (updates.updates_per_rollout, updates.steps) == (4, 8)
    if device == "cuda":
        shape = load(["+exp=grpo_qwen2_5_math_1_5b"]).model.architecture
        for name, layers in (("shapes", shape.layers), ("interruption", 8)):
            model = runs[name, "run"].model
            sizes = (model.hidden, model.layers, model.vocabulary)
            assert sizes == (shape.hidden, layers, shape.vocabulary)
        for name, cell in (("1_5b", "grpo_qwen2_5_math_1_5b"), ("7b", "grpo_qwen2_5_7b")):
            own, published = runs["packs", name].trainer, load([f"+exp={cell}"]).trainer
            assert own.longest_sample == published.longest_sample
            assert own.tokens_per_pass == published.tokens_per_pass


def test_tables_agree_by_their_sums_and_not_by_what_near_values_decide():
    declared = MEASURED["update_svd"]
    names = [column.name for column in declared.columns]
    row = {
        "step": 4,
        "index": 1,
        "sigma": 2.0,
        "frobenius": 3.0,
        "residual": 1e-7,
        "method": "gram",
    }
    plain = pd.DataFrame([row, row | {"sigma": 1.0, "index": 2}])
    assert set(plain) <= set(names)

    def verdicts(**change):
        return [
            each.verdict for each in measuring.compared(declared, plain.assign(**change), plain)
        ]

    assert FAILED not in verdicts() and PASSED in verdicts()
    assert FAILED not in verdicts(residual=[2e-6, 3e-9])
    assert FAILED not in verdicts(sigma=[2.0, 1.0 + 1e-4])  # beside the largest of the column
    assert FAILED in verdicts(sigma=[2.0, 1.0 + 3e-4])
    assert FAILED in verdicts(sigma=[2.0, float("nan")])
    (short,) = measuring.compared(declared, plain[:1], plain)
    assert short.verdict == FAILED


def test_versions_are_those_of_the_lines_that_hold_for_this_python(tmp_path):
    lock = tmp_path / "gpu.txt"
    own, other = version("numpy"), "0.0.1"
    lines = [f"numpy=={own}", "not-installed-anywhere==1.0", 'pandas==0.0.1; python_version < "3"']
    lock.write_text("\n".join(["# a comment==1", *lines]) + "\n")
    found = environment.locked(lock)
    assert (found.verdict, found.value) == (PASSED, "1 as pinned, 1 not installed")
    lock.write_text(f"numpy=={other}\n")
    found = environment.locked(lock)
    assert found.verdict == FAILED and f"numpy {own} for 0.0.1" in found.value


@pytest.mark.grid
def test_the_rehearsal_goes_through_all_steps(tmp_path):
    """Real verl and vLLM with tiny shapes; what needs a GPU is never called passed."""
    assert command.main(["--rehearse", "--out", str(tmp_path)]) == 0
    told = json.loads((tmp_path / "report.json").read_text())
    verdicts = {step["name"]: step["verdict"] for step in told["steps"]}
    needing = {"imports", "spectra", "shapes", "packs", "measuring"}
    assert verdicts == {step.name: NEEDS_GPU if step.name in needing else PASSED for step in STEPS}
    assert told["next"] == report.ON_A_GPU
    found = {finding["what"]: finding for step in told["steps"] for finding in step["findings"]}
    assert found["largest clip fraction, 4 updates a step"]["value"] > 0
