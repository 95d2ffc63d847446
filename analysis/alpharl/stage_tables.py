"""AlphaRL's tables of a training elsewhere (5 and 6): full, rank-1 and AlphaRL by stage."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.alpharl.stages import scored, step_near
from analysis.parts.paper_tables import (
    METHODS,
    NOT_RUN,
    OURS,
    RUN,
    RUN_FORMATS,
    for_controls,
    in_percent,
    provenance_note,
    run_columns,
)
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import Formatter, interval, number, percent_interval
from rlvr_dynamics.results.kinds import same_runs
from rlvr_dynamics.results.scores import PairedAccuracy, score
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.schema.model_id import ModelId

CHECKPOINT, RANK1, RANDOM, ALPHARL = "checkpoint", "rank-1", "random update", "AlphaRL"
PAPER_METHODS = (METHODS["full_rl"], METHODS["rank1"], METHODS["alpharl"])


@dataclass(frozen=True)
class StageTable:
    """One of the two tables.

    Attributes:
        name: What its files are named after.
        title: Its heading.
        printed: Its rows of `rlvr_dynamics.claims.printed.printed`.
        measure: What the printed numbers are.
        benchmark: The benchmark under which this package would score it; None where it has none.
        split: The benchmarks of our runs that take its place.
        stand_in: What they are, in words.
    """

    name: str
    title: str
    printed: pd.DataFrame
    measure: str
    benchmark: str | None
    split: str
    stand_in: str


def stage_tables(table: StageTable, study: Study) -> list[Table]:
    """The printed rows with ours beneath, then the same stages of our own runs."""
    shares = [float(share) for share in sorted(set(table.printed["train_fraction"]))]

    def ours(cells: Sequence[Cell], name: str) -> list[Table]:
        return [here_table(table, cells, name, shares)]

    return [paper_table(table, study), *for_controls(study, ours, table.name)]


def paper_table(table: StageTable, study: Study) -> Table:
    """One row a stage, as printed; ours beneath it, or dashes."""
    rows: list[dict[str, object]] = []
    for (model, algorithm), block in table.printed.groupby(  # pyright: ignore[reportGeneralTypeIssues]
        ["base_model", "algorithm"], sort=False
    ):
        cells = same_runs(study, str(model), str(algorithm)) if table.benchmark else []
        first = {"model": model, "algorithm": algorithm}
        stages = block.pivot(index="train_fraction", columns="method", values="value") / 100
        end = float(np.asarray(stages["full_rl"].loc[1.0]))
        for share, values in stages.sort_index().iterrows():
            full, rank1, early = (values.get(name) for name in ("full_rl", "rank1", "alpharl"))
            shown = dict(zip(PAPER_METHODS, (full, rank1, early), strict=True))
            rows.append(
                {
                    **first,
                    "share": share,
                    "source": ", ".join(sorted(set(block["provenance"]))),
                    **shown,
                    **_ratios(shown, end),
                    "speed-up": 1 / float(str(share)),
                }
            )
            for cell in cells:
                rows += _ours_beneath(table, cell, float(str(share)), first)
        if not cells:
            rows.append({**first, "source": NOT_RUN})
    order = ["model", "algorithm", "share", "source", *PAPER_METHODS]
    order += ["rank-1 / full", "AlphaRL / end", "full / end", "n", "speed-up", "cell"]
    shown_share: dict[str, Formatter] = dict.fromkeys(order[7:10], number)
    return Table(
        table.name,
        table.title,
        f"{table.measure}, in per cent as printed, by share of the training; the last AlphaRL "
        "cells are empty in the paper. Ratios are ours: rank-1 over full at the same stage, and "
        "AlphaRL, or the full model, of a stage over the full model at the end. The paper gives no "
        f"interval.{provenance_note(table.printed.rename(columns={'provenance': 'source'}))}",
        pd.DataFrame(rows, columns=order),
        {**RUN_FORMATS, **dict.fromkeys(PAPER_METHODS, in_percent), **shown_share},
    )


def _ratios(values: Mapping[str, object], end: float) -> dict[str, float]:
    full, rank1, early = (float(str(values.get(name))) for name in PAPER_METHODS)
    return {"rank-1 / full": rank1 / full, "AlphaRL / end": early / end, "full / end": full / end}


def models_at(cell: Cell, share: float) -> tuple[float, dict[str, str]]:
    """The real share and the model ids of checkpoint, rank-1, random update and AlphaRL there."""
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
    table: StageTable, cell: Cell, share: float, first: dict[str, object]
) -> Iterator[dict[str, object]]:
    at, models = models_at(cell, share)
    whole = scored(cell)
    if not models or whole is None or table.benchmark is None:
        return
    found = {
        method: score(cell.results, model, table.benchmark, whole.protocol)
        for method, model in models.items()
    }
    end = score(cell.results, whole.final, table.benchmark, whole.protocol)
    kinds = zip(PAPER_METHODS, (CHECKPOINT, RANK1, ALPHARL), strict=True)
    values = {name: found[kind].accuracy.value for name, kind in kinds}
    if not math.isnan(found[CHECKPOINT].accuracy.value):
        yield {
            **first,
            "share": at,
            "source": OURS,
            **values,
            **_ratios(values, end.accuracy.value),
            "n": found[CHECKPOINT].questions,
            "speed-up": 1 / at,
            "cell": cell.name,
        }


def here_table(
    table: StageTable, cells: Sequence[Cell], name: str, shares: Sequence[float]
) -> Table:
    """The same stages of our runs, with the control of the rank-1 update beside it."""
    rows = [row for cell in cells for row in _here_rows(cell, table.split, shares)]
    title = f"{table.title}: runs of this study"
    if not rows:
        missing = f"Not measured: needs {table.stand_in}, scored (stage score)."
        return Table(f"{name}_here", title, "", None, missing=missing)
    kinds = (CHECKPOINT, RANK1, RANDOM, ALPHARL)
    order = [*RUN, "share"]
    for kind in kinds:
        order += [kind, f"{kind} [95 %]"]
    order += ["AlphaRL / end", "AlphaRL / end [95 %]", "n", "protocol", "speed-up", "cell"]
    return Table(
        f"{name}_here",
        title,
        f"Accuracy in per cent on {table.stand_in}, with its 95 % interval over n questions; "
        "benchmarks count alike. This is another task than the paper's: compare the pattern, not "
        "the numbers. Rank-1: the leading part of the update at that step, rescaled to its norm; "
        "random update: the control of the same norm. AlphaRL: applied to the checkpoints up to "
        "that step, aiming at the last one.",
        pd.DataFrame(rows, columns=order),
        {**RUN_FORMATS, **dict.fromkeys(kinds, in_percent), "AlphaRL / end": number},
        {f"{kind} [95 %]": "95 %" for kind in (*kinds, "AlphaRL / end")},
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
        kept = models.ratio(ids[ALPHARL])
        yield {
            **run_columns(cell),
            "share": at,
            **_with_intervals(models, ids),
            "AlphaRL / end": kept.value,
            "AlphaRL / end [95 %]": interval(kept.low, kept.high),
            "n": models.questions,
            "protocol": f"{models.protocol}, {models.samples} to a question",
            "speed-up": 1 / at,
            "cell": cell.name,
        }


def _with_intervals(models: PairedAccuracy, ids: dict[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for kind, model in ids.items():
        value = models.accuracy(model)
        found[kind] = value.value
        found[f"{kind} [95 %]"] = percent_interval(value.low, value.high)
    return found
