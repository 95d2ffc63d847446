"""Descriptions of RELEX's tables of accuracies: printed rows, our rows, and columns."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table, absent
from rlvr_dynamics.results.forecasts import COUNTED
from rlvr_dynamics.results.formatting import integer, interval, number
from rlvr_dynamics.results.frames import median_and_quartiles, numbers, select
from rlvr_dynamics.results.kinds import same_runs
from rlvr_dynamics.results.methods import method_name
from rlvr_dynamics.results.scores import model_of, steps_of
from rlvr_dynamics.results.study import Cell, Study

from ..parts.paper_tables import Column, in_percent, run_columns, share_in_percent
from ..parts.random_walk import reconstruction_cosines, walk_of
from .accuracy_table import (
    ANSWERS,
    AccuracyTable,
    Scored,
    gap,
    in_domain,
    near_paper,
    relex_table,
    windows_and_targets,
)
from .beyond_training_tables import FAR, OUT_OF_DOMAIN
from .models import PAPER_SHARE, step_share
from .printed import (
    AXIS_NOTE,
    Row,
    every_step,
    printed_rows,
    readable,
    with_gaps,
)

# The paper's baselines, and our additional ones.
BASELINES = ("weight_extrapolation", "expo", "alpharl", "relex")
OUR_BASELINES = ("momentum", "first_update", "relex_raw", "shrunk_relex")
LOGITS = "logits extrapolation"
PRINTED_VARIANTS = (
    "relex",
    "relex_raw",
    "relex_rank5",
    "relex_rank10",
    "relex_polynomial",
    "neural",
)
VARIANTS = (
    "relex_rank3",
    "relex_rank5",
    "relex_rank10",
    "relex_polynomial",
    "relex_sinusoid",
    "neural",
    "relex_raw",
)
ORACLES = {1: "trajectory_oracle", 5: "trajectory_oracle_rank5"}
ORACLE_SHARES = (0.1, 0.25, 0.5, 1.0)
SKILL = (
    "the median over tensors of the forecast's skill in the weights (1 is perfect, 0 no better "
    f"than the last observed checkpoint). {COUNTED}"
)


# RELEX against the full training


def main_printed(study: Study) -> list[Row]:
    """Return base, full training and RELEX of three models on MATH."""
    rows = [row for row in printed_rows("main") if row["benchmark"] == "math"]
    return with_gaps(rows, beside="real", itself=0.0)


def main_rows(cell: Cell) -> Iterator[Row]:
    """Yield base, final checkpoint, and per window the last observed checkpoint and RELEX."""
    asked = near_paper(cell.results, "hold_last", "relex")
    return (scored.against_real_and_held() for scored in in_domain(cell, asked, most=None))


MAIN = AccuracyTable(
    name="relex_main",
    number="main table",
    title="RELEX on MATH",
    look_at="RELEX against the full training, and against the last checkpoint that it observed: "
    "what does the extrapolation add to stopping early?",
    question="acceleration",
    printed=main_printed,
    columns=("model", "algorithm", "method", "share", "source", "accuracy", "n")
    + (gap("minus full RL, points"),),
    caption="Accuracy in per cent on MATH (5,000 problems as printed; the paper prints no "
    "interval). Share: observed part of the training. In the released code the 8B row predicts "
    "step 750 of a training of 500. Ours stand beneath where a run has the same model and "
    f"algorithm.{AXIS_NOTE}",
    rows=main_rows,
    here=("method", "share", *ANSWERS, "vs real", "vs held"),
    here_title="RELEX on the in-domain benchmark",
    here_caption="Accuracy in per cent with its 95 % interval over the n questions, and what it "
    "is above the real final checkpoint and above the last observed one, in points (paired "
    "bootstrap). The windows nearest to the paper's 15 %, whose shares are in the row; greedy and "
    "sampled answers are rows of their own.",
)


# RELEX and other extrapolations of the same window


def baselines_printed(study: Study) -> list[Row]:
    """Return the printed methods on MATH, followed by those that only we run."""
    main = [row for row in printed_rows("main") if row["benchmark"] == "math"]
    first = main[0]
    rows = [*printed_rows("baselines"), *(row for row in main if row["model"] == first["model"])]
    rows.sort(key=lambda row: ("base", "real", *BASELINES).index(row["label"]))
    more = OUR_BASELINES if same_runs(study, first["model"], first["algorithm"]) else ()
    unprinted = {"share": PAPER_SHARE, "source": "not printed", "accuracy": math.nan}
    return rows + [
        {**first, "label": label, "method": readable(label), **unprinted}
        for label in (LOGITS, *(("hold_last", *more) if more else ()))
    ]


def baselines(cell: Cell) -> Iterator[Scored]:
    """Yield base, final checkpoint, and every method at the windows nearest to the paper's."""
    return in_domain(cell, near_paper(cell.results, "hold_last", *BASELINES, *OUR_BASELINES))


