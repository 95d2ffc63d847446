"""Tables of text that others wrote, made safe: a cell that begins with ``=`` is a formula."""

import re
from typing import TYPE_CHECKING

from rlvr_dynamics.errors import shown

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile("\\s*[=+\\-@\uff1d\uff0b\uff0d\uff20\t\r]")


def cell(text: str) -> str:
    """Return a text that a spreadsheet takes as text: as `shown`, with a quote before a formula."""
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
    """Return a table as csv, with all digits that matter and no cell that is a formula."""
    import pandas as pd

    safe = frame.rename(columns=lambda name: cell(str(name)))
    for place in range(frame.shape[1]):
        values = list(frame.iloc[:, place])
        texts = [cell(value) if isinstance(value, str) else value for value in values]
        if any(isinstance(old, str) and new != old for new, old in zip(texts, values, strict=True)):
            safe.isetitem(place, pd.Series(texts, index=frame.index, dtype=object))
    return safe.to_csv(index=False, float_format="%.10g", lineterminator="\n")
