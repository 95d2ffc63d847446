"""Would the tests notice a wrong number? Plants declared mistakes singly and runs the tests.

    python -m tests.mutants                    # every declared mutant (hours on 2 cores)
    python -m tests.mutants reporting "null"   # those whose module or description holds a word
    python -m tests.mutants --jobs 2 --all     # survivors meet the whole default suite too
    python -m tests.mutants --check            # runs no test: which declarations no longer fit?

The mutants are declared in the TOML files beside this one (README.md there has the format). The
tree is copied, so the checkout stays as it is, and tests that fail without any mutant stop the run.
Ends with 1 if a mutant survived that no line explains, with 2 if a declaration no longer fits.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

PYTEST = ("-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--tb=no", "-r", "fE")
KILLED, SURVIVED, EXPLAINED, STALE = "killed", "survived", "explained", "stale"


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


def failure(tree: Path, tests: tuple[str, ...], seconds: float) -> str:
    """The first test that fails in a tree; empty if all pass."""
    # Bytecode is told apart by size and second: a mutant may have the size of what it replaces.
    variables = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, *PYTEST, *tests],
            cwd=tree,
            env=variables,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return f"no end within {seconds:.0f} s"
    lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode and not lines:
        raise RuntimeError(done.stdout + done.stderr)
    return lines[0] if lines else ""


def verdict(mutant: Mutant, tree: Path, *, everything: bool, seconds: float) -> tuple[str, str]:
    """Plant a mutant in a tree, run its tests, put the file back."""
    if unfit := mutant.unfit(tree):
        return STALE, unfit
    changed, file = mutant.planted(tree), tree / mutant.file
    original = file.read_bytes()
    try:
        file.write_text(changed)
        noticed = failure(tree, mutant.tests, seconds)
        if not noticed and everything and mutant.tests:
            noticed = failure(tree, (), seconds)
    finally:
        file.write_bytes(original)
    if noticed:
        return KILLED, noticed
    return (EXPLAINED, mutant.survives) if mutant.survives else (SURVIVED, "")


def table(results: list[tuple[Mutant, str]]) -> list[str]:
    """Counts by module, and their sum."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for mutant, kind in results:
        counts[mutant.file][kind] += 1
        counts["(all)"][kind] += 1
    width = max(map(len, counts))
    heads = ("planted", KILLED, SURVIVED, EXPLAINED, STALE)
    lines = [f"{'module':{width}}" + "".join(f"{head:>11}" for head in heads)]
    for module, found in sorted(counts.items(), key=lambda item: (item[0] == "(all)", item[0])):
        numbers = (found.total(), *(found[head] for head in heads[1:]))
        lines.append(f"{module:{width}}" + "".join(f"{number:11}" for number in numbers))
    return lines


def main(root: Path, arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("words", nargs="*", help="only mutants whose module or description has one")
    parser.add_argument("--jobs", type=int, default=1, help="copies of the tree at work together")
    parser.add_argument("--all", action="store_true", help="survivors meet the default suite too")
    parser.add_argument("--check", action="store_true", help="only whether each can be planted")
    parser.add_argument("--seconds", type=float, default=1200, help="a test run's longest time")
    given = parser.parse_args(arguments)
    mutants = [
        mutant
        for mutant in declared(root / "tests" / "mutants")
        if not given.words or any(w in f"{mutant.file}: {mutant.why}" for w in given.words)
    ]
    if not mutants:
        print("no mutant is declared with these words")
        return 2
    if given.check:
        stale = [
            f"{mutant.file}: {mutant.why}: {unfit}"
            for mutant in mutants
            if (unfit := mutant.unfit(root))
        ]
        print(*stale, f"{len(mutants) - len(stale)} of {len(mutants)} fit", sep="\n")
        return 2 if stale else 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(given.jobs):
            trees.put(copy(root, Path(scratch) / str(number)))

        def in_a_tree(work, *values, **options):
            tree = trees.get()
            try:
                return work(*values, **options, tree=tree, seconds=given.seconds)
            finally:
                trees.put(tree)

        with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
            sets = dict.fromkeys(mutant.tests for mutant in mutants)
            for test in pool.map(lambda tests: in_a_tree(failure, tests=tests), sets):
                if test:
                    print(f"without any mutant: {test}")
                    return 2
            found = pool.map(lambda m: in_a_tree(verdict, m, everything=given.all), mutants)
            results = []
            for mutant, (kind, detail) in zip(mutants, found, strict=True):
                print(f"{kind:9} {mutant.file}: {mutant.why}\n{'':10}{detail}", flush=True)
                results.append((mutant, kind))
    print("", *table(results), sep="\n")
    kinds = {kind for _, kind in results}
    return 2 if STALE in kinds else int(SURVIVED in kinds)


if __name__ == "__main__":
    sys.exit(main(Path.cwd(), sys.argv[1:]))
