"""Accuracy of every checkpoint: of a run's own rollouts, or of a table that the user gives."""

from pathlib import Path

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.measurement import AccuracySeries
from rlvr_dynamics.pipeline import Run
from rlvr_dynamics.sealed import read_parquet

SCORE = "critic/score/mean"


def accuracy_of(run: Run) -> AccuracySeries | None:
    """Return the accuracy of the checkpoints, None when nobody measured it.

    The rollouts of training step t + 1 are drawn from the weights of step t, so their mean score is
    the accuracy of checkpoint t on training problems, at no cost.

    Raises:
        UserError: `source.accuracy` is no such table.
    """
    given = run.config.source.accuracy
    if given is not None:
        return _read(Path(given))
    metrics = run.of("train") / "metrics.parquet"
    if run.config.source.base is not None or not metrics.exists():
        return None
    table = read_parquet(metrics)
    if SCORE not in table:
        return None
    known = table[["step", SCORE]].dropna()
    values = {
        int(step) - 1: float(score)
        for step, score in zip(known["step"], known[SCORE], strict=True)
        if step > 1
    }
    return AccuracySeries(values, "mean score of the next training step's rollouts")


def _read(path: Path) -> AccuracySeries:
    import pandas as pd

    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    way_out = "give a csv, jsonl or parquet file with the columns step and accuracy (0 to 1)"
    try:
        if path.suffix == ".jsonl":
            table = pd.read_json(path, lines=True)
        else:
            table = readers[path.suffix](path)
        steps = table["step"].astype(float).tolist()
        accuracies = table["accuracy"].astype(float).tolist()
    except (OSError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise UserError(
            f"source.accuracy cannot be read ({type(error).__name__}: {error})",
            where=str(path),
            way_out=way_out,
        ) from error
    if any(not step.is_integer() or step < 0 for step in steps) or len(set(steps)) < len(steps):
        raise UserError(
            "source.accuracy needs whole step numbers, each once", where=str(path), way_out=way_out
        )
    values = {int(step): accuracy for step, accuracy in zip(steps, accuracies, strict=True)}
    if not values or not all(0.0 <= value <= 1.0 for value in values.values()):
        raise UserError(
            "source.accuracy is empty or not between 0 and 1", where=str(path), way_out=way_out
        )
    return AccuracySeries(values, path.name)
