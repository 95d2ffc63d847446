"""A claim over several runs: how the runs' rows become one row, and its verdict."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from rlvr_dynamics.claims.quoted import NOT_PRINTED, Quoted
from rlvr_dynamics.claims.update_claims import NO_GAIN, learned
from rlvr_dynamics.claims.verdicts import (
    FAILS,
    HOLDS,
    INCONCLUSIVE,
    NOT_MEASURED,
    NULL_PASSES,
    Claim,
    verdict_above,
)
from rlvr_dynamics.results.kinds import KINDS
from rlvr_dynamics.results.run import TABLES, Results
from rlvr_dynamics.results.study import NO_CONTROL, Cell
from rlvr_dynamics.run_directory.configuration import RecordedConfig
from rlvr_dynamics.statistics.intervals import UNDEFINED, Interval, average

CONTRASTS = frozenset(KINDS) - {"dapo"}  # the methods of AlphaRL's tables that are not RLVR
RELEASED_CONTRASTS = frozenset(KINDS[name].release for name in CONTRASTS) - {""}
SHARE, AT_MOST_ONE = (0.0, 1.0), (-math.inf, 1.0)
CONTROL_PASSES = "a control run passes too"
NO_CONTROL_RUN = "no control was run at this learning rate"


def trained_by_rl(cell: Cell) -> bool:
    """Whether a run is one of reinforcement learning, and no control."""
    return cell.control == NO_CONTROL and not _by_other_means(cell)


def contrast(cell: Cell) -> bool:
    """Whether a run is one of the papers' contrast methods (fine-tuning, distillation)."""
    return cell.control == NO_CONTROL and _by_other_means(cell)


def _by_other_means(cell: Cell) -> bool:
    # A released model counts by its name: the algorithm in its configuration did not train it.
    published = cell.results.config.source.published
    release = published.repo.rpartition("/")[2] if published else ""
    return cell.algorithm in CONTRASTS or release in RELEASED_CONTRASTS


@dataclass(frozen=True)
class LedgerClaim:
    """One row of the ledger.

    Attributes:
        measure: The claim on one run; without tables it says what it needs.
        paper: `alpharl`, `relex`, `both`, `follow_up` or `ours`.
        threshold: The bar as a number; what is above it speaks for the claim.
        printed: What the paper prints, in the unit of the statistic.
        needs_gain: Whether it is about accuracy, so that runs that learned nothing are left out.
        control_counts: Whether it cannot hold where a control run (shuffled rewards) passes too.
        fits: Which runs it is about.
        bounds: Least and greatest possible value of the statistic.
    """

    measure: Callable[[Results], Claim]
    paper: str
    threshold: float
    printed: Quoted = NOT_PRINTED
    needs_gain: bool = False
    control_counts: bool = False
    fits: Callable[[Cell], bool] = trained_by_rl
    bounds: tuple[float, float] = (-math.inf, math.inf)

    @cached_property
    def head(self) -> Claim:
        """The claim's words, without a measurement."""
        nothing: dict = dict.fromkeys(TABLES)
        return self.measure(Results(Path(), RecordedConfig(), {}, nothing))

    def of(self, cell: Cell) -> Claim:
        """The claim on one run, computed once."""
        key = "ledger claim", self.head.id
        if key not in cell.results.memo:
            cell.results.memo[key] = self.measure(cell.results)
        return cell.results.memo[key]


