r"""Extracts the answer of a response without a box: after "answer is", else the last formula.

"The answer is 42 because 6 times 7 is 42" gives 42. "The answer is 3 or 4" does not name a single
value and is kept whole, so that the grader marks it wrong.
"""

import re

from rlvr_dynamics.grading.extraction import (
    MAX_ANSWER_CHARS,
    NOTHING,
    TAIL_CHARS,
    Extracted,
    boxed_answer,
)
from rlvr_dynamics.grading.turns import final_part

_PHRASE = re.compile(
    r"(?:answers?\s{0,4}(?:is|are|:|=)"
    r"|(?:réponse|respuesta|resposta|risposta|antwort|ответ)(?:\s{1,4}(?:est|es|é|è|ist|lautet)(?!\w)"
    r"|\s{0,4}[:=—-])"
    r"|(?:答案|答え?|정?답)\s{0,4}(?:应?该?[是为為]|[:：=は은]))\s{0,4}[:：]?\s{0,4}",
    re.IGNORECASE,
)
_TAGGED = "<answer>"
# A heading starts with a word, an answer with a sign, a digit or a formula.
_HASHED = re.compile(r"(?:^|\n)[ \t]{0,9}####[ \t]{0,9}(?=[-+\d$\\.])([^\n]{1,1000})")
_DISPLAY = re.compile(r"\s{0,9}(?:\*\*\s?)?(\$\$|\\\[)")
_CLOSES = {"$$": "$$", "\\[": "\\]"}
_SENTENCE_END = re.compile(r"\n|[。！？।]|(?<!\\)[.!?]{1,3}(?:\*{1,2})?(?:\s|$)")
# A letter of a script not used in mathematics; digits of every script are digits.
FOREIGN = r"(?!\d)[\u0400-\u1fff\u3040-\ud7ff\uf900-\ufdff]"
_FOREIGN = re.compile(FOREIGN)
_ADVERBS = re.compile(
    r"(?:(?:thus|therefore|hence|then|indeed|simply|just|exactly|clearly|given by|equal to)"
    r",?\s{1,4}){1,3}"
)
# Begins a reason or a continuation, which is not part of the answer.
_CLAUSE = re.compile(
    r"\s{0,9}[,;:(]?\s{1,9}\(?(?:because|since|as|so|which|where|hence|thus|therefore|due to"
    r"|given that|whereas|i\.e\.|that is|by|using|see|from|according|I hope"
    r"|and (?:thus|so|hence|therefore|this|that|it|we|I|not))(?![\w-])"
    r"|\s{1,9}(?:--?|[–—])\s{1,9}(?=[A-Za-z]{3})|\s{0,9},\s{1,9}not\s|;\s{1,9}(?!or\b|and\b)(?=[a-z]{2})"
    r"|\*{0,2}\s{1,9}\((?!mod\b|if\b|when\b|or\b|and\b)(?=[A-Za-z]{3,99}[^()]{0,99}\))"
)
_COMPLEMENT = re.compile(r"\b(?:is|are|equals|was|be)\s{1,4}(?:equal to\s{1,4})?:?", re.IGNORECASE)
# Words that show that the number next to them is not the answer.
_HEDGED = re.compile(
    r"\b(?:not|no|than|about|around|roughly|approximately|nearly|almost|least|most|between|or|maybe"
    r"|perhaps|possibly|under|over|below|above|plus|minus|times|within|up to|close|near|some"
    r"|never|neither|nor|except|either|unless|if|when|and|isn't|cannot|can't|unknown|digits?|mod)\b",
    re.IGNORECASE,
)
_FRACTION = r"-?\\[dt]?frac\s?\{[^{}]{1,50}\}\s?\{[^{}]{1,50}\}"
_NUMBER = re.compile(
    rf"{_FRACTION}|"
    r"[-+]?(?:\d{1,3}(?:,\d{3}){1,20}(?!\d)|\d{1,400}(?:,\d{1,400}(?![\d,]))?)(?:\.\d{1,400})?"
    r"(?:\s?/\s?\d{1,400})?%?",
    re.ASCII,
)
_LABEL = re.compile(
    r"(?:\b(?:steps?|examples?|equations?|eqs?|cases?|questions?|problems?|pages?|figures?|figs?"
    r"|tables?|parts?|lines?|theorem|lemma|sections?|chapters?|options?|choices?|exercises?|no|nos"
    r"|items?|rules?|methods?|rounds?|versions?|grade|level|p)\.?\s{0,2}[#(]?|#|\^|_|[A-Za-z]"
    r"|[a-z]\s\[)\Z",
    re.IGNORECASE,
)
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b")
MAX_BARE = 300
_COMMAND = re.compile(
    r"\\(?:begin|end|text|mathrm|operatorname)\s?\{[^{}]{0,99}\}|\\[a-zA-Z]{1,30}"
    r"|(?<![a-zA-Z])(?:sqrt|a?(?:rc)?(?:sin|cos|tan)|log|ln|exp|pi|and|or)(?![a-zA-Z])"
)
_PROSE = re.compile(
    rf"(?<![a-zA-Z\\])[a-zA-Z]{{3,}}|[a-zA-Z]{{2,}}\s{{1,3}}[a-zA-Z]{{2,}}|{FOREIGN}"
)
_LISTED = re.compile(r"(?:^|\n)[ \t]{0,9}[(]?\Z")
_SPAN = re.compile(
    r"\$\$([^$]{1,1000})\$\$|(?<!\\)\$([^$\n]{1,1000})(?<!\\)\$|\\\[(.{1,1000}?)\\\]|\\\((.{1,1000}?)\\\)",
    re.DOTALL,
)
# A matrix may span several lines.
_LINES = re.compile(r"\$([^$]{0,500}\\begin\{[^$]{1,1000})\$")


