"""The grid of models x algorithms, with the data and benchmarks of the paper that trains the model.

`configs/exp/<algorithm>_<model>.yaml` are generated from here (`python -m experiments.grid
--write`). The data depend on the model, never on the algorithm, so that algorithms are compared on
the same problems.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

ALGORITHMS = ("ppo", "grpo", "dr_grpo", "rloo", "reinforce_pp", "dapo", "gspo")
EXTRA_ALGORITHMS = ("opo", "cispo")


@dataclass(frozen=True, eq=False)
class Protocol:
    """Where a model is trained and how it is scored.

    Attributes:
        data: Training problems, a file in ``configs/data``.
        benchmark: Benchmarks or suite, in ``configs/benchmark``.
        scoring: Sampling, in ``configs/scoring``.
        why: A comment for the generated files.
        keys: Further settings, by dotted key.
    """

    data: str
    benchmark: str
    scoring: str
    why: str
    keys: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


RELEX_STEPS = {"trainer.steps": 500}
RELEX_LENGTHS = {"trainer.max_prompt_tokens": 1024, "trainer.max_response_tokens": 3072}
ALPHARL_STEPS = {"trainer.steps": 100}

RELEX_1_5B = Protocol(
    "math",
    "relex",
    "relex_1_5b",
    "RELEX (arXiv 2605.21468): MATH, 500 steps. The model's context is 4,096 tokens, divided into "
    "prompt and response as in its authors' earlier scripts (RLVR-Decomposed).",
    MappingProxyType(RELEX_STEPS | RELEX_LENGTHS),
)
RELEX_QWEN3 = Protocol(
    "math",
    "relex",
    "relex_qwen3",
    "RELEX (arXiv 2605.21468): MATH, 500 steps.",
    MappingProxyType(RELEX_STEPS),
)
ALPHARL = Protocol(
    "dapo_math",
    "alpharl",
    "alpharl",
    "AlphaRL (arXiv 2510.00553): DAPO-Math-17k. Its number of steps is not printed and it released "
    "a run of 27 checkpoints; 100 steps, about three passes over the data, are ours.",
    MappingProxyType(ALPHARL_STEPS),
)
ALPHARL_SHORT = Protocol(
    "dapo_math",
    "alpharl",
    "alpharl",
    "AlphaRL's data and benchmarks (arXiv 2510.00553) within this model's context of 4,096 tokens; "
    "100 steps are ours.",
    MappingProxyType(
        ALPHARL_STEPS | RELEX_LENGTHS | {"scoring.max_model_len": 4096, "scoring.max_tokens": 4096}
    ),
)

# RELEX trains the 1.5B, the 4B and the 8B. AlphaRL trains the 8B with three algorithms, so its data
# are used for the 8B; RELEX's own 8B run is the extra cell grpo_qwen3_8b_math.
MODELS = MappingProxyType(
    {
        "qwen2_5_math_1_5b": RELEX_1_5B,
        "qwen3_4b": RELEX_QWEN3,
        "qwen2_5_7b": ALPHARL,
        "qwen2_5_math_7b": ALPHARL_SHORT,
        "r1_distill_qwen_7b": ALPHARL,
        "qwen3_8b": ALPHARL,
        "qwen3_14b": ALPHARL,
        "qwen2_5_32b": ALPHARL,
    }
)
EXTRA_MODELS = MappingProxyType({"llama3_1_8b": ALPHARL, "glm4_9b": ALPHARL})
# The medium-sized models of both papers also get the extra algorithms.
EXTRA_ALGORITHM_MODELS = ("qwen3_4b", "qwen3_8b")


@dataclass(frozen=True)
class Cell:
    """One run of the grid; its file, run directory and ``+exp=`` share its name."""

    algorithm: str
    model: str
    protocol: Protocol
    suffix: str = ""
    extra: bool = False

    @property
    def name(self) -> str:
        """``<algorithm>_<model>``, with a suffix if the protocol is not the model's own."""
        return f"{self.algorithm}_{self.model}{self.suffix}"

    @property
    def groups(self) -> dict[str, str]:
        """The choice in each group that differs between cells, except the algorithm."""
        return {
            "model": self.model,
            "data": self.protocol.data,
            "benchmark": self.protocol.benchmark,
            "scoring": self.protocol.scoring,
        }


CELLS = (
    *(
        Cell(algorithm, model, protocol)
        for model, protocol in MODELS.items()
        for algorithm in ALGORITHMS
    ),
    *(
        Cell(algorithm, model, protocol, extra=True)
        for model, protocol in EXTRA_MODELS.items()
        for algorithm in ALGORITHMS
    ),
    *(
        Cell(algorithm, model, MODELS[model], extra=True)
        for model in EXTRA_ALGORITHM_MODELS
        for algorithm in EXTRA_ALGORITHMS
    ),
    Cell("grpo", "qwen3_8b", RELEX_QWEN3, suffix="_math", extra=True),
)
