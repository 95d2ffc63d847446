"""The only place that makes verdicts: what one run, or many, says about a claim.

A number with a sampling error (accuracies of questions, means over runs) is judged by its 95 %
interval. A number over the tensors of one run has no such error: the tensors are all there are, the
checkpoints are given, and the run is the only one of its kind. Its value alone decides, for that
run, and its quartiles are shown as a spread. Over runs, Student's interval decides.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rlvr_dynamics.claims.claim import Claim, Measured, Threshold
from rlvr_dynamics.claims.over_runs import by_regime, mean_of, over_runs, runs_in_words
from rlvr_dynamics.claims.preconditions import LEVELLED, LIFTED
from rlvr_dynamics.claims.printed_numbers import PrintedClaim
from rlvr_dynamics.results.formatting import number
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.study import CONSTANT, NO_CONTROL, Cell
from rlvr_dynamics.statistics.intervals import UNDEFINED, Interval

HOLDS, FAILS, INCONCLUSIVE, NOT_MEASURED = "holds", "fails", "inconclusive", "not measured"
NULL_PASSES = "the null passes too"
NO_NULL = "no control was measured"
INSIDE_BAND = "most tensors lie inside the null's band"
NO_GAIN = "RL did not demonstrably lift the accuracy, so there is no gain to recover"
NOT_LEVEL = "training had not levelled off"
EQUAL_COST = "as many real steps at a higher learning rate, chosen on validation problems"
RIVAL_PASSES = "that reaches the threshold too"
CONTROL_PASSES = "a control run passes too"
NO_CONTROL_RUN = "not compared with a control run"
IS_CONTROL = "this is a control run itself"
DEPENDS = "holds in one regime and fails in another: read them apart"


@dataclass(frozen=True)
class Judged:
    """The verdict on a claim over runs, with the numbers behind it.

    Attributes:
        value: Mean over the runs with its 95 % interval.
        over: What the interval is over.
        runs: Number of runs.
        n: Number of units in the run that has the fewest.
        n_unit: What a unit is.
        null: Mean of the runs' nulls.
        control: Mean of the same statistic over the control runs.
        control_runs: Number of control runs.
        verdict: `holds`, `fails`, `inconclusive` or `not measured`.
        notes: What a reader must know.
        one_by_one: The verdicts of several runs taken individually, in words.
        cells: The runs behind it.
        regimes: The same for each model, learning rate and length of training.
    """

    value: Interval = UNDEFINED
    over: str = ""
    runs: int = 0
    n: int | None = None
    n_unit: str = ""
    null: float = math.nan
    control: float = math.nan
    control_runs: int = 0
    verdict: str = NOT_MEASURED
    notes: tuple[str, ...] = ()
    one_by_one: str = ""
    cells: tuple[str, ...] = ()
    regimes: tuple[tuple[str, "Judged"], ...] = field(default=(), repr=False)


def judge(
    claim: Claim,
    runs: Sequence[Cell],
    controls: Sequence[Cell] = (),
    study: Sequence[Cell] | None = None,
) -> Judged:
    """Judge a claim.

    Args:
        claim: The claim.
        runs: The runs; those the claim is not about are skipped.
        controls: Runs on shuffled rewards, reported separately.
        study: The runs that each may be compared with; defaults to `runs`.
    """
    others = tuple(cell.results for cell in (runs if study is None else study))
    whole = _judge(claim, runs, controls, others)
    groups = by_regime(runs, controls)
    parts = (
        [(name, _judge(claim, *group, others)) for name, group in groups.items()]
        if len(groups) > 1
        else [(name, whole) for name in groups]
    )
    if {HOLDS, FAILS} <= {part.verdict for _, part in parts}:
        # A mean over regimes that contradict each other describes none of them.
        further = () if whole.verdict == INCONCLUSIVE else (whole.one_by_one,)
        notes = (DEPENDS, *whole.notes, *further)
        whole = replace(whole, verdict=INCONCLUSIVE, notes=notes)
    return replace(whole, regimes=tuple(parts))


def judge_printed(claim: PrintedClaim) -> Judged:
    """Test a claim on the papers' printed numbers: it holds if every case meets the threshold.

    The cases are the whole population, not a sample, so there is no interval.
    """
    cases = claim.cases()
    values = cases.values
    met = claim.threshold.met(values)
    worst = float((values.max if claim.threshold.sign == "≤" else values.min)())
    note = f"{int(met.sum())} of {len(met)} meet it"
    failed = [
        f"{name} {number(value, 1)}"
        for name, value, good in zip(cases.names, values, met, strict=True)
        if not good
    ]
    if failed:
        note += f"; not: {', '.join(failed)}" if not cases.note else f"; {cases.note}"
    return Judged(
        value=Interval(worst, math.nan, math.nan),
        n=len(met),
        n_unit=cases.unit,
        verdict=HOLDS if met.all() else FAILS,
        notes=("from the papers' own numbers, no run of ours", note),
    )


def learned(results: Results) -> bool:
    """Whether precondition P0 holds: without a gain, claims about accuracy are meaningless."""
    found = LIFTED.of(results)
    return found is not None and _by_itself(found, LIFTED.threshold) == HOLDS


def not_level(results: Results) -> str:
    """Say that precondition P1 does not hold, and by how much; empty if it does."""
    found, bar = LEVELLED.of(results), LEVELLED.threshold
    if found is None:
        return f"{NOT_LEVEL}: no checkpoint at 75 % was scored and y(t) is unknown"
    if _by_itself(found, bar) == HOLDS:
        return ""
    value, low, high = found.value
    gained = f"{bar.number(-value)} points {bar.interval(-high, -low)}"
    return f"{NOT_LEVEL}: its last quarter gained {gained}"


def _by_itself(found: Measured, bar: Threshold) -> str:
    """Judge one run: by its value if that is exact, else by its interval."""
    if found.spread and found.defined:
        return HOLDS if bar.met(found.value.value) else FAILS
    return verdict_of(found.value, bar)


def verdict_of(value: Interval, bar: Threshold) -> str:
    """`holds` if the whole interval meets the threshold, `fails` if none of it does."""
    if math.isnan(value.value):
        return NOT_MEASURED
    if math.isnan(value.low) or math.isnan(value.high):
        return INCONCLUSIVE
    met = bar.met(value.low), bar.met(value.high)
    return HOLDS if all(met) else INCONCLUSIVE if any(met) else FAILS


def both(first: str, second: str) -> str:
    """Combine the verdicts of a claim's two parts."""
    parts = (first, second)
    for verdict in (NOT_MEASURED, FAILS, INCONCLUSIVE):
        if verdict in parts:
            return verdict
    return HOLDS


