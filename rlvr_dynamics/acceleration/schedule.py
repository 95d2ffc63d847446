"""After which training steps a jump is tried.

A firing at step t moves the weights after t's update. The last step never fires, as nothing would
be trained afterwards. The anchor of a firing is the state at the firing before it: the base at
first, which is step 0.
"""

from rlvr_dynamics.schema.acceleration import When


def fires(when: When, step: int, last: int) -> bool:
    """Return whether a jump is tried after a step.

    Args:
        when: The rule.
        step: A step of the training, from 1.
        last: The last step of the training.
    """
    return 0 < step < last and _matches(when, step)


def firings(when: When, last: int) -> list[int]:
    """Return the steps of a training that fire, in order.

    Args:
        when: The rule.
        last: The last step of the training.
    """
    return [step for step in range(1, last) if _matches(when, step)]


def previous_firing(when: When, step: int) -> int:
    """Return the last firing before a step: where its window and its anchor begin.

    Returns:
        A step below `step`; 0, the base, if none fired.
    """
    return next((before for before in range(step - 1, 0, -1) if _matches(when, before)), 0)


def _matches(when: When, step: int) -> bool:
    if when.powers_of_two:  # 1, 2, 4, 8, ...
        return step & (step - 1) == 0
    if when.every is not None:
        return step % when.every == 0
    return when.steps is not None and step in when.steps
