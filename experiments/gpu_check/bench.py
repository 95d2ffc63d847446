"""Where the check runs, and the arguments of the product's commands that follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rlvr_dynamics.schema import Architecture
from rlvr_dynamics.schema.overrides import key_of


@dataclass(frozen=True)
class Bench:
    """The folder of the check and the device it works on.

    Attributes:
        out: The folder; every step has its own below it.
        device: `cuda`, or `cpu` in the rehearsal.
        gpus: GPUs that train together; 0 on the CPU.
        memory_gib: Memory of one GPU in whole GiB; 0 on the CPU.
    """

    out: str
    device: str
    gpus: int
    memory_gib: int

    @property
    def rehearses(self) -> bool:
        """Whether this is the rehearsal on the CPU, with tiny shapes."""
        return self.device == "cpu"

    def folder(self, step: str) -> Path:
        """Return the folder of a step: its runs, its log and its result."""
        return Path(self.out) / step


@dataclass(frozen=True)
class Command:
    """One call of `python -m rlvr_dynamics.run`, in a run directory below the check's folder."""

    folder: Path
    overrides: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        """The words after `python -m rlvr_dynamics.run`; of a key given twice the last counts."""
        given = {key_of(override): override for override in self.overrides}
        return [*given.values(), f"run_dir={self.folder}"]


Commands = Mapping[str, Command]

# Small tables, and a base that is right some of the time after half a minute of pretraining.
_TASK = (
    "data.train_problems=256",
    "data.test_problems=32",
    "data.ood_problems=16",
    "data.validation_problems=16",
)
_BASE = ("model.steps_clean=260", "model.steps_noisy=10", "model.careful=0.6")
# Smaller than the demo's; vLLM's attention on a CPU wants heads of at least 32.
_SMALL = ("model.hidden=64", "model.layers=2", "model.heads=2", "model.kv_heads=1")


def tiny(bench: Bench) -> tuple[str, ...]:
    """Return the base of the demo, pretrained for a moment, and its task."""
    return ("+exp=demo", *_TASK, *_BASE, *(_SMALL if bench.rehearses else ()), *hardware(bench))


def random_model(
    bench: Bench, shape: Architecture, name: str, layers: int | None = None
) -> tuple[str, ...]:
    """Return a random base in the shapes of a published model, with the demo's tokenizer and task.

    The rehearsal keeps only that its embedding has more rows than the tokenizer has tokens.

    Args:
        bench: Where it trains.
        shape: The published model's; its heads must divide its hidden size.
        name: Name of the random model.
        layers: Decoder layers, where the card has no room for all.
    """
    own = ("+exp=demo", "model=tiny_qwen2", *_TASK, f"model.name={name}", *hardware(bench))
    zero = ("model.steps_clean=0", "model.steps_noisy=0")
    if bench.rehearses:
        return (*own, *zero, *_SMALL, "model.vocabulary=128")
    sizes = {
        "family": shape.family,
        "tied": str(shape.tied).lower(),
        "hidden": shape.hidden,
        "layers": layers or shape.layers,
        "heads": shape.heads,
        "kv_heads": shape.kv_heads,
        "intermediate": shape.intermediate,
        "vocabulary": shape.vocabulary,
        "context": shape.context,
    }
    return (*own, *zero, *(f"model.{key}={value}" for key, value in sizes.items()))


def hardware(bench: Bench) -> tuple[str, ...]:
    """Return where training, measuring and scoring run; on the CPU the demo's own settings."""
    if bench.rehearses:
        return ("measure.device=cpu",)
    return (
        "trainer.device=cuda",
        f"trainer.gpus_per_node={bench.gpus}",
        f"trainer.gpu_memory_gib={bench.memory_gib}",
        f"trainer.shard={bench.gpus}",
        "trainer.precision=bf16",
        "trainer.start_timeout_seconds=1200.0",
        "trainer.stall_timeout_seconds=600.0",
        "measure.device=cuda",
        "scoring.device=cuda",
        "scoring.dtype=bfloat16",
        "scoring.engines=1",
    )


def batch(bench: Bench, prompts: int, updates: int, group: int = 8) -> tuple[str, ...]:
    """Return prompts a step, divided into updates, with micro-batches that every device can fill.

    Args:
        bench: How many GPUs share a mini-batch.
        prompts: Prompts of a step; a multiple of `updates`, and each part of the number of GPUs.
        updates: Optimizer updates a step.
        group: Answers a prompt.
    """
    mini = prompts // updates
    micro = mini * group // 2 if bench.rehearses else mini * group // bench.gpus
    return (
        f"trainer.prompts_per_step={prompts}",
        f"trainer.mini_batch_prompts={mini}",
        f"trainer.micro_batch_samples={micro}",
        f"algorithm.group_size={group}",
    )
