"""RELEX's ablation: more directions, other curves than a line, no decomposition at all."""

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from analysis.parts.paper_tables import (
    RUN_FORMATS,
    for_controls,
    in_percent,
    provenance_note,
    run_columns,
)
from analysis.relex.tables import (
    NEEDS,
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
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.forecasts import COUNTED
from rlvr_dynamics.results.formatting import integer, number
from rlvr_dynamics.results.kinds import same_runs
from rlvr_dynamics.results.relex_models import (
    PAPER_SHARE,
    model_at,
    points,
    protocols,
    score,
    skill,
    step_share,
    targets_of,
    title_of,
)
from rlvr_dynamics.results.study import Cell, Study

NAME = "relex_ablation"
TITLE = "RELEX with more directions, other curves, and without a decomposition"
PLAIN = "relex"
PRINTED = ("relex", "relex_raw", "relex_rank5", "relex_rank10", "relex_polynomial", "neural")
VARIANTS = (
    "relex_rank3",
    "relex_rank5",
    "relex_rank10",
    "relex_polynomial",
    "relex_sinusoid",
    "neural",
    "relex_raw",
)


def build(study: Study) -> list[Table]:
    """The printed rows with ours beneath, then our runs."""
    return [paper_table(study), *for_controls(study, _here, NAME)]


def paper_table(study: Study) -> Table:
    """Accuracy on MATH by method and target step, from the first 75 of 500 steps."""
    printed = printed_rows("ablation")
    values = {(row["label"], row["step"]): row for row in printed.to_dict("records")}
    first = printed.iloc[0]
    rows = []
    ours = same_runs(study, str(first["base_model"]), str(first["algorithm"]))
    for label in (*PRINTED, *(("relex_rank3", "relex_sinusoid") if ours else ())):
        for step in sorted(set(printed["step"])):
            row = values.get((label, step))
            rows.append(
                {
                    "model": first["base_model"],
                    "algorithm": first["algorithm"],
                    "label": label,
                    "method": readable(label),
                    "share": PAPER_SHARE,
                    "step": step,
                    "source": row["provenance"] if row else "not printed",
                    "accuracy": row["value"] if row else math.nan,
                    "gap": _gap(values, label, step),
                    "target": step / PAPER_STEPS,
                }
            )
    columns = ["model", "algorithm", "method", "share", "step", "source", "accuracy"]
    return Table(
        NAME,
        TITLE,
        "Accuracy in per cent on MATH by target step, from the first 75 of 500 steps, and what it "
        "is above rank 1 with a line at the same step; the paper prints no interval, and neither "
        "the polynomial's degree nor the network's size was "
        f"found.{provenance_note(pd.DataFrame({'source': printed['provenance']}))}",
        pd.DataFrame(with_ours(study, rows), columns=[*columns, "interval", "n", "gap", "cell"]),
        {
            **RUN_FORMATS,
            "step": integer,
            "accuracy": in_percent,
            "gap": lambda value: number(value, 1, signed=True),
        },
        {"interval": "95 %", "gap": "minus rank 1, points"},
    )


def _gap(values: dict, label: str, step: float) -> float:
    own, plain = values.get((label, step)), values.get((PLAIN, step))
    if own is None or plain is None or label == PLAIN:
        return math.nan
    return 100 * (own["value"] - plain["value"])


def _here(cells: Sequence[Cell], name: str) -> list[Table]:
    rows = [row for cell in cells for row in here_rows(cell)]
    title = f"{TITLE}: runs of this study"
    if not rows:
        return [Table(f"{name}_here", title, "", None, missing=NEEDS)]
    return [
        Table(
            f"{name}_here",
            title,
            "In-domain accuracy in per cent with its 95 % interval over the n questions, what it "
            "is above rank 1 with a line from the same window, in points (paired bootstrap), and "
            "the median over tensors of the forecast's skill in the weights (1 is perfect, 0 no "
            f"better than the last observed checkpoint). {COUNTED} Share: observed part of the "
            f"training; target: predicted step. {facts(cells)}",
            pd.DataFrame(rows),
            {
                **RUN_FORMATS,
                **SAMPLES,
                "target": RUN_FORMATS["share"],
                "accuracy": in_percent,
                "gap": lambda value: number(value, 1, signed=True),
                "skill": number,
            },
            {
                "interval": "95 %",
                "gap": "minus rank 1, points",
                "gap interval": "95 %",
                "skill": "median skill",
            },
        )
    ]


def here_rows(cell: Cell) -> Iterator[dict[str, object]]:
    """Rank 1 with a line and every variant, at the windows and targets where a variant is."""
    results = cell.results
    for benchmark in results.benchmarks("in_domain"):
        protocol = protocols(results, benchmark)[0]
        for window in results.windows:
            for step in targets_of(results, PLAIN):
                there = [
                    method
                    for method in VARIANTS
                    if model_at(results, method, window, step) is not None
                ]
                for method in [PLAIN, *there] if there else []:
                    row = _row(cell, method, benchmark, protocol, window, step)
                    if row is not None:
                        yield row


def _row(
    cell: Cell, method: str, benchmark: str, protocol: str, window: int, step: int
) -> dict[str, object] | None:
    results = cell.results
    model = model_at(results, method, window, step)
    found = score(results, model, benchmark, protocol)
    if math.isnan(found["accuracy"]):
        return None
    plain = model_at(results, PLAIN, window, step)
    return {
        **run_columns(cell),
        "method": results.method_name(method),
        "share": step_share(results, window),
        "target": step_share(results, step),
        "benchmark": title_of(results, benchmark),
        "protocol": protocol,
        **accuracy_cells(found),
        **point_cells("gap", points(results, model, plain, [benchmark], protocol)),
        "skill": skill(results, method, window, step),
        "cell": cell.name,
    }


ARTEFACTS: list[Artefact] = [
    Artefact(
        NAME,
        "relex",
        "ablation table",
        TITLE,
        "Does anything beat one direction and a straight line? The last rows of each block say "
        "whether the decomposition itself brings a gain over a line for every weight.",
        "ablations",
        build,
    )
]