def over_runs(cells: Sequence[Cell], name: str) -> list[Table]:
    """Build points above the last observed and the final checkpoint, over algorithms and seeds."""
    groups: dict[tuple, list[Scored]] = {}
    for scored in (one for cell in cells for one in baselines(cell) if one.window):
        cell, share = scored.cell, step_share(scored.cell.results, scored.window)
        key = (cell.model, cell.learning_rate, share, scored.method)
        groups.setdefault(key, []).append(scored)
    rows = []
    for (model, rate, share, method), found in groups.items():
        held = [scored.above(scored.other("hold_last")) for scored in found]
        known = [interval.value for interval in held if not math.isnan(interval.value)]
        real = [scored.above(scored.other("real")).value for scored in found]
        real = [value for value in real if not math.isnan(value)]
        rows.append(
            {
                "model": model,
                "learning rate": rate,
                "method": found[0].cell.results.method_name(method),
                "share": share,
                "runs": len(found),
                "held": np.mean(known) if known else math.nan,
                "held range": _range(known),
                "better": sum(interval.low > 0 for interval in held) if known else math.nan,
                "worse": sum(interval.high < 0 for interval in held) if known else math.nan,
                "real": np.mean(real) if real else math.nan,
                "real range": _range(real),
                "cell": ", ".join(dict.fromkeys(scored.cell.name for scored in found)),
            }
        )
    if not rows:
        return []
    ordered = pd.DataFrame(rows).sort_values(["model", "learning rate", "share"], kind="stable")
    return [
        relex_table(
            f"{name}_runs",
            f"{BASELINE.title}: over runs",
            "In-domain accuracy above the last observed checkpoint and above the real final one, "
            "in points: mean over runs (algorithms and seeds), with the lowest and highest run in "
            "brackets, which is no confidence interval. Better, worse: runs whose own 95 % "
            "interval (paired bootstrap over questions) lies above or below the last observed "
            "checkpoint.",
            ordered.to_dict("records"),
            [
                *("model", "learning rate", "method", "share", Column("runs", integer)),
                *(gap("minus last observed, points", "held"), Column("held range", None, "range")),
                *(Column("better", integer), Column("worse", integer)),
                *(gap("minus real, points", "real"), Column("real range", None, "range")),
            ],
        )
    ]


def _range(values: Sequence[float]) -> str:
    return interval(min(values), max(values), 1, signed=True) if len(values) > 1 else ""


BASELINE = AccuracyTable(
    name="relex_baselines",
    number="baseline table",
    title="RELEX and other extrapolations",
    look_at="Each method against the last observed checkpoint, which costs nothing, and against "
    "the line of every weight: does a method with a decomposition do better than one without?",
    question="baselines",
    printed=baselines_printed,
    columns=("model", "algorithm", "method", "share", "source", "accuracy", "n"),
    caption="Accuracy in per cent on MATH; the paper prints one model, no interval, and compares "
    "with an extrapolation of logits whose value was not found. Not printed: the paper has no "
    f"such row.{AXIS_NOTE}",
    rows=lambda cell: (scored.against_real_and_held() for scored in baselines(cell)),
    here=("method", "share", *ANSWERS, "vs real", "vs held", "skill"),
    here_caption="In-domain accuracy in per cent with its 95 % interval over the n questions, "
    "what it is above the real final checkpoint and above the last observed one, in points "
    f"(paired bootstrap), and {SKILL} The windows nearest to the paper's 15 %, whose shares are "
    "in the row. ExPO's factor is the best of a grid on validation problems.",
    more=over_runs,
)


# More directions, other curves than a line, no decomposition at all


def ablation_printed(study: Study) -> list[Row]:
    """Return accuracy on MATH by method and target step, from the first 75 of 500 steps."""
    rows = printed_rows("ablation")
    ours = same_runs(study, rows[0]["model"], rows[0]["algorithm"])
    more = ("relex_rank3", "relex_sinusoid") if ours else ()
    return with_gaps(every_step(rows, [*PRINTED_VARIANTS, *more]), beside="relex")


def ablation_rows(cell: Cell) -> Iterator[Row]:
    """Yield rank 1 with a line and every variant, at the windows and targets of the variants."""
    asked = []
    for window, step in windows_and_targets(cell):
        there = [name for name in VARIANTS if model_of(cell.results, name, window, step)]
        asked += [(name, window, step) for name in (["relex", *there] if there else [])]
    for scored in in_domain(cell, asked):
        yield {**scored.row(), **scored.gap("gap", scored.other("relex", scored.step))}


