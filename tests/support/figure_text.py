"""Finds texts that a figure cuts off or draws over each other; for tests only."""

from itertools import combinations
from typing import Any
from unittest import mock

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Affine2D, Bbox

from rlvr_dynamics.reporting.figure_style import style

CUT_PIXELS = 1.0  # rounding of glyphs to pixels
TOUCH = 0.15  # share of a line's height that its box has above and below the letters


def text_faults(figure: Figure) -> list[str]:
    """Return every drawn text that leaves the canvas, and every two that overlap."""
    drawn = _drawn(figure)
    canvas = Bbox.from_extents(0, 0, *figure.canvas.get_width_height()).padded(CUT_PIXELS)
    faults = [
        f"cut off: {words!r}"
        for words, outline in drawn
        if not all(canvas.contains(x, y) for x, y in outline.vertices)
    ]
    for (first, one), (second, other) in combinations(drawn, 2):
        if one.intersects_path(other, filled=True):
            faults.append(f"overlap: {first!r} and {second!r}")
    return faults


def check_texts(figures: dict[str, Figure | None]) -> None:
    """Assert that no text of some figures is cut off or drawn over another."""
    with style():
        found = {name: text_faults(each) for name, each in figures.items() if each is not None}
    assert found, "nothing was drawn"
    assert {name: faults for name, faults in found.items() if faults} == {}


def _drawn(figure: Figure) -> list[tuple[str, Path]]:
    """Return the words and the outline, in pixels, of every text that is really drawn."""
    found: list[tuple[str, Path]] = []
    draw = Text.draw

    def noted(text: Text, renderer: Any, *rest: Any, **options: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            found.append((text.get_text(), _outline(text)))
        draw(text, renderer, *rest, **options)

    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # the layout that is saved, as in figure_style.save
    figure.set_layout_engine("none")
    with mock.patch.object(Text, "draw", noted):
        canvas.draw()
    return found


def _outline(text: Text) -> Path:
    """Return the turned rectangle around the letters of a text."""
    box, angle = Text.get_window_extent(text), text.get_rotation()
    middle = (box.p0 + box.p1) / 2  # also that of the turned rectangle
    text.set_rotation(0)
    level = Text.get_window_extent(text)
    text.set_rotation(angle)
    aside = TOUCH * min(level.width, level.height)
    width, height = level.width / 2 - aside, level.height / 2 - aside
    corners = Path(
        [(-width, -height), (width, -height), (width, height), (-width, height), (-width, -height)],
        closed=True,
    )
    return corners.transformed(Affine2D().rotate_deg(angle).translate(*middle))
