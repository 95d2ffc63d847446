"""All figures of the page, in its order, with captions."""

import base64
from dataclasses import dataclass
from pathlib import Path

from rlvr_dynamics.reporting import (
    direction_figures,
    linearity_figures,
    method_figures,
    spectral_figures,
    training_figures,
)
from rlvr_dynamics.reporting.figure_style import FigurePlan, save, style
from rlvr_dynamics.results.formatting import text
from rlvr_dynamics.results.run import TABLES, Results

PLANS: list[FigurePlan] = [
    *training_figures.PLANS,
    *method_figures.PLANS,
    *spectral_figures.PLANS,
    *direction_figures.PLANS,
    *linearity_figures.PLANS,
]


@dataclass(frozen=True)
class Drawn:
    """A figure as the page shows it.

    Attributes:
        name: File name without ending, in `figures/`.
        title: Heading.
        look_at: What a reader should look at.
        facts: n, seed, dtype, source.
        image: `data:` address of the figure as SVG; None where it was not measured.
        missing: What is missing where there is no image.
    """

    name: str
    title: str
    look_at: str
    facts: str
    image: str | None
    missing: str = ""


def draw_figures(results: Results, folder: Path) -> list[Drawn]:
    """Draw every figure that the tables allow.

    Args:
        results: The tables.
        folder: Where `<name>.pdf` and `<name>.png` go; exists.
    """
    with style():
        return [_draw(plan, results, folder) for plan in PLANS]


def _draw(plan: FigurePlan, results: Results, folder: Path) -> Drawn:
    figure = plan.draw(results)
    sources = ", ".join(TABLES[name][0] for name in plan.needs)
    if figure is None:
        stages = " and ".join(dict.fromkeys(TABLES[name][1] for name in plan.needs))
        missing = f"Not measured: needs {sources} (stage {stages})."
        if any(results.tables[name] is not None for name in plan.needs):
            missing = f"Not measured: {sources} of this run hold nothing to draw."
        return Drawn(plan.name, plan.title, plan.look_at, "", None, missing)
    svg = save(figure, folder, plan.name)
    facts = (
        f"{plan.facts(results)}; seed {results.seed}; checkpoints in {text(results.dtype)}; "
        f"from {sources}"
    )
    image = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    return Drawn(plan.name, plan.title, plan.look_at, facts, image)
