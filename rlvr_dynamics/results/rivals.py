"""Runs that differ from a run in nothing but a higher learning rate: its control at equal cost."""

import math
from collections.abc import Iterable

from rlvr_dynamics.results.cached import once_per_run
from rlvr_dynamics.results.frames import equal, mean
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import steps_of
from rlvr_dynamics.run_directory.records import FOLDERS, differences, inputs_of, read_record
from rlvr_dynamics.schema.model_id import REAL

RATE = "algorithm.learning_rate"
# Besides the rate, what changes neither a step nor what it costs.
FREE = {RATE, "trainer.steps", "trainer.validate_every", "trainer.validation_samples"}


def at_equal_cost(results: Results, step: int, others: Iterable[Results]) -> Results | None:
    """Return the run whose checkpoint of a step is the best among those at higher learning rates.

    The runs have the same base, problems, seeds, algorithm and batch, so as many steps cost as many
    rollouts. The best is chosen by the accuracy on the validation problems, never on a benchmark;
    of equals it is the one with the lowest rate.

    Returns:
        None if no such run has scored this step both on the benchmarks and on validation problems.
    """
    mine = results.config.algorithm.learning_rate
    faster = [
        (on_validation(other, step), -rate, other)
        for other in others
        if (rate := other.config.algorithm.learning_rate) and mine and rate > mine
        if step in steps_of(other, REAL) and _same_but_rate(results, other)
    ]
    known = [each for each in faster if not math.isnan(each[0])]
    return max(known, key=lambda each: each[:2])[2] if known else None


def on_validation(results: Results, step: int) -> float:
    """Return a checkpoint's accuracy on the validation problems, scored or of verl; else NaN."""
    scored, metrics = results.tables["validation"], results.tables["metrics"]
    found = math.nan if scored is None else mean(equal(scored, method=REAL, step=step), "accuracy")
    if math.isnan(found) and metrics is not None:
        return mean(equal(metrics, step=step), "validation/acc_exact")
    return found


def _same_but_rate(results: Results, other: Results) -> bool:
    (mine, base), (theirs, their_base) = _trained(results), _trained(other)
    if not base or base != their_base:
        return False
    return {text.partition(":")[0] for text in differences(mine, theirs)} <= FREE


@once_per_run
def _trained(results: Results) -> tuple[dict, str]:
    """Return the settings of a run's training, and the identity of its base and problems."""
    record = read_record(results.run_dir / FOLDERS["train"])
    return (record.get("material") or {}).get("settings", {}), inputs_of(record).get("prepare", "")
