"""Tokenizes a prompt so that special tokens inside the question are plain text.

A tokenizer reads ``<|im_end|>`` as the end of a turn wherever it occurs. In a question it is
ordinary text, so it must not end the user's turn. The result differs from the tokenizer's own only
if the question contains such a token.
"""

import functools
import json
import re
from typing import Any

from rlvr_dynamics.errors import UserError

_TAG = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")  # <think>, </tool_call>, [INST]


def encode(tokenizer: Any, text: str, part: slice, *, begin: bool = False) -> list[int]:
    """Return the token ids of `text`, reading special tokens inside `part` as plain text.

    Args:
        tokenizer: The model's.
        text: The whole prompt.
        part: Position of the foreign text.
        begin: Add the tokens that the tokenizer puts before any text; else the prompt has them.

    Raises:
        UserError: The tokenizer cannot read such a token as plain text.
    """
    named = _markers(tokenizer)
    if not any(token in text[part] for token in named):
        return tokenizer.encode(text) if begin else tokenizer.encode(text, add_special_tokens=False)
    # Everything between the template's last special token before the part and its first one after
    # the part is plain text.
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
    """Return the tokens that are not text: special tokens, and others that look like a tag."""
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
    """Return a copy of the underlying tokenizer that reads its markers as plain text."""
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
    """Return the position of the foreign text in a rendered prompt.

    Args:
        text: The rendered prompt.
        with_mark: The prompt rendered with `mark` in place of the foreign text.
        mark: A string that the foreign text does not contain.
    """
    before, _, after = with_mark.partition(mark)
    start = _alike(text, before)
    stop = len(text) - _alike(text[start:][::-1], after[::-1])
    return slice(start, stop)


def _alike(one: str, other: str) -> int:
    """Return the length of the common prefix."""
    shorter = min(len(one), len(other))
    return next((place for place in range(shorter) if one[place] != other[place]), shorter)
