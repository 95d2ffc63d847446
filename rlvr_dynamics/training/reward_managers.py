"""verl's reward managers: the reward is told the question and how the rollout ended, and counted.

verl decodes a response without its end token, so a reward function cannot tell a finished answer
from one cut off by the token limit. A manager sees the tokens. verl loads these two through
`reward.reward_manager.source=importlib`, its option for custom managers.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from verl.experimental.reward_loop.reward_manager.dapo import DAPORewardManager
from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager

from rlvr_dynamics.training.reward import PLACE, STEP
from rlvr_dynamics.training.rollout_counts import FOLDER_VARIABLE, Recorder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verl import DataProto

    _Manager = NaiveRewardManager
else:
    _Manager = object

CUT, QUESTION = "cut_at_limit", "question"


def end_tokens(tokenizer: Any, model: Path) -> frozenset[int]:
    """Return the ids at which vLLM stops, from the tokenizer and generation_config.json."""
    file = model / "generation_config.json"
    stored = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    own = stored.get("eos_token_id")
    ids = [tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])]
    return frozenset(number for number in ids if number is not None)


def is_cut(tokens: "Sequence[int]", limit: int, ends: frozenset[int]) -> bool:
    """Whether a response has reached its token limit without ending in an end token."""
    return len(tokens) >= limit and tokens[-1] not in ends


class _WithEnding(_Manager):
    """Adds `CUT`, `QUESTION`, step and place to a copy of each rollout's extra_info.

    Samples share the original.

    Every verdict is counted in the folder that `FOLDER_VARIABLE` names.
    """

    def __init__(self, config: Any, tokenizer: Any, *args: Any, **kwargs: Any) -> None:
        """Look up which tokens end a response; the arguments are verl's."""
        super().__init__(config, tokenizer, *args, **kwargs)
        self.ends = end_tokens(tokenizer, Path(config.actor_rollout_ref.model.path))
        folder = os.environ.get(FOLDER_VARIABLE)
        self.recorder = Recorder(Path(folder)) if folder else None

    async def run_single(self, data: "DataProto") -> dict[str, Any]:
        """Grade one rollout (overrides verl's method)."""
        data = cast("DataProto", data[-1:])
        item = data[0]
        length = item.batch["responses"].shape[-1]
        valid = int(item.batch["attention_mask"][-length:].sum())
        tokens = item.batch["responses"][:valid].tolist()
        known = dict(item.non_tensor_batch.get("extra_info") or {})
        known[CUT] = is_cut(tokens, self.config.data.max_response_length, self.ends)
        known |= {
            name: item.non_tensor_batch[name]
            for name in (STEP, PLACE)
            if name in item.non_tensor_batch
        }
        messages = item.non_tensor_batch.get("raw_prompt")
        if messages is not None and len(messages) and isinstance(messages[-1]["content"], str):
            known[QUESTION] = messages[-1]["content"]
        copied = np.empty(1, dtype=object)
        copied[0] = known
        data.non_tensor_batch["extra_info"] = copied
        found = await super().run_single(data)  # pyright: ignore[reportAbstractUsage]
        if self.recorder is not None:
            self.recorder.add(item.non_tensor_batch, found["reward_extra_info"])
        return found


class Naive(_WithEnding, NaiveRewardManager):
    """verl's `naive` manager: the reward is the score."""


class Dapo(_WithEnding, DAPORewardManager):
    """verl's `dapo` manager: the score, less a penalty for overlong responses."""
