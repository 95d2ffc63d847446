"""Accuracy when part of the update is kept: its rank, one direction, length, some modules."""

import re
from functools import partial

from matplotlib.axes import Axes

from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.results.scores import methods_of
from rlvr_dynamics.results.study import Study
from rlvr_dynamics.system.palette import BLACK, GREY

from ..parts.curves import CurveFigure, Place, places
from .paper import figure

RANK_LABEL = "directions kept: 1, or k % of min(m, n)"
PRINTED_METHOD = re.compile(r"rank(\d+)(pct)?")
# How models are trained: reinforcement learning, preference pairs, or imitation.
PRINTED_LOOKS = {
    "dapo": ("D", "DAPO"),
    "dpo": ("s", "DPO"),
    "opd": ("^", "on-policy distillation"),
    "sft": ("o", "SFT"),
    "dist": ("v", "distillation"),
}
PLATEAU = 0.7  # where the curves level off, according to the paper's text
WINDOWS = tuple(f"rank1_r2_window_{window}" for window in range(1, 8))


def numbered(study: Study, pattern: str) -> dict[float, str]:
    """Return labels of scored methods by the number in them, ascending; `0_7` means 0.7."""
    names = {name for cell in study.cells for name in methods_of(cell.results)}
    matches = {name: re.fullmatch(pattern, name) for name in names}
    found = {float(match[1].replace("_", ".")): name for name, match in matches.items() if match}
    return dict(sorted(found.items()))


# The kept rank


def rank_places(study: Study) -> list[Place]:
    """Return base, random update, rank 1 and every rank-k % that a run has or the paper prints."""
    found = set(numbered(study, r"recovery_(\d+)_percent"))
    for method in set(printed(paper="alpharl", table="table8")["method"]):
        match = PRINTED_METHOD.fullmatch(str(method))
        if match and match[2]:
            found.add(float(match[1]))
    return places(
        ("base", "base", False),
        ("random", "random_update", False),
        ("1", "rank1_recovery", True),
        *((f"{share:g} %", f"recovery_{share:g}_percent", True) for share in sorted(found)),
    )


def kept_rank(study: Study) -> Drawing:
    """Draw relative accuracy against the kept rank, ours and printed."""
    ranks = rank_places(study)

    def paper(axes: Axes) -> None:
        _printed(axes, {place.method: place.x for place in ranks})

    return CurveFigure(
        ranks,
        RANK_LABEL,
        relative=True,
        last=paper,
        last_title="printed: the paper's table 8, MATH-500",
        dodged=0.7,
    ).draw(study)


def kept_rank_by_benchmark(study: Study) -> Drawing:
    """Draw one panel per benchmark, only with ranks at which some run was rebuilt."""
    there = {name for cell in study.cells for name in methods_of(cell.results)}
    listed = [
        (place.label, place.method, place.joined)
        for place in rank_places(study)
        if place.method in there
    ]
    spaced = places(*listed, ("full", "real", False))
    return CurveFigure(spaced, RANK_LABEL, each_benchmark=True, dodged=0.7).draw(study)


def _printed(axes: Axes, x_of: dict[str, float]) -> None:
    table = printed(paper="alpharl", table="table8")
    for algorithm, (marker, name) in PRINTED_LOOKS.items():
        rows = table[table["algorithm"] == algorithm]
        points = sorted(
            (x_of[method], value / 100)
            for method, value in zip(map(_our_label, rows["method"]), rows["value"], strict=True)
            if method in x_of
        )
        axes.plot(
            *zip(*points, strict=True),
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


# One direction, the length, some modules


def directions(study: Study, *, each_benchmark: bool = False) -> Drawing:
    """Return base, random update, every direction a run was rebuilt from, final checkpoint."""
    found = numbered(study, r"subspace_(\d+)")
    spots = places(
        ("base", "base", False),
        ("random", "random_update", False),
        ("1", "rank1_recovery", True),
        *((f"{index:g}", name, True) for index, name in found.items()),
        ("full", "real", False),
    )
    return CurveFigure(
        spots,
        "direction i of the update, alone",
        each_benchmark=each_benchmark,
        needed=tuple(found.values()) or ("subspace_2",),
    ).draw(study)


def scale_places(study: Study) -> list[Place]:
    """Return λ = 0 (the base), every λ a run was rebuilt with, λ = 1, and the final checkpoint."""
    placed = [Place("0", "base", 0.0)]
    placed += [
        Place(f"{scale:g}", name, scale)
        for scale, name in numbered(study, r"rank1_scaled_(\d+_\d+)").items()
    ]
    placed += [Place("1", "rank1_recovery", 1.0), Place("random", "random_update", 1.25, False)]
    return sorted([*placed, Place("full", "real", 1.5, False)], key=lambda place: place.x)


def scales(study: Study) -> Drawing:
    """Draw accuracy against λ."""
    spots = scale_places(study)
    needed = tuple(place.method for place in spots if place.method.startswith("rank1_scaled"))
    return CurveFigure(
        spots,
        "λ, the factor on the rescaled rank-1 update",
        needed=needed or ("rank1_scaled_0_7",),
        decorate=lambda axes: axes.axvline(PLATEAU, color=GREY, linewidth=0.7, linestyle=":"),
        dodged=0.06,
    ).draw(study)


def module_windows(study: Study) -> Drawing:
    """Draw the accuracy of the seven windows."""
    spots = places(
        ("base", "base", False),
        *((str(number), method, True) for number, method in enumerate(WINDOWS, start=1)),
        ("all", "rank1_recovery", False),
        ("full", "real", False),
    )
    label = "third of the modules by R², from the best (1) to the worst (7)"
    return CurveFigure(spots, label).draw(study)


ARTEFACTS: list[Artefact] = [
    figure(
        "3a",
        "Accuracy left when only part of the update is kept",
        "Kept directions are rescaled to the norm of the whole update. The ratio is not counted "
        "from the base, so what the base has alone, and what a random update of the same norm has, "
        "are the zero of this axis. In the paper few directions suffice after reinforcement "
        "learning and not after imitation.",
        "rank_recovery",
        kept_rank,
    ),
    figure(
        "4a",
        "One direction of the update alone",
        "Each direction is rescaled to the norm of the whole update. Does the first stand out from "
        "the second, and the second from a random update of the same norm? Base and full are the "
        "floor and the aim.",
        "subspaces",
        directions,
    ),
    figure(
        "4b",
        "How long the rank-1 update should be",
        "λ = 0 is the base, λ = 1 the rank-1 update at the norm of the whole. Dotted: the paper's "
        "plateau, near 0.7. Right: a random update of the full norm, and the final checkpoint.",
        "lambda_scaling",
        scales,
    ),
    figure(
        "6c",
        "A third of the modules at a time, sorted by R²",
        "In the paper accuracy falls from the first window to the last. All: every module's rank-1 "
        "update. The ranking uses accuracies of the whole training, so it sees the future; "
        "neighbouring windows share modules.",
        "linearity_pls",
        module_windows,
    ),
    figure(
        "7",
        "Accuracy against the rank that is kept, on every benchmark",
        "Does rank 1 reach the full update on problems that it was never trained on? A flat curve "
        "between base and full that do not differ says nothing.",
        "rank_recovery",
        kept_rank_by_benchmark,
    ),
    figure(
        "11",
        "One direction of the update alone, on every benchmark",
        "As figure 4a. Where training itself moved a benchmark little, no direction stands "
        "out: compare base and full first.",
        "subspaces",
        partial(directions, each_benchmark=True),
    ),
]
