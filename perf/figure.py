"""The figure of the scaling part: time per GB and memory against the number of steps."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import LogLocator, NullLocator

from perf.scaling import gram_seconds_per_gb
from rlvr_dynamics.reporting.figure_style import canvas, save, style
from rlvr_dynamics.system.palette import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION

NAME = "cost"
LOOKS = [(BLUE, "o"), (VERMILLION, "s"), (GREEN, "^"), (ORANGE, "D")]


def draw(details: dict[str, Any], out: Path) -> None:
    """Write cost.pdf and cost.png from the details of the scaling part."""
    cells = details["cells"]
    sizes = list(dict.fromkeys(cell["size"] for cell in cells))
    largest = max(cells, key=lambda cell: cell["parameters"])["size"]
    plain, flops = details["plain_seconds_per_gb"][largest], details["dgemm_flops"]
    with style():
        figure, axes = canvas(2.7, columns=2)
        time, memory = axes[0]
        for size, (colour, marker) in zip(sizes, LOOKS, strict=False):
            own = [cell for cell in cells if cell["size"] == size]
            steps = [cell["T"] for cell in own]
            label = f"{own[0]['parameters'] / 1e6:.3g} M parameters"
            look: dict[str, Any] = {"color": colour, "marker": marker, "label": label}
            time.plot(steps, [cell["seconds_per_gb"] for cell in own], **look)
            memory.plot(steps, [cell["peak_bytes"] / 1e9 for cell in own], **look)
        ticks = sorted({cell["T"] for cell in cells})
        crossing = details["crossing_T"]
        low, high = 0.8 * ticks[0], 1.25 * ticks[-1]
        grid = np.geomspace(low, max(high, crossing), 100)
        time.axhline(plain, color=BLACK, linestyle="--", linewidth=1, label="read and convert only")
        time.plot(
            grid,
            [gram_seconds_per_gb(steps, flops) for steps in grid],
            color=GREY,
            linestyle=":",
            label="Gram product only, T² d",
        )
        time.plot([crossing], [plain], marker="*", markersize=8, color=BLACK, linestyle="none")
        late = crossing > (low * high) ** 0.5  # the label must stay inside the axes
        time.annotate(
            f"T = {crossing:.0f}",
            (crossing, plain),
            xytext=(-7, 5) if late else (7, -10),
            textcoords="offset points",
            ha="right" if late else "left",
            fontsize=7,
        )
        bottom = 0.3 * min(plain, *(cell["seconds_per_gb"] for cell in cells))
        time.set(yscale="log", ylabel="seconds per GB read", ylim=(bottom, None))
        memory.set(ylabel="peak memory of its own (GB)", ylim=(0, None))
        for ax in (time, memory):
            ax.set(xscale="log", xlabel="observed steps T", xlim=(low, max(high, 1.25 * crossing)))
            ax.set_xticks(ticks, [str(step) for step in ticks], minor=False)
            ax.set_xticks([], minor=True)
        # The style does not render formulas, which log axes use as labels by default.
        time.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        time.yaxis.set_major_formatter("{x:g}")
        time.yaxis.set_minor_locator(NullLocator())
        figure.suptitle("Trajectory SVD of all tensors: bf16, one run per point", fontsize=8)
        handles, labels = time.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        out.mkdir(parents=True, exist_ok=True)
        save(figure, out, NAME)
