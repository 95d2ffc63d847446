"""How much of the full training AlphaRL keeps, compared with the checkpoint it starts from."""

from collections.abc import Iterator, Sequence

import pandas as pd

from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import interval, number
from rlvr_dynamics.results.scores import PairedAccuracy
from rlvr_dynamics.results.study import Cell

from ..parts.paper_tables import (
    METHODS,
    OURS,
    RUN,
    Column,
    as_table,
    run_columns,
    signed_points,
    with_span,
)
from .stages import SPLITS, Row, rows_of, scored

SETS = {"in domain": ("in_domain",), "all": tuple(SPLITS)}
MISSING = "Not measured: needs AlphaRL's predictions of the last step, scored (stage score)."


def kept_table(
    title: str, shares: Sequence[float], cells: Sequence[Cell], name: str, printed: pd.DataFrame
) -> Table:
    """Build a table of how much of full accuracy AlphaRL keeps, printed and in our runs.

    Args:
        title: Heading of the table it belongs to.
        shares: Shares of the training.
        cells: Our runs.
        name: Prefix of the file name.
        printed: Printed rows (`analysis.parts.paper_tables.wide`), or none.
    """
    rows = [*_printed_rows(printed)]
    rows += [row for cell in cells for row in _kept_rows(cell, shares)]
    return as_table(
        f"{name}_retention",
        f"{title}: accuracy kept",
        "Kept: average accuracy over the full training's, from recomputed averages, beside the "
        "same from the printed averages. Checkpoint: what the plain checkpoint of the same step "
        "keeps, which AlphaRL must beat. Advantage: AlphaRL minus that checkpoint, in points. "
        "Gain: (AlphaRL − base) / (full − base); a plain ratio rewards the base, and the paper "
        "prints no base here. 95 % intervals: bootstrap over n questions, paired. The claim is "
        "over 0.96 at 40 % of the training, which is 2.5 × faster.",
        rows,
        [
            *(*RUN, "method", "share", "speed-up", "benchmarks"),
            Column("kept", number, interval="interval"),
            Column("checkpoint", number, "checkpoint keeps", "checkpoint interval"),
            Column("advantage", signed_points, "advantage, points", "advantage interval"),
            Column("gain", number, "gain kept", "gain interval"),
            "n",
            Column("kept as printed", number, "kept, printed averages"),
            *("source", "cell"),
        ],
        MISSING,
    )


def _printed_rows(printed: pd.DataFrame) -> Iterator[dict[str, object]]:
    for (model, algorithm), block in printed.groupby(["model", "algorithm"], sort=False):  # pyright: ignore[reportGeneralTypeIssues]
        found = {(row["method"], row["share"]): row for row in block.to_dict("records")}
        full = found[("full_rl", 1.0)]
        for (method, share), row in found.items():
            if method != "alpharl":
                continue
            plain = found[("early_checkpoint", share)]
            yield {
                "model": model,
                "algorithm": algorithm,
                "method": METHODS["alpharl"],
                "share": share,
                "source": row["source"],
                "benchmarks": "six",
                "speed-up": 1 / float(share),
                "kept as printed": row["average as printed"] / full["average as printed"],
                "kept": row["average"] / full["average"],
                "checkpoint": plain["average"] / full["average"],
                "advantage": 100 * (row["average"] - plain["average"]),
            }


def _kept_rows(cell: Cell, shares: Sequence[float]) -> Iterator[dict[str, object]]:
    names = SETS if cell.results.benchmarks("out_of_domain") else {"in domain": ("in_domain",)}
    for label, splits in names.items():
        models = scored(cell, splits)
        for row in rows_of(cell, shares) if models else []:
            if row.start and models is not None and row.model in models:
                yield {
                    **run_columns(cell),
                    "method": cell.results.method_name(row.method),
                    "share": row.share,
                    "source": OURS,
                    "benchmarks": label,
                    "speed-up": 1 / row.share,
                    **_kept(models, row),
                    "n": models.questions,
                    "cell": cell.name,
                }


def _kept(models: PairedAccuracy, row: Row) -> dict[str, object]:
    kept, ending = models.ratio(row.model), " interval"
    return {
        **{"kept": kept.value, "interval": interval(kept.low, kept.high)},
        **with_span("checkpoint", models.ratio(row.start), ending=ending),
        **with_span("advantage", models.points(row.model, row.start), _points, ending),
        **with_span("gain", models.gain(row.model), ending=ending),
    }


def _points(low: float, high: float) -> str:
    return interval(low, high, 1, signed=True)
