"""Convert shares of a training, as in the configuration, to steps."""

import math


def observed_step(steps: tuple[int, ...], share: float) -> int:
    """Return the first saved step at or after a share of the training."""
    wanted = math.ceil(share * steps[-1] - 1e-9)
    return next(step for step in steps if step >= wanted)


def target_step(steps: tuple[int, ...], share: float) -> int:
    """Return the step at a share of the training: a saved one up to the end, any number beyond."""
    return observed_step(steps, share) if share <= 1 else round(share * steps[-1])


def evenly_spaced(steps: tuple[int, ...], most: int) -> tuple[int, ...]:
    """Return at most so many saved steps, the last among them, at even places from the base on.

    Where no spacing that ends at the last step leaves more than half as many, the places are only
    about even.

    Args:
        steps: Saved steps, ascending, the base excluded.
        most: At least 1.
    """
    count = len(steps)
    for spacing in range(-(-count // most), count + 1):
        if count % spacing == 0 and 2 * count // spacing > most:
            return steps[spacing - 1 :: spacing]
    places = {round(count * place / most) for place in range(1, most + 1)}
    return tuple(steps[place - 1] for place in sorted(places) if place)
