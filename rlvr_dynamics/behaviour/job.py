"""The job description: models, questions, prompt form and maximum answer length."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rlvr_dynamics.scoring.jobs import EngineSettings

if TYPE_CHECKING:
    from rlvr_dynamics.measurement import OptimizerRecord

BASE, TRAINED, RANK1, RANDOM = "base", "trained", "rank1_recovery", "random_update"
ROLES = (BASE, TRAINED, RANK1, RANDOM)
GUIDE_TOKENS = (0, 1, 2, 5, 10, 20)
DRAWS = 2_000
BATCH = 64


@dataclass(frozen=True)
class Course:
    """Checkpoints of a training that read the same answers, and what is known of the way.

    Attributes:
        folders: Training step to Hugging Face folder, the base excluded.
        path: Training step to the length of the whole model's path from the base, Σ ‖W_i - W_i-1‖
            over the steps up to it; empty where it is unknown.
        optimizer: What made the steps; None leaves its null out.
    """

    folders: Mapping[int, Path] = field(default_factory=dict)
    path: Mapping[int, float] = field(default_factory=dict)
    optimizer: "OptimizerRecord | None" = None

    @property
    def steps(self) -> list[int]:
        """The checkpoints' steps, ascending; the base is 0 and not among them."""
        return sorted(self.folders)


@dataclass(frozen=True)
class Job:
    """One base, the models derived from it, and the questions they answer.

    Attributes:
        models: Role (`ROLES`) to Hugging Face folder; `base` and `trained` at least.
        questions: Benchmark file (`rlvr_dynamics.scoring.samples.read_benchmark`).
        out: Folder of the tables.
        dtype: Precision in which the models run; None for the base's stored dtype.
        device: ``auto`` uses a GPU if there is one.
        template: Prompt form (`rlvr_dynamics.scoring.prompts`).
        system_prompt: System message before the question; None for the template's own.
        thinking: Passed to the chat template as ``enable_thinking``; None passes nothing.
        max_new_tokens: Maximum answer length in tokens.
        context: Maximum length of prompt and answer together, in tokens; None for the model's own.
        limit: Number of questions, from the first; None for all. AlphaRL's code uses 10 of
            MATH-500.
        guide_tokens: Lengths k of the prefixes; None for 0, 1, 2, 5, 10, 20, 40, ... below the
            length of the trained model's longest answer.
        batch: Answers generated at once.
        seed: Seed of the bootstrap and of the draw of unused tokens; greedy answers need none.
        draws: Bootstrap draws.
        course: Checkpoints between base and trained model that read the answers of both; without
            any, the tables about function space are left out.
    """

    models: dict[str, Path]
    questions: Path
    out: Path
    dtype: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    template: str = "model"
    system_prompt: str | None = None
    thinking: bool | None = None
    max_new_tokens: int = 1024
    context: int | None = None
    limit: int | None = None
    guide_tokens: tuple[int, ...] | None = None
    batch: int = BATCH
    seed: int = 0
    draws: int = DRAWS
    course: Course = Course()

    def put(self) -> EngineSettings:
        """The prompt form as scoring's settings; the engine settings in it are not used."""
        return EngineSettings(
            device="cpu",
            dtype=self.dtype or "float32",
            max_model_len=self.context or 0,
            template=self.template,
            system_prompt=self.system_prompt,
            thinking=self.thinking,
        )


def prefix_lengths(wanted: tuple[int, ...] | None, longest: int) -> list[int]:
    """Return the prefix lengths in tokens that are below the length of the longest answer.

    Args:
        wanted: The requested lengths; None continues `GUIDE_TOKENS` by doubling.
        longest: Length of the trained model's longest answer in tokens.
    """
    lengths = list(GUIDE_TOKENS if wanted is None else wanted)
    while wanted is None and lengths[-1] * 2 < longest:
        lengths.append(lengths[-1] * 2)
    return [length for length in lengths if length == 0 or length < longest]
