"""How fast vLLM decodes: bound by the memory's bandwidth, then by the longest answer.

Legend: N parameters, p GPUs of one engine, B bytes per second and F operations per second of a GPU,
b answers decoded at once, c their mean tokens so far (prompt included), k bytes of keys and values
per token.
"""

from dataclasses import dataclass

from rlvr_dynamics.estimates.lengths import Length
from rlvr_dynamics.schema import Architecture

WIDTH = 2  # bytes of a weight, a key or a value: engines on GPUs hold bfloat16
# Seconds of a decoding step besides reading memory. DLER (arXiv 2510.15110, section 4.4 and table
# 1) prints 93.43 s for an answer of a 7B (13,241 tokens on average) and 58.99 s for one of a 1.5B
# (16,916) in vLLM on one H100: 7.1 and 3.5 ms a token, of which reading the weights takes 4.5 and
# 1.1 ms.
STEP_SECONDS = 0.0025


@dataclass(frozen=True)
class Card:
    """A GPU's peak rates (manufacturer's data sheets).

    Attributes:
        name: What it is called.
        flops: bfloat16 operations per second, dense.
        bandwidth: Bytes of its memory per second.
    """

    name: str
    flops: float
    bandwidth: float


H100 = Card("H100", 989e12, 3.35e12)
H200 = Card("H200", 989e12, 4.8e12)
LARGE_GIB = 100  # of these only the H100 and the H800 (the same rates) have less


def card_of(gpu_memory_gib: int) -> Card:
    """Return the GPU that a configuration stands for, told by its memory."""
    return H200 if gpu_memory_gib > LARGE_GIB else H100


def token_bytes(shape: Architecture) -> int:
    """k, the bytes of a token's keys and values in all layers."""
    return 2 * WIDTH * shape.layers * shape.kv_heads * shape.head_dim


@dataclass(frozen=True)
class Engine:
    """One vLLM engine.

    Attributes:
        shape: Its model.
        gpus: GPUs that share the model, p.
        card: Their kind.
        sequences: Most answers decoded at once.
        cache_tokens: Tokens for which its cache has room.
        efficiency: Share of the computed speed that it reaches.
    """

    shape: Architecture
    gpus: int
    card: Card
    sequences: int
    cache_tokens: float
    efficiency: float = 1.0

    def step_seconds(self, answers: float, context: float) -> float:
        """Seconds in which every one of `answers` gets one token.

        The overhead, the weights (2 N / p B; with many answers their operations, 2 N b / p F, take
        longer) and the cache (b c k / p B).
        """
        parameters = self.shape.parameters
        weights = max(
            WIDTH * parameters / self.card.bandwidth, 2 * parameters * answers / self.card.flops
        )
        cache = answers * context * token_bytes(self.shape) / self.card.bandwidth
        return (STEP_SECONDS + (weights + cache) / self.gpus) / self.efficiency

    def at_once(self, answers: float, prompt: float, length: Length) -> float:
        """Answers decoded together: all, or as many as are allowed or fit into the cache."""
        fitting = self.cache_tokens / (prompt + length.mean)
        return max(1.0, min(answers, self.sequences, fitting))

    def seconds(self, answers: float, prompt: float, length: Length) -> float:
        """Seconds for a batch: all tokens at full speed, then what the longest answer lacks alone.

        With n answers of mean length l and longest m, b at once: n l / b steps of b answers with
        half of their tokens on average, then m - l steps of one answer.

        Args:
            answers: n.
            prompt: Tokens of a prompt; reading it is left out.
            length: Mean and longest answer, tokens.
        """
        together = self.at_once(answers, prompt, length)
        body = self.step_seconds(together, prompt + length.mean / 2)
        tail = self.step_seconds(1, prompt + length.longest)
        steps = answers * length.mean / together
        return steps * body + (length.longest - length.mean) * tail
