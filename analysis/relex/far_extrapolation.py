"""RELEX far beyond its window and beyond the training: observed steps x target steps."""

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from analysis.parts.paper_tables import (
    NOT_RUN,
    OURS,
    RUN_FORMATS,
    for_controls,
    in_percent,
    provenance_note,
    run_columns,
)
from analysis.relex.tables import BENCHMARKS, NEEDS, PAPER_STEPS, facts, point_cells, printed_rows
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import general, integer, number, percent_interval
from rlvr_dynamics.results.kinds import same_runs
from rlvr_dynamics.results.relex_models import (
    model_at,
    points,
    protocols,
    score,
    step_share,
    targets_of,
    title_of,
)
from rlvr_dynamics.results.study import Cell, Study

NAME = "relex_far_extrapolation"
TITLE = "RELEX far beyond what it observed"
METHOD = "relex"
WINDOWS = (50, 75, 100, 125)
TARGETS = (500, 750, 1000)


def build(study: Study) -> list[Table]:
    """The printed parts of the grid with ours beneath, then our runs."""
    return [paper_table(study), *for_controls(study, _here, NAME)]


def paper_table(study: Study) -> Table:
    """Accuracy on MATH by observed and target step; a dash where no number was found."""
    printed = printed_rows("far_extrapolation")
    values = {
        (row["base_model"], str(row["method"]).removeprefix("relex_cut"), int(row["step"])): row
        for row in printed.to_dict("records")
    }
    rows: list[dict[str, object]] = []
    for model in sorted(set(printed["base_model"])):
        cells = same_runs(study, str(model), "grpo")
        for window in WINDOWS:
            there = {step: values.get((model, str(window), step)) for step in TARGETS}
            sources = [row["provenance"] for row in there.values() if row]
            rows.append(
                {
                    "model": model,
                    "observe": window,
                    "share": window / PAPER_STEPS,
                    "source": sources[0] if sources else "not found",
                    **{f"{s}": row["value"] if row else math.nan for s, row in there.items()},
                }
            )
            rows += [_ours(cell, str(model), window) for cell in cells]
        if not cells:
            rows.append({"model": model, "source": NOT_RUN})
    steps = [str(step) for step in TARGETS]
    columns = ["model", "observe", "share", "source", *steps, "n", "cell"]
    return Table(
        NAME,
        TITLE,
        "Accuracy in per cent on MATH by the last observed step and the predicted step, of a "
        "training of 500 steps; most of the printed grid was not found, and no interval is "
        f"printed.{provenance_note(pd.DataFrame({'source': printed['provenance']}))}",
        pd.DataFrame(rows, columns=columns),
        {**RUN_FORMATS, "observe": integer, **dict.fromkeys(steps, in_percent)},
        {"observe": "observed steps", **{step: f"step {step}" for step in steps}},
    )


def _ours(cell: Cell, model: str, window: int) -> dict[str, object]:
    results, final = cell.results, cell.results.final_step
    own = results.window_near(window / PAPER_STEPS)
    found = {}
    for step in TARGETS:
        target = None if final is None else round(step / PAPER_STEPS * final)
        named = model_at(results, METHOD, own, target) if own else None
        found[str(step)] = score(results, named, BENCHMARKS["math"])
    known = [part["questions"] for part in found.values() if not math.isnan(part["questions"])]
    return {
        "model": model,
        "observe": own,
        "share": step_share(results, own),
        "source": OURS,
        **{step: part["accuracy"] for step, part in found.items()},
        "n": known[0] if known else math.nan,
        "cell": cell.name,
    }


def _here(cells: Sequence[Cell], name: str) -> list[Table]:
    rows = [row for cell in cells for row in here_rows(cell)]
    title = f"{TITLE}: runs of this study"
    if not rows:
        return [Table(f"{name}_here", title, "", None, missing=NEEDS)]
    signed = dict.fromkeys(["vs held", "vs real"], lambda value: number(value, 1, signed=True))
    return [
        Table(
            f"{name}_here",
            title,
            "In-domain accuracy in per cent of RELEX by observed share of the training and target, "
            "with its 95 % interval over the n questions. A target above 100 % lies beyond the "
            "training: no real checkpoint is there. Factor: target over observed steps. Then what "
            "it is above the last observed checkpoint and above the real final one, in points "
            f"(paired bootstrap). {facts(cells)}",
            pd.DataFrame(rows),
            {
                **RUN_FORMATS,
                "target": RUN_FORMATS["share"],
                "factor": lambda value: f"{general(value)} ×",
                "samples": integer,
                **dict.fromkeys(["accuracy", "last observed", "real"], in_percent),
                **signed,
            },
            {
                "interval": "95 %",
                "real": "real final",
                "vs held": "minus last observed, points",
                "vs real": "minus real final, points",
                **dict.fromkeys(["vs held interval", "vs real interval"], "95 %"),
            },
        )
    ]


def here_rows(cell: Cell) -> Iterator[dict[str, object]]:
    """Every window and target of RELEX that was scored, in domain."""
    results = cell.results
    real = model_at(results, "real")
    for benchmark in results.benchmarks("in_domain"):
        protocol = protocols(results, benchmark)[0]
        for window in results.windows:
            held = model_at(results, "hold_last", window)
            for step in targets_of(results, METHOD):
                model = model_at(results, METHOD, window, step)
                found = score(results, model, benchmark, protocol)
                if math.isnan(found["accuracy"]):
                    continue
                yield {
                    **run_columns(cell),
                    "share": step_share(results, window),
                    "target": step_share(results, step),
                    "factor": step / window,
                    "benchmark": title_of(results, benchmark),
                    "protocol": protocol,
                    "accuracy": found["accuracy"],
                    "interval": percent_interval(found["ci_low"], found["ci_high"]),
                    "n": found["questions"],
                    "samples": found["samples"],
                    "last observed": score(results, held, benchmark, protocol)["accuracy"],
                    "real": score(results, real, benchmark, protocol)["accuracy"],
                    **point_cells("vs held", points(results, model, held, [benchmark], protocol)),
                    **point_cells("vs real", points(results, model, real, [benchmark], protocol)),
                    "cell": cell.name,
                }


ARTEFACTS: list[Artefact] = [
    Artefact(
        NAME,
        "relex",
        "far extrapolation",
        TITLE,
        "How far can a short window be drawn on before the accuracy falls below the checkpoint "
        "that it started from? The paper claims 10 to 20 times.",
        "far_extrapolation",
        build,
    )
]
