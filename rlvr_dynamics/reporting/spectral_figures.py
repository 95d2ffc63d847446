"""Spectra of the update at the final step, and how much of its norm one direction carries."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rlvr_dynamics.reporting.figure_style import (
    BLACK,
    BLUE,
    VERMILLION,
    WIDTH_INCHES,
    FigurePlan,
    canvas,
    plain_ticks,
)
from rlvr_dynamics.reporting.formatting import module_rank
from rlvr_dynamics.reporting.frames import equal, known, last_step, select, values
from rlvr_dynamics.reporting.results import Results

MLP = ("gate_proj", "up_proj", "down_proj")


def final_update(results: Results) -> pd.DataFrame | None:
    """Rows of the update SVD at the last decomposed step."""
    table = results.tables["update_svd"]
    return None if table is None else equal(table, step=last_step(table))


def rank1_share(results: Results) -> pd.DataFrame | None:
    """σ1/‖ΔW‖_F of every matrix at the final step: one row per matrix."""
    table = final_update(results)
    if table is None:
        return None
    return known(equal(table, index=1), "norm_share")


def draw_spectra(results: Results) -> Figure | None:
    """σ_i/‖ΔW‖_F against i, one thin line per matrix, medians thick."""
    table = final_update(results)
    if table is None:
        return None
    figure, grid = canvas(2.9)
    axes = grid[0, 0]
    kinds = {
        "attention": (BLUE, ~table["module"].isin(MLP)),
        "MLP": (VERMILLION, table["module"].isin(MLP)),
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
    flat = _flat_spectrum(table)
    if flat is not None:
        axes.plot(
            flat.index,
            flat,
            color=BLACK,
            linestyle=":",
            label="flat spectrum of the same norm (median)",
        )
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


def _flat_spectrum(table: pd.DataFrame) -> pd.Series | None:
    """What every σ_i/‖ΔW‖_F would be if all min(m, n) singular values were equal."""
    if not {"m", "n"} <= set(table.columns):
        return None
    smaller = np.minimum(values(table, "m"), values(table, "n"))
    flat = pd.Series(1 / np.sqrt(smaller), index=pd.Index(table["index"]))
    return flat.groupby(level=0).median()


def draw_rank1_share(results: Results) -> Figure | None:
    """Heat map of σ1/‖ΔW‖_F: modules across, layers down, values printed in per cent."""
    table = rank1_share(results)
    if table is None or not len(known(table, "layer")):
        return None
    shares = table.pivot_table(index="layer", columns="module", values="norm_share")
    shares = shares[sorted(shares.columns, key=module_rank)].sort_index()
    cells = 100 * shares.to_numpy(float)
    figure, grid = canvas(0.95 + 0.21 * max(len(shares), 3))
    axes = grid[0, 0]
    image = axes.imshow(cells, aspect="auto", cmap="cividis", vmin=0, vmax=np.nanmax(cells))
    for row, column in np.argwhere(np.isfinite(cells)):
        value = cells[row, column]
        dark = value < 0.6 * np.nanmax(cells)
        axes.text(
            column,
            row,
            f"{value:.1f}",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if dark else "black",
        )
    axes.set_xticks(range(shares.shape[1]), shares.columns)
    axes.set_yticks(range(len(shares)), [str(int(layer)) for layer in shares.index])
    axes.set_ylabel("layer")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label="σ₁ / ‖ΔW‖, %", fraction=0.2 / WIDTH_INCHES)
    return figure


def _facts(results: Results) -> str:
    table = rank1_share(results)
    return "" if table is None else f"n = {table['tensor'].nunique()} matrices of one update"


PLANS = [
    FigurePlan(
        "update_spectra",
        "Spectrum of the update at the final step",
        "A rank-1 update would put the first value at 1 and nothing after it. How far is the first "
        "value above the rest, and above a flat spectrum?",
        ("update_svd",),
        draw_spectra,
        _facts,
    ),
    FigurePlan(
        "rank1_share",
        "Rank-1 share of the update, by module and layer",
        "σ₁/‖ΔW‖ in per cent of the norm (not of its square). The paper's DAPO run has 19.3 % on "
        "average; it is a description, not a threshold.",
        ("update_svd",),
        draw_rank1_share,
        _facts,
    ),
]