def mathematical_answer(response: str) -> Extracted:
    r"""Return the answer of a response to a mathematical question.

    It is the last box if there is one, even if empty; else the last ``<answer>``, the text after
    the last "answer is", or the last formula or number, in this order.

    Args:
        response: Any text, of any length.
    """
    text = final_part(response)
    box = boxed_answer(text)
    if box.boxed:
        return box
    for rule in (tagged, hashed, after_phrase, bare_formula, last_value):
        extracted = rule(text)
        if extracted is not None and (extracted.text is not None or extracted.too_long):
            return extracted
        if extracted is None:
            return NOTHING
    return NOTHING


def tagged(text: str) -> Extracted | None:
    """Return the content of the last ``<answer>``, None if it is empty or never closed."""
    tail = text[-(TAIL_CHARS + MAX_ANSWER_CHARS) :]
    opening = tail.rfind(_TAGGED)
    if opening < 0:
        return NOTHING
    inside, closed, _ = tail[opening + len(_TAGGED) :].partition("</answer>")
    if not closed or not inside.strip():
        return None
    if len(inside) > MAX_ANSWER_CHARS:
        return Extracted(None, too_long=True)
    return Extracted(inside.strip())


def hashed(text: str) -> Extracted:
    """Return the line after the last ``####``, as in GSM8K's solutions."""
    tail = text[-TAIL_CHARS:]
    found = [match[1] for match in _HASHED.finditer(tail)]
    return Extracted(found[-1].strip() or None) if found else NOTHING


def after_phrase(text: str) -> Extracted:
    """Return the answer after the last "answer is" (or "answer:")."""
    tail = text[-TAIL_CHARS:]
    announced = [match.end() for match in _PHRASE.finditer(tail)]
    if not announced:
        return NOTHING
    rest = tail[announced[-1] :]
    display = _DISPLAY.match(rest)
    if display:
        inside, closed, _ = rest[display.end() :].partition(_CLOSES[display[1]])
        if closed and len(inside) <= MAX_ANSWER_CHARS:
            return Extracted(inside.strip() or None)
    found = announcement(rest)
    if len(found) > MAX_ANSWER_CHARS:
        return Extracted(None, too_long=True)
    return Extracted(found or None)


