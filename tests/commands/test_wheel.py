"""The installed package: what a wheel holds, and that its commands work without a checkout."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = ("rlvr_dynamics", "analysis", "experiments", "slurm")
SOURCES = (*PACKAGES, "configs", "pyproject.toml", "setup.py", "README.md", "LICENSE")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def files_of(folder):
    """Return the files of a folder of the checkout, as paths below it."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of what is packed: setuptools writes beside the sources."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (CHECKOUT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(CHECKOUT / name, copy / name, ignore=ignored)
        else:
            shutil.copy(CHECKOUT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(out)]
    subprocess.run([*PIP, "wheel", *options, "."], cwd=sources, check=True, capture_output=True)
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def call(wheel, tmp_path_factory):
    """Run Python in an empty folder, where only the wheel and its dependencies are importable."""
    installed = tmp_path_factory.mktemp("installed")
    options = ["--no-deps", "--target", str(installed)]
    subprocess.run([*PIP, "install", *options, str(wheel)], check=True, capture_output=True)
    packages = {sysconfig.get_paths()[name] for name in ("purelib", "platlib")}
    path = os.pathsep.join([str(installed), *sorted(packages)])
    empty = tmp_path_factory.mktemp("empty")

    def run(*words):
        # -S: the environment's own editable installation is not seen.
        return subprocess.run(
            [sys.executable, "-S", *words],
            cwd=empty,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
        )

    run.installed = installed
    return run


def test_a_wheel_has_one_name_and_everything_inside_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (about,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
        top_level = archive.read(f"{about}/top_level.txt").decode().split()
    assert top_level == ["rlvr_dynamics"]
    assert {name.partition("/")[0] for name in names} == {"rlvr_dynamics", about}
    wanted = {f"rlvr_dynamics/{name}" for name in files_of(CHECKOUT / "rlvr_dynamics")}
    for name in (*PACKAGES[1:], "configs"):
        below = {each for each in files_of(CHECKOUT / name) if not each.startswith("pictures/")}
        wanted |= {f"rlvr_dynamics/{name}/{each}" for each in below}
    assert {name for name in names if not name.startswith(about)} == wanted


def test_no_module_of_a_wheel_imports_by_a_checkouts_name(wheel):
    """A failure here means: `from .x import y` inside analysis, experiments and slurm."""
    by_name = re.compile(r"^\s*(?:from|import) (?:analysis|experiments|slurm)\b", re.MULTILINE)
    with zipfile.ZipFile(wheel) as archive:
        modules = [name for name in archive.namelist() if name.endswith(".py")]
        found = [name for name in modules if by_name.search(archive.read(name).decode())]
    assert modules and found == []


def test_an_editable_installation_has_the_checkouts_names(sources, tmp_path):
    code = f"import setuptools.build_meta as build; build.build_editable({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=sources, check=True, capture_output=True)
    (made,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(made) as archive:
        (top_level,) = (name for name in archive.namelist() if name.endswith("top_level.txt"))
        assert set(archive.read(top_level).decode().split()) == set(PACKAGES)
        (finder,) = (name for name in archive.namelist() if name.endswith("_finder.py"))
        text = archive.read(finder).decode()
    assert all(f"'{name}': '{sources / name}'" in text for name in PACKAGES)


def test_only_the_wheel_is_imported(call):
    code = "import rlvr_dynamics, rlvr_dynamics.slurm as slurm; print(rlvr_dynamics.__file__)"
    code += "; print(slurm.__file__); import analysis"
    done = call("-c", code)
    package = call.installed / "rlvr_dynamics"
    assert done.stdout.split() == [f"{package}/__init__.py", f"{package}/slurm/__init__.py"]
    assert "No module named 'analysis'" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--version"], "rlvr_dynamics 0."),
        (["run", "dry_run=true"], "verl knows all"),
        (["+exp=grpo_qwen3_4b", "--cfg"], '"repo": "Qwen/Qwen3-4B-Base"'),
        (["analyse", "list"], "alpharl_table_1"),
        (["analyse", "--help"], "`python -m rlvr_dynamics.analysis list` names them"),
        (["grid", "grpo_qwen3_4b"], "1 cells: 0 done"),
        (["questions", "seeds"], "cells answer it"),
        (["slurm", "--help"], "usage: python -m rlvr_dynamics.slurm"),
    ],
)
def test_every_command_works_without_a_checkout(call, words, said):
    done = call("-m", "rlvr_dynamics", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert said in done.stdout


def test_jobs_of_a_wheel_call_what_is_installed(call):
    done = call("-m", "rlvr_dynamics", "slurm", "submit", "demo", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert '"${python[@]}" -m rlvr_dynamics.slurm merge' in done.stdout
    assert "ray_nodes=rlvr_dynamics.slurm.ray_nodes" in done.stdout
    assert str(call.installed) not in done.stdout  # in that folder -m would find our statistics
    assert call("-c", "import rlvr_dynamics.slurm.ray_nodes").returncode == 0


def test_what_only_a_checkout_can_do_says_so(call):
    done = call("-m", "rlvr_dynamics", "grid", "--write")
    assert done.returncode == 2
    assert "clone the repository" in done.stderr
    unknown = call("-m", "rlvr_dynamics", "grid", "nothing_like_it")
    assert unknown.returncode == 2
    assert "python -m rlvr_dynamics.experiments.grid lists them" in unknown.stderr
