"""Accuracy of every checkpoint, from the run's own rollouts or a table given by the user."""

import csv
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from rlvr_dynamics.checkpoints.step_names import shortened
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.measurement import AccuracySeries
from rlvr_dynamics.run_directory.own_accuracy import own_accuracy, why_not
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.run_directory.training import training_of
from rlvr_dynamics.system.sealed import read_parquet

DECIMAL_COMMA = re.compile(r"^([+-]?\d+),(\d+)$")
WAY_OUT = "give a csv, tsv, jsonl or parquet file with the columns step and accuracy (0 to 1)"


def accuracy_of(run: Run, steps: Collection[int] | None = None) -> AccuracySeries | None:
    """Return the accuracy of the checkpoints, given or of their training; None if not measured.

    Args:
        run: The run.
        steps: Its checkpoints, some of which a given table must contain.

    Raises:
        UserError: `source.accuracy` is not such a table, or has none of these steps.
    """
    given = run.config.source.accuracy
    if given is not None:
        series = _read(Path(given))
        if steps is not None and not series.values.keys() & set(steps):
            raise UserError(
                f"source.accuracy has steps {shortened(series.values)}, and the checkpoints have "
                f"other steps: {shortened(steps)}",
                where=given,
                way_out="give accuracies of these steps, or source.accuracy=null",
            )
        return series
    training = training_of(run)
    return (
        None if training is None else own_accuracy(read_parquet(training.metrics), training.config)
    )


def without_accuracy(run: Run) -> str:
    """Say why a run has no accuracies and what to do, for a table or method that needs them."""
    give = "give source.accuracy=FILE with the columns step and accuracy"
    if not run.config.trains:
        return f"it needs accuracies; {give}"
    because = why_not(run.config) or "no score is known"
    return (
        f"it needs accuracies, and this run has none: {because}; {give}, or train again with "
        "trainer.validate_every=N"
    )


def _read(path: Path) -> AccuracySeries:
    try:
        columns = _columns(path)
        steps = [_number(value) for value in columns["step"]]
        accuracies = [_number(value) for value in columns["accuracy"]]
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        csv.Error,
    ) as error:
        raise UserError(
            f"source.accuracy cannot be read ({type(error).__name__}: {error})",
            where=str(path),
            way_out=WAY_OUT,
        ) from error
    if any(not step.is_integer() or step < 0 for step in steps) or len(set(steps)) < len(steps):
        raise UserError(
            "source.accuracy needs whole step numbers, each once", where=str(path), way_out=WAY_OUT
        )
    values = {int(step): accuracy for step, accuracy in zip(steps, accuracies, strict=True)}
    if not values or not all(0.0 <= value <= 1.0 for value in values.values()):
        raise UserError(
            "source.accuracy is empty or not between 0 and 1", where=str(path), way_out=WAY_OUT
        )
    return AccuracySeries(values, path.name)


def _columns(path: Path) -> dict[str, list[Any]]:
    """Return the columns of a table by name, lower-cased and stripped.

    Raises:
        ValueError: A name occurs twice, or a row has more or fewer fields than the header.
    """
    import pandas as pd

    kind = path.suffix.lower()
    if kind in (".csv", ".tsv", ".txt"):
        head, *rows = _rows(path.read_text(encoding="utf-8-sig"))
    else:
        table = pd.read_parquet(path) if kind == ".parquet" else pd.read_json(path, lines=True)
        head, rows = [str(name) for name in table.columns], table.to_numpy().tolist()
    names = [name.strip().lower() for name in head]
    for name in ("step", "accuracy"):
        if names.count(name) > 1:
            raise ValueError(f"two columns are called {name}")
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _rows(text: str) -> list[list[str]]:
    """Return the rows of a text table separated by tabs, semicolons, commas or spaces."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError("nothing in it")
    mark = next((mark for mark in "\t;," if mark in lines[0]), None)
    rows = (
        [line.split() for line in lines]
        if mark is None
        else list(csv.reader(lines, delimiter=mark, skipinitialspace=True, strict=True))
    )
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise ValueError(f"row {number} has {len(row)} fields, the head has {len(rows[0])}")
    if mark in ("\t", ";"):  # the comma is then the decimal mark
        rows[1:] = [
            [DECIMAL_COMMA.sub(r"\1.\2", field.strip()) for field in row] for row in rows[1:]
        ]
    return rows


def _number(value: Any) -> float:
    return float(value.strip() if isinstance(value, str) else value)
