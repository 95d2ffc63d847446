"""Convert shares of a training, as in the configuration, to steps."""

import math


def observed_step(steps: tuple[int, ...], share: float) -> int:
    """Return the first saved step at or after a share of the training."""
    wanted = math.ceil(share * steps[-1] - 1e-9)
    return next(step for step in steps if step >= wanted)


def target_step(steps: tuple[int, ...], share: float) -> int:
    """Return the step at a share of the training: a saved one up to the end, any number beyond."""
    return observed_step(steps, share) if share <= 1 else round(share * steps[-1])
