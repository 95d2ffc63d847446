"""The inputs of scoring as frozen dataclasses: models, protocols, engine settings."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rlvr_dynamics.checkpoints.file_hashes import FileHashes
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.statistics.sample_size import samples_needed

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,199}", re.ASCII)
DEVICES = ("cpu", "cuda")
SEEDINGS = ("request", "batch")


@dataclass(frozen=True)
class Mixed:
    """The other checkpoint of a model whose answers come from two.

    Attributes:
        earlier: Its folder.
        alpha: α of l = l_0 + α (l_1 - l_0), with the earlier checkpoint's logits l_0.
    """

    earlier: Path
    alpha: float


@dataclass(frozen=True)
class ScoredModel:
    """A model to be scored.

    Attributes:
        id: Name of the model in the tables; also a folder name.
        folder: Hugging Face folder (safetensors, config, tokenizer).
        identity: Hash of the weights.
        hashes: Hashes of every weight file, verified before loading; empty to skip the check.
        whole: Whether it gives all of a protocol's `samples`, or as few as its `half_width` allows.
        mixed: The earlier checkpoint of extrapolated logits; `identity` covers both.
    """

    id: str
    folder: Path
    identity: str
    hashes: Mapping[str, FileHashes] = field(default_factory=dict)
    whole: bool = True
    mixed: Mixed | None = None


@dataclass(frozen=True)
class Protocol:
    """How answers are drawn.

    Attributes:
        name: Name in the tables, for example ``greedy``. Protocols for different splits may share
            a name if all are greedy or all are sampled.
        temperature: 0 takes the most likely token; then `samples` must be 1.
        top_p: Probability mass that is kept, in (0, 1].
        samples: Answers per question.
        max_tokens: Longest answer in tokens; shorter where the model's context ends first.
        splits: Benchmark splits that this protocol covers; None for all. Answers do not depend
            on it.
        half_width: For models that need not give all `samples`: see `sized`. None asks all alike.
    """

    name: str
    temperature: float
    top_p: float
    samples: int
    max_tokens: int
    splits: tuple[str, ...] | None = None
    half_width: float | None = None

    def sized(self, questions: int, whole: bool) -> "Protocol":
        """Return the protocol with the samples that one model gives on one benchmark.

        Args:
            questions: Of the benchmark.
            whole: Whether the model gives all `samples`. If not, it gives as few as suffice for
                `half_width` in a comparison with one that does (`statistics.sample_size`).
        """
        samples = self.samples
        if self.half_width is not None and not whole:
            samples = samples_needed(questions, samples, self.half_width)
        return replace(self, samples=samples, half_width=None)

    def covers(self, split: str) -> bool:
        """Whether benchmarks of a split are answered under this protocol."""
        return self.splits is None or split in self.splits

    def clashes(self, other: "Protocol") -> bool:
        """Whether two protocols of the same name are ambiguous or cannot share a batch."""
        if self.splits is None or other.splits is None or {*self.splits} & {*other.splits}:
            return True
        return (self.temperature == 0) != (other.temperature == 0)

    def __post_init__(self) -> None:
        """Reject values that no engine supports."""
        problem = None
        if self.temperature < 0:
            problem = "temperature must be 0 or more"
        elif not 0 < self.top_p <= 1:
            problem = "top_p must lie in (0, 1]"
        elif self.samples < 1 or self.max_tokens < 1:
            problem = "samples and max_tokens must be at least 1"
        elif self.temperature == 0 and self.samples > 1:
            problem = "temperature 0 gives the same answer every time, so samples must be 1"
        if problem:
            raise UserError(problem, where=f"protocol {self.name}: {self}")


@dataclass(frozen=True)
class EngineSettings:
    """Where and how vLLM runs, and how it is prompted. Speed settings do not change prompts.

    Attributes:
        device: ``cpu`` or ``cuda``.
        dtype: Precision of the weights in the engine, for example ``float32``.
        max_model_len: Longest prompt and answer together, in tokens.
        max_num_seqs: Answers generated at once.
        memory_share: Share of a GPU's memory that the engine uses.
        kv_cache_gib: Key-value cache of one engine on the CPU, whole GiB.
        tensor_parallel: GPUs per engine.
        engines: Engine processes side by side, each on GPUs of its own.
        threads: Threads per engine on the CPU.
        seeding: One seed for each ``request``, or for each ``batch`` (see `seeding`).
        reload: Reload weights in place once that is proved correct; else one process per model.
        stall_seconds: Seconds without an event after which an engine counts as hung.
        template: Prompt form (see `prompts`).
        system_prompt: System message before the question; None for the template's own.
        thinking: Passed to the model's chat template as ``enable_thinking``; None passes nothing.
        memory_wait_seconds: How long to wait for GPU memory to be freed before an engine starts.
    """

    device: str
    dtype: str
    max_model_len: int
    max_num_seqs: int = 256
    memory_share: float = 0.9
    kv_cache_gib: int = 1
    tensor_parallel: int = 1
    engines: int = 1
    threads: int = 1
    seeding: str = "request"
    reload: bool = True
    stall_seconds: float = 1800.0
    template: str = "model"
    system_prompt: str | None = None
    thinking: bool | None = None
    memory_wait_seconds: float = 120.0

    def __post_init__(self) -> None:
        """Reject an unknown device or seeding."""
        for kind, given, known in (
            ("device", self.device, DEVICES),
            ("seeding", self.seeding, SEEDINGS),
        ):
            if given not in known:
                raise UserError(f"unknown {kind} {given!r}", way_out=f"one of {', '.join(known)}")


def check_names(kind: str, names: Iterable[str]) -> None:
    """Check that names are unique and usable as file names.

    Raises:
        UserError: A name is repeated, or is or contains a path.
    """
    seen: set[str] = set()
    for name in names:
        if not _NAME.fullmatch(name):
            raise UserError(
                f"{kind} name {name[:80]!r} cannot be a file name",
                way_out="letters, digits, '_', '-' and '.', not starting with '.'",
            )
        if name in seen:
            raise UserError(f"{kind} name {name!r} is given twice")
        seen.add(name)
