"""AlphaRL, figure 3a: how much accuracy is left when only part of the update is kept."""

import re

from matplotlib.axes import Axes

from analysis.parts.curves import CurveFigure, Place
from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.figure_style import BLACK
from rlvr_dynamics.results.scores import methods_of
from rlvr_dynamics.results.study import Study

PRINTED_METHOD = re.compile(r"rank(\d+)(pct)?")
OUR_METHOD = re.compile(r"recovery_(\d+)_percent")
# How a model was trained: reinforcement learning, preference pairs, or imitation.
PRINTED_LOOKS = {
    "dapo": ("D", "DAPO"),
    "dpo": ("s", "DPO"),
    "opd": ("^", "on-policy distillation"),
    "sft": ("o", "SFT"),
    "dist": ("v", "distillation"),
}


def rank_places(study: Study) -> list[Place]:
    """Base, random update, rank 1 and every rank-k % that a run has or the paper prints."""
    found = set()
    for cell in study.cells:
        found |= {
            int(m[1]) for name in methods_of(cell.results) if (m := OUR_METHOD.fullmatch(name))
        }
    for method in set(printed(paper="alpharl", table="table8")["method"]):
        match = PRINTED_METHOD.fullmatch(str(method))
        if match and match[2]:
            found.add(int(match[1]))
    listed = [("base", "base"), ("random", "random_update"), ("1", "rank1_recovery")]
    listed += [(f"{percent} %", f"recovery_{percent}_percent") for percent in sorted(found)]
    return [Place(label, method, x, x > 1) for x, (label, method) in enumerate(listed)]


def draw(study: Study) -> Drawing:
    """Relative accuracy against the rank that was kept, ours and printed."""
    places = rank_places(study)

    def paper(axes: Axes) -> None:
        _printed(axes, {place.method: place.x for place in places})

    return CurveFigure(
        places,
        "directions kept: 1, or k % of min(m, n)",
        relative=True,
        beside=paper,
        dodged=0.7,
    ).draw(study)


def _printed(axes: Axes, x_of: dict[str, float]) -> None:
    table = printed(paper="alpharl", table="table8")
    axes.set_title("printed: the paper's table 8, MATH-500", loc="left", fontsize=7.5)
    for algorithm, (marker, name) in PRINTED_LOOKS.items():
        rows = table[table["algorithm"] == algorithm]
        points = sorted(
            (x_of[method], value / 100)
            for method, value in zip(map(_our_label, rows["method"]), rows["value"], strict=True)
            if method in x_of
        )
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            marker=marker,
            color=BLACK,
            markerfacecolor="none",
            markeredgewidth=0.7,
            markersize=3.5,
            linewidth=0.5,
            alpha=0.8,
            label=name,
        )
    axes.legend(fontsize=6, loc="upper left", ncols=3, handlelength=1.2, columnspacing=0.8)


def _our_label(method: str) -> str:
    match = PRINTED_METHOD.fullmatch(method)
    if match is None:
        return ""
    return f"recovery_{match[1]}_percent" if match[2] else "rank1_recovery"


ARTEFACTS: list[Artefact] = [
    Artefact(
        "alpharl_figure_3a",
        "alpharl",
        "Figure 3a",
        "Accuracy left when only part of the update is kept",
        "Kept directions are rescaled to the norm of the whole update. The ratio is not counted "
        "from the base, so what the base has alone, and what a random update of the same norm has, "
        "are the zero of this axis. In the paper few directions suffice after reinforcement "
        "learning and not after imitation.",
        "rank_recovery",
        draw,
    )
]
