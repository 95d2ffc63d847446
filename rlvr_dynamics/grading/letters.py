"""Extracts the letter of a multiple-choice answer, ignoring rejected options."""

import re

from rlvr_dynamics.grading.extraction import NOTHING, TAIL_CHARS, Extracted, boxed_answer
from rlvr_dynamics.grading.prose import after_phrase
from rlvr_dynamics.grading.turns import final_part

# A box may contain the option's text after the letter: \boxed{\text{(B) } 5} and \boxed{B: 5}.
_MARKUP = r"(?:\\(?:text|textbf|mathrm|mathbf|bf|rm)|[\s{}()\[\]$*]){0,12}"
_BOXED = re.compile(
    rf"{_MARKUP}(?:(?:option|choice|answer)[\s:]{{1,3}}{_MARKUP})?([A-Da-d])"
    r"(?:[\s.)}\]$*]{0,12}|[).:}](?![A-Za-z]).{0,900})",
    re.DOTALL | re.ASCII,
)
# Letters of other scripts may directly adjoin an option, without a space.
_WORD = r"[^\W\u0400-\uffff]"
_ANNOUNCED = re.compile(
    rf"{_MARKUP}(?:(?i:option|choice|answer)[\s:]{{1,3}}{_MARKUP})?"
    rf"(?:([A-D])(?!{_WORD}|[\^=+'’-])|(?<=\()([a-d])\))"
)
_LONE = re.compile(rf"(?<!{_WORD})(?<![\\'’^+-])(?!A\s{{1,4}}[a-z])([A-D])(?!{_WORD}|['’^=+-])")
_SEVERAL = r"\(?[A-D]\)?(?:(?:\s?,\s?|\s)(?:(?:and|or|nor|&)\s)?\(?[A-D]\)?){0,3}"
_OPTION = r"(?:the\s|an?\s)?(?:options?\s|choices?\s|answers?\s|letters?\s)?"
_NEGATION = (
    r"(?:n['’]t|\b(?:not|non|pas|nicht|cannot be|never|neither|nor"
    r"|rather than|instead of|other than|than|except"
    r"|exclud\w{1,3}|eliminat\w{1,3}|reject\w{0,3}|rul\w{1,3} out|discard\w{0,3}|without"
    r"|unlike|against)|不(?:是|选|能是)|排除)"
)
_REJECTED = re.compile(
    rf"{_NEGATION}(?:\sbe)?(?:[\s:]{{1,3}}|(?<=[是选除])){_OPTION}(?P<before>{_SEVERAL})(?![\w'’^=+-])"
    rf"|(?<![\w\\'’^+-])(?P<after>{_SEVERAL})\s(?:is|are|was|were|can|could|must|does|do|would)"
    r"(?:\s(?:also|clearly|therefore|thus|then|be|both|all))?"
    r"(?:\s(?:wrong|incorrect|false|not|out|eliminated|excluded|rejected|ruled|impossible|invalid"
    r"|bad)\b|n['’]t\b|not\b)",
    re.IGNORECASE,
)


def chosen_letter(response: str) -> Extracted:
    r"""Return the letter of a multiple-choice answer, A to D, as a capital.

    It is taken from the last box with a letter in it, else from the text after the last "answer
    is", else it is the last standalone capital that is not rejected. A box with several letters is
    returned whole; an empty one is not an answer. A letter inside a word, a formula or a name such
    as D-glucose does not count, nor does the article A.
    """
    text = final_part(response)
    box = boxed_answer(text)
    if box.too_long or (box.boxed and box.text is None):
        return box
    if box.text is not None:
        found = _BOXED.fullmatch(box.text)
        if found:
            return Extracted(found[1].upper())
        if len(set(_LONE.findall(_without_rejected(box.text)))) > 1:
            return box
    announced = after_phrase(text)
    if announced.text is not None:
        found = _ANNOUNCED.match(announced.text)
        if found:
            return Extracted((found[1] or found[2]).upper())
    lone = _LONE.findall(_without_rejected(text[-TAIL_CHARS:]))
    return Extracted(lone[-1]) if lone else NOTHING


def _without_rejected(text: str) -> str:
    """Blank the letters that a text rejects."""

    def blanked(match: re.Match[str]) -> str:
        group = "before" if match["before"] else "after"
        if any(letter.islower() for letter in re.findall(r"\b[A-Da-d]\b", match[group])):
            return match[0]
        whole, offset = match[0], match.start()
        start, end = match.start(group) - offset, match.end(group) - offset
        return whole[:start] + " " * (end - start) + whole[end:]

    return _REJECTED.sub(blanked, text)
