"""The stored answers of one model on one benchmark, as the mean score of each question."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyarrow import ArrowInvalid, BufferReader, parquet

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.sealed import Damaged, read_sealed

Answers = dict[str, tuple[pd.Series, int]]
"""By protocol: mean score of each question, and the maximum number of samples per question."""


def read_answers(path: Path) -> Answers:
    """Read a file of samples and keep only each question's mean score, to save memory.

    Raises:
        UserError: The file is damaged.
    """
    # A study reads thousands of these files, and grouping a frame takes three times longer.
    columns = ["question_id", "protocol", "score"]
    try:
        data = BufferReader(read_sealed(path))
        table = parquet.read_table(data, columns=columns, use_threads=False)
    except (ArrowInvalid, Damaged) as error:
        raise UserError(
            "this is not a whole parquet file, or its content is not what was written",
            where=str(path),
            way_out="remove the file and run the score stage again",
        ) from error
    scores = np.asarray(table["score"].to_numpy(), dtype=np.float64)
    questions, names = _codes(table["question_id"])
    protocols, labels = _codes(table["protocol"])
    found: Answers = {}
    for place, label in enumerate(labels):
        here = protocols == place
        samples = np.bincount(questions[here], minlength=len(names))
        known_here = here & ~np.isnan(scores)
        counts = np.bincount(questions[known_here], minlength=len(names))
        sums = np.bincount(questions[known_here], scores[known_here], minlength=len(names))
        asked = samples > 0
        with np.errstate(invalid="ignore"):  # questions without a known score have no mean
            means = sums[asked] / counts[asked]
        index = pd.Index(names[asked], name="question_id")
        found[str(label)] = pd.Series(means, index, name="score"), int(samples.max())
    return found


def _codes(column: Any) -> tuple[NDArray[np.intp], NDArray[np.object_]]:
    """Return a column's sorted unique values, and the index of every row's value among them."""
    encoded = column.combine_chunks().dictionary_encode()
    values_there = encoded.dictionary.to_numpy(zero_copy_only=False)
    order = np.argsort(values_there)
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order))
    return rank[encoded.indices.to_numpy()], values_there[order]
