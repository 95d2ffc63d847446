"""Decoding in batches without an engine: greedy or sampled, by one model or by two at once.

Two: l = l_0 + α (l_1 - l_0) of the logits of an earlier and a later checkpoint, mixed before
temperature and top-p. Source: arXiv 2601.04537, logits extrapolation, and its released code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.scoring.local_model import Runnable, inference, not_finite
from rlvr_dynamics.system.progress import bar

if TYPE_CHECKING:
    from torch import Tensor

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


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        temperature: Above 0.
        top_p: Probability mass that is kept, in (0, 1].
        seed: Seed of all draws, in the order of the batches.
    """

    temperature: float
    top_p: float
    seed: int


def decode(
    runnable: Runnable,
    prompts: Sequence[Sequence[int]],
    room: Sequence[int],
    *,
    batch: int,
    label: str,
    sampling: Sampling | None = None,
    earlier: Runnable | None = None,
    alpha: float = 1.0,
) -> list[Answer]:
    """Continue prompts until an answer ends, with the most likely token unless it is sampled.

    Args:
        runnable: The model.
        prompts: Token ids of each prompt, at least one.
        room: Maximum length of each continuation in tokens, at least 1.
        batch: Prompts per batch; prompts of similar length are batched together.
        label: Text of the progress bar.
        sampling: How tokens are drawn; None takes the most likely one.
        earlier: An earlier checkpoint whose logits are extrapolated from; None uses those of
            `runnable` alone.
        alpha: α of the extrapolation.

    Returns:
        The continuations, in the order of the prompts.

    Raises:
        UserError: The model's logits are not finite.
    """
    import torch
    from transformers import GenerationConfig

    if not prompts:
        return []
    for each in (runnable, earlier):
        if each is not None:
            _check_finite(each, prompts[0], label)
    drawn = {} if sampling is None else {"temperature": sampling.temperature, "top_k": 0}
    if sampling is not None:
        drawn["top_p"] = sampling.top_p
        torch.manual_seed(sampling.seed)
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
            do_sample=sampling is not None,
            **drawn,
            max_new_tokens=max(room[row] for row in group),
            eos_token_id=list(runnable.stops) or None,
            pad_token_id=runnable.pad,
        )
        with inference(runnable):
            written = runnable.model.generate(
                input_ids=ids.to(runnable.device),
                attention_mask=mask.to(runnable.device),
                generation_config=settings,
                logits_processor=_mixing(earlier, alpha, mask),
            )[:, width:].tolist()
        for row, tokens in zip(group, written, strict=True):
            found[row] = cut(tokens, room[row], runnable.stops)
    return [found[row] for row in range(len(prompts))]


def _mixing(earlier: Runnable | None, alpha: float, mask: "Tensor") -> Any:
    from transformers import LogitsProcessorList

    if earlier is None:
        return LogitsProcessorList()
    return LogitsProcessorList([_Extrapolated(earlier, alpha, mask.to(earlier.device))])


class _Extrapolated:
    """A logits processor of one batch that runs the earlier model beside the decoding one.

    transformers applies it before temperature and top-p.
    """

    def __init__(self, earlier: Runnable, alpha: float, mask: "Tensor") -> None:
        self.earlier, self.alpha, self.mask = earlier, alpha, mask
        self.cache: Any = None

    def __call__(self, input_ids: "Tensor", scores: "Tensor") -> "Tensor":
        import torch

        new = input_ids.shape[1] - self.mask.shape[1]
        if new:
            self.mask = torch.cat([self.mask, self.mask.new_ones((len(self.mask), new))], dim=1)
        fresh = input_ids if self.cache is None else input_ids[:, -1:]
        # Prompts are padded on the left; the model would count from there.
        places = (self.mask.cumsum(dim=1) - 1).clamp(min=0)[:, -fresh.shape[1] :]
        found = self.earlier.model(
            input_ids=fresh,
            attention_mask=self.mask,
            position_ids=places,
            past_key_values=self.cache,
            use_cache=True,
        )
        self.cache = found.past_key_values
        first = found.logits[:, -1].to(scores)
        return first + self.alpha * (scores - first)


def _check_finite(runnable: Runnable, prompt: Sequence[int], label: str) -> None:
    """Check one token's logits: the argmax of NaNs would look like any other token."""
    import torch

    ids = torch.tensor([list(prompt)], device=runnable.device)
    with inference(runnable):
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
