r"""Where in a response the answer stands: the last box, "answer is", the last number or letter.

Everything here is a scan of bounded length: no expression can backtrack over a long response,
and nothing is evaluated.
"""

import re
from dataclasses import dataclass

MAX_ANSWER_CHARS = 1000
TAIL_CHARS = 4000

_BOX = "\\boxed"
_PHRASE = re.compile(r"answer\s{0,4}(?:is|:|=)\s{0,4}:?\s{0,4}", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3}){1,20}|\d{1,400})(?:\.\d{1,400})?", re.ASCII)
# A box may add the option's text after the letter: \boxed{\text{(B) } 5} and \boxed{B: 5}.
_MARKUP = r"(?:\\(?:text|textbf|mathrm|mathbf|bf|rm)|[\s{}()\[\]$*]){0,12}"
_BOXED_LETTER = re.compile(
    rf"{_MARKUP}(?:(?:option|choice|answer)[\s:]{{1,3}}{_MARKUP})?([A-Da-d])"
    r"(?:[\s.)}\]$*]{0,12}|[).:}](?![A-Za-z]).{0,900})",
    re.DOTALL | re.ASCII,
)
_ANNOUNCED_LETTER = re.compile(
    rf"{_MARKUP}(?:(?i:option|choice|answer)[\s:]{{1,3}}{_MARKUP})?"
    r"(?:([A-D])(?![\w^=+'’-])|(?<=\()([a-d])\))"
)
_LONE_LETTER = re.compile(r"(?<![\w\\'’^+-])(?!A\s{1,4}[a-z])([A-D])(?![\w'’^=+-])")
_SENTENCE_END = re.compile(r"\n|\.(?:\s|$)")


@dataclass(frozen=True)
class Extracted:
    """A candidate answer.

    Attributes:
        text: The answer as written, without surrounding spaces; None if there is none.
        too_long: The answer is there but longer than `MAX_ANSWER_CHARS`.
    """

    text: str | None
    too_long: bool = False


NOTHING = Extracted(None)


def last_boxed(response: str) -> Extracted:
    r"""Return the content of the last ``\boxed{...}``, braces balanced.

    The last ``\boxed`` decides. If it is never closed, there is no answer: an earlier box was
    about to be replaced.

    Args:
        response: Any text, of any length.
    """
    start = response.rfind(_BOX)
    if start < 0:
        return NOTHING
    opening = start + len(_BOX)
    while opening < len(response) and response[opening] in " \t" and opening - start < 20:
        opening += 1
    if response[opening : opening + 1] != "{":
        return NOTHING
    window = response[opening : opening + MAX_ANSWER_CHARS + 2]
    depth = 0
    for position, character in enumerate(window):
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                text = window[1:position].strip()
                return Extracted(text or None)
    return Extracted(None, too_long=len(window) > MAX_ANSWER_CHARS)


def has_box(response: str) -> bool:
    r"""Whether the last ``\boxed`` of the response is closed or too long to tell."""
    box = last_boxed(response)
    return box.text is not None or box.too_long


def after_phrase(response: str) -> Extracted:
    """Return what follows the last "answer is" (or "answer:") up to the end of its sentence."""
    tail = response[-TAIL_CHARS:]
    announced = [match.end() for match in _PHRASE.finditer(tail)]
    if not announced:
        return NOTHING
    rest = tail[announced[-1] :]
    end = _SENTENCE_END.search(rest)
    text = (rest[: end.start()] if end else rest).strip().strip("*").strip().rstrip(".")
    if len(text) > MAX_ANSWER_CHARS:
        return Extracted(None, too_long=True)
    return Extracted(text or None)


def last_number(response: str) -> Extracted:
    """Return the last decimal number of the response."""
    found = _NUMBER.findall(response[-TAIL_CHARS:])
    return Extracted(found[-1]) if found else NOTHING


def mathematical_answer(response: str) -> Extracted:
    """Return the last box, else what "answer is" announces, else the last number."""
    for rule in (last_boxed, after_phrase, last_number):
        extracted = rule(response)
        if extracted.text is not None or extracted.too_long:
            return extracted
    return NOTHING


def chosen_letter(response: str) -> Extracted:
    r"""Return the letter of a multiple-choice answer, A to D, as a capital.

    The last box with a letter in it, else what follows the last "answer is", else the last lone
    capital letter. A box with several letters is returned whole. A letter inside a word, a formula
    or a name such as D-glucose is none, and neither is the article A.
    """
    box = last_boxed(response)
    if box.too_long:
        return box
    if box.text is not None:
        found = _BOXED_LETTER.fullmatch(box.text)
        if found:
            return Extracted(found[1].upper())
        if len(set(_LONE_LETTER.findall(box.text))) > 1:
            return box
    announced = after_phrase(response)
    if announced.text is not None:
        found = _ANNOUNCED_LETTER.match(announced.text)
        if found:
            return Extracted((found[1] or found[2]).upper())
    lone = _LONE_LETTER.findall(response[-TAIL_CHARS:])
    return Extracted(lone[-1]) if lone else NOTHING