@dataclass(frozen=True)
class Pooled:
    """A claim over runs.

    Attributes:
        value: Mean over the runs with its 95 % interval.
        over: What the interval is over.
        runs: Number of runs.
        n: Units of the run with the fewest.
        n_unit: What a unit is.
        null: Mean over the runs of their nulls.
        control: Mean over the control runs of the same statistic.
        control_runs: How many these are.
        verdict: As in `rlvr_dynamics.claims.verdicts`.
        notes: What a reader must know beside it.
        one_by_one: What several runs say each by itself, in words.
        cells: The runs behind it.
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


def pool(claim: LedgerClaim, cells: Iterable[Cell]) -> Pooled:
    """Pool a claim over runs.

    Args:
        claim: The claim.
        cells: Runs; the ones it is not about are passed over, controls are kept apart.
    """
    cells = list(cells)
    rows = [(cell, claim.of(cell)) for cell in cells if claim.fits(cell)]
    measured = [(cell, row) for cell, row in rows if not math.isnan(row.ours)]
    controls = [claim.of(cell) for cell in cells if cell.control != NO_CONTROL]
    control = [row.ours for row in controls if not math.isnan(row.ours)]
    if not measured:
        tried = [(cell, row) for cell, row in rows if row.n is not None]
        return Pooled(
            runs=len(tried),
            control=_mean(control),
            control_runs=len(control),
            # A gain divided by no gain is undefined, which is not the same as never looked at.
            verdict=INCONCLUSIVE if tried else NOT_MEASURED,
            notes=_lacking(claim, tried or rows),
            cells=tuple(cell.name for cell, _ in tried),
        )
    notes: list[str] = []
    with_gain = [(cell, row) for cell, row in measured if learned(cell.results)]
    without_basis = claim.needs_gain and not with_gain
    if claim.needs_gain and with_gain and len(with_gain) < len(measured):
        notes.append(f"{_runs(len(measured) - len(with_gain))} left out: {NO_GAIN}")
        measured = with_gain
    found = [row for _, row in measured]
    value, over = over_runs(found, [(cell.model, cell.seed) for cell, _ in measured])
    low, high = max(value.low, claim.bounds[0]), min(value.high, claim.bounds[1])
    value = value._replace(low=low, high=high)
    nulls = [row.null for row in found if not math.isnan(row.null)]
    verdict, reasons = _verdict(found, value, claim.threshold, _mean(nulls))
    if verdict == HOLDS and claim.control_counts and control and _mean(control) > claim.threshold:
        verdict, reasons = INCONCLUSIVE, [*reasons, CONTROL_PASSES]
    elif verdict == HOLDS and claim.control_counts and not control:
        reasons = [*reasons, NO_CONTROL_RUN]
    if without_basis:
        verdict, reasons = INCONCLUSIVE, [*reasons, NO_GAIN]
    shared = _shared(found)
    reasons = [*shared, *(reason for reason in reasons if reason not in shared)]
    one_by_one = _one_by_one(found) if len(found) > 1 else ""
    if verdict == INCONCLUSIVE and one_by_one:
        reasons.append(one_by_one)
    counts = [row.n for row in found if row.n is not None]
    return Pooled(
        value,
        over,
        len(found),
        min(counts, default=None),
        found[0].n_unit,
        _mean(nulls),
        _mean(control),
        len(control),
        verdict,
        (*notes, *reasons),
        one_by_one,
        tuple(cell.name for cell, _ in measured),
    )


def over_runs(rows: Sequence[Claim], bases: Sequence[Hashable]) -> tuple[Interval, str]:
    """The mean over runs and its interval.

    One run has its own interval. Several have the widest of three: Student's interval of their
    mean; the same of the means of the runs that share a base, which are not independent; and what
    the runs' own intervals give for a mean of independent estimates, because runs that agree by
    luck (or lie at an end of the scale together) show no spread.

    Args:
        rows: The claim on each run.
        bases: Model and seed of each run: they decide its base and its questions.

    Returns:
        The interval, and what it is over.
    """
    own = [Interval(row.ours, row.ci_low, row.ci_high) for row in rows]
    if len(own) == 1:
        return own[0], f"{rows[0].n_unit} of the one run"
    from scipy.special import stdtrit  # slow to import, and needed here only

    values = np.array([each.value for each in own])
    mean = float(values.mean())
    shared = [
        float(np.mean([value for value, base in zip(values, bases, strict=True) if base == one]))
        for one in dict.fromkeys(bases)
    ]
    half = max(
        float(stdtrit(len(units) - 1, 0.975) * np.std(units, ddof=1) / math.sqrt(len(units)))
        for units in (values, np.array(shared))
        if len(units) > 1
    )
    inner = average([each for each in own if not math.isnan(each.low + each.high)])
    reach = (inner.low - inner.value, inner.high - inner.value)
    low, high = np.fmin(-half, reach[0]), np.fmax(half, reach[1])
    over = f"runs, {len(shared)} bases" if len(shared) > 1 else "runs, all from one base"
    return Interval(mean, mean + float(low), mean + float(high)), over


_ORDER = (FAILS, INCONCLUSIVE, HOLDS)


def _verdict(
    rows: Sequence[Claim], value: Interval, threshold: float, null: float
) -> tuple[str, list[str]]:
    """The runs' interval decides; what held a run back (its null, its second part) still counts."""
    if len(rows) == 1:
        return rows[0].verdict, []
    verdict = verdict_above(value, threshold)
    alone = [verdict_above(Interval(row.ours, row.ci_low, row.ci_high), threshold) for row in rows]
    lowered = [
        row
        for row, own in zip(rows, alone, strict=True)
        if own != NOT_MEASURED and _ORDER.index(row.verdict) < _ORDER.index(own)
    ]
    if verdict != HOLDS:
        return verdict, []
    if lowered:
        failed = len(lowered) == len(rows) and all(row.verdict == FAILS for row in lowered)
        reason = f"its null or second part holds back {len(lowered)} of {_runs(len(rows))}"
        return (FAILS if failed else INCONCLUSIVE), [reason]
    # A run that holds by itself has passed its own rule about the null.
    if null > threshold and not any(row.verdict == HOLDS for row in rows):
        return INCONCLUSIVE, [NULL_PASSES]
    return HOLDS, []


def _lacking(claim: LedgerClaim, rows: Sequence[tuple[Cell, Claim]]) -> tuple[str, ...]:
    found = dict.fromkeys(row.note for _, row in rows if row.note)
    return tuple(found)[:1] or (claim.head.note,)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _shared(rows: Sequence[Claim]) -> list[str]:
    """What every run notes."""
    parts = [row.note.split("; ") for row in rows]
    return [part for part in parts[0] if part and all(part in other for other in parts)]


def _one_by_one(rows: Sequence[Claim]) -> str:
    """Runs that agree, of too few bases for an interval over them, should not read as a doubt."""
    counts = Counter(row.verdict for row in rows)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _ORDER if counts[verdict])
    return f"each run by itself: {told}"


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"


def first_measured(
    measure: Callable[[Results, float], Claim], shares: Sequence[float], results: Results
) -> Claim:
    """A claim on the first of several windows (shares of the training) that the run has."""
    claims = [measure(results, shares[0])]
    for share in shares[1:]:
        if claims[-1].verdict != NOT_MEASURED:
            break
        claims.append(measure(results, share))
    return claims[-1] if claims[-1].verdict != NOT_MEASURED else claims[0]


def reworded(row: Claim, words: Claim) -> Claim:
    """A measured row under other words: id, claim, source, statistic and threshold of `words`."""
    return replace(
        row,
        id=words.id,
        claim=words.claim,
        source=words.source,
        statistic=words.statistic or row.statistic,
        threshold=words.threshold or row.threshold,
    )
