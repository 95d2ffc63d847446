"""Scores text that a model did not write, with one forward pass per batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rlvr_dynamics.scoring.local_model import Runnable, inference, not_finite
from rlvr_dynamics.system.progress import bar

if TYPE_CHECKING:
    from torch import Tensor

LOGIT_BYTES = 1 << 30
POSITIONS = 256
DISTRIBUTION_ELEMENTS = 1 << 23


@dataclass(frozen=True)
class Reading:
    """A reader's scores for one answer of n tokens.

    Attributes:
        greedy: Token the reader would have written at each position, shape (n,), int64.
        log_probs: Log-probability of the actual token, nats, shape (n,), float64.
        entropies: Entropy of the reader's distribution at each position, nats, shape (n,), float64;
            empty if it was read beside no other model.
        divergences: KL(reader ‖ other model) at each position, nats, likewise.
    """

    greedy: NDArray[np.int64]
    log_probs: NDArray[np.float64]
    entropies: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    divergences: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


def read(
    runnable: Runnable,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    *,
    label: str,
    beside: Runnable | None = None,
    logit_bytes: int = LOGIT_BYTES,
) -> list[Reading]:
    """Score answers token by token, given the prompt and the preceding answer tokens.

    Args:
        runnable: The reader.
        prompts: Token ids, at least one each.
        answers: Token ids, at least one each.
        label: Text of the progress bar.
        beside: Another model that reads the same positions, for entropies and divergences; it may
            be the reader itself.
        logit_bytes: Memory for the logits of a batch; a single answer may need more.

    Returns:
        One reading per answer, in the same order.

    Raises:
        UserError: The reader's logits are not finite.
    """
    import torch

    found: dict[int, Reading] = {}
    rows = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    item = torch.finfo(runnable.model.dtype).bits // 8
    widest = logit_bytes // (runnable.model.config.get_text_config().vocab_size * item)
    for group in bar(list(_groups([len(row) for row in rows], widest)), desc=label, unit="batch"):
        width = max(len(rows[row]) for row in group)
        ids = torch.full((len(group), width), runnable.pad)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(group):
            ids[place, : len(rows[row])] = torch.tensor(rows[row])
            mask[place, : len(rows[row])] = 1
        with inference(runnable):
            logits = _logits(runnable, ids, mask)
            others = None
            if beside is not None:
                others = logits if beside is runnable else _logits(beside, ids, mask)
            for place, row in enumerate(group):
                # The logits at a position predict the next token.
                span = slice(len(prompts[row]) - 1, len(rows[row]) - 1)
                told = torch.tensor(answers[row], device=runnable.device)
                found[row] = _opinion(logits[place, span], told)
                if others is not None:
                    spread = _spread(logits[place, span], others[place, span])
                    found[row] = replace(found[row], entropies=spread[0], divergences=spread[1])
    if not all(np.isfinite(reading.log_probs).all() for reading in found.values()):
        raise not_finite(label)
    return [found[row] for row in range(len(rows))]


def _logits(runnable: Runnable, ids: "Tensor", mask: "Tensor") -> "Tensor":
    return runnable.model(
        input_ids=ids.to(runnable.device),
        attention_mask=mask.to(runnable.device),
        use_cache=False,
    ).logits


def _spread(logits: "Tensor", others: "Tensor") -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return entropies and KL(first ‖ second) over the whole vocabulary, in chunks, in float64.

    A checkpoint's divergence from its base can be 1e-6, which float32 would round away.
    """
    chunk = max(1, DISTRIBUTION_ELEMENTS // logits.shape[1])
    entropies, divergences = [], []
    for piece, other in zip(logits.split(chunk), others.split(chunk), strict=True):
        logs, their_logs = (each.double().log_softmax(dim=1) for each in (piece, other))
        shares = logs.exp()
        entropies.append(-(shares * logs).sum(dim=1).cpu().numpy())
        divergences.append((shares * (logs - their_logs)).sum(dim=1).clamp(min=0).cpu().numpy())
    return np.concatenate(entropies), np.concatenate(divergences)


def _opinion(logits: "Tensor", told: "Tensor") -> Reading:
    """Return greedy tokens and log-probabilities, computed in chunks of positions."""
    greedy, log_probs = [], []
    for piece, tokens in zip(logits.split(POSITIONS), told.split(POSITIONS), strict=True):
        wide = piece.float()
        at = wide.gather(1, tokens[:, None])[:, 0]
        greedy.append(wide.argmax(dim=1).cpu().numpy())
        log_probs.append((at - wide.logsumexp(dim=1)).double().cpu().numpy())
    return Reading(np.concatenate(greedy), np.concatenate(log_probs))


def _groups(lengths: Sequence[int], widest: int) -> Iterator[list[int]]:
    """Group rows of similar length so that a group pads to at most `widest` positions."""
    group: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: (lengths[row], row)):
        if group and (len(group) + 1) * lengths[row] > widest:
            yield group
            group = []
        group.append(row)
    if group:
        yield group
