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
import queue
import sys
import tempfile
from pathlib import Path

from tests.mutants.trees import PROCESSES, Mutant, copy, declared, failure, imported

KILLED, SURVIVED, EXPLAINED, STALE = "killed", "survived", "explained", "stale"


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

        PROCESSES.set_forkserver_preload(imported(root))
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
