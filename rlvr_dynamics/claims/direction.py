"""Our claim on whose direction an update has: the base's and the task's, or the run's own."""

from rlvr_dynamics.claims.claim import GOOD_ENOUGH, Claim, Measured
from rlvr_dynamics.claims.measures import accuracies
from rlvr_dynamics.results.formatting import interval, number
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.statistics.paired import GAIN

BORROWED = "borrowed_direction"


def _borrowed(results: Results, observe: int | None) -> Measured | None:
    found = accuracies(BORROWED, "real", control="random_update")(results, observe)
    share = accuracies(BORROWED, "real", "base", contrast=GAIN, control="random_update")
    gain = share(results, observe)
    if found is None or gain is None or not gain.defined:
        return found
    return found.noted(
        f"share of the gain {number(gain.value.value)} "
        f"{interval(gain.value.low, gain.value.high)}, random update {number(gain.null)}"
    )


CLAIMS = [
    Claim(
        "O1",
        "ours",
        "The direction of another run's update from the same base, with this run's norms, is as "
        "accurate as the run's own.",
        "ours; in neither paper",
        "accuracy(borrowed direction) − accuracy(real final), in domain; control: a random update "
        "of the same norm",
        GOOD_ENOUGH,
        needs="needs samples of borrowed_direction, which names a run of the same base",
        measure=_borrowed,
        needs_gain=True,
        null_counts=True,
    ),
]
