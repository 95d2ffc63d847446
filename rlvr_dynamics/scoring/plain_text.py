"""Token ids of a prompt in which one part is somebody's text, and only text.

A tokenizer reads ``<|im_end|>`` as the end of a turn wherever it stands. In a question it is a
piece of text like any other, so it must not end the user's turn. Only where a question contains
such a token is anything done otherwise than the tokenizer does it.
"""

import functools
import json
import re
from typing import Any

from rlvr_dynamics.errors import UserError

_TAG = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")  # <think>, </tool_call>, [INST]


def encode(tokenizer: Any, text: str, part: slice, *, begin: bool = False) -> list[int]:
    """Return the token ids of `text`; tokens with a meaning of their own have none in `part`.

    Args:
        tokenizer: The model's.
        text: The whole prompt.
        part: Where the foreign text stands.
        begin: Begin as the tokenizer begins any text; otherwise the prompt itself does.

    Raises:
        UserError: The tokenizer can read such a token in no other way.
    """
    named = _markers(tokenizer)
    if not any(token in text[part] for token in named):
        return tokenizer.encode(text) if begin else tokenizer.encode(text, add_special_tokens=False)
    # From the template's last such token before the part to its first one after it, all is text.
    start = max((_end_of_last(token, text[: part.start]) for token in named), default=0)
    after = [found for token in named if (found := text.find(token, part.stop)) >= 0]
    stop = min(after, default=len(text))
    head, tail = (
        tokenizer.encode(piece, add_special_tokens=False) if piece else []
        for piece in (text[:start], text[stop:])
    )
    bare = _without_markers(tokenizer)
    unknown = getattr(tokenizer, "unk_token_id", None)
    seen = {*bare.encode(text[part], add_special_tokens=False).ids} - {unknown}
    if seen & {*named.values()}:
        found = next(token for token in named if token in text[part])
        raise UserError(
            f"a question contains {found!r}, which this model's tokenizer cannot read as text",
            way_out="leave the question out (exceptions of its benchmark)",
        )
    between = bare.encode(text[start:stop], add_special_tokens=begin and not start)
    return [*head, *between.ids, *tail]


@functools.lru_cache(maxsize=4)
def _markers(tokenizer: Any) -> dict[str, int]:
    """Return the tokens that are no text: the special ones, and others in the form of a tag."""
    known = getattr(tokenizer, "added_tokens_decoder", {})
    return {
        token.content: number
        for number, token in known.items()
        if token.content and (token.special or _TAG.fullmatch(token.content))
    }


def _end_of_last(token: str, text: str) -> int:
    place = text.rfind(token)
    return place + len(token) if place >= 0 else 0


@functools.lru_cache(maxsize=4)
def _without_markers(tokenizer: Any) -> Any:
    """Return the tokenizer behind a tokenizer, made to read its markers as any other text."""
    from tokenizers import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UserError(
            "a question contains a token of the chat template, and this model's tokenizer has no "
            "way to read it as text",
            way_out="leave the question out (exceptions of its benchmark), or give the model a "
            "tokenizer.json",
        )
    rules = json.loads(backend.to_str())
    markers = _markers(tokenizer)
    kept = [token for token in rules["added_tokens"] if token["content"] not in markers]
    rules |= {"added_tokens": kept, "truncation": None, "padding": None}
    return Tokenizer.from_str(json.dumps(rules))


def foreign_part(text: str, with_mark: str, mark: str) -> slice:
    """Return where in a rendered prompt the foreign text stands.

    Args:
        text: The prompt as rendered.
        with_mark: The prompt rendered with `mark` in the place of the foreign text.
        mark: A text that the foreign text does not contain.
    """
    before, _, after = with_mark.partition(mark)
    start = _alike(text, before)
    stop = len(text) - _alike(text[start:][::-1], after[::-1])
    return slice(start, stop)


def _alike(one: str, other: str) -> int:
    """Length of the common beginning."""
    shorter = min(len(one), len(other))
    return next((place for place in range(shorter) if one[place] != other[place]), shorter)