ABLATION = AccuracyTable(
    name="relex_ablation",
    number="ablation table",
    title="RELEX with more directions, other curves, and without a decomposition",
    look_at="Does anything beat one direction and a straight line? The last rows of each block "
    "say whether the decomposition itself brings a gain over a line for every weight.",
    question="ablations",
    printed=ablation_printed,
    columns=("model", "algorithm", "method", "share", "step", "source", "accuracy", "n")
    + (gap("minus rank 1, points"),),
    caption="Accuracy in per cent on MATH by target step, from the first 75 of 500 steps, and "
    "what it is above rank 1 with a line at the same step; the paper prints no interval, and "
    f"neither the polynomial's degree nor the network's size was found.{AXIS_NOTE}",
    rows=ablation_rows,
    here=("method", "share", "target", *ANSWERS)
    + (gap("minus rank 1, points", interval="gap interval"), "skill"),
    here_caption="In-domain accuracy in per cent with its 95 % interval over the n questions, "
    "what it is above rank 1 with a line from the same window, in points (paired bootstrap), and "
    f"{SKILL} Share: observed part of the training; target: predicted step.",
)


# Checkpoints rebuilt from the directions of the whole trajectory


def four_digits(value: float) -> str:
    """Format a cosine."""
    return number(value, 4)


def oracle_printed(study: Study) -> list[Row]:
    """Return accuracy on MATH of the real and the rebuilt checkpoints at five steps."""
    rows = every_step(printed_rows("oracle"), ("real", *ORACLES.values()))
    return [{**row, "method": method_name(row["label"])} for row in with_gaps(rows, beside="real")]


def oracle_rows(cell: Cell) -> Iterator[Row]:
    """Yield both ranks, at fixed shares of the training and at every scored rebuilt checkpoint."""
    table, final = cell.results.tables["oracle"], cell.results.final_step
    if table is None or final is None:
        return
    walk = walk_of(cell)
    steps = [step for label in ORACLES.values() for step in steps_of(cell.results, label)]
    wanted = sorted({max(1, round(share * final)) for share in ORACLE_SHARES} | set(steps))
    shown = select(table, table["rank"].isin(list(ORACLES)) & table["step"].isin(wanted))
    groups = {key: rows for key, rows in shown.groupby(["rank", "step"])}
    for rank, label in ORACLES.items():
        for step in wanted:
            tensors = groups.get((rank, step))
            if tensors is None:
                continue
            middle = median_and_quartiles(tensors, "cosine")
            null = math.nan if walk is None else reconstruction_cosines(walk, rank)[step - 1]
            yield {
                **_rebuilt(cell, label, step),
                **run_columns(cell),
                "method": readable(label),
                "step": step,
                "target": step_share(cell.results, step),
                "cosine": middle.value,
                "quartiles": interval(middle.low, middle.high, 4),
                "lowest": float(np.min(numbers(tensors, "cosine"))),
                "walk": null,
                "tensors": len(tensors),
                "cell": cell.name,
            }


def _rebuilt(cell: Cell, label: str, step: int) -> Row:
    """Return accuracy of a rebuilt checkpoint and of the real one, if scored."""
    for scored in in_domain(cell, [(label, None, step)]):
        real = scored.other("real", step)
        there = {"real": scored.of(real).accuracy.value, **scored.gap("gap", real)}
        return {**scored.row(), **there}
    return {}


ORACLE = AccuracyTable(
    name="relex_oracle",
    number="oracle reconstruction",
    title="Checkpoints rebuilt from the whole trajectory's directions",
    look_at="Rank 1 of the trajectory beside the real checkpoint: is a direction that has seen "
    "the whole training enough? And is the cosine above a random walk's, which is high as well?",
    question="ablations",
    printed=oracle_printed,
    columns=("model", "algorithm", "method", "step", "source", "accuracy", "n")
    + (gap("minus real, points"),),
    caption="Accuracy in per cent on MATH; rank 5 is only said to be about as good as rank 1. The "
    "directions are those of all 500 steps, so every rebuilt checkpoint uses the future.",
    rows=oracle_rows,
    here=(
        *("method", "step", Column("target", share_in_percent, "share")),
        *(Column("cosine", four_digits), "quartiles", Column("lowest", four_digits)),
        *(Column("walk", four_digits, "random walk"), "tensors", *ANSWERS),
        Column("real", in_percent, "real checkpoint"),
        gap("minus real, points", interval="gap interval"),
    ),
    here_caption="Cosine of the real update with its projection on the leading directions of the "
    "whole trajectory, which use the future: median over tensors, quartiles, lowest; the ratio of "
    "the lengths is the same number. Walk: the same for a random walk with the run's step norms, "
    "in many dimensions (exact). Accuracy of the rebuilt in-domain checkpoint, in per cent with "
    "its 95 % interval over n questions, where one was scored, beside the real checkpoint of that "
    "step (points: paired bootstrap).",
    needs=absent("", "", "oracle").missing,
)


ARTEFACTS: list[Artefact] = [
    MAIN.artefact,
    OUT_OF_DOMAIN,
    *(table.artefact for table in (BASELINE, ABLATION, ORACLE, FAR)),
]
