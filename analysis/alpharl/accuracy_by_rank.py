"""Accuracy of the update's leading directions, by kind of training."""

import math
from collections.abc import Iterator, Sequence

from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import (
    interval,
    number,
    percent_interval,
)
from rlvr_dynamics.results.kinds import KINDS, runs_of_kind
from rlvr_dynamics.results.scores import score
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.schema.model_id import ModelId
from rlvr_dynamics.statistics.intervals import Interval

from ..parts.paper_tables import (
    NOT_RUN,
    OURS,
    RUN,
    Column,
    as_table,
    estimate,
    for_controls,
    in_percent,
    provenance_note,
    run_columns,
    with_span,
)
from .paper import table
from .stages import scored

NAME = "alpharl_table_8"
TITLE = "Accuracy kept by the leading directions of the update"
BENCHMARK = "math500"
LABELS = {  # printed name: our label of the reconstruction
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
    """Build the printed table with our rows below, then every run with intervals and controls."""

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
    columns = [Column(title, in_percent) for title in titles.values()]
    noted = numbers.rename(columns={"provenance": "source"})
    return as_table(
        NAME,
        TITLE,
        "Accuracy on MATH-500 over that of the fully trained model, in per cent, of the leading "
        "directions of the final update, rescaled to its norm: one of them, or a percentage of "
        "all. Ours beneath, each in the column of its kind of training; the paper gives no "
        f"interval.{provenance_note(noted)}",
        rows,
        ["rank", "source", *columns, Column("interval", heading="95 % (ratio)"), "n", "cell"],
    )


def _on_paper_benchmark(cell: Cell, label: str) -> tuple[Interval, float]:
    """Return the ratio on the paper's benchmark with its n; NaN if not scored."""
    models, final = scored(cell, benchmarks=(BENCHMARK,)), cell.results.final_step
    if models is None or final is None or (model := str(ModelId(label, 0, final))) not in models:
        return Interval(math.nan, math.nan, math.nan), math.nan
    n = score(cell.results, model, BENCHMARK, models.protocol).questions
    return models.ratio(model), n


def _here_table(cells: Sequence[Cell], name: str) -> Table:
    return as_table(
        f"{name}_here",
        f"{TITLE}: runs of this study",
        "In-domain accuracy in per cent of the leading directions of the last update, rescaled to "
        "its norm. Ratio: over the full model's, the paper's measure. Gain: (accuracy − base) / "
        "(full − base). Beside them the ratios of two controls: a random update of the same norm, "
        "and the untrained base. 95 % intervals: over n questions, paired for the ratios.",
        (row for cell in cells for row in _here_rows(cell)),
        [
            *RUN,
            "method",
            estimate("accuracy", in_percent),
            estimate("ratio", number),
            estimate("gain", number, "gain kept"),
            estimate("random update", number, "ratio of a random update"),
            estimate("base", number, "ratio of the base"),
            *("n", "protocol", "cell"),
        ],
        "Not measured: needs reconstructions of the last step, scored (stage score).",
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
        whole = label == "real"
        # The full model over itself is 1 by definition and needs no interval.
        show = (lambda low, high: None) if whole else interval
        yield {
            **run_columns(cell),
            "method": "full update" if whole else cell.results.method_name(label),
            **with_span("accuracy", models.accuracy(model), percent_interval),
            **with_span("ratio", models.ratio(model), show),
            **with_span("gain", models.gain(model), show),
            **with_span("random update", random),
            **with_span("base", base),
            "n": models.questions,
            "protocol": f"{models.protocol}, {models.samples_text} to a question",
            "cell": cell.name,
        }


ARTEFACTS: list[Artefact] = [
    table(
        "8",
        TITLE,
        "How many directions it takes: one suffices for RL in the paper, and not for distillation "
        "or fine-tuning. Judge ours by the gain, and against the random update.",
        "contrast",
        build,
    )
]
