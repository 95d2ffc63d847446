"""AlphaRL, Table 8: accuracy of the update's leading directions, by kind of training."""

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from analysis.alpharl.stages import scored
from analysis.parts.paper_tables import (
    NOT_RUN,
    OURS,
    RUN,
    RUN_FORMATS,
    for_controls,
    in_percent,
    provenance_note,
    run_columns,
)
from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import (
    Formatter,
    interval,
    number,
    percent_interval,
)
from rlvr_dynamics.results.kinds import KINDS, runs_of_kind
from rlvr_dynamics.results.scores import score
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.schema.model_id import ModelId
from rlvr_dynamics.statistics.intervals import Interval

NAME = "alpharl_table_8"
TITLE = "Accuracy kept by the leading directions of the update"
BENCHMARK = "math500"
CONTRASTS = ("accuracy", "ratio", "gain", "random update", "base")
LABELS = {  # as printed: label of the reconstruction here
    "rank1": "rank1_recovery",
    "rank1pct": "recovery_1_percent",
    "rank10pct": "recovery_10_percent",
    "rank20pct": "recovery_20_percent",
    "rank30pct": "recovery_30_percent",
    "rank50pct": "recovery_50_percent",
    "rank70pct": "recovery_70_percent",
    "rank90pct": "recovery_90_percent",
}
RANKS = {
    name: "1" if name == "rank1" else name.removeprefix("rank").replace("pct", " %")
    for name in LABELS
}


def build(study: Study) -> list[Table]:
    """As printed with ours beneath; then every run with intervals and controls."""

    def ours(cells: Sequence[Cell], name: str) -> list[Table]:
        return [_here_table(cells, name)]

    return [_paper_table(study), *for_controls(study, ours, NAME)]


def _paper_table(study: Study) -> Table:
    numbers = printed(paper="alpharl", table="table8")
    titles = {kind: KINDS[kind].title for kind in dict.fromkeys(numbers["algorithm"])}
    values = {
        (method, kind): value / 100
        for method, kind, value in zip(
            numbers["method"], numbers["algorithm"], numbers["value"], strict=True
        )
    }
    source = ", ".join(sorted(set(numbers["provenance"])))
    runs = [(kind, cell) for kind in titles for cell in runs_of_kind(study, kind)]
    rows: list[dict[str, object]] = []
    for method, rank in RANKS.items():
        shown = {title: values.get((method, kind)) for kind, title in titles.items()}
        rows.append({"rank": rank, "source": source, **shown})
        for kind, cell in runs:
            ratio, n = _on_paper_benchmark(cell, LABELS[method])
            here = {titles[kind]: ratio.value, "interval": interval(ratio.low, ratio.high)}
            found = {**here, "n": n, "cell": cell.name}
            rows.append({"rank": rank, "source": OURS, **found})
    if not runs:
        rows.append({"source": NOT_RUN})
    order = ["rank", "source", *titles.values(), "interval", "n", "cell"]
    noted = numbers.rename(columns={"provenance": "source"})
    return Table(
        NAME,
        TITLE,
        "Accuracy on MATH-500 over that of the fully trained model, in per cent, of the leading "
        "directions of the final update, rescaled to its norm: one of them, or a percentage of "
        "all. Ours beneath, each in the column of its kind of training; the paper gives no "
        f"interval.{provenance_note(noted)}",
        pd.DataFrame(rows, columns=order),
        {**dict.fromkeys(titles.values(), in_percent), "n": RUN_FORMATS["n"]},
        {"interval": "95 % (ratio)"},
    )


def _on_paper_benchmark(cell: Cell, label: str) -> tuple[Interval, float]:
    """The ratio on the paper's benchmark with its n; NaN where it was not scored."""
    models, final = scored(cell, benchmarks=(BENCHMARK,)), cell.results.final_step
    if models is None or final is None or (model := str(ModelId(label, 0, final))) not in models:
        return Interval(math.nan, math.nan, math.nan), math.nan
    n = score(cell.results, model, BENCHMARK, models.protocol).questions
    return models.ratio(model), n


def _here_table(cells: Sequence[Cell], name: str) -> Table:
    title = f"{TITLE}: runs of this study"
    rows = [row for cell in cells for row in _here_rows(cell)]
    if not rows:
        missing = "Not measured: needs reconstructions of the last step, scored (stage score)."
        return Table(f"{name}_here", title, "", None, missing=missing)
    order = [*RUN, "method", "accuracy", "accuracy [95 %]", "ratio", "ratio [95 %]"]
    order += [
        "gain",
        "gain [95 %]",
        "random update",
        "random update [95 %]",
        "base",
        "base [95 %]",
        "n",
    ]
    ratios: dict[str, Formatter] = dict.fromkeys(["ratio", "gain", "random update", "base"], number)
    return Table(
        f"{name}_here",
        title,
        "In-domain accuracy in per cent of the leading directions of the last update, rescaled to "
        "its norm. Ratio: over the full model's, the paper's measure. Gain: (accuracy − base) / "
        "(full − base). Beside them the ratios of two controls: a random update of the same norm, "
        "and the untrained base. 95 % intervals: over n questions, paired for the ratios.",
        pd.DataFrame(rows, columns=[*order, "protocol", "cell"]),
        {**RUN_FORMATS, **ratios, "accuracy": in_percent},
        {
            **{f"{part} [95 %]": "95 %" for part in CONTRASTS},
            "gain": "gain kept",
            "random update": "ratio of a random update",
            "base": "ratio of the base",
        },
    )


def _here_rows(cell: Cell) -> Iterator[dict[str, object]]:
    models, final = scored(cell, ("in_domain",)), cell.results.final_step
    if models is None or final is None:
        return
    random = models.ratio(str(ModelId("random_update", 0, final)))
    base = models.ratio(str(ModelId.base()))
    for label in (*LABELS.values(), "real"):
        model = str(ModelId(label, 0, final))
        if model not in models:
            continue
        accuracy, ratio, gain = models.accuracy(model), models.ratio(model), models.gain(model)
        whole = label == "real"
        yield {
            **run_columns(cell),
            "method": "full update" if whole else cell.results.method_name(label),
            "accuracy": accuracy.value,
            "accuracy [95 %]": percent_interval(accuracy.low, accuracy.high),
            # The full model over itself is 1 by definition, which no interval says more about.
            "ratio": ratio.value,
            "ratio [95 %]": None if whole else interval(ratio.low, ratio.high),
            "gain": gain.value,
            "gain [95 %]": None if whole else interval(gain.low, gain.high),
            "random update": random.value,
            "random update [95 %]": interval(random.low, random.high),
            "base": base.value,
            "base [95 %]": interval(base.low, base.high),
            "n": models.questions,
            "protocol": f"{models.protocol}, {models.samples} to a question",
            "cell": cell.name,
        }


ARTEFACTS: list[Artefact] = [
    Artefact(
        NAME,
        "alpharl",
        "Table 8",
        TITLE,
        "How many directions it takes: one suffices for RL in the paper, and not for distillation "
        "or fine-tuning. Judge ours by the gain, and against the random update.",
        "contrast",
        build,
    )
]
