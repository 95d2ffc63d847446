"""Seeds of sampled answers: one for each request, or one for each batch of an engine.

``request``: the seed is a hash of the run's seed, the question and the number of the sample. An
answer is the same in any batch, on any engine and after any interruption, up to rounding. All
models draw the same random numbers, so similar models answer alike, with less noise between them.

``batch``: requests have no seed, and vLLM's generators are seeded before each batch. On GPUs vLLM's
first model runner draws for seeded requests one after the other (`random_sample` in
v1/sample/ops/topk_topp_sampler.py), and no runner uses FlashInfer's sampler for them. The second
runner, which vLLM 0.24 takes for Qwen3 and Llama, draws for all at once with either; with top_p 1
its seeded requests cost nothing.

A batch's seed is a hash of the run's seed and of the keys of its contents, which cover weights,
questions and protocol. Other batches draw other numbers, whichever engine answers them, and a batch
that was interrupted starts with the same seed. But its requests share one stream of random numbers:
a rounding difference (another GPU, memory share or version) changes every answer after it. What is
then drawn has the same distribution. Models do not share random numbers. Comparisons by question
stay valid; they are noisier than with common random numbers.
"""

import hashlib
import json
import random
from collections.abc import Mapping
from typing import Any


def request_seed(seed: int, question_id: str, sample: int) -> int:
    """Return the seed of one request in [0, 2**31): a hash, independent of order and machine."""
    return _hashed([seed, question_id, sample])


def batch_seed(seed: int, keys: Mapping[str, str]) -> int:
    """Return the seed of one batch in [0, 2**31), independent of order and machine.

    Args:
        seed: Seed of the whole scoring run.
        keys: benchmark -> key (`keys.unit_key`) for the contents of the batch.
    """
    return _hashed([seed, sorted(keys.items())])


def _hashed(value: Any) -> int:
    return int.from_bytes(hashlib.sha256(json.dumps(value).encode()).digest()[:4], "big") >> 1


def seed_engine(llm: Any, seed: int) -> None:
    """Seed all generators of an engine, in every process of it.

    Cached prompts are forgotten, because they change which requests are drawn together.
    """
    llm.reset_prefix_cache()
    llm.collective_rpc(_seed_worker, args=(seed,))


def _seed_worker(_worker: Any, seed: int) -> None:
    """Seed what vLLM draws from: torch, and NumPy for the seeds of its second model runner."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