@dataclass(frozen=True)
class _Alone:
    """The verdict of one run, and what lowered it."""

    cell: Cell
    found: Measured
    verdict: str
    reasons: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.reasons, *self.found.facts)


def _alone(claim: Claim, cell: Cell, found: Measured) -> _Alone:
    bar, reasons = claim.threshold.value, []
    verdict = _by_itself(found, claim.threshold)
    above, compared = found.above or (0, 0)
    if claim.threshold.also:
        most = HOLDS if above > compared / 2 else FAILS
        # Inconclusive, not unmeasured, if no unit has a null.
        verdict = both(verdict, most if compared else INCONCLUSIVE)
    elif verdict == HOLDS and compared and above <= compared / 2:
        verdict, reasons = INCONCLUSIVE, [INSIDE_BAND]
    if claim.null_counts and verdict == HOLDS:
        if math.isnan(found.null):
            reasons.append(NO_NULL)
        elif found.null > bar:
            verdict, reasons = INCONCLUSIVE, [*reasons, NULL_PASSES]
    # A training that goes on is easier to match, so what fails beside it fails all the same.
    if claim.needs_level and verdict == HOLDS and (why := not_level(cell.results)):
        verdict, reasons = INCONCLUSIVE, [*reasons, why]
    if claim.needs_gain and not learned(cell.results):
        verdict, reasons = INCONCLUSIVE, [*reasons, NO_GAIN]
    if not found.defined:
        verdict = INCONCLUSIVE  # a gain divided by no gain: measured, but undefined
    if cell.control != NO_CONTROL:
        reasons.append(IS_CONTROL)
    return _Alone(cell, found, verdict, tuple(reasons))


