"""The phases of a training step beside their estimates at the lengths that were really sampled."""

import pandas as pd

from rlvr_dynamics.config import load
from rlvr_dynamics.estimates.hours import FAST, SLOW, Step, work_of
from rlvr_dynamics.estimates.lengths import Length
from rlvr_dynamics.results.formatting import general

from .bench import Bench, Command
from .finding import Finding, noted
from .product import largest_of, later_steps

# Phases of the estimate, and the timings of verl that they are.
PHASES = {
    "generating": ("gen",),
    "scoring": ("old_log_prob", "ref", "values"),
    "training": ("update_actor", "update_critic"),
    "syncing": ("update_weights",),
    "saving": ("save_checkpoint",),
    "total": ("step",),
}


def beside_estimates(bench: Bench, command: Command, metrics: pd.DataFrame) -> list[Finding]:
    """Return the seconds of every phase, without the first step's, which warms up caches.

    The estimates are told and not judged: their utilisations are those of a cell's full batch.
    """
    estimates = None if bench.rehearses else _estimates(command, metrics)
    found = []
    for phase, timings in PHASES.items():
        parts = [later_steps(metrics, f"timing_s/{name}") for name in timings]
        known = [seconds for seconds in parts if seconds is not None]
        told = noted(f"a training step: {phase}", sum(known) if known else None, "s")
        if estimates is not None:
            low, high = (general(getattr(each, phase)) for each in estimates)
            told = Finding(told.what, told.value, told.unit, f"estimated {low} to {high} s")
        found.append(told)
    return found


def _estimates(command: Command, metrics: pd.DataFrame) -> tuple[Step, Step] | None:
    """Return the fast and the slow estimate; None if verl reported no lengths."""
    mean = later_steps(metrics, "response_length/mean")
    longest = largest_of(metrics, "response_length/max")
    if mean is None or longest is None:
        return None
    work, length = work_of(load(command.arguments)), Length(mean, longest)
    return work.step(length, FAST), work.step(length, SLOW)
