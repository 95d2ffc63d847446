"""The numbers behind the answer of a run, in plain sentences."""

import pandas as pd

from rlvr_dynamics.claims.in_words import claims_in_words
from rlvr_dynamics.claims.judge import FAILS, HOLDS, NO_GAIN, NOT_MEASURED
from rlvr_dynamics.claims.ledger import CLAIMS
from rlvr_dynamics.results.formatting import general, is_missing, number, percent
from rlvr_dynamics.results.frames import equal, known, last_step, median
from rlvr_dynamics.results.rounding import rounding_in_words
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import paired_accuracy
from rlvr_dynamics.results.stretch import stretch_in_words
from rlvr_dynamics.schema.model_id import ModelId

EARLY = next(claim for claim in CLAIMS if claim.id == "B3")


def in_numbers(results: Results, claims: pd.DataFrame) -> list[str]:
    """Return sentences with n and intervals, each only if its numbers exist."""
    rows = {str(row["id"]): row for row in claims.to_dict("records")}
    sentences = [
        stretch_in_words(results),
        _learning(results, rows["P0"]),
        _relex(results, rows["B3"]),
        _rank1(rows["A1b"]),
        _linearity(rows["B2"], rows["B2h"]),
        *claims_in_words(claims),
        _regime(results),
        rounding_in_words(results),
        _repeats(results),
        "One run with one seed: nothing here speaks for other seeds, models or learning rates.",
    ]
    return [sentence for sentence in sentences if sentence]


def _learning(results: Results, row: dict) -> str:
    final = results.final_step
    paired = None
    if final is not None:
        models = [ModelId.checkpoint(final), ModelId.base()]
        paired = paired_accuracy(results, models, results.benchmarks("in_domain"))
    if paired is None:
        return "Whether RL lifted the accuracy was not measured."
    span = f"{percent(paired.means[1])} to {percent(paired.means[0])} in domain over {final} steps"
    n = f"{paired.questions} questions, {paired.protocol} answers"
    if row["verdict"] == HOLDS:
        return f"RL lifted accuracy from {span} ({n})."
    if row["verdict"] == FAILS:
        return f"RL did not lift accuracy: {span} ({n})."
    if row["verdict"] == NOT_MEASURED:  # another kind of training
        return f"Training moved accuracy from {span} ({n})."
    return f"RL moved accuracy from {span} ({n}), which is not distinguishable from no change."


def _relex(results: Results, row: dict) -> str:
    found, final = EARLY.of(results), results.final_step
    judged = row["verdict"] != NOT_MEASURED  # a run of another kind of training is not
    if not judged or found is None or found.observe is None or final is None:
        return "Whether the first 15 to 20 % of the steps predict the rest was not measured."
    observe = found.observe
    benchmarks = results.benchmarks("in_domain")
    models = [ModelId("relex", observe, final), ModelId.checkpoint(final)]
    paired = paired_accuracy(results, models, benchmarks)
    held = paired_accuracy(results, [ModelId.checkpoint(observe)], benchmarks)
    if paired is None:
        return ""
    stop = f"; stopping at step {observe} gives {percent(held.means[0])}" if held else ""
    return (
        f"RELEX, which saw only the first {observe} of {final} steps "
        f"({100 * observe / final:.0f} %), predicts a final model that scores "
        f"{percent(paired.means[0])}: {number(row['ours'], 1, signed=True)} points from the real "
        f"one (95 % interval {number(row['ci_low'], 1, signed=True)} to "
        f"{number(row['ci_high'], 1, signed=True)}{stop})."
    )


def _rank1(row: dict) -> str:
    if row["verdict"] == NOT_MEASURED:
        return "How much of the gain a rank-1 update keeps was not measured."
    if NO_GAIN in str(row["note"]) or is_missing(row["ci_low"]):
        return "There is no established gain of which a rank-1 update could keep a part."
    control = f"; a random update of the same norm, {percent(row['null'], 0)}"
    return (
        f"The rank-1 part of the final update, rescaled to its norm, recovers "
        f"{percent(row['ours'], 0)} of the gain (95 % interval {percent(row['ci_low'], 0)} to "
        f"{percent(row['ci_high'], 0)}{control if not is_missing(row['null']) else ''})."
    )


def _linearity(row: dict, held_out: dict) -> str:
    if row["verdict"] == NOT_MEASURED:
        return ""
    sentence = (
        f"The leading coefficient follows a straight line (R² > 0.98) in "
        f"{percent(row['ours'], 0)} of {int(row['n'])} tensors, and a null with the same step "
        f"norms (random walks or the optimizer's noise) does in {percent(row['null'], 0)}"
    )
    if held_out["verdict"] == NOT_MEASURED:
        return f"{sentence}."
    return (
        f"{sentence}; a line through the first half of the steps predicts the second half that "
        f"well in {percent(held_out['ours'], 0)}."
    )


def _regime(results: Results) -> str:
    parts = []
    rate = results.config.algorithm.learning_rate
    if rate is not None and not results.config.source.checkpoints:
        parts.append(f"learning rate {general(rate)}")
    norms = results.tables["norms"]
    if norms is not None:
        step = last_step(norms)
        moved = percent(median(equal(norms, step=step), "relative_update"), 2)
        parts.append(f"by step {step} the median tensor has moved by {moved} of its own norm")
    return f"The regime: {'; '.join(parts)}." if parts else ""


def _repeats(results: Results) -> str:
    """Warn if checkpoints are copies of earlier ones: their steps are not training."""
    table = results.tables["checkpoints"]
    copies = 0 if table is None else len(known(table, "repeats"))
    if not copies or table is None:
        return ""
    return (
        f"{copies} of {len(table)} checkpoints repeat the weights of an earlier one, so their "
        "steps say nothing about training."
    )
