"""One row of the claims ledger, and the rule that turns an interval into a verdict."""

import math
from dataclasses import dataclass, replace

from rlvr_dynamics.statistics.bootstrap import Interval, wilson

HOLDS, FAILS, INCONCLUSIVE, NOT_MEASURED = "holds", "fails", "inconclusive", "not measured"
NULL_PASSES = "the null passes too"


@dataclass(frozen=True)
class Claim:
    """One claim of a paper (or one of our own) beside what this run says about it.

    Attributes:
        id: Short name, `A..` and `B..` by paper, `P..` for preconditions.
        claim: The statement, in plain words.
        source: Paper and place.
        statistic: What is computed, with its unit.
        threshold: The bar, as text.
        ours: The run's value.
        ci_low: Lower end of its 95 % interval.
        ci_high: Upper end.
        n: How many units the value rests on.
        n_unit: What a unit is.
        null: The same statistic of the null or the control.
        verdict: `holds`, `fails`, `inconclusive` or `not measured`.
        note: What a reader must know beside it.
    """

    id: str
    claim: str
    source: str
    statistic: str
    threshold: str
    ours: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    n: int | None = None
    n_unit: str = ""
    null: float = math.nan
    verdict: str = NOT_MEASURED
    note: str = ""

    def measured(
        self, value: Interval, *, n: int, n_unit: str, null: float = math.nan, verdict: str
    ) -> "Claim":
        """The row with what was measured."""
        return replace(
            self,
            ours=value.value,
            ci_low=value.low,
            ci_high=value.high,
            n=n,
            n_unit=n_unit,
            null=null,
            verdict=verdict,
        )

    def noted(self, *notes: str) -> "Claim":
        """The row with further notes; empty ones are dropped."""
        return replace(self, note="; ".join(part for part in (self.note, *notes) if part))

    def held_back(self, reason: str) -> "Claim":
        """The row with `holds` lowered to `inconclusive` for `reason`; other verdicts stay."""
        if self.verdict != HOLDS:
            return self
        return replace(self, verdict=INCONCLUSIVE).noted(reason)

    def without_basis(self, reason: str) -> "Claim":
        """The row of a claim whose precondition failed: whatever was measured decides nothing."""
        return replace(self, verdict=INCONCLUSIVE).noted(reason)

    def against_null(self, threshold: float) -> "Claim":
        """A claim that its null or control meets as well cannot hold."""
        if math.isnan(self.null):
            return self.noted("no control was measured") if self.verdict == HOLDS else self
        return self.held_back(NULL_PASSES) if self.null > threshold else self


def verdict_above(value: Interval, threshold: float) -> str:
    """`holds` with the whole interval above the threshold, `fails` with none of it above."""
    if math.isnan(value.value):
        return NOT_MEASURED
    if math.isnan(value.low) or math.isnan(value.high):
        return INCONCLUSIVE
    if value.low > threshold:
        return HOLDS
    return FAILS if value.high <= threshold else INCONCLUSIVE


def verdict_in_most(above: int, n: int) -> str:
    """The verdict of `most of n lie above their null`; open, not unmeasured, without a null."""
    return verdict_above(wilson(above, n), 0.5) if n else INCONCLUSIVE


def both(first: str, second: str) -> str:
    """The verdict of a claim with two parts."""
    parts = (first, second)
    for verdict in (NOT_MEASURED, FAILS, INCONCLUSIVE):
        if verdict in parts:
            return verdict
    return HOLDS
