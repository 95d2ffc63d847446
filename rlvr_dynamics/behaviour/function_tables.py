"""Builds the tables about function space: fixed answers under every checkpoint of a training."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rlvr_dynamics.behaviour import statistics
from rlvr_dynamics.behaviour.function_space import (
    DRAWS,
    Array,
    Scores,
    Summary,
    lines,
    moved,
    null_summaries,
    summary,
)
from rlvr_dynamics.behaviour.job import BASE, TRAINED, Course
from rlvr_dynamics.schema.tables import FUNCTION_NULLS

WRITERS = (BASE, TRAINED)
MOST_TOKENS = 20_000
NAMES = ("function", "log_probs", "token_lines")

Scored = Callable[[int, str], pd.DataFrame]
"""From a step and a writer to the checkpoint's scores (`work.Work.on_course`)."""


def function_tables(
    course: Course,
    scored: Scored,
    answers: Mapping[str, pd.DataFrame],
    texts: Mapping[int, str],
    *,
    draws: int,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Return the tables `NAMES`.

    Args:
        course: The checkpoints, at least one.
        scored: Makes or reads a checkpoint's scores.
        answers: Writer to its answers.
        texts: Token to its text.
        draws: Bootstrap draws over answers.
        seed: Seed of the draws, of the nulls, and of the choice of at most `MOST_TOKENS` tokens
            of a writer to which lines are fitted.
    """
    # A checkpoint is loaded once and reads both writers.
    read = [{who: scored(step, who) for who in WRITERS} for step in (0, *course.steps)]
    clocks, made = clocks_of(course), {name: [] for name in NAMES}
    for writer in WRITERS:
        of = [each[writer] for each in read]
        rows = [
            _means(step, course, each, draws, seed)
            for step, each in zip((0, *course.steps), of, strict=True)
        ]
        names, answer = _names(answers[writer], texts)
        chosen = _chosen(len(names), seed)
        series = np.stack([np.concatenate(each["log_probs"].tolist()) for each in of], axis=1)
        series, answer, names = series[chosen], answer[chosen], names.iloc[chosen]
        found = {clock: lines(positions, series) for clock, positions in clocks.items()}
        tokens = [_token_rows(names, series, each, clock) for clock, each in found.items()]
        fits = _line_rows(course, clocks, series, found, answer, draws, seed)
        for name, table in zip(NAMES, (pd.DataFrame(rows), pd.concat(tokens), fits), strict=True):
            made[name].append(table.assign(writer=writer))
    return {name: pd.concat(tables, ignore_index=True) for name, tables in made.items()}


def clocks_of(course: Course) -> dict[str, Array]:
    """Return the positions of base and checkpoints on each clock that is known, shape (P,)."""
    clocks = {"step": np.array([0.0, *course.steps])}
    if all(step in course.path for step in course.steps):
        clocks["path"] = np.array([0.0, *(course.path[step] for step in course.steps)])
    return clocks


def correlations_of(course: Course) -> dict[str, NDArray[np.float64] | None]:
    """Return the correlations of the steps of each null that can be drawn, None for independent.

    The optimizer's noise needs a known optimizer and checkpoints at even steps from the base on.
    """
    found: dict[str, NDArray[np.float64] | None] = {"walk": None}
    noise = course.optimizer and course.optimizer.noise_of(np.array(course.steps))
    if noise is not None:
        found["optimizer"] = noise
    return found


def _means(
    step: int, course: Course, read: pd.DataFrame, draws: int, seed: int
) -> dict[str, float | int]:
    sizes = np.array([len(each) for each in read["log_probs"]], dtype=np.float64)
    path = 0.0 if step == 0 else course.path.get(step, np.nan)
    row: dict[str, float | int] = {"step": step, "path": path}
    row |= {"answers": len(sizes), "tokens": int(sizes.sum())}
    for name, column in (
        ("log_prob", "log_probs"),
        ("kl_to_base", "divergences"),
        ("entropy", "entropies"),
    ):
        sums = np.array([float(np.sum(each)) for each in read[column]])
        mean = statistics.per_token(sums, sizes, draws=draws, seed=seed)
        row |= {name: mean.value, f"{name}_low": mean.low, f"{name}_high": mean.high}
    return row


def _names(
    answers: pd.DataFrame, texts: Mapping[int, str]
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return which token of which answer each row is, and the index of its answer."""
    lengths = [len(tokens) for tokens in answers["tokens"]]
    tokens = np.concatenate(answers["tokens"].tolist())
    names = pd.DataFrame(
        {
            "question_id": np.repeat(answers["question_id"].to_numpy(), lengths),
            "position": np.concatenate([np.arange(length) for length in lengths]),
            "token": tokens,
            "text": [texts[int(token)] for token in tokens],
        }
    )
    return names, np.repeat(np.arange(len(lengths)), lengths)


def _chosen(count: int, seed: int) -> NDArray[np.int64]:
    if count <= MOST_TOKENS:
        return np.arange(count)
    drawn = np.random.default_rng(seed).choice(count, MOST_TOKENS, replace=False)
    return np.sort(drawn)


def _token_rows(names: pd.DataFrame, series: Array, found: Scores, clock: str) -> pd.DataFrame:
    return names.assign(
        clock=clock,
        points=series.shape[1],
        first=series[:, 0],
        last=series[:, -1],
        change=series[:, -1] - series[:, 0],
        moved=moved(series),
        slope=found.slope,
        r2=found.r2,
        heldout_r2=found.heldout_r2,
    )


def _line_rows(
    course: Course,
    clocks: Mapping[str, Array],
    series: Array,
    found: Mapping[str, Scores],
    answer: NDArray[np.int64],
    draws: int,
    seed: int,
) -> pd.DataFrame:
    from rlvr_dynamics.dynamics import noise_walks  # which loads torch

    nulls = {
        name: null_summaries(noise_walks(series, DRAWS, seed, correlation), dict(clocks))
        for name, correlation in correlations_of(course).items()
    }
    rows: list[dict[str, Any]] = []
    for clock, fits in found.items():
        for selected in (False, True):
            keep = moved(series) | (not selected)
            row: dict[str, Any] = {
                "clock": clock,
                "selected": selected,
                "points": series.shape[1],
                "answers": len(np.unique(answer)),
                "all_tokens": len(series),
                "constant": int((keep & ~np.isfinite(fits.r2)).sum()),
                **_columns("", summary(fits, keep, answer, draws, seed)),
            }
            for name, summaries in nulls.items():
                columns = _columns(FUNCTION_NULLS[name].prefix, summaries[clock, selected])
                row |= {column: v for column, v in columns.items() if not column.endswith("tokens")}
            rows.append(row | {"null_draws": DRAWS})
    return pd.DataFrame(rows)


def _columns(prefix: str, found: Summary) -> dict[str, float | int]:
    return {
        f"{prefix}tokens": found.tokens,
        f"{prefix}kept_share": found.kept,
        f"{prefix}r2": found.r2.value,
        f"{prefix}r2_low": found.r2.low,
        f"{prefix}r2_high": found.r2.high,
        f"{prefix}above_share": found.above,
        f"{prefix}heldout_r2": found.heldout_r2,
    }
