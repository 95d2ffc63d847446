"""How long answers are: published means by kind of model and data, from `lengths.csv`.

A row is a range of mean answers in tokens: where sources differ, or a model before and after
training. Each has its source; what was carried over from another model or benchmark says
"assumed".
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rlvr_dynamics.estimates.ranges import Range
from rlvr_dynamics.schema import RunConfig

FILE = Path(__file__).with_name("lengths.csv")
# Which rows hold for a model of configs/model; for any other model every kind is possible.
KINDS = {
    "qwen2_5_math_1_5b": "math_4k",
    "qwen2_5_math_7b": "math_4k",
    "qwen3_4b": "base",
    "qwen3_8b": "base",
    "qwen3_14b": "base",
    "qwen2_5_7b": "base",
    "qwen2_5_32b": "base",
    "llama3_1_8b": "base",
    "glm4_9b": "base",
    "r1_distill_qwen_7b": "reasoning",
}
TRAINING = {
    "TianHongZXY/MATH": "train_math",
    "open-r1/DAPO-Math-17k-Processed": "train_dapo_math",
}
PROMPT_TOKENS = 170  # DAPO-Math-17k with its template, in the log of verl's issue 816
# assumed: a batch's longest answer has at least this many means; in the logs of verl's issues 816,
# 1208 and 7412 it has 6.5 (787 and 5,120), and is the longest allowed (1,024 and 3,072)
TAIL = 4


@dataclass(frozen=True)
class Length:
    """Answers to one set of problems, in tokens.

    Attributes:
        mean: Of all answers.
        longest: Of a large batch.
    """

    mean: float
    longest: float


@dataclass(frozen=True)
class Row:
    """A row of the table: mean answers in tokens, and where they are printed."""

    model_kind: str
    data: str
    low: int
    high: int
    source: str


@cache
def table() -> tuple[Row, ...]:
    """Return the rows of `lengths.csv`."""
    with FILE.open(newline="", encoding="utf-8") as file:
        return tuple(
            Row(row["model_kind"], row["data"], int(row["low"]), int(row["high"]), row["source"])
            for row in csv.DictReader(file)
        )


def mean_tokens(model: str, data: str) -> Range:
    """Return the mean answer of a model to a benchmark or training set.

    Args:
        model: Name of the model's configuration; an unknown one may be of any kind.
        data: Name of the benchmark, or ``train_...``; unknown data may be any in the table.
    """
    kind = KINDS.get(model)
    rows = [row for row in table() if kind in (None, row.model_kind)]
    rows = [row for row in rows if row.data == data] or rows
    return Range(min(row.low for row in rows), max(row.high for row in rows))


def training_data(config: RunConfig) -> str:
    """Return the table's name of the training problems; of unknown ones, their own."""
    if config.data.kind != "hub":
        return config.data.kind
    return TRAINING.get(config.data.train.repo, config.data.train.repo)


def short_answers(tokens: Range, limit: int) -> Length:
    """Return the low estimate of answers that may have at most `limit` tokens."""
    mean = min(tokens.low, limit)
    return Length(mean, min(TAIL * mean, limit))


def long_answers(tokens: Range, limit: int) -> Length:
    """Return the high estimate, whose longest answer reaches the limit."""
    return Length(min(tokens.high, limit), limit)
