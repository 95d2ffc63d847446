"""Models: tiny ones that are made here, published ones, and what they need of a machine."""

from typing import Annotated, Literal

from pydantic import Field

from rlvr_dynamics.schema.types import Count, Frozen, Name, Positive, Share, sequence

Family = Literal["qwen2", "qwen3", "llama", "glm4"]


_QKV_BIAS = {"qwen2": True, "qwen3": False, "llama": False, "glm4": True}
_QK_NORM = {"qwen2": False, "qwen3": True, "llama": False, "glm4": False}
_NORMS_PER_LAYER = {"qwen2": 2, "qwen3": 2, "llama": 2, "glm4": 4}


class TinyModel(Frozen):
    """A small model of a family, pretrained on the spot by supervised learning.

    With no pretraining steps it stays random, which is enough to exercise an architecture.
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


class Architecture(Frozen):
    """The shapes of a decoder; parameters, memory and disk follow from them (`estimates`).

    The values are those of the model's config.json. `vocabulary` counts the rows of the embedding,
    padding included. `context` is its longest prompt and response together, in tokens. `tied`: the
    output head is the embedding. Biases and q/k norms follow from the family.
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
    def layer_parameters(self) -> int:
        """Elements of one decoder layer."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = self.hidden * (2 * q + 2 * kv)
        if _QKV_BIAS[self.family]:
            attention += q + 2 * kv
        if _QK_NORM[self.family]:
            attention += 2 * self.head_dim
        norms = _NORMS_PER_LAYER[self.family] * self.hidden
        return attention + 3 * self.hidden * self.intermediate + norms

    @property
    def parameters(self) -> int:
        """Elements of all tensors; a tied head counts once."""
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * self.layer_parameters + embeddings + self.hidden


class Hardware(Frozen):
    """How a model is laid out on GPUs; trainer=gpu_node and scoring=gpu read it.

    `shard` is the number of GPUs that share one copy of the training state (FSDP size); the whole
    job when it equals nodes x gpus_per_node. `offload` moves that state to host memory between
    phases. `scoring_parallel` is vLLM's tensor parallelism when checkpoints are scored.
    """

    nodes: Count
    gpus_per_node: Count
    gpu_memory_gib: Count
    shard: Count
    tensor_parallel: Count
    offload: bool
    rollout_memory_share: Share
    scoring_parallel: Count


class GgufPackage(Frozen):
    """A package of the Python registry that carries a model's weights as one GGUF file.

    `sha256` is that file's, and checked where it is given.
    """

    name: str
    version: str
    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class HubModel(Frozen):
    """A published model: a hub id, or the path of a local Hugging Face folder.

    `revision` is a commit, branch or tag; without one the newest commit is taken, recorded in
    models.lock.json and kept to from then on. `package` is where the weights come from when the
    hub does not answer. `prompt` says how a problem is put to the model in training and scoring:
    by the tokenizer's own chat template, or as the bare text. `stop_tokens` end a response beside
    the model's own end token.
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
