"""What became of a claim: its verdict, or what made it inconclusive, its window and its regimes."""

import re
from dataclasses import dataclass
from typing import Any

from rlvr_dynamics.claims.in_words import is_spread
from rlvr_dynamics.claims.judge import (
    CONTROL_PASSES,
    DEPENDS,
    FAILS,
    HOLDS,
    INCONCLUSIVE,
    NO_GAIN,
    NOT_LEVEL,
    NOT_MEASURED,
    NULL_PASSES,
)
from rlvr_dynamics.claims.ledger import BY_ID
from rlvr_dynamics.claims.relex import EARLY
from rlvr_dynamics.results.formatting import scientific

_WINDOW = re.compile(r"\((first \d+ %)\)")
_REGIME = re.compile(r"(?:^|; )([^:;]+): (holds|fails|inconclusive),")
_RATE = re.compile(r"\blr (\S+?)(?=,| |$)")


@dataclass(frozen=True)
class Outcome:
    """What became of a claim.

    Attributes:
        fields: Its row of the ledger; None if the ledger has no such claim.
    """

    fields: dict[str, Any] | None

    @property
    def verdict(self) -> str:
        """The verdict; where it is inconclusive, the reason if one of the judge's says it."""
        row = self.fields
        if row is None or row["verdict"] != INCONCLUSIVE:
            return NOT_MEASURED if row is None else str(row["verdict"])
        notes = str(row["note"]).split("; ")
        for reason in (NO_GAIN, DEPENDS):
            if reason in notes:
                return reason
        if self._met:  # these reasons lower a claim that would hold
            if found := next((why for why in (NULL_PASSES, CONTROL_PASSES) if why in notes), ""):
                return found
            if any(note.startswith(NOT_LEVEL) for note in notes):
                return NOT_LEVEL
        return INCONCLUSIVE

    @property
    def _met(self) -> bool:
        row = self.fields or {}
        return bool(BY_ID[row["id"]].threshold.met(row["ours" if is_spread(row) else "ci_low"]))

    @property
    def window(self) -> str:
        """`the first 15 % of the steps`, or what the claim says where its runs differ."""
        found = _WINDOW.search(str((self.fields or {}).get("note")))
        return f"the {found[1]} of the steps" if found else EARLY

    @property
    def where(self) -> str:
        """Say in which regimes it holds: up to a learning rate, if that alone decides."""
        text = str((self.fields or {}).get("by_learning_rate"))
        rates: dict[str, list[float]] = {HOLDS: [], FAILS: []}
        rest = set()
        for name, verdict in _REGIME.findall(text):
            rate = _RATE.search(name)
            rest.add(name.replace(rate[0], "") if rate else name)
            if rate and verdict in rates:
                rates[verdict].append(float(rate[1]))
        if len(rest) == 1 and all(rates.values()) and max(rates[HOLDS]) < min(rates[FAILS]):
            low, high = scientific(max(rates[HOLDS])), scientific(min(rates[FAILS]))
            return f"up to a learning rate of {low} and not from {high} on"
        return "in some regimes and not in others"

    @property
    def says(self) -> bool:
        """Whether it was measured, and there was something to measure."""
        return self.verdict not in (NOT_MEASURED, NO_GAIN)