def _judge(
    claim: Claim, runs: Sequence[Cell], controls: Sequence[Cell], others: tuple[Results, ...]
) -> Judged:
    ours = [cell for cell in runs if claim.fits(cell)]
    found = [(cell, claim.of(cell.results, others)) for cell in ours]
    rows = [_alone(claim, cell, one) for cell, one in found if one is not None]
    # Constant rewards have no gradient: weight decay alone draws a straight line.
    steered = [cell for cell in controls if cell.control != CONSTANT and claim.fits(cell)]
    beside = [claim.of(cell.results) for cell in steered]
    control = [one.value.value for one in beside if one is not None and one.defined]
    rows = [row for row in rows if row.found.defined] or rows
    if not rows:
        reasons = [claim.lacks(cell.results) or claim.needs for cell in ours]
        notes = tuple(dict.fromkeys(reasons)) or (_lacking(claim, runs),)
        return Judged(control=mean_of(control), control_runs=len(control), notes=notes)
    notes = []
    gained = [row for row in rows if learned(row.cell.results)]
    if claim.needs_gain and gained and len(gained) < len(rows):
        notes.append(f"{runs_in_words(len(rows) - len(gained))} left out: {NO_GAIN}")
        rows = gained
    bases = [row.cell.base for row in rows]
    value, over = over_runs([row.found for row in rows], bases)
    low, high = max(value.low, claim.limits[0]), min(value.high, claim.limits[1])
    value = value._replace(low=low, high=high)
    nulls = [row.found.null for row in rows if not math.isnan(row.found.null)]
    verdict, reasons = _verdict(claim, rows, value, mean_of(nulls))
    if verdict == HOLDS and claim.control_counts:
        if claim.threshold.met(mean_of(control)):
            verdict, reasons = INCONCLUSIVE, [*reasons, CONTROL_PASSES]
        elif not control:
            reasons = [*reasons, NO_CONTROL_RUN]
    if claim.needs_gain and not gained:
        verdict, reasons = INCONCLUSIVE, [*reasons, NO_GAIN]
    shared = [note for note in rows[0].notes if all(note in row.notes for row in rows)]
    reasons = [*reasons, *_rival(claim, rows)]
    one_by_one = _one_by_one(rows) if len(rows) > 1 else ""
    further = [one_by_one] if verdict == INCONCLUSIVE and one_by_one else []
    return Judged(
        value=value,
        over=over,
        runs=len(rows),
        n=min(row.found.n for row in rows),
        n_unit=rows[0].found.n_unit,
        null=mean_of(nulls),
        control=mean_of(control),
        control_runs=len(control),
        verdict=verdict,
        notes=(*notes, *dict.fromkeys([*shared, *reasons]), *further),
        one_by_one=one_by_one,
        cells=tuple(row.cell.name for row in rows),
    )


def _rival(claim: Claim, rows: Sequence[_Alone]) -> list[str]:
    """Say what the control of equal cost reaches, if any run has one."""
    found = [row.found.rival for row in rows if not math.isnan(row.found.rival)]
    if not found:
        return []
    mean, passes = mean_of(found), claim.threshold.met(mean_of(found))
    shown = f"{claim.threshold.number(mean)} {claim.threshold.unit}".rstrip()
    words = f"{EQUAL_COST}: {shown} ({runs_in_words(len(found))})"
    return [f"{words}, {RIVAL_PASSES}" if passes else words]


_ORDER = (FAILS, INCONCLUSIVE, HOLDS)


def _verdict(
    claim: Claim, rows: Sequence[_Alone], value: Interval, null: float
) -> tuple[str, list[str]]:
    """Judge by the runs' interval; a run's failed null or second part still counts against it."""
    if len(rows) == 1:
        return rows[0].verdict, []
    verdict = verdict_of(value, claim.threshold)
    lowered = [
        row
        for row in rows
        if row.found.defined
        and _ORDER.index(row.verdict) < _ORDER.index(_by_itself(row.found, claim.threshold))
    ]
    if verdict != HOLDS:
        # Runs without a value were still measured.
        return (INCONCLUSIVE if verdict == NOT_MEASURED else verdict), []
    if lowered:
        failed = len(lowered) == len(rows) and all(row.verdict == FAILS for row in lowered)
        reason = f"its null or second part holds back {len(lowered)} of {runs_in_words(len(rows))}"
        rising = sum(any(NOT_LEVEL in why for why in row.reasons) for row in lowered)
        if rising:
            reason = f"{NOT_LEVEL} in {rising} of {runs_in_words(len(rows))}"
        return (FAILS if failed else INCONCLUSIVE), [reason]
    # A run that holds on its own has passed its rule about the null.
    if (
        claim.null_counts
        and claim.threshold.met(null)
        and not any(row.verdict == HOLDS for row in rows)
    ):
        return INCONCLUSIVE, [NULL_PASSES]
    return HOLDS, []


def _lacking(claim: Claim, others: Sequence[Cell]) -> str:
    """Say what is missing when no run is of the kind that a claim is about."""
    for cell in others:
        found = claim.of(cell.results)
        if found is not None and found.defined:
            shown = claim.threshold.number(found.value.value)
            span = claim.threshold.interval(found.value.low, found.value.high)
            return f"not about this kind of training; {cell.name} gives {shown} {span}"
    return claim.needs


def _one_by_one(rows: Sequence[_Alone]) -> str:
    """Give the runs' own verdicts: agreeing runs of too few bases must not read as doubtful."""
    counts = Counter(row.verdict for row in rows)
    each = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _ORDER if counts[verdict])
    return f"each run by itself: {each}"
