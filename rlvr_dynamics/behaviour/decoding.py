"""Greedy decoding in batches."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlvr_dynamics.behaviour.models import Runnable, not_finite
from rlvr_dynamics.system.progress import bar

STOP, LENGTH = "stop", "length"


@dataclass(frozen=True)
class Answer:
    """One answer of a model.

    Attributes:
        tokens: Token ids, including the one that ended the answer.
        finish: ``stop``, or ``length`` if the limit cut the answer.
    """

    tokens: tuple[int, ...]
    finish: str


def greedy(
    runnable: Runnable,
    prompts: Sequence[Sequence[int]],
    room: Sequence[int],
    *,
    batch: int,
    label: str,
) -> list[Answer]:
    """Continue prompts with the most likely token until an answer ends.

    Args:
        runnable: The model.
        prompts: Token ids of each prompt, at least one.
        room: Maximum length of each continuation in tokens, at least 1.
        batch: Prompts per batch; prompts of similar length are batched together.
        label: Text of the progress bar.

    Returns:
        The continuations, in the order of the prompts.

    Raises:
        UserError: The model's logits are not finite.
    """
    import torch
    from transformers import GenerationConfig

    if not prompts:
        return []
    _check_finite(runnable, prompts[0], label)
    found: dict[int, Answer] = {}
    order = sorted(range(len(prompts)), key=lambda row: (len(prompts[row]), row))
    groups = [order[start : start + batch] for start in range(0, len(order), batch)]
    for group in bar(groups, desc=label, unit="batch"):
        width = max(len(prompts[row]) for row in group)
        ids = torch.full((len(group), width), runnable.pad)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(group):
            ids[place, width - len(prompts[row]) :] = torch.tensor(prompts[row])
            mask[place, width - len(prompts[row]) :] = 1
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=max(room[row] for row in group),
            eos_token_id=list(runnable.stops) or None,
            pad_token_id=runnable.pad,
        )
        with torch.inference_mode():
            written = runnable.model.generate(
                input_ids=ids.to(runnable.device),
                attention_mask=mask.to(runnable.device),
                generation_config=settings,
            )[:, width:].tolist()
        for row, tokens in zip(group, written, strict=True):
            found[row] = cut(tokens, room[row], runnable.stops)
    return [found[row] for row in range(len(prompts))]


def _check_finite(runnable: Runnable, prompt: Sequence[int], label: str) -> None:
    """Check one token's logits: the argmax of NaNs would look like any other token."""
    import torch

    ids = torch.tensor([list(prompt)], device=runnable.device)
    with torch.inference_mode():
        logits = runnable.model(input_ids=ids, use_cache=False).logits[0, -1]
    if not bool(torch.isfinite(logits).all()):
        raise not_finite(label)


def cut(tokens: Sequence[int], room: int, stops: Sequence[int]) -> Answer:
    """Cut an answer after its first stop token or at its limit.

    Args:
        tokens: Token ids, including any padding after the end.
        room: Maximum length of the answer in tokens.
        stops: Tokens that end an answer.
    """
    for place, token in enumerate(tokens[:room]):
        if token in stops:
            return Answer(tuple(tokens[: place + 1]), STOP)
    return Answer(tuple(tokens[:room]), LENGTH)
