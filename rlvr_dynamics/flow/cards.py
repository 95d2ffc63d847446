"""The cards of a run's predictions, which name its base and what each has scored."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.checkpoints.identity import MANIFEST
from rlvr_dynamics.extrapolation.card import Scored, write_card
from rlvr_dynamics.results.frames import equal
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema.model_id import ModelId

if TYPE_CHECKING:
    import pandas as pd


def write_cards(run: Run, index: "pd.DataFrame", scores: "pd.DataFrame | None" = None) -> None:
    """Write the card of every prediction of a run.

    Args:
        run: The run.
        index: The index of its predictions.
        scores: The table of scores; None before the predictions are scored.
    """
    model = run.config.model
    base = str(getattr(model, "repo", None) or model.name or "")
    # A model on this machine is a path, which says nothing elsewhere.
    base = "" if base.startswith(("/", ".", "~")) or Path(base).exists() else base
    for row in index.to_dict("records"):
        if not (run.folder / row["path"] / MANIFEST).is_file():
            continue
        found = None if scores is None else equal(scores, model=prediction_id(row))
        write_card(
            run.folder / row["path"],
            observe=int(row["observe"]),
            base=base,
            uses_future=bool(row["uses_future"]),
            scores=[] if found is None else [_scored(each) for each in found.to_dict("records")],
        )


def prediction_id(row: Mapping[Hashable, Any]) -> str:
    """Return the name under which a prediction is scored."""
    return str(ModelId(str(row["method"]), int(row["observe"]), int(row["step"])))


def _scored(row: Mapping[Hashable, Any]) -> Scored:
    return Scored(
        str(row.get("title") or row["benchmark"]),
        str(row["protocol"]),
        float(row["accuracy"]),
        float(row["ci_low"]),
        float(row["ci_high"]),
        int(row["questions"]),
        int(row["samples"]),
    )
