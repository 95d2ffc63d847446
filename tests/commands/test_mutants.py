"""`python -m tests.mutants`: what it plants, what it counts, and what it leaves alone."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = "def area(a, b):\n    return a * b\n\n\ndef name():\n    return 'area'\n"
TEST = "from shapes import area\n\n\ndef test_area():\n    assert area(3, 5) == 15\n"
MUTANT = '[[mutant]]\nfile = "shapes.py"\nwhy = "{}"\nold = "{}"\nnew = "{}"\n'


def tree(folder: Path, *mutants: str, test: str = TEST) -> Path:
    """A repository of one module, one test and these mutants."""
    (folder / "tests" / "mutants").mkdir(parents=True)
    (folder / "shapes.py").write_text(PRODUCT)
    (folder / "tests" / "test_shapes.py").write_text(test)
    heading = 'tests = ["tests/test_shapes.py"]\n'
    (folder / "tests" / "mutants" / "shapes.toml").write_text(heading + "".join(mutants))
    subprocess.run(["git", "init", "-q", folder], check=True)
    return folder


# For a quick start.
FEW_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "xdist.plugin"}


def run(
    folder: Path, *arguments: str, plugins: dict[str, str] = FEW_PLUGINS
) -> tuple[int, list[list[str]]]:
    command = [sys.executable, "-m", "tests.mutants", *arguments]
    environment = {**os.environ, **plugins, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert not done.stderr
    assert (folder / "shapes.py").read_text() == PRODUCT
    return done.returncode, [line.split() for line in done.stdout.splitlines()]


def test_killed_survived_explained_and_stale_are_told_apart(tmp_path):
    killed = MUTANT.format("a sum", "a * b", "a + b")
    survivor = MUTANT.format("another name", "'area'", "'volume'")
    explained = MUTANT.format("the factors swapped", "a * b", "b * a")
    explained += 'survives = "a product commutes"\n'
    root = tree(tmp_path, killed, survivor, explained, MUTANT.format("gone", "a ** b", "a"))
    code, lines = run(root)
    assert code == 2
    assert lines[-3:] == [
        ["module", "planted", "killed", "survived", "explained", "stale"],
        ["shapes.py", "4", "1", "1", "1", "1"],
        ["(all)", "4", "1", "1", "1", "1"],
    ]
    code, lines = run(root, "--check")
    assert (code, lines[-1]) == (2, ["3", "of", "4", "fit"])
    assert run(root, "--check", "sum")[0] == 0
    assert run(root, "name")[0] == 1
    assert run(root, "swapped")[0] == 0
    assert run(root, "no such word")[0] == 2


def test_a_test_that_fails_without_a_mutant_proves_nothing(tmp_path):
    root = tree(tmp_path, MUTANT.format("a sum", "a * b", "a + b"), test=TEST.replace("15", "8"))
    code, lines = run(root)
    assert code == 2
    assert lines[0][:3] == ["without", "any", "mutant:"]


def test_a_plugin_that_the_tests_import_and_warnings_that_are_errors_do_not_stop_it(tmp_path):
    root = tree(tmp_path, MUTANT.format("a sum", "a * b", "a + b"))
    (root / "tests" / "conftest.py").write_text("import hypothesis\n")
    (root / "pyproject.toml").write_text('[tool.pytest.ini_options]\nfilterwarnings = ["error"]\n')
    code, lines = run(root, plugins={})
    assert (code, lines[-1]) == (0, ["(all)", "1", "1", "0", "0", "0"])
