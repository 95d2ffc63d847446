"""Make tables of untrusted text safe for spreadsheets, where ``=`` starts a formula."""

import re
from typing import TYPE_CHECKING

from rlvr_dynamics.errors import shown

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile("\\s*[=+\\-@\uff1d\uff0b\uff0d\uff20\t\r]")


def cell(text: str) -> str:
    """Return text that a spreadsheet reads as text: as `shown`, with formulas quoted."""
    text = shown(text)
    if len(text.strip()) < 2 or not _FORMULA.match(text) or _is_number(text):
        return text
    return f"'{text}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def as_csv(frame: "pd.DataFrame") -> str:
    """Return a table as csv, with all significant digits and without formulas."""
    import pandas as pd

    safe = frame.rename(columns=lambda name: cell(str(name)))
    for place in range(frame.shape[1]):
        values = list(frame.iloc[:, place])
        texts = [cell(value) if isinstance(value, str) else value for value in values]
        if any(isinstance(old, str) and new != old for new, old in zip(texts, values, strict=True)):
            safe.isetitem(place, pd.Series(texts, index=frame.index, dtype=object))
    return safe.to_csv(index=False, float_format="%.10g", lineterminator="\n")
