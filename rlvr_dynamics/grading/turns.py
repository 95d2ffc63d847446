r"""Finds the part of a response that holds the answer: after the thinking, before a next turn.

A model's thoughts are not its answer, nor is a further question that it makes up and answers.
"""

import re

_THOUGHTS = ("think", "thinking", "thought", "reasoning")
_OPENED = re.compile(rf"<(?:{'|'.join(_THOUGHTS)})>", re.IGNORECASE)
_CLOSED = re.compile(rf"</(?:{'|'.join(_THOUGHTS)})>", re.IGNORECASE)
# Separators of chat messages, which a decoder may leave in the text.
_SPECIAL = re.compile(
    r"<\|(?:im_end|im_start|endoftext|end_of_text|eot_id|end|user|assistant|system|start_header_id)\|>"
    r"|<(?:end|start)_of_turn>|</s>|\[/?INST\]"
)
_ROLE = re.compile(r"[ \t]*(?:assistant|model)?[ \t]*(?:<\|end_header_id\|>)?\s*")
_NEXT = re.compile(
    r"\n[ \t]{0,9}(?:#{1,4}[ \t]?|\*\*)?(?:Question|Problem|Exercise|Human|User|Instruction|Q)"
    r"(?:[ \t]?\d{1,4})?(?:\*\*)?[ \t]?:",
)
_ANSWERED = re.compile(r"\\boxed\s{0,4}\{|answer\s{0,4}(?:is|:|=)|</answer>", re.IGNORECASE)
MOST_TURNS = 50


def final_part(response: str) -> str:
    r"""Return the part of a response that holds its answer.

    If thoughts are never closed, that is the text before them. A line such as ``Question:`` ends
    the part only if an answer precedes it.

    Args:
        response: Any text, of any length.
    """
    return _first_turn(_after_thoughts(response))


def _after_thoughts(text: str) -> str:
    closed = [match.end() for match in _CLOSED.finditer(text)]
    if closed:
        text = text[closed[-1] :]
    opened = _OPENED.search(text)
    return text[: opened.start()] if opened else text


def _first_turn(text: str) -> str:
    start = 0
    for special in _SPECIAL.finditer(text):
        if text[start : special.start()].strip():
            text = text[start : special.start()]
            break
        role = _ROLE.match(text, special.end())
        start = role.end() if role else special.end()
    else:
        text = text[start:]
    for count, following in enumerate(_NEXT.finditer(text)):
        if count == MOST_TURNS:
            break
        if _ANSWERED.search(text, 0, following.start()):
            return text[: following.start()]
    return text
