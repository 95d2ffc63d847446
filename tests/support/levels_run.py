"""A run in which a test sets the level of every accuracy and column; for tests only.

A model of level a answers the first a of 4,000 questions right, so two models differ on |a - b|
questions, and a difference of a few decides on which side of a threshold a claim lies.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from tests.support.irregular_run import parse, save, write_config
from tests.support.irregular_weights import RANGES, Column, write_weights

QUESTIONS = 4_000
BENCHMARKS = {"sums": "in_domain", "chains": "out_of_domain"}


def constant(levels: Mapping[str, float]) -> Column:
    """Return columns of one value each: the given one, or the middle of its range."""
    assert set(levels) <= set(RANGES)
    middle = {name: (low + high) / 2 for name, (low, high) in RANGES.items()} | dict(levels)
    return lambda name, count: np.full(count, middle[name], dtype=np.float64)


def write_levels(
    folder: Path,
    right: Mapping[str, int],
    columns: Mapping[str, float],
    **config: object,
) -> Path:
    """Write a run directory and return it.

    Args:
        folder: Where to write it.
        right: Number of questions that each model answers right.
        columns: Levels of the columns in `irregular_weights`.
        config: Changed keys of the run's configuration.
    """
    write_weights(folder, constant(columns))
    write_config(folder, seed=1, report={"bootstrap_draws": 100}, **config)
    scores = folder / "scores"
    names = np.array([f"q{place:04d}" for place in range(QUESTIONS)])
    for level in sorted(set(right.values())):
        answers = {"question_id": names, "protocol": "greedy", "sample": 0}
        answers["score"] = (np.arange(QUESTIONS) < level).astype(float)
        save(pd.DataFrame(answers), scores / "levels" / f"{level}.parquet")
    rows = []
    for model, level in right.items():
        method, observe, step = parse(model)
        for benchmark, split in BENCHMARKS.items():
            place = scores / "samples" / model / f"{benchmark}.parquet"
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(scores / "levels" / f"{level}.parquet", place)
            row = {"model": model, "method": method, "observe": observe, "step": step}
            row |= {"benchmark": benchmark, "split": split, "protocol": "greedy"}
            rows.append({**row, "accuracy": level / QUESTIONS, "questions": QUESTIONS})
    save(pd.DataFrame(rows), scores / "scores.parquet")
    return folder


def write_behaviour(folder: Path, levels: Mapping[str, float]) -> None:
    """Write the tables of the stage `behaviour` that claims use.

    Args:
        folder: The run directory.
        levels: agreement, perplexity (base's over the trained model's), guided and alone (shares
            of the gap), embedding (cosine), early (share of the early tokens above the null), and
            lines and noise (median R² of the selected tokens and of their null).
    """
    place = {"metric": "non_greedy_position", "bin_low": 0.0, "null": 0.1}
    summary = [
        {"metric": "non_greedy_share", "writer": "trained", "value": 1 - levels["agreement"]},
        {"metric": "non_greedy_share", "writer": "random_update", "value": 0.4},
        {"metric": "perplexity", "writer": "base", "value": 3 * levels["perplexity"]},
        {"metric": "perplexity", "writer": "trained", "value": 3.0},
        {"metric": "perplexity", "writer": "rank1_recovery", "value": 2.0},
        {**place, "writer": "trained", "value": 0.1 + levels["early"]},
        {**place, "writer": "rank1_recovery", "value": 0.05},
        {**place, "writer": "trained", "bin_low": 0.1, "value": 0.02},
    ]
    frame = pd.DataFrame(summary).assign(reader="base", answers=70, tokens=900)
    frame = frame.assign(
        non_greedy_tokens=90, low=frame["value"] - 0.001, high=frame["value"] + 0.002
    )
    # Readings by other models do not matter here.
    other = frame.assign(reader="rank1_recovery", value=0.5, answers=3)
    save(pd.concat([other, frame]), folder / "behaviour" / "summary.parquet")
    base, trained = 0.2, 0.8
    prefix = []
    for guide, tokens in (("trained", 0), ("trained", 5), ("trained", 20), ("random_update", 20)):
        named = guide == "trained" and tokens == 20
        closed = levels["guided"] if named else 0.1
        alone = levels["alone"] if named else 0.95
        prefix.append(
            {"guide": guide, "guide_tokens": tokens, "questions": 60, "continued": 41}
            | {"accuracy": base + closed * (trained - base) if tokens else base}
            | {"guide_accuracy": trained, "prefix_accuracy": base + alone * (trained - base)}
            | {"gap_closed": closed, "gap_closed_low": closed - 0.002}
            | {"gap_closed_high": closed + 0.003}
        )
    save(pd.DataFrame(prefix), folder / "behaviour" / "prefix.parquet")
    rows = [
        {"model": model, "matrix": matrix, "used": used, "cosine": cosine}
        for model, matrix, used, cosine in (
            *[("trained", "input", True, levels["embedding"] + shift) for shift in (-1e-4, 1e-4)],
            ("trained", "input", False, 0.3),
            ("trained", "output", True, 0.5),
            ("random_update", "input", True, 0.7),
        )
    ]
    save(pd.DataFrame(rows), folder / "behaviour" / "embeddings.parquet")
    lines = [
        {"writer": writer, "clock": clock, "selected": selected, "tokens": 41, "kept_share": 0.1}
        | {"r2": r2, "r2_low": r2 - 0.001, "r2_high": r2 + 0.002, "heldout_r2": -0.5}
        | {"null_r2": 0.5, "null_r2_low": 0.1, "null_r2_high": 0.9}
        | {"optimizer_null_r2": levels["noise"], "optimizer_null_r2_low": 0.3}
        | {"optimizer_null_r2_high": 0.9}
        for writer, clock, selected, r2 in (
            ("trained", "step", True, 0.4),
            ("base", "path", True, 0.99),
            ("base", "step", False, 0.45),
            ("base", "step", True, levels["lines"]),
        )
    ]
    save(pd.DataFrame(lines), folder / "behaviour" / "token_lines.parquet")
