"""What verl's training logs: one file an attempt, and the rollouts that were counted beside it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.atomic import write_parquet
from rlvr_dynamics.training.rollout_counts import counts, folder_of

if TYPE_CHECKING:
    import pandas as pd

REWARD = "critic/score/mean"
VALIDATED = "val-"
STEP_SECONDS = "timing_s/step"
_HEAD = "metrics_"


def attempts(verl_folder: Path) -> list[Path]:
    """Return verl's logs of a training, one an attempt, in order; they may still be growing."""
    return sorted(
        verl_folder.glob(f"{_HEAD}*.jsonl"), key=lambda file: int(file.stem.removeprefix(_HEAD))
    )


def write_metrics(verl_folder: Path, path: Path) -> None:
    """Write the metrics of all attempts with their rollouts as one table."""
    write_parquet(path, metrics_of(attempts(verl_folder)))


def metrics_of(files: Iterable[Path]) -> "pd.DataFrame":
    """Merge the metrics of attempts with their rollouts; the last attempt of a step wins.

    An attempt takes the place of everything from its first trained step on: the training went on
    from the step before. A validation before the first step is step 0. One before the first step of
    a later attempt repeats that of the step from which the attempt goes on, and replaces nothing
    else.

    Args:
        files: From `attempts`, in order.

    Returns:
        One row a step, ascending, with the column `step`; empty without any.
    """
    import pandas as pd

    rows: dict[int, dict[str, Any]] = {}
    for attempt in files:
        logged = logged_rows(attempt.read_bytes())
        first = min((row["step"] for row in trained_rows(logged)), default=None)
        if first is not None:
            rows = {step: row for step, row in rows.items() if step < first}
        counted = counts(folder_of(attempt))
        for row in logged:
            step, data = row["step"], row["data"]
            known = {} if REWARD in data else rows.get(step, {})
            rows[step] = known | data | counted.get(step, {})
    return pd.DataFrame(
        [{"step": step, **rows[step]} for step in sorted(rows)],
        columns=None if rows else pd.Index(["step"]),
    )


class GrowingMetrics:
    """The metrics of a training that goes on; its logs are parsed again only where they grew.

    Args:
        verl_folder: Folder of the logs; it may be missing.
    """

    def __init__(self, verl_folder: Path) -> None:
        """Name the folder."""
        self._folder = verl_folder
        self._sizes: list[tuple[Path, int]] | None = None
        self._table: pd.DataFrame | None = None

    def table(self) -> "pd.DataFrame":
        """Return the present table (`metrics_of`)."""
        files = attempts(self._folder)
        counted = [path for file in files for path in folder_of(file).glob("*.jsonl")]
        sizes = [(path, path.stat().st_size) for path in (*files, *sorted(counted))]
        if self._table is None or sizes != self._sizes:
            self._sizes, self._table = sizes, metrics_of(files)
        return self._table


def logged_rows(data: bytes) -> list[dict[str, Any]]:
    """Return the rows of verl's log: trained steps, and validations before them."""
    # A killed writer can leave an incomplete last line.
    whole = data[: data.rfind(b"\n") + 1]
    try:
        rows = [json.loads(line) for line in whole.splitlines() if line.strip()]
    except ValueError as error:
        raise UserError(
            f"verl's log of metrics has a damaged line ({error})",
            where="train/verl/metrics_*.jsonl of the run",
            way_out="remove the line that is no JSON, then run the same command again",
        ) from error
    return [
        row
        for row in rows
        if any(name == REWARD or name.startswith(VALIDATED) for name in row.get("data", {}))
    ]


def trained_rows(logged: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of trained steps among those of `logged_rows`."""
    return [row for row in logged if REWARD in row["data"]]
