"""Spectra of the update at the final step, and the share of its norm in one direction."""

import pandas as pd
from matplotlib.figure import Figure

from rlvr_dynamics.checkpoints.names import part_of
from rlvr_dynamics.reporting.figure_parts import (
    heat_map,
    heat_map_inches,
    quartile_line,
    run_figure,
)
from rlvr_dynamics.reporting.figure_style import WIDTH_INCHES, canvas, plain_ticks
from rlvr_dynamics.reporting.weight_tables import PRINTED_SHARES
from rlvr_dynamics.results.formatting import rank_order
from rlvr_dynamics.results.frames import equal, has, known, last_step, select
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.system.palette import BLACK, BLUE, GREEN, ORANGE, VERMILLION


def final_update(results: Results) -> pd.DataFrame | None:
    """Return the rows of the update SVD at the last decomposed step."""
    table = results.tables["update_svd"]
    return None if table is None else equal(table, step=last_step(table))


def rank1_share(results: Results) -> pd.DataFrame | None:
    """Return σ1/‖ΔW‖_F at the final step, one row per matrix."""
    table = final_update(results)
    if table is None:
        return None
    return known(equal(table, index=1), "norm_share")


def draw_spectra(results: Results) -> Figure | None:
    """Draw σ_i/‖ΔW‖_F against i: one thin line per matrix, thick medians."""
    table = final_update(results)
    if table is None:
        return None
    figure, grid = canvas(2.9)
    axes = grid[0, 0]
    parts = table["tensor"].map(part_of)
    kinds = {
        "attention": (BLUE, parts == "attention"),
        "MLP": (VERMILLION, parts == "mlp"),
        "other mixers": (GREEN, parts == "mixer"),
    }
    for kind, (colour, mask) in kinds.items():
        rows = select(table, mask)
        if not len(rows):
            continue
        for _, matrix in rows.groupby("tensor", sort=True):
            axes.plot(
                matrix["index"], matrix["norm_share"], color=colour, alpha=0.25, linewidth=0.5
            )
        median = rows.groupby("index")["norm_share"].median()
        axes.plot(
            median.index,
            median,
            color=colour,
            linewidth=2,
            marker="o",
            markersize=3,
            label=f"{kind}: median of {len(set(rows['tensor']))} matrices",
        )
    if has(table, "norm_share_null"):
        null = table.groupby("index")["norm_share_null"].median()
        label = "Gaussian matrices of the same shape (median)"
        axes.plot(null.index, null, color=BLACK, linestyle=":", label=label)
    axes.set_yscale("log")
    axes.set_ylim(top=1.05)
    lowest = axes.get_ylim()[0]
    axes.set_yticks([tick for tick in (1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01) if tick >= lowest])
    axes.set_yticks([], minor=True)
    axes.yaxis.set_major_formatter(plain_ticks)
    axes.set_xlabel("index i of the singular value")
    axes.set_ylabel("σᵢ / ‖ΔW‖ (Frobenius)")
    axes.set_title(f"update at step {last_step(table)}", loc="left")
    axes.legend()
    return figure


def draw_rank1_share(results: Results) -> Figure | None:
    """Draw a heat map of σ1/‖ΔW‖_F in per cent: modules across, layers down."""
    table = rank1_share(results)
    if table is None or not len(known(table, "layer")):
        return None
    figure, grid = canvas(0.95 + heat_map_inches(table))
    axes = grid[0, 0]
    image = heat_map(axes, table, "norm_share", scale=100, low=0)
    figure.colorbar(image, ax=axes, label="σ₁ / ‖ΔW‖, %", fraction=0.2 / WIDTH_INCHES)
    return figure


def draw_rank_shares(results: Results) -> Figure | None:
    """Draw the norm share of the leading directions by number kept, with Gaussian matrices."""
    table = results.tables["rank_shares"]
    if table is None or not has(table, "norm_share"):
        return None
    final = equal(table, step=last_step(table))
    ranks = sorted(set(final["rank"]), key=rank_order)
    table = final.assign(place=[ranks.index(rank) for rank in final["rank"]])
    figure, grid = canvas(2.8)
    axes = grid[0, 0]
    for _, matrix in table.sort_values(["place"]).groupby("tensor", sort=True):
        axes.plot(matrix["place"], matrix["norm_share"], color=BLUE, alpha=0.12, linewidth=0.5)
    quartile_line(axes, table, "place", "norm_share", BLUE, "this run", "o")
    quartile_line(axes, table, "place", "norm_share_null", ORANGE, "Gaussian matrices", "s")
    for (paper, printed), marker in zip(PRINTED_SHARES.items(), "*+x", strict=True):
        there = [rank for rank in printed if rank in ranks]
        axes.plot(
            [ranks.index(rank) for rank in there],
            [printed[rank] for rank in there],
            marker,
            color=BLACK,
            markersize=5,
            label=paper,
        )
    axes.set_xticks(range(len(ranks)), ranks)
    axes.set_ylim(0, 1.03)
    axes.set_xlabel("directions kept: 1, or a percentage of min(m, n)")
    axes.set_ylabel("‖ΔW_k‖ / ‖ΔW‖")
    axes.legend(loc="lower right")
    return figure


def _rank_facts(results: Results) -> str:
    table = results.tables["rank_shares"]
    if table is None:
        return ""
    table = equal(table, step=last_step(table))
    return f"n = {table['tensor'].nunique()} matrices of the update at step {last_step(table)}"


def _facts(results: Results) -> str:
    table = rank1_share(results)
    return "" if table is None else f"n = {table['tensor'].nunique()} matrices of one update"


FIGURES = [
    run_figure(
        "update_spectra",
        "Spectrum of the update at the final step",
        "A rank-1 update would put the first value at 1 and nothing after it. How far is the first "
        "value above the rest, and above that of a matrix without structure?",
        ("update_svd",),
        draw_spectra,
        _facts,
    ),
    run_figure(
        "rank1_share",
        "Rank-1 share of the update, by module and layer",
        "σ₁/‖ΔW‖ in per cent of the norm (not of its square). The paper's DAPO run has 19.3 % on "
        "average; it is a description, not a threshold.",
        ("update_svd",),
        draw_rank1_share,
        _facts,
    ),
    run_figure(
        "rank_shares",
        "How many directions hold the update's norm",
        "The distance between blue and orange is structure; the curve of a matrix without any is "
        "not flat either. Lines: medians over matrices; bands: quartiles; thin: every matrix. "
        "Black: the paper's table 7, for 7B and 8B models.",
        ("rank_shares",),
        draw_rank_shares,
        _rank_facts,
    ),
]
