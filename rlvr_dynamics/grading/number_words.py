"""Numbers written out in English: ``two thousand twenty-four`` is 2024."""

import re

_UNITS = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen
"""
_TENTHS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SMALL = {word: value for value, word in enumerate(_UNITS.split())}
_TENS = {word: 10 * value for value, word in enumerate(_TENTHS, start=2)}
_LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
MAX_WORDS = 20


def number_of_words(text: str) -> int | None:
    """Return the integer that a text spells out, None for any other text."""
    words = re.sub(r"[-\s]+", " ", text.casefold()).strip().split(" ")
    sign = -1 if words[0] in ("minus", "negative") else 1
    words = [word for word in (words[1:] if sign < 0 else words) if word != "and"]
    if not 0 < len(words) <= MAX_WORDS:
        return None
    total = group = 0
    last = ""
    largest = 10**15
    for word in words:
        if word in _SMALL:
            # "twenty four" and "hundred four" are numbers, "four five" is not.
            if last in _SMALL or (last in _TENS and not 0 < _SMALL[word] < 10):
                return None
            group += _SMALL[word]
        elif word in _TENS:
            if last in _SMALL or last in _TENS:
                return None
            group += _TENS[word]
        elif word == "hundred":
            if not 0 < group < 100:
                return None
            group *= 100
        elif word in _LARGE:
            if group == 0 or _LARGE[word] >= largest:
                return None
            largest = _LARGE[word]
            total, group = total + group * largest, 0
        else:
            return None
        last = word
    return sign * (total + group)
