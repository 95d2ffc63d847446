"""Numbers as text for readers; a missing value is always a dash, never 0."""

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from rlvr_dynamics.checkpoints.names import ATTENTION_PROJECTIONS, MLP_PROJECTIONS

Formatter = Callable[[Any], str]

DASH = "–"
MINUS = "−"

MODULE_ORDER = (
    "embed_tokens",
    *ATTENTION_PROJECTIONS,
    *MLP_PROJECTIONS,
    "lm_head",
)


def is_missing(value: Any) -> bool:
    """True for None, NaN and pandas' NA."""
    if value is None:
        return True
    if isinstance(value, str | bytes | dict | list | tuple):
        return False
    try:
        return bool(value != value)
    except TypeError:  # pandas.NA raises when used as a truth value
        return True


def number(value: Any, digits: int = 3, *, signed: bool = False) -> str:
    """Format a number with `digits` decimals, or a dash."""
    if is_missing(value):
        return DASH
    value = float(f"{float(value):.10g}")  # as in the csv files, so that both round alike
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    rounded = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(rounded) == 0:
        rounded = rounded.lstrip("+-")
    return rounded.replace("-", MINUS)


def integer(value: Any) -> str:
    """Format a whole number, or a dash."""
    return DASH if is_missing(value) else str(int(value))


def percent(value: Any, digits: int = 1) -> str:
    """Format a fraction in per cent, or a dash."""
    return DASH if is_missing(value) else f"{number(100 * float(value), digits)} %"


def general(value: Any, digits: int = 3) -> str:
    """Format a number with `digits` significant digits, or a dash."""
    if is_missing(value):
        return DASH
    shown = re.sub(r"e([+-])0*(\d)", r"e\1\2", f"{float(value):.{digits}g}")
    return shown.replace("e+", "e").replace("-", MINUS)


def scientific(value: float) -> str:
    """Format a learning rate for a name, always as a power of ten: `1e-04`, `3.2e-05`."""
    digits, _, power = f"{value:.6e}".partition("e")
    return f"{float(digits):g}e{power}"


def text(value: Any) -> str:
    """Format any other value as text, or a dash."""
    return DASH if is_missing(value) or value == "" else str(value)


def interval(low: Any, high: Any, digits: int = 3, *, signed: bool = False) -> str:
    """Format `[low, high]`, or a dash if neither end is known."""
    if is_missing(low) and is_missing(high):
        return DASH
    return f"[{number(low, digits, signed=signed)}, {number(high, digits, signed=signed)}]"


def percent_interval(low: Any, high: Any, digits: int = 1) -> str:
    """Format `[low, high]` of two fractions, in per cent."""
    if is_missing(low) and is_missing(high):
        return DASH
    return f"[{number(100 * float(low), digits)}, {number(100 * float(high), digits)}]"


def distinct_titles(
    titles: Mapping[str, str], taken: Collection[str] = (), endings: Collection[str] = ("",)
) -> dict[str, str]:
    """Return a unique heading for every key: its title, followed by the key if titles clash.

    Args:
        titles: Key to title; titles are free text and may repeat.
        taken: Headings already in use.
        endings: Suffixes that make further headings; those must be unique too.
    """
    shared = {title for title in titles.values() if list(titles.values()).count(title) > 1}
    found, used = {}, {*taken}
    for key in sorted(titles, key=lambda key: (titles[key] in shared, list(titles).index(key))):
        heading = f"{titles[key]} ({key})" if titles[key] in shared else titles[key]
        while used & {heading + ending for ending in endings}:
            heading += f" ({key})"
        used |= {heading + ending for ending in endings}
        found[key] = heading
    return {key: found[key] for key in titles}


def rank_order(rank: str) -> float:
    """Sort key of a kept rank: `1` before every percentage of min(m, n)."""
    return float(rank.removesuffix("%")) if rank.endswith("%") else 0.0


def share_of_training(observe: float, final_step: int) -> str:
    """`first 15 %` of the training steps."""
    return f"first {100 * observe / final_step:.0f} %"


def module_rank(module: str) -> tuple[int, str]:
    """Sort key: modules in the order a token passes them, unknown ones last by name."""
    order = MODULE_ORDER.index(module) if module in MODULE_ORDER else len(MODULE_ORDER)
    return (order, module)
