"""RELEX beyond its training: other benchmarks, short windows, later steps."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import numpy as np

from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import integer, percent_interval
from rlvr_dynamics.results.scores import Score, protocols, score
from rlvr_dynamics.results.study import Cell, Study, benchmarks
from rlvr_dynamics.statistics.intervals import UNDEFINED, Interval, average

from ..parts.paper_tables import (
    OURS,
    RUN,
    Column,
    estimate,
    for_controls,
    in_percent,
    signed_points,
    speed_up,
    with_ours,
)
from .accuracy_table import (
    ANSWERS,
    NEEDS,
    AccuracyTable,
    Scored,
    dtypes,
    gap,
    in_domain,
    near_paper,
    relex_table,
    windows_and_targets,
)
from .models import step_share
from .printed import (
    AXIS_NOTE,
    BENCHMARKS,
    PAPER_STEPS,
    Row,
    counterpart,
    printed_rows,
)

NAME = "relex_out_of_domain"
TITLE = "RELEX out of domain"
TITLES = {
    "aime25": "AIME25",
    "aime26": "AIME26",
    "hmmt25": "HMMT25",
    "olympiadbench": "OlympiadBench",
    "amc23": "AMC23",
}
ENDINGS = ("", " [95 %]", ": n")  # suffixes of a benchmark's columns
FAR_WINDOWS, FAR_TARGETS = (50, 75, 100, 125), (500, 750, 1000)  # steps of 500

# Five contests after training on MATH, and the averages over them


def build(study: Study) -> list[Table]:
    """Build the printed rows with ours below, then our runs."""
    return [_paper_table(study), *for_controls(study, _here, NAME)]


def _paper_table(study: Study) -> Table:
    """Build five benchmarks, their mean and the mean with MATH, as printed and recomputed."""
    return relex_table(
        NAME,
        TITLE,
        "Accuracy in per cent. The means over the five and over MATH and the five are shown as "
        "printed and as recomputed from the columns, with the difference in points; two decimals "
        "of it are rounding, because the columns are printed with one. Interval and n (questions) "
        "are those of our mean over the five; the paper prints none. Share: observed part of the "
        f"training.{AXIS_NOTE}",
        with_ours(study, _printed(), _ours),
        [
            *("model", "algorithm", "method", "share", "source"),
            *(Column(title, in_percent) for title in TITLES.values()),
            Column("five as printed", in_percent, "mean of the five as printed"),
            Column("five", in_percent, "mean of the five"),
            Column("five off", signed_points, "printed − recomputed"),
            Column("six as printed", in_percent, "mean with MATH as printed"),
            Column("six", in_percent, "mean with MATH"),
            Column("six off", signed_points, "printed − recomputed"),
            Column("interval", None, "95 %"),
            "n",
        ],
    )


def _printed() -> Iterator[Row]:
    for _, group in groupby(printed_rows("main"), key=lambda row: (row["model"], row["label"])):
        rows = list(group)
        values = {row["benchmark"]: row["accuracy"] for row in rows}
        five = float(np.mean([values.get(name, math.nan) for name in TITLES]))
        six = float(np.mean([values.get(name, math.nan) for name in BENCHMARKS]))
        said = [values.get(f"average_of_{n}_as_printed", math.nan) for n in ("five", "six")]
        yield {
            **rows[0],
            **{title: values.get(name, math.nan) for name, title in TITLES.items()},
            **{"five as printed": said[0], "five": five, "five off": 100 * (said[0] - five)},
            **{"six as printed": said[1], "six": six, "six off": 100 * (said[1] - six)},
        }


def _ours(cell: Cell, row: Row) -> Iterator[Row]:
    results = cell.results
    model, share = counterpart(cell, row["label"], row["share"])
    found = {name: score(results, model, ours) for name, ours in BENCHMARKS.items()}
    mean = _mean([found[name] for name in TITLES])
    yield {
        "model": row["model"],
        "algorithm": cell.algorithm,
        "method": results.method_name(row["label"]),
        "share": share,
        "source": OURS,
        **{title: found[name].accuracy.value for name, title in TITLES.items()},
        "five": mean.value,
        "six": _mean(list(found.values())).value,
        "interval": percent_interval(mean.low, mean.high),
        "n": sum(found[name].questions for name in TITLES),
        "cell": cell.name,
    }


def _mean(scores: Sequence[Score]) -> Interval:
    """Return the mean over benchmarks; unknown if one of them is."""
    parts = [each.accuracy for each in scores]
    known = parts and not any(math.isnan(part.value) for part in parts)
    return average(parts) if known else UNDEFINED


def _here(cells: Sequence[Cell], name: str) -> list[Table]:
    first = [*RUN, "method", "share", "protocol"]
    last = ["mean", "mean [95 %]", "n", "vs real", "vs real interval", "vs held"]
    last += ["vs held interval"]
    names = {name for cell in cells for name in cell.results.benchmarks("out_of_domain")}
    titles = benchmarks(cells, [*first, *last, "cell"], ENDINGS)
    titles = {name: title for name, title in titles.items() if name in names}
    columns: list[Column | str] = [*first]
    for title in titles.values():
        columns += [estimate(title, in_percent), Column(f"{title}: n", integer, "n")]
    return [
        relex_table(
            f"{name}_here",
            f"{TITLE}: runs of this study",
            "Accuracy in per cent with its 95 % interval over questions; benchmarks count alike in "
            "the mean, whose n is the questions of all of them. Then what the mean is above the "
            "real final checkpoint's and above the last observed one's, in points (paired "
            "bootstrap). The windows nearest to the paper's 15 %, whose shares are in the row. "
            f"{dtypes(cells)}",
            [row for cell in cells for row in _rows(cell, titles)],
            [*columns, estimate("mean", in_percent), "n", "vs real", "vs held"],
            NEEDS,
        )
    ]


def _rows(cell: Cell, titles: Mapping[str, str]) -> Iterator[Row]:
    """Yield base, final checkpoint, and per window the last observed checkpoint and RELEX."""
    names = tuple(cell.results.benchmarks("out_of_domain"))
    for method, window, _ in near_paper(cell.results, "hold_last", "relex") if names else []:
        scored = Scored(cell, method, names, protocols(cell.results, names[0])[0], window)
        if not scored.is_known:
            continue
        each: Row = {}
        for name, part in scored.parts.items():
            shown = percent_interval(part.accuracy.low, part.accuracy.high)
            cells = (part.accuracy.value, shown, part.questions)
            each |= {
                titles[name] + ending: cell for ending, cell in zip(ENDINGS, cells, strict=True)
            }
        mean = _mean(list(scored.parts.values()))
        yield {
            **scored.against_real_and_held(),
            **each,
            "mean": mean.value,
            "mean [95 %]": percent_interval(mean.low, mean.high),
            "n": sum(part.questions for part in scored.parts.values()),
        }


OUT_OF_DOMAIN = Artefact(
    NAME,
    "relex",
    "out-of-domain table",
    TITLE,
    "Does what the extrapolation gains in domain carry over, or does it cost elsewhere? Compare "
    "each mean with the last observed checkpoint's as well.",
    "acceleration",
    build,
)


# Far beyond the window, and beyond the training


def far_printed(study: Study) -> Iterator[Row]:
    """Return accuracy on MATH by observed and target step; a dash if no number was found."""
    rows = printed_rows("far_extrapolation")
    for model in sorted({row["model"] for row in rows}):
        for window in FAR_WINDOWS:
            there = {
                int(row["step"]): row
                for row in rows
                if (row["model"], row["label"]) == (model, f"relex_cut{window}")
            }
            yield {
                "model": model,
                "algorithm": rows[0]["algorithm"],
                "observe": window,
                "share": window / PAPER_STEPS,
                "source": next((row["source"] for row in there.values()), "not found"),
                **{str(step): row["accuracy"] for step, row in there.items()},
            }


def far_beneath(cell: Cell, row: Row) -> Iterator[Row]:
    """Return RELEX of a run at the same observed and target shares of its training."""
    results, found = cell.results, {}
    window = results.window_near(row["share"])
    for step in FAR_TARGETS:
        model, _ = counterpart(cell, "relex", row["share"], step / PAPER_STEPS)
        found[str(step)] = score(results, model, BENCHMARKS["math"])
    known = [part.questions for part in found.values() if not math.isnan(part.questions)]
    yield {
        "model": row["model"],
        "observe": window,
        "share": step_share(results, window),
        "source": OURS,
        **{step: part.accuracy.value for step, part in found.items()},
        "n": known[0] if known else math.nan,
        "cell": cell.name,
    }


def far_rows(cell: Cell) -> Iterator[Row]:
    """Yield every scored in-domain window and target of RELEX."""
    asked = [("relex", window, step) for window, step in windows_and_targets(cell)]
    return (scored.against_real_and_held() for scored in in_domain(cell, asked))


FAR = AccuracyTable(
    name="relex_far_extrapolation",
    number="far extrapolation",
    title="RELEX far beyond what it observed",
    look_at="How far can a short window be drawn on before the accuracy falls below the "
    "checkpoint that it started from? The paper claims 10 to 20 times.",
    question="far_extrapolation",
    printed=far_printed,
    columns=("model", Column("observe", integer, "observed steps"), "share", "source")
    + (*(Column(f"{step}", in_percent, f"step {step}") for step in FAR_TARGETS), "n"),
    caption="Accuracy in per cent on MATH by the last observed step and the predicted step, of a "
    "training of 500 steps; most of the printed grid was not found, and no interval is printed."
    f"{AXIS_NOTE}",
    ours=far_beneath,
    rows=far_rows,
    here=("share", "target", Column("factor", speed_up), *ANSWERS, "last observed")
    + (Column("real", in_percent, "real final"), "vs held")
    + (gap("minus real final, points", "vs real", "vs real interval"),),
    here_caption="In-domain accuracy in per cent of RELEX by observed share of the training and "
    "target, with its 95 % interval over the n questions. A target above 100 % lies beyond the "
    "training: no real checkpoint is there. Factor: target over observed steps. Then what it is "
    "above the last observed checkpoint and above the real final one, in points (paired "
    "bootstrap).",
)
