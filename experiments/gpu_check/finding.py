"""What a step found: single findings, and the verdict that follows from them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rlvr_dynamics.results.formatting import DASH, general, is_missing

PASSED, FAILED, NEEDS_GPU, NOTED = "passed", "failed", "needs a GPU", "noted"

Value = float | int | str | None


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: Its name.
        value: What was found; None if nothing could be.
        unit: Unit of the value.
        wanted: What it should be, in words; empty where nothing is asked of it.
        verdict: `passed`, `failed`, `needs a GPU`, or `noted` where nothing is asked of it.
    """

    what: str
    value: Value
    unit: str = ""
    wanted: str = ""
    verdict: str = NOTED

    @property
    def shown(self) -> str:
        """The value with its unit; a dash if it is missing."""
        if is_missing(self.value):
            return DASH
        return f"{_shown(self.value)} {self.unit}".rstrip()


def _shown(value: Value) -> str:
    return general(value, 4) if isinstance(value, float) else str(value)


def noted(what: str, value: Value, unit: str = "") -> Finding:
    """Return a number that is told and not judged."""
    return Finding(what, value, unit)


def holds(what: str, value: Value, ok: bool, wanted: str, unit: str = "") -> Finding:
    """Return a finding that is judged by `ok`."""
    return Finding(what, value, unit, wanted, PASSED if ok else FAILED)


def at_most(what: str, value: float, bound: float, unit: str = "") -> Finding:
    """Return a finding that passes up to a bound; NaN fails."""
    wanted = f"at most {general(bound)} {unit}".rstrip()
    return holds(what, value, value <= bound, wanted, unit)


def above(what: str, value: float, bound: float, unit: str = "") -> Finding:
    """Return a finding that passes above a bound; NaN fails."""
    return holds(what, value, value > bound, f"above {general(bound)} {unit}".rstrip(), unit)


def on_a_gpu(finding: Finding, device: str) -> Finding:
    """Return the finding on a GPU; elsewhere its value, with the verdict that it needs one."""
    if device == "cuda":
        return finding
    return Finding(finding.what, finding.value, finding.unit, finding.wanted, NEEDS_GPU)


def needs_gpu(what: str, wanted: str) -> Finding:
    """Return a finding that could not be made without a GPU."""
    return Finding(what, None, "", wanted, NEEDS_GPU)


def verdict_of(findings: Iterable[Finding]) -> str:
    """Return `failed` if one failed, else `needs a GPU` if one does, else `passed`."""
    found = {finding.verdict for finding in findings}
    return next((each for each in (FAILED, NEEDS_GPU) if each in found), PASSED)


def as_json(finding: Finding) -> dict[str, Any]:
    """Return a finding as a JSON value, which knows neither NaN nor infinity."""
    value = finding.value
    if isinstance(value, float) and not math.isfinite(value):
        value = None
    return {
        "what": finding.what,
        "value": value,
        "unit": finding.unit,
        "wanted": finding.wanted,
        "verdict": finding.verdict,
    }
