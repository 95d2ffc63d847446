"""Accuracy by stage of other people's training: full, rank-1 and AlphaRL."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import number, percent_interval
from rlvr_dynamics.results.scores import Score, score
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.schema.model_id import ModelId

from ..parts.paper_tables import (
    METHODS,
    OURS,
    RUN,
    Column,
    as_table,
    estimate,
    for_controls,
    in_percent,
    provenance_note,
    run_columns,
    with_ours,
    with_span,
)
from .paper import table
from .stages import scored, step_near

CHECKPOINT, RANK1, RANDOM, ALPHARL = "checkpoint", "rank-1", "random update", "AlphaRL"
PAPER_METHODS = {name: METHODS[name] for name in ("full_rl", "rank1", "alpharl")}


@dataclass(frozen=True)
class StageTable:
    """Description of one of the two tables.

    Attributes:
        number: The printed number.
        title: Its heading.
        look_at: What a reader should look at.
        measure: What the printed numbers are.
        benchmark: This package's name for its benchmark; None if there is none.
        split: The split of our runs' benchmarks that takes its place.
        stand_in: That split in words.
    """

    number: str
    title: str
    look_at: str
    measure: str
    benchmark: str | None
    split: str
    stand_in: str

    @property
    def artefact(self) -> Artefact:
        """Its entry in the registry."""
        make = partial(tables_by_stage, self)
        return table(self.number, self.title, self.look_at, "training_progress", make)


def tables_by_stage(table: StageTable, study: Study) -> list[Table]:
    """Build the printed rows with ours below, then the same stages of our own runs."""
    numbers = printed(paper="alpharl", table=f"table{table.number}")
    shares = [float(share) for share in sorted(set(numbers["train_fraction"]))]

    def ours(cells: Sequence[Cell], name: str) -> list[Table]:
        return [here_table(table, cells, name, shares)]

    return [paper_table(table, numbers, study), *for_controls(study, ours, table.artefact.name)]


def paper_table(table: StageTable, numbers: pd.DataFrame, study: Study) -> Table:
    """Build one printed row per stage, with ours or dashes below it."""
    rows: list[dict[str, object]] = []
    for (model, algorithm), block in numbers.groupby(["base_model", "algorithm"], sort=False):  # pyright: ignore[reportGeneralTypeIssues]
        stages = block.pivot(index="train_fraction", columns="method", values="value") / 100
        end = float(np.asarray(stages["full_rl"].loc[1.0]))
        for share, values in stages.sort_index().iterrows():
            shown = {name: values.get(key) for key, name in PAPER_METHODS.items()}
            rows.append(
                {
                    "model": model,
                    "algorithm": algorithm,
                    "share": share,
                    "source": ", ".join(sorted(set(block["provenance"]))),
                    **shown,
                    **_ratios(shown, end),
                    "speed-up": 1 / float(str(share)),
                }
            )
    runs = study if table.benchmark else Study(())
    return as_table(
        table.artefact.name,
        table.title,
        f"{table.measure}, in per cent as printed, by share of the training; the last AlphaRL "
        "cells are empty in the paper. Ratios are ours: rank-1 over full at the same stage, and "
        "AlphaRL, or the full model, of a stage over the full model at the end. The paper gives no "
        f"interval.{provenance_note(numbers.rename(columns={'provenance': 'source'}))}",
        with_ours(runs, rows, partial(_ours_beneath, table)),
        [
            *("model", "algorithm", "share", "source"),
            *(Column(name, in_percent) for name in PAPER_METHODS.values()),
            *(Column(name, number) for name in ("rank-1 / full", "AlphaRL / end", "full / end")),
            *("n", "speed-up", "cell"),
        ],
    )


def _ratios(values: Mapping[str, object], end: float) -> dict[str, float]:
    full, rank1, early = (float(str(values.get(name))) for name in PAPER_METHODS.values())
    return {"rank-1 / full": rank1 / full, "AlphaRL / end": early / end, "full / end": full / end}


def models_at(cell: Cell, share: float) -> tuple[float, dict[str, str]]:
    """Return the real share, and the ids of checkpoint, rank-1, random update and AlphaRL there."""
    final = cell.results.final_step
    step = final if share == 1 else step_near(cell.results, share)
    if step is None or final is None:
        return math.nan, {}
    return step / final, {
        CHECKPOINT: str(ModelId.checkpoint(step)),
        RANK1: str(ModelId("rank1_recovery", 0, step)),
        RANDOM: str(ModelId("random_update", 0, step)),
        ALPHARL: str(ModelId("alpharl", step, final)),
    }


def _ours_beneath(
    table: StageTable, cell: Cell, above: Mapping[str, Any]
) -> Iterator[dict[str, object]]:
    at, models = models_at(cell, float(above["share"]))
    whole = scored(cell)
    if not models or whole is None or table.benchmark is None:
        return

    def on(model: str) -> Score:
        return score(cell.results, model, str(table.benchmark), whole.protocol)

    kinds = zip(PAPER_METHODS.values(), (CHECKPOINT, RANK1, ALPHARL), strict=True)
    values = {name: on(models[kind]).accuracy.value for name, kind in kinds}
    if not math.isnan(values[METHODS["full_rl"]]):
        yield {
            **{name: above[name] for name in ("model", "algorithm")},
            "share": at,
            "source": OURS,
            **values,
            **_ratios(values, on(whole.final).accuracy.value),
            "n": on(models[CHECKPOINT]).questions,
            "speed-up": 1 / at,
            "cell": cell.name,
        }


def here_table(
    table: StageTable, cells: Sequence[Cell], name: str, shares: Sequence[float]
) -> Table:
    """Build the same stages of our runs, with a control for the rank-1 update."""
    return as_table(
        f"{name}_here",
        f"{table.title}: runs of this study",
        f"Accuracy in per cent on {table.stand_in}, with its 95 % interval over n questions; "
        "benchmarks count alike. This is another task than the paper's: compare the pattern, not "
        "the numbers. Rank-1: the leading part of the update at that step, rescaled to its norm; "
        "random update: the control of the same norm. AlphaRL: applied to the checkpoints up to "
        "that step, aiming at the last one.",
        (row for cell in cells for row in _here_rows(cell, table.split, shares)),
        [
            *(*RUN, "share"),
            *(estimate(kind, in_percent) for kind in (CHECKPOINT, RANK1, RANDOM, ALPHARL)),
            estimate("AlphaRL / end", number),
            *("n", "protocol", "speed-up", "cell"),
        ],
        f"Not measured: needs {table.stand_in}, scored (stage score).",
    )


def _here_rows(cell: Cell, split: str, shares: Sequence[float]) -> Iterator[dict[str, object]]:
    if not cell.results.benchmarks(split) or (models := scored(cell, (split,))) is None:
        return
    done: set[float] = set()
    for share in shares:
        at, ids = models_at(cell, share)
        if at in done or not any(model in models for model in ids.values()):
            continue
        done.add(at)
        accuracies: dict[str, object] = {}
        for kind, model in ids.items():
            accuracies |= with_span(kind, models.accuracy(model), percent_interval)
        yield {
            **run_columns(cell),
            "share": at,
            **accuracies,
            **with_span("AlphaRL / end", models.ratio(ids[ALPHARL])),
            "n": models.questions,
            "protocol": f"{models.protocol}, {models.samples_text} to a question",
            "speed-up": 1 / at,
            "cell": cell.name,
        }


TABLES = (
    StageTable(
        "5",
        "Full, rank-1 and AlphaRL by stage, on the task trained on",
        "Rank-1 follows the full model at every stage, early ones too; AlphaRL lies above both. "
        "No Kuhn Poker is played here: our runs show the same stages of their own tasks.",
        measure="Win rate at Kuhn Poker against another language model after self-play (Spiral)",
        benchmark=None,
        split="in_domain",
        stand_in="the benchmarks of the kind trained on",
    ),
    StageTable(
        "6",
        "Full, rank-1 and AlphaRL by stage, on tasks not trained on",
        "Whether what carries over to another task is in rank 1 as well, and whether AlphaRL "
        "brings it forward.",
        measure="MATH-500 after self-play at Kuhn Poker (Spiral)",
        benchmark="math500",
        split="out_of_domain",
        stand_in="the benchmarks of other kinds than the training's",
    ),
)
ARTEFACTS: list[Artefact] = [each.artefact for each in TABLES]
