"""What AlphaRL keeps of the full training: printed columns and our runs, beside the checkpoint."""

from collections.abc import Iterator, Sequence

import pandas as pd

from analysis.alpharl.stages import SPLITS, Row, rows_of, scored
from analysis.parts.paper_tables import METHODS, OURS, RUN, RUN_FORMATS, run_columns, signed_points
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import Formatter, interval, number
from rlvr_dynamics.results.scores import PairedAccuracy
from rlvr_dynamics.results.study import Cell

SETS = {"in domain": ("in_domain",), "all": tuple(SPLITS)}
MISSING = "Not measured: needs AlphaRL's predictions of the last step, scored (stage score)."


def retention_table(
    title: str, shares: Sequence[float], cells: Sequence[Cell], name: str, printed: pd.DataFrame
) -> Table:
    """What AlphaRL keeps of the full training's accuracy, beside the checkpoint it starts from.

    Args:
        title: Heading of the table that this belongs to.
        shares: Shares of the training.
        cells: Our runs.
        name: What the file's name begins with.
        printed: Printed rows (`analysis.parts.paper_tables.wide`), or none.
    """
    rows = [*_printed_retention(printed)]
    rows += [row for cell in cells for row in _retention_rows(cell, shares)]
    title = f"{title}: accuracy kept"
    if not rows:
        return Table(f"{name}_retention", title, "", None, missing=MISSING)
    order = [*RUN, "method", "share", "speed-up", "benchmarks", "kept", "interval"]
    order += ["checkpoint", "checkpoint interval", "advantage", "advantage interval"]
    order += ["gain", "gain interval", "n", "kept as printed", "source", "cell"]
    ratios: dict[str, Formatter] = dict.fromkeys(["kept as printed", "kept", "checkpoint"], number)
    return Table(
        f"{name}_retention",
        title,
        "Kept: average accuracy over the full training's, from recomputed averages, beside the "
        "same from the printed averages. Checkpoint: what the plain checkpoint of the same step "
        "keeps, which AlphaRL must beat. Advantage: AlphaRL minus that checkpoint, in points. "
        "Gain: (AlphaRL − base) / (full − base); a plain ratio rewards the base, and the paper "
        "prints no base here. 95 % intervals: bootstrap over n questions, paired. The claim is "
        "over 0.96 at 40 % of the training, which is 2.5 × faster.",
        pd.DataFrame(rows, columns=order),
        {**RUN_FORMATS, **ratios, "advantage": signed_points, "gain": number},
        {
            "kept as printed": "kept, printed averages",
            "interval": "95 %",
            "checkpoint": "checkpoint keeps",
            "checkpoint interval": "95 %",
            "advantage": "advantage, points",
            "advantage interval": "95 %",
            "gain": "gain kept",
            "gain interval": "95 %",
        },
    )


def _printed_retention(printed: pd.DataFrame) -> Iterator[dict[str, object]]:
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


def _retention_rows(cell: Cell, shares: Sequence[float]) -> Iterator[dict[str, object]]:
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
    kept, gain = models.ratio(row.model), models.gain(row.model)
    plain, advantage = models.ratio(row.start), models.points(row.model, row.start)
    return {
        "kept": kept.value,
        "interval": interval(kept.low, kept.high),
        "checkpoint": plain.value,
        "checkpoint interval": interval(plain.low, plain.high),
        "advantage": advantage.value,
        "advantage interval": interval(advantage.low, advantage.high, 1, signed=True),
        "gain": gain.value,
        "gain interval": interval(gain.low, gain.high),
    }
