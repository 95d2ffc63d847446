"""`rlvr-dynamics COMMAND`, and a whole configuration from a file."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rlvr_dynamics import __main__ as one_command
from rlvr_dynamics import config, run
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.run_directory.provenance import write_provenance
from rlvr_dynamics.run_directory.run import Run

BASH = shutil.which("bash")
CASES = ["demo", "grpo_qwen3_4b", "relex_published_qwen3_8b", "acceleration", "trajectory", "study"]
NEEDED = {"trajectory": ["source.base=/base", "source.checkpoints=/steps"]}


# --- one command ---


@pytest.mark.parametrize("name", one_command.COMMANDS)
def test_every_command_has_a_help_and_a_line(name, capsys):
    with pytest.raises(SystemExit) as ended:
        one_command.main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: python -m ")
    assert one_command.main([]) == 0
    assert f"\n  {name} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "passed"),
    [
        (["run", "seed=1"], ["seed=1"]),
        (["+exp=demo", "seed=1"], ["+exp=demo", "seed=1"]),
        (["dry_run=true"], ["dry_run=true"]),
        (["--cfg", "seed=1"], ["--cfg", "seed=1"]),
        (["~reuse"], ["~reuse"]),
    ],
)
def test_a_run_needs_no_command(words, passed, monkeypatch):
    given = []
    monkeypatch.setattr(run, "main", lambda arguments: given.append(arguments) or 75)
    assert one_command.main(words) == 75
    assert given == [passed]


def test_a_misspelt_command_is_one_line(capsys):
    assert one_command.main(["anlyse", "list"]) == 2
    said = capsys.readouterr().err
    assert "'anlyse' is not understood -> did you mean analyse?" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "offered", "not_offered"),
    [
        ("rlvr-dynamics st", {"study", "store", "stages."}, {"run", "+exp=demo"}),
        ("rlvr-dynamics +exp=dem", {"+exp=demo"}, {"+exp=study"}),
        ("rlvr-dynamics run +exp=demo acceleration=g", {"acceleration=gated"}, {"grid"}),
        ("rlvr-dynamics run trainer.ste", {"trainer.steps="}, {"run"}),
        ("rlvr-dynamics ", {"run", "exp=", "seed="}, {"trainer.steps="}),
        ("/a@b/python3/bin/rlvr-dynamics +exp=dem", {"+exp=demo"}, {"+exp=study"}),
        ("~/bin/rlvr-dynamics --cfg --config a.json trainer.ste", {"trainer.steps="}, {"run"}),
        ("rlvr-dynamics --h", set(), {"run"}),
        (" ", {"run"}, set()),
        ("rlvr-dynamics study s", set(), {"seed=", "store"}),
    ],
)
def test_a_shell_is_told_what_may_follow(line, offered, not_offered, monkeypatch, capsys):
    for shell in ("bash", "fish", "zsh"):
        monkeypatch.setenv("COMP_LINE", line)
        assert one_command.main(["-sc", f"query={shell}"]) == 0
        told = set(capsys.readouterr().out.split())
        assert offered <= told and not not_offered & told


@pytest.mark.skipif(BASH is None, reason="no bash here")
def test_bash_completes_a_line():
    commands = Path(sys.executable).parent
    script = f"""PATH={commands}:$PATH; eval "$(rlvr-dynamics -sc install=bash)"
    COMP_LINE="rlvr-dynamics +exp=grpo_sm"; COMP_CWORD=1; hydra_bash_completion
    printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run([str(BASH), "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "+exp=grpo_smollm2_135m\n", done.stderr


@pytest.mark.parametrize("request_", ["query=tcsh", "install=", "hello"])
def test_an_unknown_shell_is_one_line(request_, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rlvr-dynamics"])
    assert one_command.main(["-sc", request_]) == 2
    assert f"no such shell completion ({request_})" in capsys.readouterr().err


def test_a_module_has_no_name_that_a_shell_could_complete(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rlvr_dynamics/__main__.py"])
    assert one_command.main(["-sc", "install=bash"]) == 2
    assert "rlvr-dynamics -sc install=bash" in capsys.readouterr().err


# --- a configuration from a file ---


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What --cfg prints of the demo."""
    path = tmp_path_factory.mktemp("printed") / "demo.json"
    path.write_text(json.dumps(config.load([]).model_dump(mode="json")))
    return path


@pytest.mark.parametrize("name", CASES)
def test_what_was_printed_gives_the_same_configuration(name, tmp_path, capsys):
    words = [f"+exp={name}", *NEEDED.get(name, [])]
    assert run.main([*words, "--cfg"]) == 0
    path = tmp_path / "printed.json"
    path.write_text(capsys.readouterr().out)
    assert config.load_file(path, []) == config.load(words)


def test_a_run_directorys_file_is_taken_and_an_edited_one_only_without_its_seal(tmp_path):
    made = Run(config.load(["seed=7"]), tmp_path)
    write_provenance(made, "")
    path = tmp_path / "config.json"
    assert config.load_file(path, []) == made.config
    path.write_text(path.read_text().replace('"seed": 7', '"seed": 8'))
    with pytest.raises(UserError, match="not what was written"):
        config.load_file(path, [])
    values = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in values.items() if key != "seal"}))
    assert config.load_file(path, []).seed == 8


def test_the_line_comes_after_the_file(printed):
    words = ["trainer.steps=7", "run_dir=/a b/c,d", "algorithm.betas=[0.0,0.9]"]
    words += ["source.published.repo=a/b", "source.published.steps=[1]"]  # below null
    assert config.load_file(printed, words) == config.load(words)


def test_a_group_on_the_line_is_the_whole_group(printed):
    """An experiment changes keys of its groups; the file's experiment does not change this one."""
    found = config.load_file(printed, ["algorithm=rloo", "algorithm.betas=[0.0,0.9]"])
    (wanted,) = config.load_each([], [{"algorithm": "rloo"}], [{"algorithm.betas": [0.0, 0.9]}])
    assert found.algorithm == wanted.algorithm
    assert found.trainer == config.load([]).trainer


@pytest.mark.parametrize(
    ("word", "what"),
    [
        ("+exp=demo", "a file holds a whole configuration"),
        ("scoring=cpux", "scoring=cpux: no such choice"),
        ("trainer.stepz=3", "trainer.stepz: unknown key"),
        ("trainer.steps=many", "trainer.steps: given 'many'"),
    ],
)
def test_a_wrong_word_after_the_file_is_named(printed, word, what):
    with pytest.raises(UserError, match=what):
        config.load_file(printed, [word])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda values: values | {"seeed": 1}, "seeed: unknown key"),
        (lambda values: values["trainer"].pop("steps") and values, "trainer.steps has no value"),
        (lambda values: values | {"seed": "many"}, "seed: given 'many'"),
        (lambda values: values | {"name": "${oc.env:HOME}"}, "a reference"),
        (lambda values: [values], "not a JSON object"),
    ],
)
def test_what_is_no_configuration_is_named_with_its_file(printed, tmp_path, capsys, change, what):
    path = tmp_path / "other.json"
    path.write_text(json.dumps(change(json.loads(printed.read_text()))))
    assert run.main(["--config", str(path), "--cfg"]) == 2
    said = capsys.readouterr().err
    assert what in said and str(path) in said


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, capsys):
    assert run.main(["--config", str(tmp_path / name)]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_the_command_that_a_run_records_names_the_file(printed, tmp_path, monkeypatch):
    recorded = []
    monkeypatch.setattr("rlvr_dynamics.flow.checks.check_machine", lambda _run: None)
    monkeypatch.setattr(
        "rlvr_dynamics.flow.run_flow.run_flow", lambda made, command: recorded.append(command)
    )
    words = ["--config", str(printed), f"run_dir={tmp_path / 'out'}"]
    assert run.main(words) == 0
    assert shlex.split(recorded[0]) == ["python", "-m", "rlvr_dynamics.run", *words]
