"""Multiple choice: shuffles the choices by seed and question only."""

import hashlib
from collections.abc import Sequence

LETTERS = "ABCD"


def shuffled_choices(
    right: str, wrong: Sequence[str], seed: int, question_id: str
) -> tuple[str, str]:
    """Return the choices as lettered lines, and the letter of the right one.

    Choices are sorted by hash, so the order is the same on every machine and does not depend on the
    other questions.

    Raises:
        ValueError: The right choice is among the wrong ones, or there are too many choices.
    """
    choices = [text.strip() for text in (right, *wrong)]
    if choices[0] in choices[1:]:
        raise ValueError("stands among the wrong choices as well")
    if len(choices) > len(LETTERS):
        raise ValueError(f"has more than {len(LETTERS)} choices")
    order = sorted(
        range(len(choices)),
        key=lambda place: hashlib.sha256(f"{seed} {question_id} {place}".encode()).digest(),
    )
    lines = [f"{letter}) {choices[place]}" for letter, place in zip(LETTERS, order, strict=False)]
    return "\n".join(lines), LETTERS[order.index(0)]
