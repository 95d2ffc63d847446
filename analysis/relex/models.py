"""The models that RELEX's tables and figures compare, and differences of their accuracies."""

import math
from collections.abc import Sequence

from rlvr_dynamics.results.cached import once_per_run
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import PairedAccuracy, models, paired_accuracy
from rlvr_dynamics.schema.model_id import BASE, REAL
from rlvr_dynamics.statistics.intervals import UNDEFINED, Interval

PAPER_SHARE = 0.15
WITHOUT_WINDOW = (BASE, REAL, "trajectory_oracle", "trajectory_oracle_rank5")


def windows_near(results: Results, share: float = PAPER_SHARE) -> list[int]:
    """Return the window at a share of the training, or else the nearest one on either side."""
    exact, final = results.window_near(share), results.final_step
    if exact is not None or final is None:
        return [] if exact is None else [exact]
    below = [window for window in results.windows if window / final < share]
    above = [window for window in results.windows if window / final > share]
    return [*below[-1:], *above[:1]]


def points(
    results: Results,
    first: str | None,
    second: str | None,
    benchmarks: Sequence[str],
    protocol: str,
) -> Interval:
    """Return one model's accuracy minus another's, in points, paired by question.

    Args:
        results: The run.
        first: Model id, or None.
        second: Model id, or None.
        benchmarks: Names of benchmarks, with equal weight.
        protocol: How answers were drawn.

    Returns:
        NaN if either was not scored on all benchmarks, or if both are the same model.
    """
    if first is None or second is None or first == second:
        return UNDEFINED
    paired = _pairing(results, _family(results), tuple(benchmarks), protocol)
    return UNDEFINED if paired is None else paired.points(first, second)


@once_per_run
def _family(results: Results) -> tuple[str, ...]:
    """Return a run's base, checkpoints and predictions, without reconstructions of updates."""
    return tuple(
        str(model) for model in models(results) if model.method in WITHOUT_WINDOW or model.observe
    )


@once_per_run
def _pairing(
    results: Results, names: tuple[str, ...], benchmarks: tuple[str, ...], protocol: str
) -> PairedAccuracy | None:
    counts = {
        model: min(_questions(results, model, name, protocol) for name in benchmarks)
        for model in names
    }
    # A model with fewer questions would shrink the set for all the others.
    whole = [model for model in names if 0 < counts[model] == max(counts.values())]
    return paired_accuracy(results, whole, benchmarks, [protocol])


def _questions(results: Results, model: str, benchmark: str, protocol: str) -> int:
    means = results.question_means(model, benchmark, protocol)
    return 0 if means is None else len(means)


def step_share(results: Results, step: int | None) -> float:
    """Return a step as a share of the training."""
    return math.nan if step is None or not results.final_step else step / results.final_step
