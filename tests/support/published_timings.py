"""Published training steps next to their estimates, from the lengths that the sources print."""

from dataclasses import dataclass

from rlvr_dynamics import config
from rlvr_dynamics.estimates.decoding import H100, Card, token_bytes
from rlvr_dynamics.estimates.hours import FAST, SLOW, Work
from rlvr_dynamics.estimates.lengths import PROMPT_TOKENS, TAIL, Length
from rlvr_dynamics.estimates.ranges import Range
from rlvr_dynamics.estimates.shapes import GIB, shape_of

A800 = Card("A800", 312e12, 2.039e12)
ROLLOUT_GIB = 46  # of 80, 0.6 of the card less 2 for the engine: none of the sources prints it
SEQUENCES = 1024  # vLLM's usual limit; none of the sources prints another


@dataclass(frozen=True)
class Published:
    """A run with known lengths, and the seconds of its steps.

    Attributes:
        what: Name in the table.
        model: The model in configs/model with these shapes, or nearly: Qwen2.5 32B for Qwen3 32B,
            and Qwen2.5-Math 1.5B, whose head is tied, for R1-Distill 1.5B.
        card: Kind of GPU.
        gpus: Number of GPUs.
        engine_gpus: GPUs of one engine.
        samples: Samples per step.
        updates: Updates per step.
        reference: Whether there is a KL term.
        low: Shortest mean response that is printed, tokens.
        high: Longest one.
        limit: Longest response allowed.
        seconds: Printed seconds of a step, or days / steps.
        source: Where.
    """

    what: str
    model: str
    card: Card
    gpus: int
    engine_gpus: int
    samples: int
    updates: int
    reference: bool
    low: int
    high: int
    limit: int
    seconds: float
    source: str

    def estimate(self) -> Range:
        """Seconds of a step."""
        shape = shape_of(config.load([f"model={self.model}", "data=math"]).model)
        weights = 2 * shape.parameters
        room = ROLLOUT_GIB * GIB * self.engine_gpus - weights
        work = Work(
            shape=shape,
            critic=0,
            card=self.card,
            gpus=self.gpus,
            shard=self.gpus,
            engine_gpus=self.engine_gpus,
            sequences=SEQUENCES,
            cache_tokens=room / token_bytes(shape),
            samples=self.samples,
            filtered=False,
            training_passes=1,
            updates=self.updates,
            critic_updates=0,
            update_bytes=28,
            reference=self.reference,
            prompt=PROMPT_TOKENS,
            saved_bytes=0,
            validated=0,
            validations=0,
        )
        quick = Length(self.low, min(TAIL * self.low, self.limit))
        return Range(
            work.step(quick, FAST).total, work.step(Length(self.high, self.limit), SLOW).total
        )

    def verdict(self) -> str:
        """Whether the printed time lies in the range, or by how much it misses."""
        made = self.estimate()
        if self.seconds > made.high:
            return f"{self.seconds / made.high:.1f} times the slow end"
        if self.seconds < made.low:
            return f"{self.seconds / made.low:.1f} times the fast end"
        return "inside"


# Its mean sequences, 1,019 and 3,251 of at most 4,096 tokens, less the prompt.
NEMO = "NeMo RL's performance summary, 0.5"
JUSTRL = "JustRL, arXiv 2512.16649"
GENERAL = "General-Reasoner, arXiv 2505.14652"
DAY = 86400
RUNS = (
    Published(
        "Llama 3.1 8B", "llama3_1_8b", H100, 16, 1, 2048, 4, True, 849, 849, 3926, 92.8, NEMO
    ),
    Published("Qwen3 32B", "qwen2_5_32b", H100, 32, 4, 2048, 4, True, 3081, 3081, 3926, 376, NEMO),
    Published(
        "R1-Distill 1.5B",
        "qwen2_5_math_1_5b",
        A800,
        32,
        1,
        2048,
        4,
        False,
        4000,
        5000,
        15360,
        15 * DAY / 4380,
        JUSTRL,
    ),
    Published(
        "Qwen3 4B", "qwen3_4b", H100, 32, 1, 8192, 4, True, 700, 1000, 4096, 2 * DAY / 400, GENERAL
    ),
    Published(
        "Qwen3 14B",
        "qwen3_14b",
        H100,
        32,
        1,
        8192,
        4,
        True,
        700,
        1000,
        4096,
        4 * DAY / 400,
        GENERAL,
    ),
)


def lines() -> list[str]:
    """The rows of the table in docs/performance.md."""
    found = []
    for run in RUNS:
        made = run.estimate()
        tokens = f"{run.low:,}" if run.low == run.high else f"{run.low:,} to {run.high:,}"
        found.append(
            f"| {run.what}, {run.gpus} {run.card.name} | {run.samples:,} x {tokens} | "
            f"{run.seconds:.0f} s | {made.low:.0f} to {made.high:.0f} s | {run.verdict()} | "
            f"{run.source} |"
        )
    return found


if __name__ == "__main__":
    print("\n".join(lines()))
