r"""Text that others wrote, made safe to show: a terminal, a spreadsheet and a page obey such text.

Titles, questions, answers, and names of files and tensors come from elsewhere. Control characters
move the cursor or turn the reading direction; a cell that begins with ``=`` is a formula.
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# What a terminal colours its text with; logs of libraries are full of it.
_COLOURS = re.compile("\x1b\\[[0-9;]{0,20}m")
# Controls but line break and tab, marks that turn or hide text, halves of characters.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_FORMULA = re.compile("\\s*[=+\\-@\uff1d\uff0b\uff0d\uff20\t\r]")


def shown(text: str) -> str:
    r"""Return a text with its control characters written out, such as ``\x1b``."""
    text = _COLOURS.sub("", text)
    return _HIDDEN.sub(lambda found: ascii(found.group())[1:-1], text)


def one_line(text: str) -> str:
    """Return a text for a place that has one line: as `shown`, a blank for every line break."""
    return shown(" ".join(text.splitlines()))


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
