"""Builds the accuracy table from stored answers: one row per model, benchmark and protocol."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.grading.grade import STATUSES
from rlvr_dynamics.schema.model_id import ModelId
from rlvr_dynamics.schema.tables import PASS_AT
from rlvr_dynamics.scoring.samples import read_benchmark
from rlvr_dynamics.scoring.votes import majority_score, pass_at_k, spelling
from rlvr_dynamics.statistics.intervals import mean_interval
from rlvr_dynamics.system.keyed import facts_of
from rlvr_dynamics.system.sealed import read_parquet

PUZZLE = "reasoning_gym"
FINISH_REASONS = ("stop", "length")


def scores_table(
    samples_dir: Path, models: Sequence[str], benchmarks: Mapping[str, Path]
) -> pd.DataFrame:
    """Summarise the stored answers.

    Args:
        samples_dir: Folder with `<model>/<benchmark>.parquet`.
        models: Model ids, in the order of the table.
        benchmarks: Name and file of each benchmark, in the order of the table.

    Returns:
        One row per model, benchmark and protocol, with the columns of the table `scores`
        except `uses_future`, which the caller adds.

    Raises:
        UserError: A file of answers is missing, or a model id has an unknown form.
        ValueError: Questions under one protocol differ in their number of samples.
    """
    about = {
        name: read_benchmark(path)[["title", "split", "kind"]].iloc[0]
        for name, path in benchmarks.items()
    }
    rows = []
    for model in models:
        named = ModelId.parse(model)
        for benchmark in benchmarks:
            path = samples_dir / model / f"{benchmark}.parquet"
            metadata = facts_of(path)
            if not metadata:
                raise UserError("answers are missing", where=str(path), way_out="run stage score")
            samples = read_parquet(path)
            for protocol, key in metadata["keys"].items():
                rows.append(
                    {
                        "model": model,
                        "method": named.method,
                        "observe": float(named.observe) if named.observe else math.nan,
                        "step": named.step,
                        "benchmark": benchmark,
                        "title": about[benchmark]["title"],
                        "split": about[benchmark]["split"],
                        "protocol": protocol,
                        **_summary(samples, protocol, str(about[benchmark]["kind"])),
                        "golds_as_text": metadata.get("golds_as_text", 0),
                        "dtype": metadata["dtype"],
                        "seed": metadata["seed"],
                        "grader": metadata.get("grader"),
                        "key": key,
                    }
                )
    return pd.DataFrame(rows)


def _summary(samples: pd.DataFrame, protocol: str, kind: str) -> dict[str, float]:
    questions: dict[str, list[tuple[str | None, float]]] = {}
    statuses: Counter[str] = Counter()
    finished: Counter[str] = Counter()
    tokens, same_text, disagree, copied = [], 0, 0, 0
    columns = ("protocol", "question_id", "gold", "answer", "score", "status", "copied")
    rows = zip(
        *(samples[column].tolist() for column in (*columns, "finish_reason", "tokens")), strict=True
    )
    for of, question, gold, answer, score, status, from_question, reason, length in rows:
        if of != protocol:
            continue
        questions.setdefault(question, []).append((answer, score))
        statuses[status] += 1
        copied += bool(from_question) and score == 1
        finished[reason if reason in FINISH_REASONS else "other"] += 1
        tokens.append(length)
        same = isinstance(answer, str) and spelling(answer, kind) == spelling(gold, kind)
        same_text += same
        disagree += same != (score == 1)
    n_samples = {len(answers) for answers in questions.values()}
    if len(n_samples) != 1:
        raise ValueError(f"questions with {sorted(n_samples)} samples under protocol {protocol}")
    per_question = n_samples.pop()
    scores = [[score for _, score in answers] for answers in questions.values()]
    accuracy = mean_interval([sum(found) / per_question for found in scores], per_question)
    return {
        "questions": len(questions),
        "samples": per_question,
        "accuracy": accuracy.value,
        "ci_low": accuracy.low,
        "ci_high": accuracy.high,
        **_of_all_samples(list(questions.values()), per_question, kind),
        # A simpler second grader: exact string match with the gold. Puzzles have many answers.
        "string_match": math.nan if kind == PUZZLE else same_text / len(tokens),
        "graders_disagree": math.nan if kind == PUZZLE else disagree,
        **{status: statuses[status] for status in STATUSES},
        "copied": copied,
        **{f"finish_{reason}": finished[reason] for reason in (*FINISH_REASONS, "other")},
        "mean_tokens": sum(tokens) / len(tokens),
    }


def _of_all_samples(
    questions: Sequence[Sequence[tuple[str | None, float]]], samples: int, kind: str
) -> dict[str, float]:
    """Return pass@n, pass@k and majority@n with their intervals over questions.

    NaN for one sample, and for a k above the number of samples.
    """
    found = dict.fromkeys(("pass_at_n", *(f"pass_at_{k}" for k in PASS_AT), "majority"))
    if samples > 1:
        correct = [sum(score == 1 for _, score in answers) for answers in questions]
        votes = [majority_score(answers, kind) for answers in questions]
        found["pass_at_n"] = mean_interval(pass_at_k(correct, samples, samples), 1)
        found["majority"] = mean_interval(votes, 1)
        for k in PASS_AT:
            if k <= samples:
                # A question's samples make so many groups of k that share no sample.
                each = pass_at_k(correct, samples, k)
                found[f"pass_at_{k}"] = mean_interval(each, samples // k)
    return {
        f"{name}{part}": math.nan if value is None else value[place]
        for name, value in found.items()
        for place, part in enumerate(("", "_low", "_high"))
    }
