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
        updates: Why the policy makes so many updates a step, for the same files.
        paper: The paper that the runs follow (``protocol`` in the configuration).
        keys: Further settings, by dotted key.
    """

    data: str
    benchmark: str
    scoring: str
    why: str
    updates: str
    paper: str
    keys: Mapping[str, int | str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Updates:
    """Updates a step of an algorithm, where they are not the protocol's.

    Attributes:
        keys: Settings, by dotted key.
        why: A comment for the generated files.
    """

    keys: Mapping[str, int]
    why: str


# The number of updates sets the size of the steps, which is what is studied: the algorithms of a
# model share their protocol's, but for those that another number would make another algorithm.
UPDATES = MappingProxyType(
    {
        "opo": Updates(
            {"trainer.mini_batch_prompts": 512},
            "One update a step: OPO (arXiv 2505.23585) is exactly on-policy by definition.",
        ),
        "gspo": Updates(
            {"trainer.mini_batch_prompts": 128},
            "Four updates a step as in GSPO's section 5.1 (arXiv 2507.18071): after one its clip "
            "cannot act, and it is GRPO with another mean.",
        ),
        "cispo": Updates(
            {"trainer.mini_batch_prompts": 32},
            "Sixteen updates a step as in CISPO's paper (arXiv 2506.13585): after one "
            "its clip cannot act, and it is a plain policy gradient.",
        ),
        "ppo": Updates(
            {"trainer.critic_mini_batch_prompts": 32},
            "Sixteen updates of the value model a step: the run that AlphaRL takes for PPO "
            "(Open-Reasoner-Zero, arXiv 2503.24290) makes 12, which do not divide 512 prompts.",
        ),
    }
)

# Dynamic sampling and a length penalty leave these algorithms a mean score that is no accuracy.
VALIDATED = ("dapo", "cispo")
VALIDATIONS = 25  # of a training; AlphaRL scores each of its 27 checkpoints
VALIDATED_WHY = (
    "y(t) is verl's validation (docs/measured.md): 512 answers beside the 8,000 to 12,000 of a "
    "step."
)

SHORT_LENGTHS = {"trainer.max_prompt_tokens": 1024, "trainer.max_response_tokens": 3072}
# Constant rates: 10 of the 75 observed steps on a ramp would bend c(t).
RELEX_KEYS = {
    "algorithm.warmup_steps": 0,
    "trainer.steps": 500,
    "trainer.mini_batch_prompts": 256,
    "trainer.checkpoint_dtype": "bfloat16",
}
# Updates of this size need finer files than bfloat16 (docs/fidelity.md).
ALPHARL_KEYS = {
    "algorithm.warmup_steps": 10,
    "trainer.steps": 27,
    "trainer.checkpoint_dtype": "float32",
}
ALPHARL_UPDATES = "One update a step, see configs/trainer/gpu_node.yaml."

RELEX_1_5B = Protocol(
    "math",
    "relex",
    "relex_1_5b",
    "RELEX (arXiv 2605.21468): MATH, 500 steps. The model's context is 4,096 tokens, divided into "
    "prompt and response as in its authors' earlier scripts (RLVR-Decomposed).",
    "Two updates a step, as RELEX's code says of this model; of 256 prompts, as in those scripts.",
    "relex",
    MappingProxyType(RELEX_KEYS | SHORT_LENGTHS),
)
RELEX_QWEN3 = Protocol(
    "math",
    "relex",
    "relex_qwen3",
    "RELEX (arXiv 2605.21468): MATH, 500 steps; prompts as long as in its authors' earlier scripts "
    "(RLVR-Decomposed), and answers as long as it scores.",
    "Two updates a step, of 256 prompts as in those scripts, which make four; RELEX's code counts "
    "one for this model and two for the 1.5B.",
    "relex",
    MappingProxyType(
        RELEX_KEYS | {"trainer.max_prompt_tokens": 1024, "trainer.max_response_tokens": 16384}
    ),
)
ALPHARL = Protocol(
    "dapo_math",
    "alpharl",
    "alpharl",
    "AlphaRL (arXiv 2510.00553): DAPO-Math-17k, 27 steps as in its released run (those that it "
    "does not release have 25 to 28 checkpoints).",
    ALPHARL_UPDATES,
    "alpharl",
    MappingProxyType(ALPHARL_KEYS),
)
ALPHARL_SHORT = Protocol(
    "dapo_math",
    "alpharl",
    "alpharl",
    "AlphaRL's data, steps and benchmarks (arXiv 2510.00553) within this model's context of 4,096 "
    "tokens.",
    ALPHARL_UPDATES,
    "alpharl",
    MappingProxyType(
        ALPHARL_KEYS | SHORT_LENGTHS | {"scoring.max_model_len": 4096, "scoring.max_tokens": 4096}
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
    def keys(self) -> dict[str, int | str]:
        """Settings beyond the groups' files: the protocol's, and the algorithm's own."""
        own = UPDATES.get(self.algorithm)
        shared = {"protocol": self.protocol.paper, **self.protocol.keys}
        return {**shared, **(own.keys if own else {}), **self._validation}

    @property
    def why(self) -> str:
        """A comment for the generated file."""
        own = UPDATES.get(self.algorithm)
        texts = [self.protocol.why]
        if own is None or "trainer.mini_batch_prompts" not in own.keys:
            texts.append(self.protocol.updates)
        texts += [own.why] if own else []
        return " ".join([*texts, *([VALIDATED_WHY] if self._validation else [])])

    @property
    def _validation(self) -> dict[str, int]:
        if self.algorithm not in VALIDATED:
            return {}
        return {"trainer.validate_every": int(self.protocol.keys["trainer.steps"]) // VALIDATIONS}

    @property
    def settings_of_algorithm(self) -> tuple[object, ...]:
        """The algorithm's name and its settings beyond its file."""
        own = (item for item in self.keys.items() if item[0].startswith("algorithm."))
        return self.algorithm, *own

    @property
    def run(self) -> tuple[str, Protocol, tuple[tuple[str, int | str], ...]]:
        """What cells share that differ in their algorithm alone."""
        return self.model, self.protocol, tuple(self.keys.items())

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
