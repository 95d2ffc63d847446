"""Accuracy of every method's prediction of the final step."""

from typing import cast

import numpy as np
import pandas as pd

from rlvr_dynamics.reporting.tables import Table, absent
from rlvr_dynamics.results.cached import once_per_run
from rlvr_dynamics.results.formatting import (
    DASH,
    integer,
    interval,
    number,
    percent,
    percent_interval,
)
from rlvr_dynamics.results.frames import equal, select
from rlvr_dynamics.results.methods import method_rank
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.scores import paired_accuracy
from rlvr_dynamics.results.unread import in_brackets, unread_note
from rlvr_dynamics.schema.model_id import ModelId
from rlvr_dynamics.statistics.paired import best_candidate

REFERENCES = ("base", "real", "hold_last")
SPLITS = {"in_domain": "in domain", "out_of_domain": "out of domain"}


def final_accuracy(results: Results) -> pd.DataFrame:
    """Return accuracies at the final step: every method and window, base and real checkpoints.

    `hold_last` is the last observed checkpoint of each window, which is its prediction.
    Benchmarks of a split have equal weight; questions are resampled jointly for all models.

    Returns:
        Columns split, model, method, observe (0 for none), accuracy, low, high, questions,
        protocol and unread (from `unread_note`), in the order of the methods; empty if nothing
        was scored.
    """
    return _final_accuracy(results).copy()


@once_per_run
def _final_accuracy(results: Results) -> pd.DataFrame:
    scores, final = results.tables["scores"], results.final_step
    columns = ["split", "model", "method", "observe", "accuracy", "low", "high"]
    columns += ["questions", "protocol", "unread"]
    rows: list[tuple] = []
    if scores is None or final is None:
        return pd.DataFrame(rows, columns=columns)
    models = select(scores, (scores["step"] == final) | (scores["method"] == "base"))
    models = models.drop_duplicates(["model"]).fillna({"observe": 0})
    found = {str(row["model"]): row for row in models.to_dict("records")}
    predicted = {(row["method"], row["observe"]) for row in found.values()}
    for observe in results.windows:
        if ("hold_last", observe) not in predicted:
            found[str(ModelId.checkpoint(observe))] = {"method": "hold_last", "observe": observe}
    ordered = sorted(
        found, key=lambda name: (method_rank(str(found[name]["method"])), found[name]["observe"])
    )
    for split in SPLITS:
        benchmarks = results.benchmarks(split)
        there = [name for name in ordered if _scored(results, name, benchmarks)]
        paired = paired_accuracy(results, there, benchmarks) if there else None
        if paired is None:
            continue
        for position, name in enumerate(there):
            value = paired.accuracy(position)
            method, observe = str(found[name]["method"]), int(found[name]["observe"])
            rows.append(
                (split, name, method, observe, *value, paired.questions, paired.protocol)
                + (unread_note(results, name, benchmarks, paired.protocol),)
            )
    return pd.DataFrame(rows, columns=columns)


def answers_in_words(frame: pd.DataFrame) -> str:
    """Say how the answers behind `final_accuracy` were drawn, split by split where that differs."""
    kinds = dict(zip(frame["split"], frame["protocol"], strict=True))
    if len(set(kinds.values())) == 1:
        return f"{next(iter(kinds.values()))} answers"
    return " and ".join(f"{kind} answers {SPLITS[split]}" for split, kind in kinds.items())


def _scored(results: Results, model: str, benchmarks: list[str]) -> bool:
    return all(results.has_samples(model, benchmark) for benchmark in benchmarks)


def methods_table(results: Results) -> Table:
    """Build the most compact view of the scores: a row per method, columns by window and split."""
    title = "Every method at the final step"
    frame = final_accuracy(results)
    if not len(frame):
        return absent("methods", title, "scores")
    frame["cell"] = [
        f"{percent(row['accuracy'])} {percent_interval(row['low'], row['high'], 0)}"
        f"{in_brackets(row['unread'])}"
        for row in frame.to_dict("records")
    ]
    windows = sorted({int(observe) for observe in frame["observe"]})
    rows = []
    for method in dict.fromkeys(frame["method"]):
        row: dict[str, object] = {"method": results.method_name(str(method))}
        for split, name in SPLITS.items():
            for observe in windows:
                cells = list(equal(frame, method=method, split=split, observe=observe)["cell"])
                head = f"{name}, {f'step {observe}' if observe else 'no window'}"
                row[head] = cells[0] if cells else None
        rows.append(row)
    table = pd.DataFrame(rows).dropna(axis=1, how="all")
    questions = {
        name: str(int(np.max(equal(frame, split=split)["questions"])))
        if len(equal(frame, split=split))
        else DASH
        for split, name in SPLITS.items()
    }
    return Table(
        "methods",
        title,
        f"Predictions of step {results.final_step}, by the last step that they observed; "
        f"{answers_in_words(frame)}, mean over benchmarks, 95 % interval over questions "
        f"(n = {questions['in domain']} in domain, {questions['out of domain']} out of domain), "
        "each row for itself; for the best of the rows see the next table. In brackets, where "
        "there are any: responses cut off, without an answer, or given up by the grader. No "
        "window: the base, the real final checkpoint, and reconstructions of it.",
        table,
    )


def best_table(results: Results) -> Table:
    """Compare each window's best method with holding the last checkpoint, corrected for choice."""
    title = "The best method and the last observed checkpoint"
    frame = final_accuracy(results)
    rows = []
    for split, observe in dict.fromkeys(zip(frame["split"], frame["observe"], strict=True)):
        here = equal(frame, split=split, observe=observe)
        own = ~here["method"].isin([*REFERENCES, *results.future_methods])
        held, methods = equal(here, method="hold_last"), select(here, own)
        if observe and len(held) and len(methods):
            rows += _best_row(results, held.iloc[0], methods)
    if not rows:
        return absent("best", title, "scores")
    return Table(
        "best",
        title,
        f"Accuracy at step {results.final_step}, mean over benchmarks; methods that use the future "
        "are left out. The best of several is chosen by the score that is shown, which flatters "
        "it: its own interval ignores that, the corrected one holds for the differences of all of "
        "them at once (max statistic over the paired bootstrap, 95 %).",
        pd.DataFrame(rows),
        {
            **dict.fromkeys(["observe", "methods", "n"], integer),
            **dict.fromkeys(["accuracy", "held"], percent),
            "points": lambda value: number(value, 1, signed=True),
        },
        {
            "observe": "observed to",
            "method": "best method",
            "methods": "of",
            "held": "last observed",
            "points": "advantage, points",
        },
    )


def _best_row(results: Results, held: pd.Series, methods: pd.DataFrame) -> list[dict[str, object]]:
    benchmarks = results.benchmarks(str(held["split"]))
    models = [str(held["model"]), *(str(model) for model in methods["model"])]
    paired = paired_accuracy(results, models, benchmarks)
    if paired is None:
        return []
    best = best_candidate(paired.paired)
    chosen = methods.iloc[best.place]
    return [
        {
            "split": SPLITS[str(held["split"])],
            "observe": int(cast(float, held["observe"])),
            "method": results.method_name(str(chosen["method"])),
            "methods": len(methods),
            "accuracy": paired.means[1 + best.place],
            "held": paired.means[0],
            "points": 100 * best.alone.value,
            "own interval": _points(best.alone.low, best.alone.high),
            "corrected interval": _points(best.corrected.low, best.corrected.high),
            "n": paired.questions,
            "protocol": paired.protocol,
        }
    ]


def _points(low: float, high: float) -> str:
    return interval(100 * low, 100 * high, 1, signed=True)
