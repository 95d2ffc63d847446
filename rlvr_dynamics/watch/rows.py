"""What is shown of a run that trains: one row for each quantity."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rlvr_dynamics.results.formatting import DASH, general, interval, number
from rlvr_dynamics.watch.live import LEVEL, Live
from rlvr_dynamics.watch.weights import Straightness, Weights

BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 32  # characters of a sparkline; a longer series is averaged
_Z = 1.96
_BETWEEN_95 = f"{100 * (1 - LEVEL):.0f} %"


class Row(NamedTuple):
    """One quantity.

    Attributes:
        name: Its name.
        now: Its value with its interval; a dash where it is missing.
        course: A sparkline of its course; empty if it has none.
        about: What it is of, its n, or why it is missing.
    """

    name: str
    now: str
    course: str
    about: str


def rows(live: Live) -> list[Row]:
    """Return the rows of a run, progress first."""
    return [_progress(live), _reward(live), _accuracy(live), *_weights(live.weights), _end(live)]


def state_in_words(live: Live) -> str:
    """Say what the run does now."""
    state, stage = live.progress.state, live.progress.stage
    words = {"missing": "not running", "done": "finished"}.get(state, state)
    said = words if state == "done" or stage is None else f"{words}, stage {stage}"
    return f"{said}: {live.progress.error}" if live.progress.error else said


def sparkline(values: Sequence[float], width: int = WIDTH) -> str:
    """Draw a series, its smallest value as the lowest block; gaps are left out.

    A series longer than the width is averaged in as many groups of neighbours.
    """
    known = np.array([each for each in values if math.isfinite(each)])
    if len(known) > width:
        known = np.array([part.mean() for part in np.array_split(known, width)])
    if not len(known):
        return ""
    low, spread = known.min(), np.ptp(known)
    share = (known - low) / spread if spread > 0.0 else np.zeros(len(known))
    return "".join(BLOCKS[round(float(each) * (len(BLOCKS) - 1))] for each in share)


def _progress(live: Live) -> Row:
    left = live.steps - live.step
    if not live.steps:
        return Row("step", DASH, "", "the checkpoints were trained elsewhere")
    about = ""
    if math.isfinite(live.seconds):
        about = f"{general(live.seconds)} s a step"
        about += (
            f", about {_duration(left * live.seconds)} left"
            if left and not live.trained and live.progress.state == "running"
            else ""
        )
    return Row("step", f"{live.step} of {live.steps}", "", about)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min" if minutes else f"{seconds:.0f} s"


def _reward(live: Live) -> Row:
    values = [live.rewards[step] for step in sorted(live.rewards)]
    now = number(values[-1]) if values else DASH
    about = f"mean score of the rollouts, steps 1 to {live.step}" if values else "no step yet"
    return Row("reward", now, sparkline(values), about)


def _accuracy(live: Live) -> Row:
    series = live.accuracy
    if series is None or not series.values:
        return Row("accuracy", DASH, "", "none is known yet, or the score is no accuracy")
    steps = sorted(series.values)
    last, error = series.values[steps[-1]], series.errors.get(steps[-1], math.nan)
    ends = (max(0.0, last - _Z * error), min(1.0, last + _Z * error)) if error == error else None
    now = f"{number(last)} {interval(*ends) if ends else DASH}"
    return Row(
        "accuracy",
        now,
        sparkline([series.values[step] for step in steps]),
        f"of step {steps[-1]}{f', {_BETWEEN_95}' if ends else ''}; {series.source}",
    )


def _weights(weights: Weights) -> list[Row]:
    count = len(weights.steps)
    remarks = "; ".join(weights.remarks)
    if not count:
        since = f" after step {weights.origin}, the first since a jump" if weights.origin else ""
        missing = remarks or f"no checkpoint yet{since}"
        return [Row("step length", DASH, "", missing), Row("linearity", DASH, "", missing)]
    last = float(weights.lengths[-1])
    error = _Z * weights.relative_error * last
    step, before = int(weights.steps[-1]), int(weights.steps[-2]) if count > 1 else weights.origin
    what = f"‖W_t − W_t−1‖ at step {step}" if step == before + 1 else f"‖W_{step} − W_{before}‖"
    since = f"{count} checkpoint{'' if count == 1 else 's'} after step {weights.origin}"
    length = Row(
        "step length",
        f"{general(last)} [{general(last - error)}, {general(last + error)}]",
        sparkline(weights.lengths.tolist()),
        f"{what}, from sketches, {_BETWEEN_95}; {since}"
        + (f"; left out: {remarks}" if remarks else ""),
    )
    return [
        length,
        _line("linear in steps", weights.clocks.get("step"), weights, "the step number"),
        _line("linear in path", weights.clocks.get("path"), weights, "the length of the path"),
    ]


def _line(name: str, found: Straightness | None, weights: Weights, clock: str) -> Row:
    if found is None:
        return Row(name, DASH, "", "the checkpoints are unevenly spaced, or nothing moved")
    return Row(
        name,
        f"R² {number(found.r2)}, held out {number(found.heldout_r2)}",
        "",
        f"leading coefficient of all weights against {clock}, T {len(weights.steps)}; trajectory "
        f"rank-1 has {number(weights.explained_variance)} of the variance",
    )


def _end(live: Live) -> Row:
    if live.end is None:
        return Row("forecast", DASH, "", live.end_source)
    return Row(
        "forecast",
        f"{number(live.end.value)} {interval(live.end.low, live.end.high)}",
        "",
        f"accuracy at step {live.steps}, {_BETWEEN_95}; {live.end_source}; a curve that takes off "
        "later is not foreseen",
    )
