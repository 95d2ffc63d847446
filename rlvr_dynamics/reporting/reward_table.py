"""What training paid and what the grader of the scores says, over all rollouts."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from rlvr_dynamics.reporting.tables import Table, absent
from rlvr_dynamics.results.formatting import integer, number, percent
from rlvr_dynamics.results.frames import has, known, mean, values
from rlvr_dynamics.results.run import Results

NAME, TITLE = "rewards", "What training pays, and what the grader says"
ROWS = 10  # of each kind of answers
KINDS = {"rollouts": "training", "validation": "validation"}
SHARES = ("acc", "acc_exact", "paid_only", "exact_only", "truncated")


def reward_table(results: Results) -> Table:
    """Build rows of neighbouring steps: shares of all answers beside verl's mean score."""
    metrics = results.tables["metrics"]
    if metrics is None:
        return absent(NAME, TITLE, "metrics")
    rows = [row for kind in KINDS for row in _rows(metrics, kind)]
    if not rows:
        return Table(NAME, TITLE, "", None, missing="Not measured: no rollouts were counted.")
    frame = pd.DataFrame(rows)
    differ = frame["paid_only"] + frame["exact_only"]
    return Table(
        NAME,
        TITLE,
        f"The reward's rule is `{results.config.data.reward}`. It and the grader of the scores "
        f"differ on up to {percent(differ.max())} of the answers. All answers count, also those of "
        "groups that dynamic sampling drops; the mean score is verl's, of what training learns "
        "from and with every penalty, and is an accuracy only where it equals `paid`. Step t draws "
        "its rollouts from the weights of step t - 1; a validation answers after step t.",
        frame,
        {
            **dict.fromkeys(["problems", "answers"], integer),
            **dict.fromkeys(SHARES, percent),
            "score": number,
        },
        {
            "acc": "paid",
            "acc_exact": "right for the grader",
            "paid_only": "paid, wrong for the grader",
            "exact_only": "not paid, right for the grader",
            "truncated": "cut off",
            "score": "mean score",
        },
    )


def _rows(metrics: pd.DataFrame, kind: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each range of steps; shares are weighted by the answers of a step."""
    names = {name: f"{kind}/{name}" for name in ("problems", "answers", *SHARES)}
    if not has(metrics, *names.values()):
        return
    counted = known(metrics, names["answers"]).sort_values(["step"])
    for places in np.array_split(np.arange(len(counted)), min(ROWS, len(counted))):
        part = counted.iloc[places]
        first, last = int(part["step"].iloc[0]), int(part["step"].iloc[-1])
        weights = values(part, names["answers"])
        row: dict[str, Any] = {
            "answers of": KINDS[kind],
            "steps": str(first) if first == last else f"{first} to {last}",
            "problems": values(part, names["problems"]).sum(),
            "answers": weights.sum(),
        }
        row |= {name: np.average(values(part, names[name]), weights=weights) for name in SHARES}
        scored = kind == "rollouts"
        yield row | {"score": mean(part, "critic/score/mean") if scored else np.nan}
