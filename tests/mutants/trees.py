"""A mutant, the tree it is planted in, and the tests that run there."""

import ast
import contextlib
import dataclasses
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

PYTEST = ("-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--tb=no", "-r", "fE")
# What is loaded beforehand cannot get pytest's longer messages, which nobody reads here.
LOADED = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
PROCESSES = multiprocessing.get_context("forkserver")


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One mistake: `old`, which stands once in `file`, becomes `new`."""

    file: str
    why: str
    old: str
    new: str
    tests: tuple[str, ...]
    survives: str = ""

    def unfit(self, root: Path) -> str:
        """Why it can no longer be planted in a tree; empty if it can."""
        try:
            self.planted(root)
        except (ValueError, SyntaxError) as error:
            return str(error)
        return ""

    def planted(self, root: Path) -> str:
        """The text of the file with the mistake in it; ValueError where it no longer fits."""
        text = (root / self.file).read_text() if (root / self.file).is_file() else ""
        if (found := text.count(self.old)) != 1:
            raise ValueError(f"its old text stands {found} times in {self.file}")
        missing = [test for test in self.tests if not (root / test.partition("::")[0]).exists()]
        if missing:
            raise ValueError(f"no such test file: {', '.join(missing)}")
        changed = text.replace(self.old, self.new)
        if self.file.endswith(".py"):
            compile(changed, self.file, "exec")
        return changed


def declared(folder: Path) -> list[Mutant]:
    """All mutants of a folder's TOML files; a file's `tests` serve its mutants that name none."""
    mutants = []
    for file in sorted(folder.glob("*.toml")):
        content = tomllib.loads(file.read_text())
        for entry in content["mutant"]:
            tests = entry.pop("tests", content.get("tests", []))
            mutants.append(Mutant(tests=tuple(tests), **entry))
    return mutants


def copy(root: Path, target: Path) -> Path:
    """The files that git tracks or would track, as they lie in the working tree."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=root, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (root / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target / name)
    return target


def imported(root: Path) -> list[str]:
    """Modules from elsewhere that the tests import; loaded once, they are there in every run."""
    names = set()
    for file in (root / "tests").glob("*.py"):
        for line in ast.parse(file.read_text()).body:
            if isinstance(line, ast.Import):
                names |= {alias.name for alias in line.names}
            elif isinstance(line, ast.ImportFrom) and line.module:
                names.add(line.module)
    tops = {name: name.partition(".")[0] for name in names}
    own = {path.stem for folder in (root, root / "tests") for path in folder.iterdir()}
    return sorted(name for name, top in tops.items() if top not in own)


def pytest_in(tree: Path, tests: tuple[str, ...]) -> None:
    """Be a process that runs pytest on a tree, with its output beside the tree."""
    import pytest

    os.setsid()
    with tree.with_suffix(".log").open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]  # this tool's own
    # Bytecode is told apart by size and second: a mutant may have the size of what it replaces.
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    code = int(pytest.main([*PYTEST, *LOADED, *tests]))
    sys.stdout.flush()
    os._exit(code)  # an ordinary exit waits for workers that tests have left


def failure(tree: Path, tests: tuple[str, ...], seconds: float) -> str:
    """The first test that fails in a tree; empty if all pass."""
    log = tree.with_suffix(".log")
    log.write_bytes(b"")
    process = PROCESSES.Process(target=pytest_in, args=(tree, tests))
    process.start()
    process.join(seconds)
    ended = process.exitcode is not None
    if process.pid:  # what the tests have left goes with it
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.join()
    if not ended:
        return f"no end within {seconds:.0f} s"
    said = log.read_text(errors="replace")
    lines = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if process.exitcode and not lines:
        raise RuntimeError(f"pytest ended with {process.exitcode}\n{said}")
    return lines[0] if lines else ""
