"""The updates of a step: which clips acted, and how many updates the stored weights speak for."""

import math

import pandas as pd

from rlvr_dynamics.reporting.tables import Table, absent
from rlvr_dynamics.results.formatting import DASH, general, integer, percent
from rlvr_dynamics.results.frames import numbers
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.updates import Moved, clips_of_run, is_usual_adam, moved

SHOWN_UPDATES = (1, 4, 16)


def clips_table(results: Results) -> Table:
    """Each clip of the run's loss: whether it could act, and how much verl counted."""
    title = "Clips of the loss, and what they did"
    metrics, found = results.tables["metrics"], clips_of_run(results)
    if metrics is None or not found:
        return absent("clips", title, "metrics")
    rows = []
    for clip in found:
        counted = numbers(metrics, clip.metric)
        rows.append(
            {
                "clip": clip.bound,
                "can act": "yes" if clip.acts else f"no: {clip.why_not}",
                "counted in": clip.metric,
                "mean": counted.mean() if len(counted) else math.nan,
                "highest": counted.max() if len(counted) else math.nan,
            }
        )
    trainer = results.config.trainer
    updates = f"{trainer.updates_per_rollout} of the policy"
    if results.config.algorithm.critic is not None:
        updates += f" and {trainer.critic_updates_per_rollout} of the value model"
    return Table(
        "clips",
        title,
        f"Updates a step: {updates}. verl counts clips of the same kind together, as a mean over "
        "all tokens and over the updates of a step; at the first of these every ratio is 1 up to "
        "rounding, so with one update the expected share is 0. Mean and highest over steps.",
        pd.DataFrame(rows),
        dict.fromkeys(["mean", "highest"], lambda value: percent(value, 3)),
    )


def updates_table(results: Results) -> Table:
    """How many updates a step the stored weights speak for, in one row."""
    title = "Updates a step, estimated from the stored weights"
    found = moved(results)
    if found is None and results.tables["exponents"] is not None:
        missing = (
            "Not measured: no learning rate is known; source.learning_rate gives the trainer's."
            if is_usual_adam(results)
            else "Not measured: the estimate is of AdamW on every weight, betas of 0.9 and 0.999."
        )
        return Table("updates", title, "", None, missing=missing)
    if found is None:
        return absent("updates", title, "norms", "exponents")
    row = {
        "configured": found.declared,
        "at least": found.low,
        "at most": found.high,
        "observed": found.observed.mean(),
        **{
            f"{kind} {updates}": expected[found.updates.index(updates)].mean()
            for updates in SHOWN_UPDATES
            for kind, expected in (("noise", found.noise), ("same direction", found.coherent))
        },
        "steps": len(found.steps),
        "bits": found.bits,
    }
    shown = _percent if found.by_share else general
    observed = [name for name in row if name.partition(" ")[0] in ("observed", "noise", "same")]
    return Table(
        "updates",
        title,
        f"{observable(found)}: mean over {len(found.steps)} steps, beside what Adam does in 1, 4 "
        "or 16 updates a step if gradients are noise (it moves least) and if they keep their "
        "direction (it moves most). The number lies between “at least”, where they keep it, and "
        f"“at most”, where they are noise; 0 to 1 means fewer than one. {assumed(found)}",
        pd.DataFrame([row]),
        {
            **dict.fromkeys(["configured", "steps", "bits"], integer),
            **dict.fromkeys(["at least", "at most"], _count),
            **dict.fromkeys(observed, shown),
        },
        {"bits": "bits of the significand"},
    )


def observable(found: Moved) -> str:
    """Return what of the stored weights tells the number, in words."""
    if found.by_share:
        return "Share of stored values that change from one saved step to the next"
    return "Root mean square distance from one saved step to the next, in learning rates"


def assumed(found: Moved) -> str:
    """Return what the estimate takes for granted, in words."""
    source = "of the configuration" if found.declared is not None else "given for the trajectory"
    ramp = f" after {found.warmup_steps} steps of warm-up" if found.warmup_steps else ""
    return (
        f"Assumed: Adam with betas of 0.9 and 0.999 at a learning rate of "
        f"{found.learning_rate:g}{ramp} ({source}), float32 weights that start from the stored "
        "base, dense gradients; over the matrices inside the blocks."
    )


def _percent(value: float) -> str:
    return percent(value, 2)


def _count(value: float) -> str:
    if math.isinf(value):
        return "more than 64"
    return DASH if math.isnan(value) else general(value, 2)
