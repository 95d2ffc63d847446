"""Proves that weights reloaded in place equal those of a fresh load. Runs in the engine.

A reload can be silently wrong: vLLM's CPU build packs the output matrix once, and a reload does not
update the packed copy. So the log-probabilities of a few prompts after a reload are compared with
those of an engine that loaded the same folder from scratch, and again after reloading the first.
"""

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TOLERANCE = {"float32": 1e-4}
TOLERANCE_HALF = 2e-2
MIN_CONTRAST = 10.0


@dataclass(frozen=True)
class ReloadProof:
    """Result of the comparison; log-probabilities in nats.

    Attributes:
        passed: Whether reloading in place may be used.
        max_abs_diff: Largest difference between reloaded and fresh, over both models; None after
            an `error`.
        contrast: Largest difference between the two models themselves, which is what a reload
            that does nothing would show.
        tolerance: Largest difference that passes.
        probes: Number of log-probabilities compared per model.
        error: What the reload raised, or that a log-probability is not finite; else empty.
    """

    passed: bool
    max_abs_diff: float | None
    contrast: float | None
    tolerance: float
    probes: int
    error: str = ""


def log_probs(llm: Any, probes: Sequence[list[int]]) -> np.ndarray:
    """Return the log-probability of each probe token but every probe's first, shape (tokens,)."""
    from vllm import SamplingParams

    llm.reset_prefix_cache()
    params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
    outputs = llm.generate([{"prompt_token_ids": ids} for ids in probes], params, use_tqdm=False)
    return np.array(
        [
            step[token].logprob
            for output in outputs
            for token, step in zip(
                output.prompt_token_ids[1:], output.prompt_logprobs[1:], strict=True
            )
        ]
    )


def reload_weights(llm: Any, folder: Path) -> None:
    """Load the weights of `folder` into a running engine."""
    llm.collective_rpc("reload_weights", kwargs={"weights_path": str(folder)})
    llm.reset_prefix_cache()


def release(llm: Any) -> None:
    """Free an engine's memory. The caller must not keep another reference to it."""
    from vllm.distributed import cleanup_dist_env_and_memory

    llm.llm_engine.engine_core.shutdown()
    del llm
    gc.collect()
    cleanup_dist_env_and_memory()


def judge(
    fresh: Sequence[np.ndarray], reloaded: Sequence[np.ndarray], tolerance: float
) -> ReloadProof:
    """Compare log-probabilities of two models after fresh loads and after reloads.

    Args:
        fresh: One array per model.
        reloaded: The same after reloading, in the same order.
        tolerance: Largest difference that passes.
    """
    contrast = float(np.max(np.abs(fresh[0] - fresh[1])))
    worst = float(np.max(np.abs(np.stack(fresh) - np.stack(reloaded))))
    if not np.isfinite([contrast, worst]).all():
        error = "a log-probability is not finite"
        return ReloadProof(False, None, None, tolerance, len(fresh[0]), error)
    # If the two models hardly differ, a reload that does nothing would also pass.
    telling = contrast > 0 and worst * MIN_CONTRAST <= contrast
    return ReloadProof(worst <= tolerance and telling, worst, contrast, tolerance, len(fresh[0]))


def prove_reload(
    llm: Any,
    first: Path,
    second: Path,
    fresh_second: np.ndarray,
    probes: Sequence[list[int]],
    dtype: str,
) -> ReloadProof:
    """Reload `second` and then `first` in place, and compare each with a fresh load.

    Args:
        llm: An engine that loaded `first` from scratch. If the proof passes it holds `first`.
        first: Folder of its model.
        second: Another model of the same frame.
        fresh_second: `log_probs` of an engine that loaded `second` from scratch.
        probes: Token ids of the probes.
        dtype: Precision of the engine; half precisions have a wider tolerance.
    """
    tolerance = TOLERANCE.get(dtype, TOLERANCE_HALF)
    fresh_first = log_probs(llm, probes)
    try:
        reload_weights(llm, second)
        again_second = log_probs(llm, probes)
        reload_weights(llm, first)
        again_first = log_probs(llm, probes)
    except Exception as error:  # whatever vLLM raises, the fallback is one engine per model
        return ReloadProof(False, None, None, tolerance, len(fresh_first), repr(error))
    return judge((fresh_first, fresh_second), (again_first, again_second), tolerance)
