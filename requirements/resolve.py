"""Do the locked sets of packages resolve on every Python that the project allows?

pip evaluates environment markers for the interpreter that runs it, whatever `--python-version`
says, so its own resolver sees one Python only. Here pip finds every pinned distribution for each
Python in the index, and what these say they require is compared with the pins under each Python's
markers.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from rlvr_dynamics.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "pyproject.toml"
SETS = ("cpu", "gpu")
_MINORS = range(9, 20)  # of the Pythons that requires-python could name


@dataclass(frozen=True)
class Lock:
    """One locked set on one Python.

    Attributes:
        name: "cpu" or "gpu".
        python: Such as "3.12".
        pins: Version by canonical name, as in the file.
        requires: Requirements of each pinned distribution that the index has for this Python.
    """

    name: str
    python: str
    pins: dict[str, str]
    requires: dict[str, list[str]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Values of the markers: this machine's, with the first release of this Python."""
        own = {key: str(value) for key, value in default_environment().items()}
        return own | {"python_version": self.python, "python_full_version": f"{self.python}.0"}


def project() -> dict:
    """Return the table [project] of pyproject.toml."""
    return tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]


def pythons(declared: dict) -> list[str]:
    """Return the Pythons that requires-python admits, such as ["3.11", "3.12"]."""
    allowed = SpecifierSet(declared["requires-python"])
    return [f"3.{minor}" for minor in _MINORS if f"3.{minor}.0" in allowed]


def pins(text: str) -> dict[str, str]:
    """Return version by canonical name from lines such as `torch==2.11.0`."""
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def roots(declared: dict, name: str) -> list[str]:
    """Return what `.[NAME,dev]` asks for."""
    extras = declared["optional-dependencies"]
    return [*declared["dependencies"], *extras[name], *extras["dev"]]


def conflicts(lock: Lock, asked: Iterable[str]) -> list[str]:
    """Return a line for everything that is required, directly or not, and not pinned to fit.

    Args:
        lock: The set and what its distributions require.
        asked: The requirements to begin with.
    """
    found, seen = [], set()
    open_ = [("pyproject.toml", Requirement(each)) for each in asked]
    while open_:
        by, wanted = open_.pop(0)
        name = canonicalize_name(wanted.name)
        version = lock.pins.get(name)
        if version is None:
            found.append(f"{by} requires {wanted}, which is not pinned")
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            found.append(f"{by} requires {wanted}, and {name} is pinned to {version}")
        for extra in ("", *sorted(wanted.extras)):
            if (name, extra) not in seen:
                seen.add((name, extra))
                inner = _required(lock, name, extra)
                open_ += [(f"{name} {version}", each) for each in inner]
    return sorted(set(found))


def _required(lock: Lock, name: str, extra: str) -> Iterator[Requirement]:
    for text in lock.requires.get(name, []):
        wanted = Requirement(text)
        marker = wanted.marker
        if marker is None or marker.evaluate(lock.environment | {"extra": extra}):
            yield wanted


def report(wanted: dict[str, str], python: str, index: str | None) -> dict[str, list[str]]:
    """Ask pip's index for distributions for one Python, without their dependencies.

    Args:
        wanted: Version by name.
        python: Such as "3.12".
        index: Where else to look, as pip's `--extra-index-url`.

    Returns:
        Requirements by canonical name.

    Raises:
        UserError: A version does not exist for this Python, or no index answers.
    """
    with tempfile.TemporaryDirectory() as folder:
        listed, told = Path(folder) / "pins.txt", Path(folder) / "report.json"
        listed.write_text("".join(f"{name}=={version}\n" for name, version in wanted.items()))
        pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        pip += ["--no-deps", "--quiet", "--python-version", python, "--target", folder]
        pip += ["--extra-index-url", index] if index else []
        ended = subprocess.run(
            [*pip, "--report", str(told), "-r", str(listed)],
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != 0:
            errors = [line for line in ended.stderr.splitlines() if line.startswith("ERROR")]
            raise UserError(
                f"pip does not find these packages for Python {python}: {' '.join(errors)}",
                way_out="check these versions, and that pip reaches its index",
            )
        installs = json.loads(told.read_text(encoding="utf-8"))["install"]
    found = [each["metadata"] for each in installs]
    return {canonicalize_name(each["name"]): each.get("requires_dist", []) for each in found}


def locks(index: str | None) -> tuple[list[Lock], list[str]]:
    """Read every set for every Python, with the requirements that the index tells.

    An index may have a local version, such as torch 2.13.0+cpu, for one Python and not for
    another. Then the requirements that it states for the other are taken.

    Args:
        index: As for `report`.

    Returns:
        The sets, and a line for each distribution that an index lacks for one Python.

    Raises:
        UserError: As `report`.
    """
    files = {name: pins((ROOT / "requirements" / f"{name}.txt").read_text()) for name in SETS}
    pairs = [(name, python) for name in SETS for python in pythons(project())]

    def read(pair: tuple[str, str]) -> tuple[Lock, dict[str, list[str]] | None]:
        name, python = pair
        every = files[name]
        local = {key: version for key, version in every.items() if "+" in version}
        common = {key: version for key, version in every.items() if key not in local}
        lock = Lock(name, python, every, report(common, python, index))
        try:
            return lock, report(local, python, index) if local else {}
        except UserError:
            return lock, None

    with ThreadPoolExecutor(len(pairs)) as pool:
        read_locks = list(pool.map(read, pairs))
    notes = []
    for lock, local in read_locks:
        others = [told for other, told in read_locks if other.name == lock.name and told]
        if local is None:
            named = ", ".join(f"{k} {v}" for k, v in lock.pins.items() if "+" in v)
            notes.append(
                f"{lock.name}.txt, Python {lock.python}: the index has no {named}; "
                + ("another Python's is compared" if others else "what it requires is unknown")
                + " (make TORCH_INDEX=URL locks, if another has it)"
            )
        lock.requires.update(local or (others[0] if others else {}))
    return [lock for lock, _ in read_locks], notes
