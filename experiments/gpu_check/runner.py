"""Takes the steps in order, each in its own process, and stops at the first that fails.

A step's result is stored under a key of its settings, of the environment and of the step before
it, so the same command goes on after the last finished step, and a changed environment runs again.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlvr_dynamics.errors import EXIT_INTERRUPTED
from rlvr_dynamics.system import children
from rlvr_dynamics.system.atomic import write_json, write_text
from rlvr_dynamics.system.sealed import digest

from . import child
from .bench import Bench
from .finding import FAILED, Finding, as_json, verdict_of
from .step import Step

RESULT, KEY, LOG, FOUND = "result.json", "key", "log.txt", "found.json"
LIMIT_UNIT = 60.0
GRACE_SECONDS = 90.0  # a training that is asked to end publishes what it has saved


@dataclass(frozen=True)
class Result:
    """What became of one step.

    Attributes:
        name: The step's name.
        title: The step's title.
        verdict: `passed`, `failed` or `needs a GPU`.
        seconds: Wall-clock seconds of the attempt that finished.
        findings: What it found.
        error: Why it could not look at everything; empty if it could.
        log: File with everything that it printed.
        key: What it depends on.
    """

    name: str
    title: str
    verdict: str
    seconds: float
    findings: tuple[Finding, ...]
    error: str
    log: str
    key: str


def keys(steps: Sequence[Step], bench: Bench, environment: Mapping[str, Any]) -> list[str]:
    """Return the key of every step, which the keys of the steps before it are part of.

    Args:
        steps: All steps in order.
        bench: The device; its folder is not part of a key.
        environment: Versions of the packages, names of the GPUs, version of the driver.
    """
    found: list[str] = []
    where = {name: value for name, value in asdict(bench).items() if name != "out"}
    for step in steps:
        commands = {
            name: [word.replace(bench.out, "OUT") for word in command.arguments]
            for name, command in step.commands(bench).items()
        }
        material = [step.name, step.version, where, dict(environment), commands, found[-1:]]
        found.append(digest(material))
    return found


def finished(
    steps: Sequence[Step], bench: Bench, environment: Mapping[str, Any]
) -> list[Result | None]:
    """Return the stored result of every step; None where it has to run (again).

    A failed one counts as not finished, and so does every step after one that is not.
    """
    found: list[Result | None] = []
    for step, key in zip(steps, keys(steps, bench, environment), strict=True):
        stored = _read(bench.folder(step.name) / RESULT)
        usable = stored is not None and stored.key == key and stored.verdict != FAILED
        found.append(stored if usable and None not in found else None)
    return found


def go(
    steps: Sequence[Step],
    bench: Bench,
    environment: Mapping[str, Any],
    on_result: Callable[[list[Result]], None],
    say: Callable[[str], None],
) -> list[Result]:
    """Run what is not finished, up to the first step that fails.

    Args:
        steps: All steps in order.
        bench: The device and the folder.
        environment: What every key depends on.
        on_result: Called with all results so far, at the start and after every step.
        say: Told when a step starts and how it ended.

    Returns:
        The results of the finished steps, and of the one that failed.
    """
    results = [result for result in finished(steps, bench, environment) if result is not None]
    on_result(results)
    known = keys(steps, bench, environment)
    for number, (step, key) in enumerate(zip(steps, known, strict=True), 1):
        head = f"{number} of {len(steps)}  {step.title}"
        if number <= len(results):
            say(f"{head}: {results[number - 1].verdict} before")
            continue
        say(f"{head} (about {step.minutes} min; {bench.folder(step.name) / LOG})")
        result = _run(step, bench, key)
        write_json(bench.folder(step.name) / RESULT, _as_json(result))
        results.append(result)
        on_result(results)
        say(f"{head}: {result.verdict} after {result.seconds:.0f} s")
        if result.verdict == FAILED:
            break
    return results


def forget(steps: Sequence[Step], bench: Bench, first: str) -> None:
    """Remove the folders of a step and of all after it."""
    names = [step.name for step in steps]
    for name in names[names.index(first) :]:
        shutil.rmtree(bench.folder(name), ignore_errors=True)


def _run(step: Step, bench: Bench, key: str) -> Result:
    folder = bench.folder(step.name)
    if _text(folder / KEY) != key:  # made by other versions, or for other settings
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_text(folder / KEY, key)
    (folder / FOUND).unlink(missing_ok=True)
    begin = time.monotonic()
    with (folder / LOG).open("ab") as log:
        process = children.start(
            child.command(step.work, bench, folder / FOUND), stdout=log, stderr=subprocess.STDOUT
        )
    error = ""
    try:
        process.wait(step.limit * LIMIT_UNIT)
    except subprocess.TimeoutExpired:
        error = f"not finished within {step.limit} minutes; ended with all that it had started"
    finally:
        _end(process)
    if process.returncode == EXIT_INTERRUPTED and not error:
        raise KeyboardInterrupt
    found = _object(folder / FOUND)
    error = error or found.get("error", f"the step's process ended: {_how(process.returncode)}")
    findings = tuple(Finding(**each) for each in found.get("findings", []))
    return Result(
        name=step.name,
        title=step.title,
        verdict=FAILED if error else verdict_of(findings),
        seconds=time.monotonic() - begin,
        findings=findings,
        error=error,
        log=str(folder / LOG),
        key=key,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a step and the commands that it started to end, and kill what does not."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    children.end(process, GRACE_SECONDS)


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _as_json(result: Result) -> dict[str, Any]:
    own = asdict(result)
    return own | {"findings": [as_json(finding) for finding in result.findings]}


def _read(path: Path) -> Result | None:
    own = _object(path)
    try:
        findings = tuple(Finding(**each) for each in own.pop("findings"))
        return Result(**own, findings=findings)
    except (KeyError, TypeError):  # none, or of another version
        return None


def _object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
