"""Builds the four tables as pure functions of the parts in `work`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlvr_dynamics.behaviour import statistics
from rlvr_dynamics.results.frames import values
from rlvr_dynamics.statistics.intervals import (
    Interval,
    percentile_interval,
    resample_counts,
    wilson,
)

NAMES = ("tokens", "summary", "embeddings", "prefix")


def token_rows(
    answers: pd.DataFrame, reading: pd.DataFrame, texts: Mapping[int, str]
) -> pd.DataFrame:
    """Return one row per token of a writer's answers, with a reader's scores.

    Args:
        answers: The writer's answers (`work.Work.answers`).
        reading: The reader's scores for them (`work.Work.reading`).
        texts: Token to its text.
    """
    lengths = _lengths(answers)
    tokens = np.concatenate(answers["tokens"].tolist())
    greedy = np.concatenate(reading["greedy"].tolist())
    return pd.DataFrame(
        {
            "question_id": np.repeat(answers["question_id"].to_numpy(), lengths),
            "position": np.concatenate([np.arange(length) for length in lengths]),
            "length": np.repeat(lengths, lengths),
            "relative_position": statistics.relative_positions(lengths),
            "token": tokens,
            "text": [texts[int(token)] for token in tokens],
            "greedy_token": greedy,
            "non_greedy": greedy != tokens,
            "log_prob": np.concatenate(reading["log_probs"].tolist()),
        }
    )


def reading_summary(
    answers: pd.DataFrame, reading: pd.DataFrame, *, draws: int, seed: int
) -> pd.DataFrame:
    """Return a reading's non-greedy share, perplexity and positions of non-greedy tokens."""
    lengths = _lengths(answers)
    pairs = list(zip(answers["tokens"], reading["greedy"], strict=True))
    hits = [np.asarray(tokens) != np.asarray(greedy) for tokens, greedy in pairs]
    counts = np.array([float(hit.sum()) for hit in hits])
    sums = np.array([float(np.sum(each)) for each in reading["log_probs"]])
    sizes = lengths.astype(np.float64)
    rows = [
        _row("non_greedy_share", statistics.share(counts, sizes, draws=draws, seed=seed)),
        _row("perplexity", statistics.perplexity(sums, sizes, draws=draws, seed=seed)),
    ]
    histogram = statistics.position_histogram(np.concatenate(hits), lengths, draws=draws, seed=seed)
    for part, (found, null) in enumerate(histogram):
        ends = {"bin_low": part / len(histogram), "bin_high": (part + 1) / len(histogram)}
        rows.append(_row("non_greedy_position", found) | ends | {"null": null})
    table = pd.DataFrame(rows)
    return table.assign(
        answers=len(answers), tokens=int(lengths.sum()), non_greedy_tokens=int(counts.sum())
    )


def writer_summary(answers: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy of a writer's greedy answers and the share cut by the limit."""
    scores = answers["score"].to_numpy(float)
    cut = (answers["finish"] == "length").to_numpy(float)
    table = pd.DataFrame(
        [
            _row("accuracy", wilson(scores.sum(), len(scores))),
            _row("cut_share", wilson(cut.sum(), len(cut))),
        ]
    )
    return table.assign(answers=len(answers), tokens=int(_lengths(answers).sum()))


def unguided(base: pd.DataFrame) -> pd.DataFrame:
    """Return the base's own answers in the form of `work.Work.guided`, for an empty prefix."""
    return base.assign(prefix_score=0.0, continued=True)


def prefix_row(
    guided: pd.DataFrame,
    base: pd.DataFrame,
    guide: pd.DataFrame,
    *,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Return the base's accuracy after a prefix.

    `gap_closed` is (with prefix - base) / (guide - base) in accuracy, with a paired bootstrap over
    questions; its interval is missing if the two models are too close.

    Args:
        guided: From `work.Work.guided`.
        base: The base's own answers.
        guide: The guide's own answers.
        draws: Bootstrap draws.
        seed: Seed of the draws.
    """
    scores = [each["score"].to_numpy(float) for each in (guided, base, guide)]
    n = len(guided)
    accuracy, alone, own = (
        wilson(score.sum(), n)
        for score in (scores[0], guided["prefix_score"].to_numpy(float), scores[2])
    )
    gap = _gap_closed(scores, draws, seed)
    row: dict[str, Any] = {"questions": n, "continued": int(values(guided, "continued").sum())}
    for name, found in (
        ("accuracy", accuracy),
        ("prefix_accuracy", alone),
        ("guide_accuracy", own),
        ("gap_closed", gap),
    ):
        row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return row


def _gap_closed(scores: list[NDArray[np.float64]], draws: int, seed: int) -> Interval:
    counts = resample_counts(len(scores[0]), draws, (seed,)).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        guided, base, guide = (score.mean() for score in scores)
        value = np.divide(guided - base, guide - base)
        drawn = counts @ np.stack(scores, axis=1)
        resampled = (drawn[:, 0] - drawn[:, 1]) / (drawn[:, 2] - drawn[:, 1])
    return percentile_interval(float(value) if np.isfinite(value) else float("nan"), resampled)


def _row(metric: str, found: Interval) -> dict[str, Any]:
    return {"metric": metric, "value": found.value, "low": found.low, "high": found.high}


def _lengths(answers: pd.DataFrame) -> NDArray[np.int64]:
    return np.array([len(tokens) for tokens in answers["tokens"]], dtype=np.int64)
