"""Size of the update and norm share of its leading directions, by kind of training."""

import math
from collections.abc import Sequence
from functools import partial

import pandas as pd

from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table, absent
from rlvr_dynamics.results.formatting import general, integer, interval, percent_interval
from rlvr_dynamics.results.frames import equal, known, last_step, values
from rlvr_dynamics.results.kinds import KINDS, runs_of_kind
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.statistics.intervals import with_quartiles

from ..parts.paper_tables import (
    NOT_RUN,
    OURS,
    RUN,
    SPREAD,
    Column,
    as_table,
    for_controls,
    provenance_note,
    run_columns,
    with_span,
)
from .paper import table

NAME = "alpharl_table_7"
TITLE = "Norm of the update and share of its leading directions, by kind of training"
RANKS = {"1": "rank-1 share", "1%": "rank-1 % share"}
METRICS = {
    "mean_update_norm": "mean norm",
    "rank1_norm_fraction_pct": RANKS["1"],
    "rank1pct_norm_fraction_pct": RANKS["1%"],
}
CONDITIONS = {"on_policy_yes_or_no": "on-policy", "policy_constraint_yes_or_no": "constrained"}


def build(study: Study) -> list[Table]:
    """Build the printed table with our rows below, then every run with quartiles and nulls."""

    def ours(cells: Sequence[Cell], name: str) -> list[Table]:
        return [_here_table(cells, name)]

    return [_paper_table(study), *for_controls(study, ours, NAME)]


def _norm(value: float) -> str:
    return general(value, 4)


def _percent(value: float) -> str:
    return f"{general(100 * value, 4)} %"


def _paper_table(study: Study) -> Table:
    numbers = printed(paper="alpharl", table="table7")
    conditions = printed(paper="alpharl", table="table7_conditions")
    rows: list[dict[str, object]] = []
    for kind, group in numbers.groupby("algorithm", sort=False):
        known_kind = KINDS[str(kind)]
        first = {"kind": known_kind.title, "model": known_kind.base_model}
        found = dict(zip(group["metric"], group["value"], strict=True))
        said = equal(conditions, algorithm=kind)
        first |= {
            CONDITIONS[str(metric)]: "yes" if value else "no"
            for metric, value in zip(said["metric"], said["value"], strict=True)
        }
        shares = {
            title: found[metric] / (1 if title == "mean norm" else 100)
            for metric, title in METRICS.items()
        }
        source = ", ".join(sorted(set(group["provenance"])))
        rows.append({**first, "source": source, **shares})
        cells = runs_of_kind(study, str(kind))
        rows += [
            {**first, "source": OURS, **measured, "cell": cell.name}
            for cell in cells
            if (measured := _measured(cell))
        ]
        if not cells:
            rows.append({**first, "source": NOT_RUN})
    noted = numbers.rename(columns={"provenance": "source"})
    return as_table(
        NAME,
        TITLE,
        "Mean over attention and MLP matrices of ‖ΔW‖, and of the norm of its unscaled leading "
        "part over it. Kinds are rows here and columns in the paper, so that ours can stand "
        "beneath. The paper's code prints ratios of sums over modules; ours are means of ratios, "
        "both are in the next table with quartiles and nulls. Model: the base that the training "
        f"started from.{provenance_note(noted)}",
        rows,
        [
            *("kind", *CONDITIONS.values(), "model", "source"),
            Column("mean norm", _norm),
            *(Column(name, _percent) for name in RANKS.values()),
            *(Column("matrices", integer), "cell"),
        ],
    )


def _here_table(cells: Sequence[Cell], name: str) -> Table:
    return as_table(
        f"{name}_here",
        f"{TITLE}: runs of this study",
        "At the last step, over attention and MLP matrices: mean of ‖ΔW‖_F, of ‖ΔW‖_F / ‖W_0‖_F, "
        "and of the norm of the leading part of ΔW, unscaled, over ‖ΔW‖_F, with quartiles over "
        "the matrices. Gaussian null: the same share of a random "
        "matrix of the same shape; a small matrix has few directions, so compare with it, and not "
        "with the papers' 7B and 8B models. Ratio of sums: what the paper's code prints.",
        [
            {**run_columns(cell), **measured, "dtype": cell.results.dtype, "cell": cell.name}
            for cell in cells
            if (measured := _measured(cell))
        ],
        [
            *(*RUN, Column("step", integer), Column("matrices", integer)),
            *(Column("mean norm", _norm, "", f"mean norm{SPREAD}"), Column("relative norm", _norm)),
            *(column for title in RANKS.values() for column in _share_columns(title)),
            *("dtype", "cell"),
        ],
        absent("", "", "norms", "rank_shares").missing,
    )


def _share_columns(title: str) -> list[Column]:
    return [
        Column(title, _percent, "", title + SPREAD),
        Column(f"{title} null", _percent, "Gaussian null"),
        Column(f"{title} of sums", _percent, "ratio of sums"),
    ]


def _measured(cell: Cell) -> dict[str, object]:
    """Return norms and shares at a run's last step; empty if the weights were not measured."""
    results = cell.results
    norms, shares = results.tables["norms"], _shares(cell)
    if norms is None or shares is None:
        return {}
    final = equal(norms, step=last_step(shares)).set_index("tensor")
    matrices = sorted(
        {str(name) for name in shares["tensor"]} & {str(name) for name in final.index}
    )
    if not matrices:
        return {}
    size = values(final.loc[matrices], "update_norm")
    found: dict[str, object] = {
        "step": last_step(shares),
        "matrices": len(matrices),
        **with_span("mean norm", with_quartiles(size), partial(interval, digits=4), SPREAD),
        "relative norm": float(values(final.loc[matrices], "relative_update").mean()),
    }
    for rank, title in RANKS.items():
        here = known(equal(shares, rank=rank), "norm_share").set_index("tensor")
        here = here.loc[[name for name in matrices if name in here.index]]
        if not len(here):
            continue
        share = values(here, "norm_share")
        weights = values(final.loc[here.index], "update_norm")
        whole = float(weights.sum())
        found |= {
            **with_span(title, with_quartiles(share), percent_interval, SPREAD),
            f"{title} null": _null(here),
            f"{title} of sums": float((share * weights).sum()) / whole if whole else math.nan,
        }
    return found


def _null(rows: pd.DataFrame) -> float:
    return float(values(rows, "norm_share_null").mean()) if "norm_share_null" in rows else math.nan


def _shares(cell: Cell) -> pd.DataFrame | None:
    """Return norm shares by rank at the last decomposed step; older runs give only rank 1."""
    table = cell.results.tables["rank_shares"]
    if table is None:
        update = cell.results.tables["update_svd"]
        if update is None:
            return None
        table = equal(update, index=1).assign(rank="1")
    return equal(table, step=last_step(table))


ARTEFACTS: list[Artefact] = [
    table(
        "7",
        TITLE,
        "Online training changes the weights least and puts the most of the change into its "
        "leading direction. Next to each share of ours: the share of a random matrix.",
        "contrast",
        build,
    )
]
