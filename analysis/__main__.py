"""`python -m analysis`: the papers' tables, figures and claims, from finished runs."""

import shlex
import sys
from collections.abc import Sequence

from rlvr_dynamics.errors import EXIT_DONE
from rlvr_dynamics.system.command_line import aligned, end, say

from . import registry
from .arguments import Request, parse

EXIT_PARTIAL = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return end(lambda: _main(given), "interrupted: nothing was replaced")


def _main(given: list[str]) -> int:
    if given == ["list"]:
        say(listing())
        return EXIT_DONE
    return _go(parse(given), shlex.join(["python", "-m", "analysis", *given]))


def listing() -> str:
    """List every name with what it shows."""
    return "\n".join(
        aligned(
            (each.name, f"{each.number}: {each.title}" if each.number else each.title)
            for each in registry.artefacts()
        )
    )


def _go(request: Request, command: str) -> int:
    from rlvr_dynamics.claims.ledger import build_ledger
    from rlvr_dynamics.results.study import load_study

    from .build import analyse
    from .page import next_command

    for folder in request.skipped:
        say(f"skipped {folder}: no config.json, so not a run", stream=sys.stderr)
    study = load_study(request.run_dirs)
    say(f"{len(study.cells)} runs, {len(request.chosen)} tables and figures")
    result = analyse(
        study,
        request.chosen,
        request.out,
        ledger=None if request.names else build_ledger,
        command=command,
        remark=request.note,
    )
    for name, traceback in result.broken.items():
        say(f"broke: {name}\n{traceback}", stream=sys.stderr)
    there = sum(item.there for item in result.built)
    missing = [item for item in result.built if not item.there and not item.error]
    say(f"{there} written, {len(missing)} not measured, {len(result.broken)} broke")
    say(f"page: {result.page}  (open it in a browser)")
    typed, why = next_command(study, result.built)
    say(f"next: {typed}\n      ({why})")
    return EXIT_PARTIAL if result.broken else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
