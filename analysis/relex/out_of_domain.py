"""RELEX out of domain: five contests after training on MATH, and the averages over them."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.parts.paper_tables import (
    NOT_RUN,
    OURS,
    RUN_FORMATS,
    for_controls,
    in_percent,
    provenance_note,
    run_columns,
    signed_points,
)
from analysis.relex.tables import BENCHMARKS, NEEDS, facts, point_cells, printed_rows, readable
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.accuracies import benchmarks
from rlvr_dynamics.results.formatting import number, percent_interval
from rlvr_dynamics.results.kinds import same_runs
from rlvr_dynamics.results.relex_models import (
    WITHOUT_WINDOW,
    as_interval,
    model_at,
    points,
    protocols,
    score,
    step_share,
    windows_near,
)
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.statistics.intervals import UNDEFINED, Interval, average

NAME = "relex_out_of_domain"
TITLE = "RELEX out of domain"
TITLES = {
    "aime25": "AIME25",
    "aime26": "AIME26",
    "hmmt25": "HMMT25",
    "olympiadbench": "OlympiadBench",
    "amc23": "AMC23",
}
ENDINGS = ("", " [95 %]", ": n")  # of the columns of a benchmark
# Means over the five as printed, per cent, by model and method; from others' copies of the tables.
PRINTED_FIVE = {
    "Qwen2.5-Math-1.5B": {"base": 13.3, "full_rl": 19.8, "relex": 21.7},
    "Qwen3-4B-Base": {"base": 18.6, "full_rl": 33.7, "relex": 34.4},
    "Qwen3-8B-Base": {"base": 22.1, "full_rl": 38.8, "relex": 38.0},
}
# Means over MATH and the five as printed, per cent.
PRINTED_SIX = {
    "Qwen2.5-Math-1.5B": {"full_rl": 28.4, "relex": 30.0},
    "Qwen3-4B-Base": {"full_rl": 42.3, "relex": 43.0},
    "Qwen3-8B-Base": {"full_rl": 47.1, "relex": 46.2},
}


def build(study: Study) -> list[Table]:
    """The printed rows with ours beneath, then our runs."""
    return [paper_table(study), *for_controls(study, _here, NAME)]


def paper_table(study: Study) -> Table:
    """Five benchmarks, their mean and the mean with MATH, as printed and recomputed."""
    printed = printed_rows("main")
    rows: list[dict[str, object]] = []
    for (model, algorithm), block in printed.groupby(["base_model", "algorithm"], sort=False):  # pyright: ignore[reportGeneralTypeIssues]
        cells = same_runs(study, str(model), str(algorithm))
        for (method, share), group in block.groupby(["method", "train_fraction"], sort=False):  # pyright: ignore[reportGeneralTypeIssues]
            label = str(group["label"].iloc[0])
            rows.append(_printed_row(str(model), str(method), group))
            rows += [_ours(cell, label, float(share), str(model)) for cell in cells]
        if not cells:
            rows.append({"model": model, "algorithm": algorithm, "source": NOT_RUN})
    means = ["five as printed", "five", "six as printed", "six"]
    order = ["model", "algorithm", "method", "share", "source", *TITLES.values()]
    order += [*means[:2], "five off", *means[2:], "six off", "interval", "n", "cell"]
    shown = [*TITLES.values(), *means]
    return Table(
        NAME,
        TITLE,
        "Accuracy in per cent. The means over the five and over MATH and the five are shown as "
        "printed and as recomputed from the columns, with the difference in points; two decimals "
        "of it are rounding, because the columns are printed with one. Interval and n (questions) "
        "are those of our mean over the five; the paper prints none. Share: observed part of the "
        f"training.{provenance_note(pd.DataFrame({'source': printed['provenance']}))}",
        pd.DataFrame(rows, columns=order),
        {
            **RUN_FORMATS,
            **dict.fromkeys(shown, in_percent),
            **dict.fromkeys(["five off", "six off"], signed_points),
        },
        {
            "five": "mean of the five",
            "six": "mean with MATH",
            "five as printed": "mean of the five as printed",
            "six as printed": "mean with MATH as printed",
            "five off": "printed − recomputed",
            "six off": "printed − recomputed",
            "interval": "95 %",
        },
    )


def _printed_row(model: str, method: str, group: pd.DataFrame) -> dict[str, object]:
    values = dict(zip(group["benchmark"], group["value"], strict=True))
    five = float(np.mean([values.get(name, math.nan) for name in TITLES]))
    six = float(np.mean([values.get(name, math.nan) for name in BENCHMARKS]))
    said_five = PRINTED_FIVE.get(model, {}).get(method, math.nan) / 100
    said_six = PRINTED_SIX.get(model, {}).get(method, math.nan) / 100
    return {
        "model": model,
        "algorithm": group["algorithm"].iloc[0],
        "method": readable(str(group["label"].iloc[0])),
        "share": group["train_fraction"].iloc[0],
        "source": group["provenance"].iloc[0],
        **{title: values.get(name, math.nan) for name, title in TITLES.items()},
        **{"five as printed": said_five, "five": five, "five off": 100 * (said_five - five)},
        **{"six as printed": said_six, "six": six, "six off": 100 * (said_six - six)},
    }


def _ours(cell: Cell, label: str, share: float, model: str) -> dict[str, object]:
    results = cell.results
    free = label in WITHOUT_WINDOW
    window = None if free else results.window_near(share)
    named = model_at(results, label, window) if free or window else None
    found = {name: score(results, named, ours) for name, ours in BENCHMARKS.items()}
    mean = _mean([found[name] for name in TITLES])
    return {
        "model": model,
        "algorithm": cell.algorithm,
        "method": results.method_name(label),
        "share": share if free else step_share(results, window),
        "source": OURS,
        **{title: found[name]["accuracy"] for name, title in TITLES.items()},
        "five": mean.value,
        "six": _mean(list(found.values())).value,
        "interval": percent_interval(mean.low, mean.high),
        "n": sum(found[name]["questions"] for name in TITLES),
        "cell": cell.name,
    }


def _mean(rows: Sequence[dict]) -> Interval:
    """Mean over benchmarks with its interval; unknown where one of them is."""
    parts = [as_interval(row) for row in rows]
    known = parts and not any(math.isnan(part.value) for part in parts)
    return average(parts) if known else UNDEFINED


def _here(cells: Sequence[Cell], name: str) -> list[Table]:
    first = ["model", "algorithm", "learning rate", "seed", "method", "share", "protocol"]
    last = ["mean", "mean [95 %]", "n", "vs real", "vs real interval", "vs held"]
    last += ["vs held interval", "cell"]
    names = {name for cell in cells for name in cell.results.benchmarks("out_of_domain")}
    titles = benchmarks(cells, [*first, *last], ENDINGS)
    titles = {name: title for name, title in titles.items() if name in names}
    rows = [row for cell in cells for row in here_rows(cell, titles)]
    title = f"{TITLE}: runs of this study"
    if not rows:
        return [Table(f"{name}_here", title, "", None, missing=NEEDS)]
    found = list(titles.values())
    columns = [*first, *(part for title in found for part in _columns(title)), *last]
    signed = lambda value: number(value, 1, signed=True)  # noqa: E731
    return [
        Table(
            f"{name}_here",
            title,
            "Accuracy in per cent with its 95 % interval over questions; benchmarks count alike in "
            "the mean, whose n is the questions of all of them. Then what the mean is above the "
            "real final checkpoint's and above the last observed one's, in points (paired "
            "bootstrap). The windows nearest to the paper's 15 %, whose shares are in the row. "
            f"{facts(cells)}",
            pd.DataFrame(rows, columns=columns),
            {
                **RUN_FORMATS,
                **dict.fromkeys([*found, "mean"], in_percent),
                **{f"{title}: n": RUN_FORMATS["n"] for title in found},
                **dict.fromkeys(["vs real", "vs held"], signed),
            },
            {
                **{f"{title} [95 %]": "95 %" for title in [*found, "mean"]},
                **{f"{title}: n": "n" for title in found},
                "vs real": "minus real, points",
                "vs held": "minus last observed, points",
                **dict.fromkeys(["vs real interval", "vs held interval"], "95 %"),
            },
        )
    ]


def _columns(title: str) -> list[str]:
    return [title + ending for ending in ENDINGS]


def here_rows(cell: Cell, titles: Mapping[str, str]) -> Iterator[dict[str, object]]:
    """Base, final checkpoint, and per window the last observed checkpoint and RELEX."""
    results = cell.results
    scored = results.benchmarks("out_of_domain")
    wanted: list[tuple[str, int | None]] = [("base", None), ("real", None)]
    for window in windows_near(results):
        wanted += [("hold_last", window), ("relex", window)]
    models = [model for pair in wanted if (model := model_at(results, *pair)) is not None]
    for method, window in wanted if scored else []:
        model = model_at(results, method, window)
        protocol = protocols(results, scored[0])[0]
        found = {name: score(results, model, name, protocol) for name in scored}
        if all(math.isnan(part["accuracy"]) for part in found.values()):
            continue
        mean = _mean(list(found.values()))
        cells: dict[str, object] = {}
        for name, part in found.items():
            texts = (percent_interval(part["ci_low"], part["ci_high"]), part["questions"])
            columns = _columns(titles[name])
            cells.update(zip(columns, (part["accuracy"], *texts), strict=True))
        held = model_at(results, "hold_last", window) if window else None
        real = model_at(results, "real")
        yield {
            **run_columns(cell),
            "method": results.method_name(method),
            "share": {"base": 0.0, "real": 1.0}.get(method, step_share(results, window)),
            "protocol": protocol,
            **cells,
            "mean": mean.value,
            "mean [95 %]": percent_interval(mean.low, mean.high),
            "n": sum(part["questions"] for part in found.values()),
            **point_cells("vs real", points(results, model, real, scored, protocol, models)),
            **point_cells("vs held", points(results, model, held, scored, protocol, models)),
            "cell": cell.name,
        }


ARTEFACTS: list[Artefact] = [
    Artefact(
        NAME,
        "relex",
        "out-of-domain table",
        TITLE,
        "Does what the extrapolation gains in domain carry over, or does it cost elsewhere? "
        "Compare each mean with the last observed checkpoint's as well.",
        "acceleration",
        build,
    )
]
