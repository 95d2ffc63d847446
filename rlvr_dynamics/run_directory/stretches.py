"""The stretches of a training between jumps of its weights, of which one is measured as a whole."""

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints import Trajectory

STRETCHES_FILE = "stretches.json"


class Stretch(NamedTuple):
    """Steps without a jump between them.

    Attributes:
        first: Its base: step 0, or the first step that was saved after a jump.
        last: Its last step.
    """

    first: int
    last: int


def stretches(last: int, jumps: dict[int, Any]) -> list[Stretch]:
    """Return the stretches of a training, in order.

    Args:
        last: Its last step.
        jumps: Steps before which the weights jumped (`Trajectory.jumps`).
    """
    begins = [0, *sorted(jumps)]
    ends = [begin - 1 for begin in begins[1:]]
    return [Stretch(*pair) for pair in zip(begins, [*ends, last], strict=True)]


def longest_stretch(trajectory: "Trajectory", jumps: dict[int, Any]) -> Stretch:
    """Return the stretch with the most steps, the earliest of several."""
    found = stretches(trajectory.steps[-1], jumps)
    return max(found, key=lambda each: each.last - each.first)


def stretches_in_words(chosen: Stretch, jumps: dict[int, Any]) -> str:
    """Say which steps are measured, and from where they are counted."""
    after = ", ".join(str(step - 1) for step in sorted(jumps))
    counted = f", counted from step {chosen.first}, its base" if chosen.first else ""
    return (
        f"the weights jumped after step {after}: measured is the longest stretch without a jump, "
        f"up to step {chosen.last}{counted}"
    )
