"""An estimate that is a range."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """A low and a high estimate of one quantity, in its unit."""

    low: float
    high: float

    def __add__(self, other: "Range") -> "Range":
        """Add two estimates, both low or both high."""
        return Range(self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> "Range":
        """Multiply both ends by a positive factor."""
        return Range(factor * self.low, factor * self.high)

    def rounded(self, digits: int) -> "Range":
        """Round both ends."""
        return Range(round(self.low, digits), round(self.high, digits))

    def __str__(self) -> str:
        """Write both ends to two significant digits, as wide ranges deserve."""
        low, high = _two_digits(self.low), _two_digits(self.high)
        return low if low == high else f"{low} to {high}"


def _two_digits(value: float) -> str:
    shown = float(f"{value:.2g}")
    return f"{shown:,.1f}" if shown < 10 and shown % 1 else f"{shown:,.0f}"
