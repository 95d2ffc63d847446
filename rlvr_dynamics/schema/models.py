"""Models: tiny ones made here, published ones, and their hardware requirements."""

from typing import Annotated, Literal

from pydantic import Field

from rlvr_dynamics.schema.types import Count, Frozen, Name, Positive, Share, sequence

Family = Literal["qwen2", "qwen3", "llama", "glm4"]


_QKV_BIAS = {"qwen2": True, "qwen3": False, "llama": False, "glm4": True}
_QK_NORM = {"qwen2": False, "qwen3": True, "llama": False, "glm4": False}
_NORMS_PER_LAYER = {"qwen2": 2, "qwen3": 2, "llama": 2, "glm4": 4}


def linear_layers(family: Family) -> tuple[str, ...]:
    """Names of the linear layers of a decoder block, as transformers has them."""
    gate_and_up = ("gate_up_proj",) if family == "glm4" else ("gate_proj", "up_proj")
    return ("q_proj", "k_proj", "v_proj", "o_proj", *gate_and_up, "down_proj")


class TinyModel(Frozen):
    """A small model of a family, pretrained in the run by supervised learning.

    Without pretraining steps it stays random, which is enough to test an architecture. `vocabulary`
    is the number of rows of the embedding and `context` that of the positions; null takes what the
    tokenizer and the task need, and more gives a model the shapes of a published one.
    """

    kind: Literal["tiny"]
    name: Name
    family: Family
    tied: bool
    hidden: Count
    layers: Count
    heads: Count
    kv_heads: Count
    intermediate: Count
    steps_clean: Annotated[int, Field(ge=0)]
    steps_noisy: Annotated[int, Field(ge=0)]
    batch_size: Count
    learning_rate: Positive
    muon_learning_rate: Positive
    careful: Share
    sloppy: Share
    step_error: Share
    vocabulary: Count | None = None
    context: Count | None = None


class Architecture(Frozen):
    """The shapes of a decoder, from which parameters, memory and disk are computed (`estimates`).

    The values are those of the model's config.json. `vocabulary` is the number of rows of the
    embedding, including padding. `context` is the maximum length of prompt plus response, in
    tokens. `tied`: the output head is the embedding. Biases and q/k norms follow from the family.
    """

    family: Family
    hidden: Count
    layers: Count
    heads: Count
    kv_heads: Count
    head_dim: Count
    intermediate: Count
    vocabulary: Count
    context: Count
    tied: bool

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """Shapes (outputs, inputs) of the matrices of one decoder layer, by `linear_layers`."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        outputs = {"q_proj": q, "k_proj": kv, "v_proj": kv, "gate_up_proj": 2 * self.intermediate}
        outputs |= {"gate_proj": self.intermediate, "up_proj": self.intermediate}
        inputs = {"o_proj": q, "down_proj": self.intermediate}
        return {
            name: (outputs.get(name, self.hidden), inputs.get(name, self.hidden))
            for name in linear_layers(self.family)
        }

    @property
    def layer_parameters(self) -> int:
        """Number of elements of one decoder layer."""
        vectors = _NORMS_PER_LAYER[self.family] * self.hidden
        if _QKV_BIAS[self.family]:
            vectors += (self.heads + 2 * self.kv_heads) * self.head_dim
        if _QK_NORM[self.family]:
            vectors += 2 * self.head_dim
        return vectors + sum(rows * columns for rows, columns in self.matrices.values())

    @property
    def parameters(self) -> int:
        """Number of elements of all tensors; a tied head counts once."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * self.layer_parameters + embeddings + self.hidden


class Hardware(Frozen):
    """How a model is distributed over GPUs; used by trainer=gpu_node and scoring=gpu.

    `shard` is the number of GPUs that share one copy of the training state (FSDP size); with
    nodes x gpus_per_node it spans the whole job. `offload` moves that state to host memory between
    phases. `micro_batch_tokens` is the trainer's. `scoring_parallel` is vLLM's tensor parallelism
    for scoring checkpoints.
    """

    nodes: Count
    gpus_per_node: Count
    gpu_memory_gib: Count
    shard: Count
    tensor_parallel: Count
    offload: bool
    rollout_memory_share: Share
    micro_batch_tokens: Count
    scoring_parallel: Count


class GgufPackage(Frozen):
    """A Python package that contains a model's weights as one GGUF file.

    `sha256` is the file's hash, checked if given.
    """

    name: str
    version: str
    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class HubModel(Frozen):
    """A published model: a hub id, or the path of a local Hugging Face folder.

    `revision` is a commit, branch or tag; without one the newest commit is used and pinned in
    models.lock.json. `package` provides the weights if the hub does not answer. `prompt` sets how
    a problem is formatted in training and scoring: with the tokenizer's chat template, or as plain
    text. `stop_tokens` end a response, in addition to the model's own end token.
    """

    kind: Literal["hub"]
    name: Name
    repo: str
    revision: str | None
    architecture: Architecture
    hardware: Hardware
    package: GgufPackage | None = None
    prompt: Literal["chat", "plain"]
    stop_tokens: sequence(str)  # pyright: ignore[reportInvalidTypeForm]
