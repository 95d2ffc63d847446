"""Command line: `python -m requirements`, from the root of the repository (`make locks`)."""

import sys

from requirements.resolve import conflicts, locks, project, roots
from rlvr_dynamics.errors import EXIT_DONE, EXIT_FAILED
from rlvr_dynamics.system.command_line import Parser, end, say


def main() -> int:
    """Print for each set and Python whether it resolves; exit code 1 when one does not."""
    return end(_main)


def _main() -> int:
    parser = Parser(prog="python -m requirements", description=__doc__)
    parser.add_argument("--extra-index-url", help="as pip's own: PyTorch's index of CPU builds")
    read, notes = locks(parser.parse_args().extra_index_url)
    failed = False
    for lock in read:
        found = conflicts(lock, roots(project(), lock.name))
        failed = failed or bool(found)
        verdict = "does not resolve" if found else "resolves"
        say(f"{lock.name}.txt, Python {lock.python}: {len(lock.pins)} packages, {verdict}")
        for line in found:
            say(f"  {line}")
    for line in notes:
        say(line)
    return EXIT_FAILED if failed else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
