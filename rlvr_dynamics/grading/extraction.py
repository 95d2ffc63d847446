r"""Extracts the answer from a response: the last box, else from the prose (`prose`).

Every scan is of bounded length: no pattern can backtrack over a long response, and nothing is
evaluated.
"""

import re
from dataclasses import dataclass

from rlvr_dynamics.grading.turns import final_part

MAX_ANSWER_CHARS = 1000
TAIL_CHARS = 4000
MAX_BOXES = 20
MAX_BETWEEN = 80

_BOXES = ("\\boxed", "\\fbox")
# Text between two boxes that form one answer: \boxed{2} \text{ and } \boxed{3}.
_AND = re.compile(
    r"[\s$]*(?:\\[)\]])?[\s$,]*(?:\\quad)?[\s$,]*(?P<word>,|and|or|\\text\s?\{\s?,?(?:and|or)\s?\})"
    r"[\s$,]*(?:\\quad)?[\s$]*(?:\\[(\[])?[\s$]*(?:[a-zA-Z](?:_\{?\w\}?)?\s?=\s?)?"
)
# A repeated prompt: "put your answer within \boxed{}".
_ASKED = re.compile(
    r"(?:within|in|inside|into|using|with|use)\s(?:(?:a|the|your)\s)?[`'\"$(\\]{0,4}\s?$",
    re.IGNORECASE,
)
# A box without braces: \boxed 42, \boxed\frac{1}{2}.
_UNBRACED = re.compile(
    r"\s{0,9}([-+]?(?:\d[\d,]{0,99}(?:[./]\d{1,99})?|\\[dt]?frac\s?\{[^{}]{1,99}\}\{[^{}]{1,99}\}))"
    r"(?=[.,;]?(?:[\s$)]|\\[\])]|\Z))",
    re.ASCII,
)
_SIGN = re.compile(r"\\[\\{}]")
_PLACEHOLDER = re.compile(
    r"\s*(?:\.{3}|\\[lc]?dots|(?:\\text\{)?(?:your |the )?(?:final )?answer\}?)?\s*"
)


@dataclass(frozen=True)
class Extracted:
    """A candidate answer.

    Attributes:
        text: The answer as written, without surrounding spaces; None if there is none.
        too_long: Whether there is an answer but it is longer than `MAX_ANSWER_CHARS`.
        boxed: Whether a box decided, even if it is empty or never closed.
    """

    text: str | None
    too_long: bool = False
    boxed: bool = False


NOTHING = Extracted(None)
EMPTY_BOX = Extracted(None, boxed=True)


def last_boxed(text: str) -> Extracted:
    r"""Return the content of the last ``\boxed{...}``, braces balanced.

    The last ``\boxed`` decides. If it is empty or never closed there is no answer, because it was
    meant to replace any earlier box. Boxes that only repeat the prompt are skipped.

    Args:
        text: Any text, of any length.
    """
    return _deciding(text)[0]


def boxed_answer(text: str) -> Extracted:
    r"""Return the last box, with preceding boxes joined to it by "and", "or" or a comma."""
    box, start = _deciding(text)
    return box if box.text is None else _joined(text, start, box.text)


def _deciding(text: str) -> tuple[Extracted, int]:
    """Return the deciding box and its start."""
    end = len(text)
    for _ in range(MAX_BOXES):
        start = _rfind(text, end)
        if start < 0:
            break
        box, close = _box_at(text, start)
        if not _is_prompt(text, start, box, close):
            return box, start
        end = start
    return NOTHING, -1


def _is_prompt(response: str, start: int, box: Extracted, close: int) -> bool:
    """Whether a box only repeats the prompt: after "within", and empty or holding "answer"."""
    if box.too_long or not _ASKED.search(response[max(0, start - 40) : start]):
        return False
    if box.text is None:
        return close >= 0 or not _opens(response, start)
    return _PLACEHOLDER.fullmatch(box.text) is not None


def _joined(response: str, start: int, text: str) -> Extracted:
    """Prepend the boxes joined to the one at `start` by "and", "or" or a comma."""
    for _ in range(MAX_BOXES):
        earlier = _rfind(response, start)
        if earlier < 0:
            break
        box, close = _box_at(response, earlier)
        if box.text is None or not 0 <= start - close <= MAX_BETWEEN:
            break
        between = _AND.fullmatch(response, close, start)
        if between is None:
            break
        joint = ", " if between["word"] == "," else f" {between['word']} "
        text, start = box.text + joint + text, earlier
    if len(text) > MAX_ANSWER_CHARS:
        return Extracted(None, too_long=True, boxed=True)
    return Extracted(text, boxed=True)


def _rfind(text: str, end: int) -> int:
    """Return the start of the last box before `end`, -1 if there is none."""
    return max(text.rfind(box, 0, end) for box in _BOXES)


def _after_command(text: str, start: int) -> int:
    return start + next(len(box) for box in _BOXES if text.startswith(box, start))


def _opens(response: str, start: int) -> bool:
    opening = _after_command(response, start)
    return response[opening : opening + 20].lstrip(" \t").startswith("{")


def _box_at(response: str, start: int) -> tuple[Extracted, int]:
    """Return the box that begins at `start` and its end (-1 if it is not closed)."""
    opening = _after_command(response, start)
    unbraced = _UNBRACED.match(response, opening)
    if unbraced:
        return Extracted(unbraced[1], boxed=True), unbraced.end()
    while opening < len(response) and response[opening] in " \t" and opening - start < 20:
        opening += 1
    if response[opening : opening + 1] != "{":
        return EMPTY_BOX, -1
    window = response[opening : opening + MAX_ANSWER_CHARS + 2]
    length = _closing(window)
    if length < 0:
        # \left\{ \begin{array}... \right. has an opening brace that is only a symbol.
        length = _closing(_SIGN.sub("  ", window))
    if length < 0:
        return Extracted(None, too_long=len(window) > MAX_ANSWER_CHARS, boxed=True), -1
    return Extracted(window[1:length].strip() or None, boxed=True), opening + length + 1


def _closing(window: str) -> int:
    """Return where the text's opening brace is closed, -1 if it is not."""
    depth = 0
    for position, character in enumerate(window):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return position
    return -1


def has_box(response: str) -> bool:
    r"""Whether the last ``\boxed`` of the answer is closed or too long to tell."""
    box = last_boxed(final_part(response))
    return box.text is not None or box.too_long
