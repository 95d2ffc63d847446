"""The command line of `python -m analysis [NAME ...] [key=value ...]`."""

import glob
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.system.command_line import Parser, path_of, unquoted

from . import registry

STUDY = "outputs/study/*"
ANY = "outputs/*"
OUT = Path("outputs/analysis")
MOST_COMMAS = 16  # most comma-separated parts that are tried as one name


@dataclass(frozen=True)
class Request:
    """The parsed command line.

    Attributes:
        names: Requested names of tables and figures; empty for everything.
        chosen: The tables and figures they stand for; all of them without names.
        run_dirs: Run directories.
        skipped: Folders that match a pattern but are not runs.
        out: Output folder.
        note: A sentence for the head of the page.
    """

    names: tuple[str, ...]
    chosen: tuple[Artefact, ...]
    run_dirs: tuple[Path, ...]
    skipped: tuple[Path, ...]
    out: Path
    note: str = ""


def parser() -> Parser:
    """Describe the command line."""
    made = Parser(
        prog="python -m analysis",
        description="The tables, figures and claims of the two papers, from finished runs.\n"
        "`python -m analysis list` names them.\n\n"
        "Writes index.html, claims.csv, tables/*.{csv,md,tex}, figures/*.{pdf,png}, cells/*.html.",
        epilog="exit codes: 0 done, 2 a mistake in what was given, 3 something broke and the rest "
        "is there",
    )
    made.add_argument("names", nargs="*", metavar="NAME", help="only these, such as table_1")
    made.add_argument(
        "--run_dirs",
        type=items,
        metavar="[DIR,...]",
        help="folders of runs, or patterns in quotes: 'run_dirs=[outputs/study/*]' "
        f"(default: {STUDY}, else {ANY})",
    )
    made.add_argument(
        "--out",
        type=path_of,
        metavar="DIR",
        help=f"where it goes, whole or not at all (default: {OUT}; with names {OUT}_NAME)",
    )
    made.add_argument("--note", default="", metavar="TEXT", help="a sentence for the page's head")
    return made


def parse(arguments: Sequence[str]) -> Request:
    """Read the command line.

    Raises:
        UserError: An unknown key or name, a key given twice, a pattern without a run, or no
            runs at all.
    """
    given = parser().parse_args(arguments)
    names = list(dict.fromkeys(given.names))
    # Check names before looking for runs, so that a typo is always reported.
    known = registry.artefacts()
    chosen = [registry.find(name, known) for name in names] or known
    run_dirs, skipped = default_runs() if given.run_dirs is None else expand(given.run_dirs)
    out = given.out or default_out(names)
    return Request(tuple(names), tuple(chosen), tuple(run_dirs), tuple(skipped), out, given.note)


def default_out(names: Sequence[str]) -> Path:
    """Return the default folder; a partial request gets its own, not to replace the full page."""
    return OUT.with_name("_".join([OUT.name, *names[:3]]))


def items(value: str) -> list[str]:
    """Split `[a,b]` or `a` at commas, except inside quotes or names of existing paths."""
    # A pattern or a folder name may itself end in a bracket.
    bracketed = value.startswith("[") and value.endswith("]") and not os.path.lexists(value)
    pieces = _pieces(value[1:-1] if bracketed else value)
    found = []
    while pieces:
        count = next(
            (
                count
                for count in range(min(len(pieces), MOST_COMMAS), 1, -1)
                if _is_there(unquoted(",".join(pieces[:count]).strip()))
            ),
            1,
        )
        found.append(unquoted(",".join(pieces[:count]).strip()))
        pieces = pieces[count:]
    return [part for part in found if part]


def _is_there(pattern: str) -> bool:
    return bool(os.path.lexists(pattern) or glob.glob(_existing_as_they_are(pattern)))


def _pieces(text: str) -> list[str]:
    """Split text at commas outside quotes."""
    return re.findall(r"""(?:^|(?<=,))(\s*"[^"]*"\s*(?=,|$)|\s*'[^']*'\s*(?=,|$)|[^,]*)""", text)


def is_run(folder: Path) -> bool:
    """Whether a folder was written by `python -m rlvr_dynamics.run`."""
    return (folder / "config.json").is_file()


def expand(patterns: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """Return the run directories that match patterns, and matching folders that are not runs.

    A folder named in full is always kept: loading it reports what is wrong.

    Raises:
        UserError: A pattern matches no run.
    """
    runs: dict[Path, Path] = {}
    skipped: list[Path] = []
    for pattern in patterns:
        if not glob.has_magic(pattern) or os.path.lexists(pattern):
            runs.setdefault(Path(pattern).resolve(), Path(pattern))
            continue
        paths = sorted(glob.glob(_existing_as_they_are(pattern)))
        met = [Path(path) for path in paths if Path(path).is_dir()]
        found = [folder for folder in met if is_run(folder)]
        if not found:
            raise UserError("no run directory matches", where=pattern, way_out="run_dirs=[DIR,...]")
        for folder in found:
            runs.setdefault(folder.resolve(), folder)
        skipped += [folder for folder in met if not is_run(folder)]
    return list(runs.values()), skipped


def _existing_as_they_are(pattern: str) -> str:
    """Escape the leading part of a pattern that literally exists as a folder."""
    path = Path(pattern)
    named = next(parent for parent in path.parents if parent.is_dir() or parent == parent.parent)
    return str(Path(glob.escape(str(named))) / path.relative_to(named))


def default_runs() -> tuple[list[Path], list[Path]]:
    """Return the study's runs, or every run in outputs/ if there are none.

    Raises:
        UserError: There are none.
    """
    for pattern in (STUDY, ANY):
        met = [Path(path) for path in sorted(glob.glob(pattern))]
        found = [folder for folder in met if is_run(folder)]
        if found:
            return found, []
    raise UserError(
        "there are no runs",
        where=f"{STUDY}, {ANY}",
        way_out="run_dirs=[DIR,...], or python -m rlvr_dynamics.run +exp=demo",
    )
