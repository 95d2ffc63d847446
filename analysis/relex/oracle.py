"""RELEX's oracle: checkpoints rebuilt from the directions of the whole trajectory."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from analysis.parts.paper_tables import (
    RUN_FORMATS,
    for_controls,
    in_percent,
    provenance_note,
    run_columns,
)
from analysis.parts.random_walk import reconstruction_cosines, walk_of
from analysis.relex.tables import (
    PAPER_STEPS,
    SAMPLES,
    accuracy_cells,
    facts,
    point_cells,
    printed_rows,
    readable,
    with_ours,
)
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table, absent
from rlvr_dynamics.results.formatting import integer, interval, number
from rlvr_dynamics.results.frames import numbers, select
from rlvr_dynamics.results.relex_models import (
    median_and_quartiles,
    model_at,
    points,
    protocols,
    score,
    step_share,
    targets_of,
    title_of,
)
from rlvr_dynamics.results.study import Cell, Study

NAME = "relex_oracle"
TITLE = "Checkpoints rebuilt from the whole trajectory's directions"
ORACLES = {1: "trajectory_oracle", 5: "trajectory_oracle_rank5"}
SHARES = (0.1, 0.25, 0.5, 1.0)
SHOWN_RANKS = (1, 5)


def build(study: Study) -> list[Table]:
    """The printed rows with ours beneath, then our runs."""
    return [paper_table(study), *for_controls(study, _here, NAME)]


def paper_table(study: Study) -> Table:
    """Accuracy on MATH of the real and the rebuilt checkpoints of five steps."""
    printed = printed_rows("oracle")
    values = {(row["label"], row["step"]): row for row in printed.to_dict("records")}
    first = printed.iloc[0]
    rows = []
    for label in ("real", *ORACLES.values()):
        for step in sorted(set(printed["step"])):
            row, real = values.get((label, step)), values[("real", step)]
            gap = 100 * (row["value"] - real["value"]) if row and label != "real" else math.nan
            rows.append(
                {
                    "model": first["base_model"],
                    "algorithm": first["algorithm"],
                    "label": label,
                    "method": "real checkpoint" if label == "real" else readable(label),
                    "share": 1.0,
                    "step": step,
                    "source": row["provenance"] if row else "not printed",
                    "accuracy": row["value"] if row else math.nan,
                    "gap": gap,
                    "target": step / PAPER_STEPS,
                }
            )
    columns = ["model", "algorithm", "method", "step", "source", "accuracy", "interval", "n"]
    return Table(
        NAME,
        TITLE,
        "Accuracy in per cent on MATH; rank 5 is only said to be about as good as rank 1. The "
        "directions are those of all 500 steps, so every rebuilt checkpoint uses the future."
        f"{provenance_note(pd.DataFrame({'source': printed['provenance']}))}",
        pd.DataFrame(with_ours(study, rows), columns=[*columns, "gap", "cell"]),
        {
            **RUN_FORMATS,
            "step": integer,
            "accuracy": in_percent,
            "gap": lambda value: number(value, 1, signed=True),
        },
        {"interval": "95 %", "gap": "minus real, points"},
    )


def _here(cells: Sequence[Cell], name: str) -> list[Table]:
    rows = [row for cell in cells for row in here_rows(cell)]
    title = f"{TITLE}: runs of this study"
    if not rows:
        return [absent(f"{name}_here", title, "oracle")]
    order = ["model", "algorithm", "learning rate", "seed", "method", "step", "target", "cosine"]
    order += ["quartiles", "lowest", "walk", "tensors", "benchmark", "protocol", "accuracy"]
    order += ["interval", "n", "samples", "real", "gap", "gap interval", "cell"]
    return [
        Table(
            f"{name}_here",
            title,
            "Cosine of the real update with its projection on the leading directions of the whole "
            "trajectory, which use the future: median over tensors, quartiles, lowest; the ratio "
            "of the lengths is the same number. Walk: the same for a random walk with the run's "
            "step norms, in many dimensions (exact). Accuracy of the rebuilt in-domain checkpoint, "
            "in per cent with its 95 % interval over n questions, where one was scored, beside the "
            f"real checkpoint of that step (points: paired bootstrap). {facts(cells)}",
            pd.DataFrame(rows, columns=order),
            {
                **RUN_FORMATS,
                **SAMPLES,
                **dict.fromkeys(["step", "tensors"], integer),
                **dict.fromkeys(["cosine", "lowest", "walk"], lambda value: number(value, 4)),
                **dict.fromkeys(["accuracy", "real"], in_percent),
                "target": RUN_FORMATS["share"],
                "gap": lambda value: number(value, 1, signed=True),
            },
            {
                "target": "share",
                "walk": "random walk",
                "interval": "95 %",
                "real": "real checkpoint",
                "gap": "minus real, points",
                "gap interval": "95 %",
            },
        )
    ]


def here_rows(cell: Cell) -> Iterator[dict[str, object]]:
    """Both ranks, at some shares of the training and wherever a rebuilt checkpoint was scored."""
    table, final = cell.results.tables["oracle"], cell.results.final_step
    if table is None or final is None:
        return
    walk = walk_of(cell)
    scored = [step for label in ORACLES.values() for step in targets_of(cell.results, label)]
    wanted = sorted({max(1, round(share * final)) for share in SHARES} | set(scored))
    shown = select(table, table["rank"].isin(SHOWN_RANKS) & table["step"].isin(wanted))
    groups = {key: rows for key, rows in shown.groupby(["rank", "step"])}
    for rank in SHOWN_RANKS:
        for step in wanted:
            tensors = groups.get((rank, step))
            if tensors is None:
                continue
            middle = median_and_quartiles(tensors, "cosine")
            null = math.nan if walk is None else reconstruction_cosines(walk, rank)[step - 1]
            yield {
                **run_columns(cell),
                "method": readable(ORACLES[rank]),
                "step": step,
                "target": step_share(cell.results, step),
                "cosine": middle.value,
                "quartiles": interval(middle.low, middle.high, 4),
                "lowest": float(np.min(numbers(tensors, "cosine"))),
                "walk": null,
                "tensors": len(tensors),
                **_accuracy(cell, ORACLES[rank], step),
                "cell": cell.name,
            }


def _accuracy(cell: Cell, label: str, step: int) -> dict[str, object]:
    """Accuracy of a rebuilt checkpoint beside the real one, if it was scored."""
    results = cell.results
    model, real = model_at(results, label, step=step), model_at(results, "real", step=step)
    for benchmark in results.benchmarks("in_domain")[:1]:
        protocol = protocols(results, benchmark)[0]
        found = score(results, model, benchmark, protocol)
        if not math.isnan(found["accuracy"]):
            return {
                "benchmark": title_of(results, benchmark),
                "protocol": protocol,
                **accuracy_cells(found),
                "real": score(results, real, benchmark, protocol)["accuracy"],
                **point_cells("gap", points(results, model, real, [benchmark], protocol)),
            }
    return {}


ARTEFACTS: list[Artefact] = [
    Artefact(
        NAME,
        "relex",
        "oracle reconstruction",
        TITLE,
        "Rank 1 of the trajectory beside the real checkpoint: is a direction that has seen the "
        "whole training enough? And is the cosine above a random walk's, which is high as well?",
        "ablations",
        build,
    )
]
