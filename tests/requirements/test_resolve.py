"""The check of the locked sets: markers of each Python, extras, and what is not pinned."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from requirements.resolve import ROOT, SETS, Lock, conflicts, pins, project, pythons, roots

# As vllm 0.24.0 states it.
SETUPTOOLS = 'setuptools<81.0.0,>=77.0.3; python_version > "3.11"'


def found(python: str, versions: dict[str, str], requires: dict[str, list[str]], *asked: str):
    return conflicts(Lock("gpu", python, versions, requires), asked)


@pytest.mark.parametrize(
    ("python", "version", "fits"),
    [
        ("3.11", "81.0.0", True),
        ("3.12", "81.0.0", False),
        ("3.11", "80.10.2", True),
        ("3.12", "80.10.2", True),
    ],
)
def test_a_requirement_counts_on_the_pythons_that_its_marker_names(python, version, fits):
    versions = {"vllm": "0.24.0", "setuptools": version}
    told = found(python, versions, {"vllm": [SETUPTOOLS]}, "vllm>=0.24")
    assert [line[:23] for line in told] == [] if fits else ["vllm 0.24.0 requires se"]
    assert all("setuptools is pinned to 81.0.0" in line for line in told)


def test_extras_are_followed_to_their_ends_and_no_further_than_asked():
    versions = {"a": "1", "b-c": "2.0+cpu"}
    requires = {"a": ["B_c[fast]==2.0; extra == 'x'", "unasked; extra == 'y'"]}
    requires |= {"b-c": ["missing>1; extra == 'fast'", "a[x]"]}
    assert found("3.11", versions, requires, "A") == []
    (line,) = found("3.11", versions, requires, "a[x]")
    assert line.startswith("b-c 2.0+cpu requires missing>1") and line.endswith("is not pinned")


@pytest.mark.parametrize("name", SETS)
def test_every_direct_requirement_is_pinned_within_its_bounds(name):
    lines = Path(ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    pinned = pins("\n".join(lines))
    assert len(pinned) == len(lines)
    assert pythons(project()) == ["3.11", "3.12"]
    for python in pythons(project()):
        assert found(python, pinned, {}, *roots(project(), name)) == []


def test_one_environment_does_not_take_both_sets(tmp_path):
    for name in ("Makefile", "pyproject.toml", "requirements"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "ready-cpu").touch()
    given = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    command = ["make", "EXTRA=gpu", "PYTHON=/nowhere", "install"]
    done = subprocess.run(command, cwd=tmp_path, env=given, capture_output=True, text=True)
    assert done.returncode != 0
    assert "make clean" in done.stdout
    assert [file.name for file in (tmp_path / ".venv").iterdir()] == ["ready-cpu"]


def test_every_direct_requirement_is_explained():
    page = (ROOT / "docs" / "dependencies.md").read_text().partition("|---|---|---|\n")[2]
    rows = [line.split(" | ")[0].lstrip("| ") for line in page.splitlines() if line[:1] == "|"]
    named = sorted(name.lower() for row in rows for name in row.split(", "))
    extras = project()["optional-dependencies"].values()
    given = {*project()["dependencies"], *(line for lines in extras for line in lines)}
    assert named == sorted({re.match(r"[\w-]+", line)[0].lower() for line in given})
