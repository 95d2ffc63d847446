"""What a shell passes is what is meant, and every wrong word on a command line is one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.__main__ import main as analysis
from analysis.arguments import expand, items
from experiments import acceleration, grid, questions, study
from rlvr_dynamics import config, run
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.sinks.__main__ import main as sinks
from slurm.__main__ import main as slurm
from slurm.one_node import main as one_node
from tests.support.analysis_fixture import build_cells
from tests.support.small_models import random_tensors, save_model

CHECKOUT = Path(__file__).resolve().parents[2]
ODD = "a=b,c[1]#x~y/ü (z) {q}: 'it"
TEXT_KEYS = [
    "run_dir",
    "source.accuracy",
    "reuse",
    "benchmark.gsm8k.repo",
    "++benchmark.gsm8k.repo",
    "wandb.entity",
]


def value_at(loaded, key):
    found = loaded
    for part in key.lstrip("+").split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    return found


@pytest.mark.parametrize("key", TEXT_KEYS)
@pytest.mark.parametrize(
    "text", [f"/data/{ODD}", "12", "1e5", "007", "true", "~x", "a\\b\\", "[x]"]
)
def test_a_key_that_holds_text_takes_what_was_typed(key, text):
    loaded = config.load(["benchmark=gsm8k", f"{key}={text}"])
    assert value_at(loaded, key) == text


def test_both_folders_of_a_trajectory_and_a_local_model_are_taken_as_typed():
    given = [f"source.base=/data/{ODD}", "source.checkpoints=/ü", "+exp=trajectory"]
    source = config.load(given).source
    assert (source.base, source.checkpoints) == (f"/data/{ODD}", "/ü")
    loaded = config.load(
        ["+exp=grpo_qwen3_4b", f"model.repo=/m/{ODD}", f"data.train.repo=/d/{ODD}"]
    )
    assert (loaded.model.repo, loaded.data.train.repo) == (f"/m/{ODD}", f"/d/{ODD}")
    pattern = ["+exp=relex_published_qwen3_4b", "source.published.revision=step_{step}"]
    assert config.load(pattern).source.published.revision == "step_{step}"


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("'/a=b,c'", "/a=b,c"),
        ('"/a [1]"', "/a [1]"),
        (r"/a\=b\,c", "/a=b,c"),
        ("outputs/${name}_2", "outputs/demo_2"),
        ("'it\\'s'", "it's"),
    ],
)
def test_quotes_escapes_and_references_are_hydras_still(value, meant):
    assert config.load([f"run_dir={value}"]).run_dir == meant


def test_null_takes_a_path_away():
    assert config.load(["reuse=null"]).reuse is None


@pytest.fixture
def odd_source(tmp_path):
    place = tmp_path / ODD
    for step in range(4):
        folder = place / "base" if step == 0 else place / "steps" / f"step_{step}"
        save_model(folder, random_tensors(step))
    return place


def test_a_trajectory_in_an_odd_folder_is_measured(odd_source, capsys):
    given = [
        "+exp=trajectory",
        "stages=[measure]",
        "measure.null_draws=20",
        f"source.base={odd_source / 'base'}",
        f"source.checkpoints={odd_source / 'steps'}",
        f"run_dir={odd_source / 'out'}",
    ]
    assert run.main(given) == 0
    assert (odd_source / "out" / "measure" / "trajectory_svd.parquet").is_file()


def test_analysis_takes_odd_folders_of_runs_and_an_odd_out(tmp_path, capsys):
    place = tmp_path / ODD
    runs = build_cells(place, 2)
    out = tmp_path / f"out{ODD.replace('/', '')}"
    given = f"run_dirs=[{','.join(map(str, runs))}]"
    assert analysis(["alpharl_table_1", given, f"out={out}"]) == 0
    assert (out / "index.html").is_file()
    for spelled in (
        f"[{runs[0]},{runs[1]}]",
        f'["{runs[0]}", "{runs[1]}"]',
        f"{place}/*",
        f"[{place}/*_seed*]",
    ):
        found, _ = expand(items(spelled))
        assert sorted(found) == sorted(runs), spelled
    assert expand(items(str(runs[0])))[0] == [runs[0]]
    assert items("[a, b,c]") == ["a", "b", "c"]


# --- options ---

MODULES = {
    "rlvr_dynamics.run": run.main,
    "analysis": analysis,
    "slurm": slurm,
    "experiments.grid": grid.main,
    "experiments.questions": questions.main,
    "experiments.study": study.main,
    "experiments.acceleration": acceleration.main,
    "rlvr_dynamics.sinks": sinks,
    "slurm.one_node": one_node,
}


@pytest.mark.parametrize("module", [*MODULES, "perf"], ids=lambda name: name.replace(".", "_"))
def test_every_command_line_says_its_version(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("rlvr_dynamics 0")


@pytest.mark.parametrize("module", MODULES, ids=lambda name: name.replace(".", "_"))
@pytest.mark.parametrize(
    "option", ["--multirun", "-m", "--config-dir=/x", "--hydra-help", "--nose"]
)
def test_an_unknown_option_is_one_line(module, option, capsys):
    assert MODULES[module]([option]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("error: ") and told.err.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "words", "meant"),
    [
        (
            "analysis",
            ["run_dir=[a]"],
            "unknown key run_dir (run_dir=[a]) -> did you mean run_dirs?",
        ),
        ("slurm", ["sumbit", "demo"], "'sumbit' is not understood -> did you mean submit?"),
        ("slurm", ["submit", "demo", "--dryrun"], "did you mean --dry-run?"),
        ("slurm", ["submit", "demo", "throttle=0"], "--throttle: given '0'"),
        ("slurm", ["submit", "demo", "--runs", ""], "--runs: it is empty"),  # an unset variable
        ("slurm", ["status", "a", "b"], "'b' is not understood"),
        ("experiments.grid", ["output=x"], "did you mean outputs?"),
        ("experiments.study", ["out=a", "out=b"], "out was given twice (out=b)"),
        ("experiments.study", ["runs="], "runs is empty"),
        ("experiments.study", ["demo"], "no cell of the study is called 'demo'"),
        ("slurm.one_node", ["--nodes", "none"], "--nodes: given 'none'"),
    ],
)
def test_a_wrong_word_is_named_with_what_was_meant(module, words, meant, capsys):
    assert MODULES[module](words) == 2
    assert meant in capsys.readouterr().err


def test_options_are_written_in_either_form_and_in_any_order(tmp_path, capsys):
    runs = tmp_path / "lr=1e-5"  # a value, whatever it looks like
    forms = [
        ["demo", "--runs", str(runs), "--dry-run", "seed=0,1", "--throttle", "2"],
        ["throttle=2", f"runs='{runs}'", "demo", "dry_run=true", "seed=0,1"],
        ["seed=0,1", f"--runs={runs}", "dry_run=true", "demo", "--throttle=2"],
    ]
    shown = []
    for words in forms:
        assert slurm(["submit", *words]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0].count("demo-seed1") and len(set(shown)) == 1


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("foo", ["'foo' is not key=value"]),
        ("seed=0,1", ["seed=0,1", "slurm submit"]),
        ("seed=range(3)", ["seed=range(3)", "one value makes one run"]),
        ("hydra.run.dir=/x", ["hydra.run.dir", "run_dir=DIR"]),
        ("algorithm.learning_rate={a", ["algorithm.learning_rate", "quotes"]),
        ("stages=[measure", ["stages: [measure", "quotes"]),
    ],
)
def test_a_wrong_word_is_one_line_that_names_it(word, expected):
    with pytest.raises(UserError) as caught:
        config.load([word])
    message = str(caught.value)
    assert "\n" not in message
    for part in expected:
        assert part in message


# --- terminals and users ---


def run_cli(*arguments, cwd, **variables):
    return subprocess.run(
        [sys.executable, "-m", "rlvr_dynamics.run", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **variables},
        capture_output=True,
    )


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
def test_a_terminal_that_is_not_utf8_ends_no_run(tmp_path, variables):
    (tmp_path / "ü→").mkdir()
    wrong = run_cli("run_dir=ü→/x", "source.accuracy=ü→.csv", cwd=tmp_path, **variables)
    assert (wrong.returncode, wrong.stderr.count(b"\n")) == (2, 1)
    assert b"source.accuracy: no such file" in wrong.stderr
    if "LC_ALL" in variables:
        plan = run_cli("dry_run=true", "run_dir=ü→", cwd=tmp_path, **variables)
        assert plan.returncode == 0, plan.stderr


def test_who_stops_reading_gets_no_traceback(tmp_path):
    done = subprocess.run(
        f"set -o pipefail; {sys.executable} -m rlvr_dynamics.run --cfg | true",
        shell=True,
        executable="/bin/bash",
        cwd=CHECKOUT,
        capture_output=True,
    )
    assert b"Traceback" not in done.stderr and b"BrokenPipe" not in done.stderr
