"""y(t) of a run that trained: which of its training metrics are an accuracy, and of what."""

from typing import TYPE_CHECKING

import numpy as np

from rlvr_dynamics.run_directory.configuration import RecordedConfig
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.schema.data import NO_SIGNAL
from rlvr_dynamics.schema.overrides import key_of

if TYPE_CHECKING:
    import pandas as pd

    from rlvr_dynamics.measurement import AccuracySeries

SCORE = "critic/score/mean"
FEWEST_VALIDATED = 4  # checkpoints, as many as the table of PLS asks for
# verl's keys that make the score another one.
OTHER_REWARDS = ("reward.custom_reward_function", "reward.reward_", "algorithm.filter_groups")


def own_accuracy(
    metrics: "pd.DataFrame", config: RunConfig | RecordedConfig
) -> "AccuracySeries | None":
    """Return the accuracy of the checkpoints from train/metrics.parquet; None if none is in it.

    A validation at step t answers with the weights of step t. The rollouts of step t + 1 are drawn
    from the weights of step t, so those of step 1 are the base's. By preference:

    1. verl's validation on the held-out problems, if at least four checkpoints have one;
    2. all rollouts drawn for training, right or wrong for the grader of the scores, with those
       that dynamic sampling drops. It draws until enough groups are kept, so the number of groups
       depends on the answers; the bias of their mean is of the order of one over that number.
    3. verl's mean score, at steps whose rollouts were not counted, where it is an accuracy:
       `why_not` says where it is not.

    Args:
        metrics: One row per step.
        config: The run's.
    """
    from rlvr_dynamics.measurement import AccuracySeries  # imports torch, which a listing avoids

    validated = _counted(metrics, "validation", 0, "held-out problems, verl's validation")
    if validated is not None and sum(step > 0 for step in validated.values) >= FEWEST_VALIDATED:
        return validated
    drawn = _counted(metrics, "rollouts", 1, "training problems, all rollouts of the next step")
    if drawn is None:
        return _scored(metrics, config)
    # A run that was begun without counts, and resumed with them, has both.
    scored = _scored(metrics, config)
    more = {} if scored is None else dict(scored.values)
    more = {step: score for step, score in more.items() if step not in drawn.values}
    if scored is None or not more:
        return drawn
    source = f"{drawn.source}; at {len(more):,} steps {scored.source}"
    return AccuracySeries(
        dict(sorted((more | dict(drawn.values)).items())), source, drawn.errors, drawn.freedom
    )


def _scored(metrics: "pd.DataFrame", config: RunConfig | RecordedConfig) -> "AccuracySeries | None":
    """Return verl's mean scores; None where they are no accuracy."""
    from rlvr_dynamics.measurement import AccuracySeries

    if why_not(config) or SCORE not in metrics:
        return None
    known = metrics[["step", SCORE]].dropna()
    values = {
        int(step) - 1: float(score) for step, score in zip(known["step"], known[SCORE], strict=True)
    }
    return AccuracySeries(values, "mean score of the next training step's rollouts")


def why_not(config: RunConfig | RecordedConfig) -> str:
    """Say why the mean score of a run's training steps is no accuracy; empty if it is one."""
    reasons = []
    if config.algorithm.dynamic_sampling:
        reasons.append("of groups with both right and wrong answers only")
    if config.algorithm.overlong is not None:
        reasons.append("less a penalty for long answers")
    if config.data.reward != "exact":
        said = "whatever the answer" if config.data.reward in NO_SIGNAL else "+1 or -1"
        reasons.append(f"by the rule {config.data.reward}, {said}")
    if any(key_of(each).startswith(OTHER_REWARDS) for each in config.trainer.verl_overrides):
        reasons.append("by a reward that trainer.verl_overrides chose")
    return f"its mean score is {', '.join(reasons)}" if reasons else ""


def _counted(
    metrics: "pd.DataFrame", prefix: str, lag: int, source: str
) -> "AccuracySeries | None":
    from rlvr_dynamics.measurement import AccuracySeries

    names = {name: f"{prefix}/{name}" for name in ("acc_exact", "problems", "answers")}
    if not set(names.values()) <= set(metrics.columns):
        return None
    known = metrics.dropna(subset=["step", *names.values()])
    if known.empty:
        return None
    steps = np.asarray(known["step"], dtype=int) - lag
    shares = np.asarray(known[names["acc_exact"]], dtype=float)
    problems, answers = (
        np.asarray(known[names[one]], dtype=int) for one in ("problems", "answers")
    )
    name = f"{prefix}/acc_exact_se"
    errors = np.asarray(known[name], dtype=float) if name in known else np.full(len(steps), np.nan)
    with_error = ~np.isnan(errors)
    if with_error.all():
        said = f"standard error {100 * np.sqrt(np.mean(errors**2)):.1f} points"
    else:
        # Answers to one problem are alike: their number bounds the error of rollouts, whose
        # problems change from step to step; those of a validation do not.
        bound = np.sqrt(shares * (1.0 - shares) / (problems if lag else answers)).max()
        said = f"standard error at most {100 * bound:.1f} points"
    freedom = (problems - 1 if lag else answers - problems)[with_error]
    return AccuracySeries(
        dict(zip(steps.tolist(), shares.tolist(), strict=True)),
        f"{source} ({_span(problems)} problems, {_span(answers)} answers a step; {said})",
        dict(zip(steps[with_error].tolist(), errors[with_error].tolist(), strict=True)),
        int(freedom.sum()),
    )


def _span(counts: np.ndarray) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
