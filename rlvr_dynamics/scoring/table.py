"""From stored answers to the table of accuracies, one row per model, benchmark and protocol."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.scoring.grading import STATUSES
from rlvr_dynamics.scoring.samples import read_benchmark, read_metadata
from rlvr_dynamics.scoring.statistics import mean_interval

_MODEL_ID = re.compile(
    r"(?:(?P<method>(?!observe_|step_)[a-z0-9_]+?)__)?(?:observe_(?P<observe>\d+)__)?step_(?P<step>\d+)"
)


def describe_model(model_id: str) -> tuple[str, float, int]:
    """Return method, last observed step (NaN where none) and step of a model id.

    Ids are ``base``, ``step_<N>``, ``<method>__step_<N>`` and
    ``<method>__observe_<K>__step_<N>``.

    Raises:
        UserError: The id has another form.
    """
    if model_id == "base":
        return "base", math.nan, 0
    match = _MODEL_ID.fullmatch(model_id)
    if match is None or (match["observe"] is not None and match["method"] is None):
        raise UserError(
            f"model id {model_id!r} has an unknown form",
            way_out="base, step_<N>, <method>__step_<N> or <method>__observe_<K>__step_<N>",
        )
    observe = math.nan if match["observe"] is None else float(match["observe"])
    return match["method"] or "real", observe, int(match["step"])


def question_means(samples: pd.DataFrame, protocol: str) -> dict[str, float]:
    """Return the mean score of each question under one protocol, by question_id."""
    scores: dict[str, list[float]] = {}
    columns = (samples["protocol"], samples["question_id"], samples["score"])
    for of, question, score in zip(*columns, strict=True):
        if of == protocol:
            scores.setdefault(question, []).append(score)
    return {question: sum(values) / len(values) for question, values in scores.items()}


def scores_table(
    samples_dir: Path, models: Sequence[str], benchmarks: Mapping[str, Path]
) -> pd.DataFrame:
    """Summarise the stored answers.

    Args:
        samples_dir: Folder with `<model>/<benchmark>.parquet`.
        models: Model ids, in the order of the table.
        benchmarks: Name and file of each benchmark, in the order of the table.

    Returns:
        One row per model, benchmark and protocol: model, method, observe, step, benchmark, title,
        split, protocol, questions, samples (per question), accuracy, ci_low, ci_high (95 %,
        clustered by question), one count per status, mean_tokens, dtype, seed, key.

    Raises:
        UserError: A file of answers is missing, or a model id has an unknown form.
    """
    about = {
        name: read_benchmark(path)[["title", "split"]].iloc[0] for name, path in benchmarks.items()
    }
    rows = []
    for model in models:
        method, observe, step = describe_model(model)
        for benchmark in benchmarks:
            path = samples_dir / model / f"{benchmark}.parquet"
            metadata = read_metadata(path)
            if not metadata:
                raise UserError("answers are missing", where=str(path), way_out="run stage score")
            samples = pd.read_parquet(path)
            for protocol, key in metadata["keys"].items():
                rows.append(
                    {
                        "model": model,
                        "method": method,
                        "observe": observe,
                        "step": step,
                        "benchmark": benchmark,
                        "title": about[benchmark]["title"],
                        "split": about[benchmark]["split"],
                        "protocol": protocol,
                        **_summary(samples, protocol),
                        "dtype": metadata["dtype"],
                        "seed": metadata["seed"],
                        "key": key,
                    }
                )
    return pd.DataFrame(rows)


def _summary(samples: pd.DataFrame, protocol: str) -> dict[str, float]:
    of_protocol = (samples["protocol"] == protocol).tolist()
    chosen = {
        column: [value for value, kept in zip(samples[column], of_protocol, strict=True) if kept]
        for column in ("status", "tokens")
    }
    means = list(question_means(samples, protocol).values())
    per_question = len(chosen["status"]) // len(means)
    interval = mean_interval(means, per_question)
    counts = Counter(chosen["status"])
    return {
        "questions": len(means),
        "samples": per_question,
        "accuracy": interval.value,
        "ci_low": interval.low,
        "ci_high": interval.high,
        **{status: counts[status] for status in STATUSES},
        "mean_tokens": sum(chosen["tokens"]) / len(chosen["tokens"]),
    }
