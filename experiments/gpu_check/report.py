"""The report of the check: report.md to read and report.json to compute with."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlvr_dynamics.results.formatting import DASH
from rlvr_dynamics.system.atomic import write_json, write_text

from .bench import Bench
from .finding import FAILED, NEEDS_GPU, PASSED, Finding, as_json
from .runner import Result
from .step import Step

MARKDOWN, JSON = "report.md", "report.json"
NOT_RUN = "not run"
FIRST_CELL = "python -m rlvr_dynamics.run +exp=grpo_qwen2_5_math_1_5b dry_run=true"
ON_A_GPU = "python -m experiments.gpu_check"


def write(
    bench: Bench,
    steps: Sequence[Step],
    results: Sequence[Result],
    source: Mapping[str, Any],
    typed: str,
) -> None:
    """Publish both files, each whole or not at all.

    Args:
        bench: The device and the folder.
        steps: All steps.
        results: Those that ran, in order.
        source: Machine, driver, versions and commit.
        typed: The command that runs the check.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    facts = {
        "date": now,
        "device": bench.device,
        "summary": summary(bench, steps, results),
        "next": next_command(bench, steps, results, typed),
        "command": typed,
        **source,
        "steps": [_step(step, number, results) for number, step in enumerate(steps)],
    }
    write_json(Path(bench.out) / JSON, facts)
    write_text(Path(bench.out) / MARKDOWN, _markdown(facts, results))


def summary(bench: Bench, steps: Sequence[Step], results: Sequence[Result]) -> str:
    """Return how many steps passed, failed, need a GPU and were not run, in one line."""
    counts = {each: 0 for each in (PASSED, FAILED, NEEDS_GPU)}
    for result in results:
        counts[result.verdict] += 1
    counts[NOT_RUN] = len(steps) - len(results)
    verbs = {NEEDS_GPU: "need a GPU"}
    said = [f"{count} {verbs.get(each, each)}" for each, count in counts.items() if count]
    kind = "Rehearsal on the CPU with tiny shapes" if bench.rehearses else "GPU check"
    return f"{kind}: of {len(steps)} steps {', '.join(said)}."


def next_command(bench: Bench, steps: Sequence[Step], results: Sequence[Result], typed: str) -> str:
    """Return what to type next: the same again, or what a finished check makes sensible."""
    if len(results) < len(steps) or any(result.verdict == FAILED for result in results):
        return typed
    return ON_A_GPU if bench.rehearses else FIRST_CELL


def _step(step: Step, number: int, results: Sequence[Result]) -> dict[str, Any]:
    own: dict[str, Any] = {"number": number + 1, "name": step.name, "title": step.title}
    if number >= len(results):
        return own | {"verdict": NOT_RUN, "seconds": None, "findings": [], "error": "", "log": ""}
    result = results[number]
    return own | asdict(result) | {"findings": [as_json(each) for each in result.findings]}


def _markdown(facts: Mapping[str, Any], results: Sequence[Result]) -> str:
    lines = ["# GPU check", "", facts["summary"], "", f"Next: `{facts['next']}`", ""]
    lines += _table(("step", "verdict", "seconds"), [_row(each) for each in facts["steps"]])
    for number, result in enumerate(results, 1):
        lines += ["", f"## {number}. {result.title}", ""]
        if result.error:
            lines += [f"Failed: {_cell(result.error)}", "", f"Log: `{result.log}`", ""]
        if result.findings:
            head = ("what", "found", "wanted", "verdict")
            lines += _table(head, [_finding(each) for each in result.findings])
    lines += ["", "## Machine and versions", ""]
    told = {name: facts[name] for name in ("date", "command", "commit", "driver")}
    told |= facts["machine"] | facts["versions"]
    lines += _table(("what", "value"), [(name, _told(value)) for name, value in told.items()])
    return "\n".join(lines) + "\n"


def _row(step: Mapping[str, Any]) -> tuple[str, str, str]:
    seconds = DASH if step["seconds"] is None else f"{step['seconds']:.0f}"
    return f"{step['number']}. {step['title']}", step["verdict"], seconds


def _finding(finding: Finding) -> tuple[str, str, str, str]:
    return finding.what, finding.shown, finding.wanted or DASH, finding.verdict


def _told(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or DASH
    return DASH if value is None else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return lines + [f"| {' | '.join(map(_cell, row))} |" for row in rows]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