def sentence(rest: str) -> str:
    """Return the first sentence of a text; a decimal point does not end it."""
    rest = rest.lstrip(" *_:\n\t")
    formula = _SPAN.match(rest) or _LINES.match(rest)
    whole = formula is not None and not _has_prose(next(filter(None, formula.groups())))
    end = _SENTENCE_END.search(rest, formula.end() if formula and whole else 0)
    return (rest[: end.start()] if end else rest).strip()


def announcement(rest: str) -> str:
    """Return the answer at the start of a text: the first clause, or the value it names."""
    whole = sentence(rest)
    adverbs = _ADVERBS.match(whole)
    whole = whole[adverbs.end() :] if adverbs else whole
    clause = _CLAUSE.search(whole)
    found = (whole[: clause.start()] if clause else whole).strip(" *_`").rstrip(".,;:!?，；：")
    if _FOREIGN.search(found):
        return _only_value(found.rpartition("=")[2])
    words = re.findall(r"(?<![\\a-zA-Z])[A-Za-z]{2,}", re.sub(r"\$[^$]*\$", " ", found))
    if len(words) < 4 or _HEDGED.search(found):
        return _complement(found) if words and not _HEDGED.search(found) else found
    return _complement(found)


def _complement(found: str) -> str:
    """Return 120 for "the volume of the box is 120", and the number of a text with only one."""
    named = [match.end() for match in _COMPLEMENT.finditer(found)]
    if named and found[named[-1] :].strip():
        return found[named[-1] :].strip(" *_`").rstrip(".")
    if re.match(r"[\s$\\(\[{+-]*[\d$\\]", found):
        return found
    numbers = _NUMBER.findall(found)
    return numbers[0] if len(numbers) == 1 and " " in found and "$" not in found else found


def _only_value(found: str) -> str:
    """Return the only value in a text of another script, or the whole text if not unique."""
    values = {next(filter(None, match.groups())) for match in _SPAN.finditer(found)}
    values |= {match[0] for match in _NUMBER.finditer(_SPAN.sub(" ", found))}
    return values.pop().strip() if len(values) == 1 else found


def _has_prose(text: str) -> bool:
    return _PROSE.search(_COMMAND.sub(" ", text)) is not None


def bare_formula(text: str) -> Extracted:
    """Return the whole text if it is one line of mathematics without prose, else nothing."""
    line = text.strip()
    if not line or "\n" in line or len(line) > MAX_BARE:
        return NOTHING
    whole = _SPAN.fullmatch(line)
    if whole:
        return Extracted(next(filter(None, whole.groups())).strip())
    return NOTHING if _has_prose(line) else Extracted(line)


def last_value(text: str) -> Extracted:
    """Return the last decimal number of a text, or the formula that contains it.

    Numbers of steps, examples, list items and similar labels are skipped.
    """
    tail = text[-TAIL_CHARS:]
    spans = [
        (match.start(), match.end(), next(filter(None, match.groups())))
        for match in _SPAN.finditer(tail)
    ]
    number = None
    for match in _NUMBER.finditer(tail):
        before = tail[max(0, match.start() - 20) : match.start()]
        inside = any(start <= match.start() < end for start, end, _ in spans)
        label = _LABEL.search(before) or _ORDINAL.match(tail, match.end())
        if inside or not (label or _is_listed(tail, match)):
            number = match
    if number is None:
        return Extracted(spans[-1][2].strip()) if spans else NOTHING
    for start, end, inside in spans:
        if start <= number.start() < end and not _has_prose(inside):
            return Extracted(inside.strip())
    return Extracted(number[0])


def _is_listed(tail: str, match: re.Match[str]) -> bool:
    """Whether a number only labels a list item: a line that begins with ``3.`` or ``3)``."""
    following = tail[match.end() : match.end() + 2]
    if not _LISTED.search(tail[max(0, match.start() - 12) : match.start()]):
        return False
    return bool(re.match(r"[.)]\s", following)) and len(match[0]) < 3
