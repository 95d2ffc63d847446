"""Splits a formula into tokens: numbers, letters, commands and signs."""

import re

MAX_TOKENS = 200

_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<number>\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|(?:\d+\.?\d*|\.\d+)"
    # 2e+1 is a sum, 2e+10 is not
    r"(?:[eE](?:-?\d{1,3}|\+\d{2,3})(?!\d))?)"
    r"|(?P<bold>\\math(?:bb|cal|bf|rm|it)\s*\{\s*[A-Za-z]\s*\})"
    r"|(?P<command>\\[a-zA-Z]+|\\\||(?:arc)?(?:sin|cos|tan)(?![a-z])"
    r"|(?:ln|log|sqrt|exp|cot|sec|csc)(?![a-z]))"
    r"|(?P<letter>[a-zA-Z])"
    r"|(?P<sign>[-+*/^_(){}\[\]|!'])"
    r")",
    re.ASCII,
)
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{4,}")
_KNOWN_WORD = re.compile(r"(?:arc)?(?:sin|cos|tan)|sqrt")


class Unreadable(Exception):
    """The text is not a formula that this reader supports."""


def tokens_of(text: str) -> list[tuple[str, str]]:
    """Return the kind and text of each token.

    Raises:
        Unreadable: A token is unknown or a word, or there are too many tokens.
    """
    for word in _WORD.findall(text):
        if not _KNOWN_WORD.match(word):
            raise Unreadable
    tokens, position, text = [], 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or len(tokens) == MAX_TOKENS:
            raise Unreadable
        kind = match.lastgroup or ""
        tokens.append((kind, match[kind]))
        position = match.end()
    return tokens
