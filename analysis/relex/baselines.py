"""RELEX beside other extrapolations of the same window, and beside the ones we add."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from analysis.parts.paper_tables import (
    RUN_FORMATS,
    for_controls,
    in_percent,
    provenance_note,
)
from analysis.relex.tables import (
    NEEDS,
    POINT_FORMATS,
    POINT_HEADINGS,
    SAMPLES,
    facts,
    here_row,
    printed_rows,
    readable,
    with_ours,
)
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.forecasts import COUNTED
from rlvr_dynamics.results.formatting import integer, interval, number
from rlvr_dynamics.results.frames import equal
from rlvr_dynamics.results.kinds import same_runs
from rlvr_dynamics.results.relex_models import (
    PAPER_SHARE,
    model_at,
    points,
    protocols,
    score,
    skill,
    step_share,
    windows_near,
)
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.statistics.intervals import Interval

NAME = "relex_baselines"
TITLE = "RELEX beside other extrapolations"
# The paper's baselines, and ours that it does not have.
PAPER = ("weight_extrapolation", "expo", "alpharl", "relex")
OURS_TOO = ("hold_last", "momentum", "first_update", "relex_raw", "shrunk_relex")
METHODS = ("hold_last", *PAPER, *OURS_TOO[1:])
NOT_FOUND = "logits extrapolation"


def build(study: Study) -> list[Table]:
    """The printed rows with ours beneath, our runs, and the same over runs."""
    return [paper_table(study), *for_controls(study, _here, NAME)]


def paper_table(study: Study) -> Table:
    """The printed methods on MATH; those that only we run stand below them."""
    main = equal(printed_rows("main"), benchmark="math", base_model="Qwen2.5-Math-1.5B")
    printed = pd.concat([printed_rows("baselines"), main], ignore_index=True)
    order = {"base": 0, "real": 1, **{name: 2 + place for place, name in enumerate(PAPER)}}
    printed = printed.assign(order=[order[str(name)] for name in printed["label"]]).sort_values(
        ["order"]
    )
    rows = [
        {
            "model": row["base_model"],
            "algorithm": row["algorithm"],
            "label": row["label"],
            "method": readable(str(row["label"])),
            "share": row["train_fraction"],
            "source": row["provenance"],
            "accuracy": row["value"],
        }
        for row in printed.to_dict("records")
    ]
    head = {"model": rows[0]["model"], "algorithm": rows[0]["algorithm"]}
    more = {"share": PAPER_SHARE, "source": "not printed", "accuracy": math.nan}
    rows.append({**head, "label": NOT_FOUND, "method": NOT_FOUND, **more})
    if same_runs(study, head["model"], head["algorithm"]):
        rows += [{**head, "label": name, "method": readable(name), **more} for name in OURS_TOO]
    columns = ["model", "algorithm", "method", "share", "source", "accuracy", "interval", "n"]
    return Table(
        NAME,
        TITLE,
        "Accuracy in per cent on MATH; the paper prints one model, no interval, and compares with "
        "an extrapolation of logits whose value was not found. Not printed: the paper has no such "
        f"row.{provenance_note(pd.DataFrame({'source': printed['provenance']}))}",
        pd.DataFrame(with_ours(study, rows), columns=[*columns, "cell"]),
        {**RUN_FORMATS, "accuracy": in_percent},
        {"interval": "95 %"},
    )


def _here(cells: Sequence[Cell], name: str) -> list[Table]:
    rows = [row for cell in cells for row in here_rows(cell)]
    title = f"{TITLE}: runs of this study"
    if not rows:
        return [Table(f"{name}_here", title, "", None, missing=NEEDS)]
    formats = {**RUN_FORMATS, **SAMPLES, **POINT_FORMATS, "accuracy": in_percent, "skill": number}
    listed = Table(
        f"{name}_here",
        title,
        "In-domain accuracy in per cent with its 95 % interval over the n questions, what it is "
        "above the real final checkpoint and above the last observed one, in points (paired "
        "bootstrap), and the median over tensors of the forecast's skill in the weights (1 is "
        "perfect, 0 no better than the last observed checkpoint). "
        f"{COUNTED} The windows nearest to the "
        "paper's 15 %, whose shares are in the row. ExPO's factor is the best of a grid on "
        f"validation problems. {facts(cells)}",
        pd.DataFrame(rows),
        formats,
        {**POINT_HEADINGS, "skill": "median skill"},
    )
    return [_over_runs(cells, name), listed]


def _over_runs(cells: Sequence[Cell], name: str) -> Table:
    groups: dict[tuple, list[tuple[Cell, Interval, Interval]]] = {}
    for cell in cells:
        for method, window, benchmark in _predictions(cell):
            against = _against(cell, method, window, benchmark)
            if against is not None:
                key = (cell.model, cell.learning_rate, step_share(cell.results, window), method)
                groups.setdefault(key, []).append((cell, *against))
    rows = []
    for (model, rate, share, method), found in groups.items():
        held = [interval for _, interval, _ in found]
        known = [interval.value for interval in held if not math.isnan(interval.value)]
        reached = [interval.value for _, _, interval in found if not math.isnan(interval.value)]
        rows.append(
            {
                "model": model,
                "learning rate": rate,
                "method": found[0][0].results.method_name(method),
                "share": share,
                "runs": len(found),
                "held": np.mean(known) if known else math.nan,
                "held range": _range(known),
                "better": sum(interval.low > 0 for interval in held) if known else math.nan,
                "worse": sum(interval.high < 0 for interval in held) if known else math.nan,
                "real": np.mean(reached) if reached else math.nan,
                "real range": _range(reached),
                "cell": ", ".join(dict.fromkeys(cell.name for cell, *_ in found)),
            }
        )
    signed = POINT_FORMATS["vs held"]
    return Table(
        f"{name}_runs",
        f"{TITLE}: over runs",
        "In-domain accuracy above the last observed checkpoint and above the real final one, in "
        "points: mean over runs (algorithms and seeds), with the lowest and highest run in "
        "brackets, which is no confidence interval. Better, worse: runs whose own 95 % interval "
        "(paired bootstrap over questions) lies above or below the last observed checkpoint.",
        pd.DataFrame(rows).sort_values(["model", "learning rate", "share"], kind="stable"),
        {
            **RUN_FORMATS,
            **dict.fromkeys(["runs", "better", "worse"], integer),
            **dict.fromkeys(["held", "real"], signed),
        },
        {
            "held": "minus last observed, points",
            "held range": "range",
            "real": "minus real, points",
            "real range": "range",
        },
    )


def _range(values: Sequence[float]) -> str:
    return interval(min(values), max(values), 1, signed=True) if len(values) > 1 else ""


def _predictions(cell: Cell) -> list[tuple[str, int, str]]:
    return [
        (method, window, benchmark)
        for benchmark in cell.results.benchmarks("in_domain")
        for window in windows_near(cell.results)
        for method in METHODS
    ]


def _against(
    cell: Cell, method: str, window: int, benchmark: str
) -> tuple[Interval, Interval] | None:
    """A method's points above the last observed and the final checkpoint; None if not scored."""
    results = cell.results
    model = model_at(results, method, window)
    if math.isnan(score(results, model, benchmark)["accuracy"]):
        return None
    protocol = protocols(results, benchmark)[0]
    held, real = model_at(results, "hold_last", window), model_at(results, "real")
    return (
        points(results, model, held, [benchmark], protocol),
        points(results, model, real, [benchmark], protocol),
    )


def here_rows(cell: Cell) -> Iterator[dict[str, object]]:
    """Base and final checkpoint, and every method at the windows nearest to the paper's."""
    results = cell.results
    for benchmark in results.benchmarks("in_domain"):
        protocol = protocols(results, benchmark)[0]
        for method, window in _wanted(results):
            row = here_row(cell, method, benchmark, protocol, window)
            if row is None:
                continue
            # The run's name stays the last column.
            cell_name = row.pop("cell")
            found = math.nan if window is None else skill(results, method, window)
            yield {**row, "skill": found, "cell": cell_name}


def _wanted(results: Results) -> list[tuple[str, int | None]]:
    wanted: list[tuple[str, int | None]] = [("base", None), ("real", None)]
    for window in windows_near(results):
        wanted += [(method, window) for method in METHODS]
    return wanted


ARTEFACTS: list[Artefact] = [
    Artefact(
        NAME,
        "relex",
        "baseline table",
        TITLE,
        "Each method against the last observed checkpoint, which costs nothing, and against the "
        "line of every weight: does a method with a decomposition do better than one without?",
        "baselines",
        build,
    )
]
