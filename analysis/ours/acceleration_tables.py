"""Tables of the acceleration bench: what jumps are worth, when arms arrive, what they spent."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from rlvr_dynamics.reporting.artefact import Artefact
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.accounts import AXES, accounts
from rlvr_dynamics.results.curves import TARGETS
from rlvr_dynamics.results.formatting import (
    general,
    integer,
    interval,
    number,
    percent,
    percent_interval,
)
from rlvr_dynamics.results.frames import numbers, select
from rlvr_dynamics.results.jumps import jumps_of
from rlvr_dynamics.results.study import Study
from rlvr_dynamics.schema.tables.accounts import ACCOUNTS
from rlvr_dynamics.statistics.intervals import Interval

from ..parts.paper_tables import Column, as_table, estimate, with_span
from .accelerations import (
    NEEDS,
    Bench,
    Group,
    at_end,
    benches,
    kl_to_base,
    mean_over,
    of_scores,
)

SHOWN_TARGET = 0.95
ARM = (Column("arm"), Column("learning rate"), Column("runs", integer))


def _signed(value: float) -> str:
    return number(value, 1, signed=True)


def _signed_span(low: float, high: float) -> str:
    return interval(low, high, 1, signed=True)


def _arm(group: Group) -> dict[str, Any]:
    return {"arm": group.arm.words, "learning rate": group.rate, "runs": len(group.cells)}


def _cells(group: Group) -> dict[str, str]:
    return {"cells": ", ".join(cell.name for cell in group.cells)}


def _kept(group: Group) -> str:
    jumps = [jump for cell in group.cells for jump in jumps_of(cell.results.run_dir)]
    return f"{sum(jump.accepted for jump in jumps)} of {len(jumps)}" if jumps else ""


def _reached(bench: Bench, group: Group, share: float, axis: str) -> str:
    """Return the cost of a target; of a group that does not arrive the least that it could be."""
    found = bench.reached(group, share, axis)
    if found is None:
        return ""
    if found.arrived == found.runs:
        return integer(found.cost.value)
    return f"> {integer(found.least)} ({found.arrived} of {found.runs} arrive)"


def arm_rows(study: Study) -> Iterator[dict[str, Any]]:
    """Yield a row for each arm at each rate."""
    for bench in benches(study):
        for group in bench.groups:
            yield {
                **_arm(group),
                "jumps": _kept(group),
                **with_span("accuracy", at_end(group), percent_interval),
                **with_span("same rate", bench.points(group, tuned=False), _signed_span),
                **with_span("tuned rate", bench.points(group, tuned=True), _signed_span),
                **with_span("area", bench.area(group), percent_interval),
                "target": _reached(bench, group, SHOWN_TARGET, "rollouts"),
                "pass@k": mean_over(group, lambda run: of_scores(run, "pass_at_n", "in_domain")),
                "out of domain": mean_over(
                    group, lambda run: of_scores(run, "accuracy", "out_of_domain")
                ),
                "KL": mean_over(group, kl_to_base),
                **_cells(group),
            }


def arm_tables(study: Study) -> list[Table]:
    """Build the table of arms."""
    found = benches(study)
    budgets = ", ".join(integer(bench.budget) for bench in found)
    tuned = ", ".join(general(bench.tuned.rate) for bench in found if bench.tuned) or "none"
    return [
        as_table(
            "acceleration_arms",
            "What jumps are worth",
            "Accuracy of the last checkpoint, in domain. Same rate, tuned rate: points ahead of "
            "plain steps of the same seed once both have drawn as many rollouts, those of a gate "
            f"included. Tuned: lr {tuned}, best on validation problems. Area: mean accuracy over "
            f"the first {budgets} rollouts. To {percent(SHOWN_TARGET, 0)}: rollouts until the "
            "rising fit of the scored checkpoints reaches that share of the tuned runs' gain and "
            "stays; `>`: not within the run. pass@k over the answers to a question, out of "
            "domain, and KL per token of the base's answers, all of the last checkpoint. "
            "Intervals: over seeds by Student, never narrower than the bootstrap over questions; "
            "of one seed over questions alone. Jumps: kept of tried.",
            arm_rows(study),
            [
                *ARM,
                Column("jumps"),
                estimate("accuracy", percent),
                estimate("same rate", _signed),
                estimate("tuned rate", _signed),
                estimate("area", percent),
                Column("target", None, f"rollouts to {percent(SHOWN_TARGET, 0)}"),
                Column("pass@k", percent),
                Column("out of domain", percent),
                Column("KL", lambda value: general(value, 2)),
                "cells",
            ],
            NEEDS,
        )
    ]


def _time_rows(study: Study) -> Iterator[dict[str, Any]]:
    for bench in benches(study):
        for group in bench.groups:
            for share in TARGETS:
                found = {axis: bench.reached(group, share, axis) for axis in AXES}
                first = found["rollouts"]
                if first is None:
                    continue
                row = {**_arm(group), "share": share}
                row["arrive"] = f"{first.arrived} of {first.runs}"
                for axis, each in found.items():
                    row |= _cost(axis, each.cost if each else Interval(*[math.nan] * 3))
                yield {**row, "least": first.least if first.arrived < first.runs else math.nan} | (
                    _cells(group)
                )


def _cost(axis: str, value: Interval) -> dict[str, object]:
    return with_span(axis, value, lambda low, high: interval(low, high, 0))


def time_tables(study: Study) -> list[Table]:
    """Build the table of times to the targets."""
    return [
        as_table(
            "acceleration_times",
            "Times to shares of the tuned runs' gain",
            "Means over the runs if all arrive; otherwise a dash, and the least that it could be: "
            "each run that does not arrive at its end. Updates and seconds as rollouts. Seconds "
            "are those of steps and jumps, without the start of the engines and the bench's own "
            "evaluation, on the machine of the runs.",
            _time_rows(study),
            [
                *ARM,
                Column("share", lambda value: percent(value, 0), "share of the gain"),
                Column("arrive", None, "runs that arrive"),
                *(estimate(axis, integer, name) for axis, name in AXES.items()),
                Column("least", integer, "rollouts, at least"),
                "cells",
            ],
            NEEDS,
        )
    ]


def _cost_rows(study: Study) -> Iterator[dict[str, Any]]:
    table = accounts(study)
    for bench in benches(study):
        for group in bench.groups:
            rows = select(table, table["cell"].isin([cell.name for cell in group.cells]))
            means = {
                column.name: float(np.mean(found)) if len(found) else math.nan
                for column in _counted()
                for found in [numbers(rows, column.name)]
            }
            yield {**_arm(group), **means, **_cells(group)}


def _counted() -> list[Any]:
    """The columns of the accounts that are numbers to average."""
    return [each for each in ACCOUNTS.columns if each.kind in ("count", "seconds", "GiB")]


def cost_tables(study: Study) -> list[Table]:
    """Build the table of costs, means over the runs of an arm."""
    shows = {"count": integer, "seconds": lambda value: number(value, 1), "GiB": general}
    words = "; ".join(f"{each.name.replace('_', ' ')}: {each.formula}" for each in _counted())
    return [
        as_table(
            "acceleration_costs",
            "What each arm spent",
            f"Means over the runs of an arm. {words[:1].upper()}{words[1:]}.",
            _cost_rows(study),
            [
                *ARM,
                *(Column(e.name, shows[e.kind], e.name.replace("_", " ")) for e in _counted()),
                "cells",
            ],
            NEEDS,
        )
    ]


ARTEFACTS: list[Artefact] = [
    Artefact(
        "acceleration_arms",
        "ours",
        "",
        "What jumps are worth",
        "Whether an arm is ahead of plain steps at the tuned rate, and not only at its own; and "
        "whether its controls (random direction, restart, two passes) are ahead as far.",
        "acceleration",
        arm_tables,
    ),
    Artefact(
        "acceleration_times",
        "ours",
        "",
        "Times to shares of the tuned runs' gain",
        "Arms that never arrive are kept.",
        "acceleration",
        time_tables,
    ),
    Artefact(
        "acceleration_costs",
        "ours",
        "",
        "What each arm spent",
        "Answers that a gate asked for, and seconds that jumps took.",
        "acceleration",
        cost_tables,
    ),
]
