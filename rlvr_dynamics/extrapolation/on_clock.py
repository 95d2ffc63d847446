"""Where a window's steps and its targets lie on the clock that a method is told to use."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rlvr_dynamics.errors import TooLittle
from rlvr_dynamics.extrapolation.parameters import Parameter
from rlvr_dynamics.extrapolation.rule import Window

STAYS = "on the step number: "
_COUNT = re.compile(rf"{STAYS}.*\((\d+) of \d+ tensors\)")
FEWEST_FOR_POWER_LAW = 4  # steps of a window whose last two thirds have the three points of a slope

CLOCK = {
    "clock": Parameter(
        default="step",
        choices=("step", "path", "optimizer"),
        summary="the step number, the length of the path walked so far, or the sum of the learning "
        "rates",
    ),
    "continuation": Parameter(
        default="power_law",
        choices=("power_law", "constant"),
        summary="how the path goes on after the window; read with clock=path alone",
    ),
}


def on_path(parameters: Mapping[str, Any]) -> bool:
    """Whether a method runs on the path clock."""
    return parameters.get("clock") == "path"


def on_optimizer_time(parameters: Mapping[str, Any]) -> bool:
    """Whether a method runs on optimizer time."""
    return parameters.get("clock") == "optimizer"


def fewest_on_clock(parameters: Mapping[str, Any], fewest: int) -> int:
    """Return the fewest steps that a method needs, given what it needs on the step number."""
    power = on_path(parameters) and parameters["continuation"] == "power_law"
    return max(fewest, FEWEST_FOR_POWER_LAW) if power else fewest


def on_clock(
    window: Window, targets: np.ndarray, parameters: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of the window's steps, shape (T,), and of the targets, shape (n,).

    A tensor whose path cannot be continued, as it hardly moved, stays on the step number, with a
    remark.

    Raises:
        TooLittle: The path clock is wanted and the steps are not evenly spaced from the base on, or
            optimizer time is wanted and is unknown at a step or the step number itself.
    """
    from rlvr_dynamics.dynamics import continued_path, even_spacing, step_lengths

    if on_optimizer_time(parameters):
        return _on_optimizer_time(window, targets)
    if not on_path(parameters) or window.gram is None:
        return window.steps.astype(np.float64), targets.astype(np.float64)
    if even_spacing(window.steps) is None:
        raise TooLittle(
            "the path clock needs checkpoints at even steps from the base on, as a distance over "
            "a gap is shorter than the path through it",
            way_out="clock=step, or checkpoints at even steps",
        )
    lengths = step_lengths(window.gram)
    try:
        ahead = continued_path(window.steps, lengths, targets, str(parameters["continuation"]))
    except ValueError as reason:
        window.remarks.append(f"{STAYS}{reason}")
        return window.steps.astype(np.float64), targets.astype(np.float64)
    path = np.cumsum(lengths)
    if path[-1] <= path[0]:
        window.remarks.append(f"{STAYS}no step but the first moved")
        return window.steps.astype(np.float64), targets.astype(np.float64)
    return path, ahead


def check_clock(
    steps: Sequence[int],
    targets: Sequence[int],
    parameters: Mapping[str, Any],
    times: Mapping[int, float],
) -> None:
    """Refuse a clock that does not fit the steps, before any weight is read.

    Raises:
        TooLittle: As `on_clock`.
    """
    still = np.zeros((len(steps), len(steps)))
    on_clock(Window(np.array(steps), still, times=times), np.array(targets), parameters)


def tensors_on_step(remarks: Iterable[str]) -> int:
    """Return how many tensors of a forecast on the path stayed on the step number.

    Args:
        remarks: Of the prediction.
    """
    return sum(int(found[1]) for remark in remarks if (found := _COUNT.fullmatch(remark)))


def _on_optimizer_time(window: Window, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the optimizer time of the window's steps and of the targets.

    The learning rates of later steps are the schedule's, which is set before training.
    """
    from rlvr_dynamics.dynamics import same_clock

    steps = np.concatenate([window.steps, targets])
    unknown = [int(step) for step in steps if int(step) not in window.times]
    if unknown:
        raise TooLittle(
            f"the learning rates up to step {unknown[0]} are not on record "
            f"({max(len(window.times) - 1, 0)} steps are)",
            way_out="clock=step, or a target within a training whose metrics have actor/lr",
        )
    times = np.array([window.times[int(step)] for step in steps])
    if same_clock(times, steps):
        raise TooLittle(
            "the learning rate was constant, so optimizer time is the step number",
            way_out="clock=step",
        )
    positions, ahead = np.split(times, [len(window.steps)])
    if positions[-1] <= (positions[0] if len(positions) > 1 else 0.0):
        raise TooLittle(
            "the learning rate was 0 in the whole window, so optimizer time stood still",
            way_out="clock=step, or a longer window",
        )
    return positions, ahead
