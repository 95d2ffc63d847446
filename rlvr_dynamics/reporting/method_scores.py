"""Accuracy of every method's prediction of the final step, side by side."""

import numpy as np
import pandas as pd

from rlvr_dynamics.reporting.accuracy import paired_accuracy
from rlvr_dynamics.reporting.formatting import DASH, method_rank, percent, percent_interval
from rlvr_dynamics.reporting.frames import equal, select
from rlvr_dynamics.reporting.intervals import percentile_interval
from rlvr_dynamics.reporting.results import Results
from rlvr_dynamics.reporting.tables import Table, absent

SPLITS = {"in_domain": "in domain", "out_of_domain": "out of domain"}


def final_accuracy(results: Results) -> pd.DataFrame:
    """Accuracy at the final step of every method and window, and of base and real checkpoints.

    The last observed checkpoint of each window stands as `hold_last`, whose prediction it is.
    Benchmarks of a split count alike; the questions are resampled together for all models.

    Returns:
        Columns split, model, method, observe (0 for none), accuracy, low, high, questions and
        protocol, in the order of the methods; empty where nothing was scored.
    """
    scores, final = results.tables["scores"], results.final_step
    columns = ["split", "model", "method", "observe", "accuracy", "low", "high"]
    rows: list[tuple] = []
    if scores is None or final is None:
        return pd.DataFrame(rows, columns=[*columns, "questions", "protocol"])
    models = select(scores, (scores["step"] == final) | (scores["method"] == "base"))
    models = models.drop_duplicates(["model"]).fillna({"observe": 0})
    found = {str(row["model"]): row for row in models.to_dict("records")}
    predicted = {(row["method"], row["observe"]) for row in found.values()}
    for observe in results.windows:
        if ("hold_last", observe) not in predicted:
            found[f"step_{observe}"] = {"method": "hold_last", "observe": observe}
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
            value = percentile_interval(float(paired.means[position]), paired.draws[:, position])
            method, observe = str(found[name]["method"]), int(found[name]["observe"])
            rows.append(
                (split, name, method, observe, value.estimate, value.low, value.high)
                + (paired.questions, paired.protocol)
            )
    return pd.DataFrame(rows, columns=[*columns, "questions", "protocol"])


def _scored(results: Results, model: str, benchmarks: list[str]) -> bool:
    return all(results.samples(model, benchmark) is not None for benchmark in benchmarks)


def methods_table(results: Results) -> Table:
    """One row per method, one column per window and split: the narrowest view of the scores."""
    title = "Every method at the final step"
    frame = final_accuracy(results)
    if not len(frame):
        return absent("methods", title, "scores")
    frame["cell"] = [
        f"{percent(row['accuracy'])} {percent_interval(row['low'], row['high'], 0)}"
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
        f"{frame['protocol'].iloc[0]} answers, mean over benchmarks, 95 % bootstrap interval over "
        f"questions (n = {questions['in domain']} in domain, {questions['out of domain']} out of "
        "domain). No window: the base, the real final checkpoint, and reconstructions of it.",
        table,
    )
