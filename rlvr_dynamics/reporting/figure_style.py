"""The style of every figure and how it is written: same tables, same bytes."""

import io
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rlvr_dynamics.results.formatting import general, share_of_training
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.system.palette import SKY

DPI = 160
WIDTH_INCHES = 5.5  # text width of common conference styles: no rescaling in a paper

FILLS = ["full", "none", "left", "right", "bottom", "top"]

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so every machine draws the same glyphs
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "#DDDDDD",
    "axes.axisbelow": True,
    "figure.facecolor": "white",
    "figure.dpi": 100,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.hashsalt": "rlvr-dynamics",
    "svg.fonttype": "path",
    "axes.unicode_minus": True,
    "text.parse_math": False,  # titles come from data: a stray dollar sign is not a formula
    "path.simplify": True,
}


def save(figure: Figure, folder: Path, name: str) -> bytes:
    """Write `<name>.pdf` and `<name>.png`; return the figure as SVG for the page."""
    # One layout: the three formats show the same picture, in a third of the time.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    # Not savefig: it draws everything once more without output before each format. Pictures inside
    # pdf and svg take the figure's resolution, and each format leaves its own behind.
    svg = io.BytesIO()
    figure.dpi = DPI
    FigureCanvasPdf(figure).print_pdf(
        folder / f"{name}.pdf", metadata={"CreationDate": None, "ModDate": None}
    )
    figure.dpi = DPI
    FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})
    figure.dpi = DPI
    FigureCanvasAgg(figure).print_png(folder / f"{name}.png", metadata={"Software": None})
    return svg.getvalue()


def style() -> Any:
    """Apply the style as a context, independent of the caller's matplotlib settings."""
    settings: Any = {**matplotlib.rcParamsDefault, **STYLE, "backend": "agg"}
    return matplotlib.rc_context(settings)


def canvas(height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """Return a figure of column width with a grid of axes, shape (rows, columns)."""
    figure = blank(height)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def blank(height: float) -> Figure:
    """Return a figure of column width without axes."""
    return Figure(figsize=(WIDTH_INCHES, height), layout="constrained")


def fill(observe: float, windows: list[int]) -> str:
    """Return the marker fill style of an observed window."""
    position = windows.index(int(observe)) if observe in windows else 0
    return FILLS[position % len(FILLS)]


def prediction_label(results: Results, method: str, observe: float, final: int) -> str:
    """Return `RELEX, first 15 %`, or only the title for a method without a window."""
    name = results.method_name(method)
    return f"{name}, {share_of_training(observe, final)}" if observe > 0 else name


def plain_ticks(value: float, _position: int | None = None) -> str:
    """Format ticks without a common factor, which would overlap the title above the axis."""
    return general(value)


def step_axis(axes: Axes, windows: list[int]) -> None:
    """Set up an x axis of training steps, whole numbers only, with the windows shaded."""
    shade_windows(axes, windows)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("training step (shaded: the observed windows)")


def shade_windows(axes: Axes, windows: list[int]) -> None:
    """Shade what the predictions saw: nested windows, with the shortest darkest."""
    for observe in windows:
        axes.axvspan(0, observe, color=SKY, alpha=0.18, linewidth=0, zorder=0)
