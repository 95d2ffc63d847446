"""Sizes of the measurements: the full run, and a tiny one that only shows that they work."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perf.models import SIZES, Files, write_files


@dataclass(frozen=True)
class Settings:
    """Sizes of all parts.

    Attributes:
        work: Folder for the synthetic files; removed at the end.
        seed: Seed of all draws.
        repeats: Runs per side, of which the median is reported.
        keep: Keep the files for the next run.
        written: Number of steps with distinct bytes, per model size.
        trajectory_size: Model size of the comparison with the two scripts.
        trajectory_steps: Observed steps in that comparison.
        paces: Factors of the updates with which the comparison is repeated on one thread.
        scaling_steps: Numbers of observed steps of the scaling part.
        cell_limit_seconds: Cells of the scaling part that would take longer are left out.
        matrix: Shape (m, n) of the decomposed updates.
        ranks: Numbers of singular triples to compute.
        gpu_matrices: Shapes of the updates on the GPU.
        gpu_steps: Steps of the Gram matrix on the GPU.
        dgemm: Order of the matrices for the machine's float64 rate.
        answers: Number of answers to grade.
        run: A finished run of the demo whose checkpoints are scored.
    """

    work: Path
    seed: int
    repeats: int
    keep: bool
    written: dict[str, int]
    trajectory_size: str
    trajectory_steps: int
    paces: tuple[float, ...]
    scaling_steps: tuple[int, ...]
    cell_limit_seconds: float
    matrix: tuple[int, int]
    ranks: tuple[int, ...]
    gpu_matrices: dict[str, tuple[int, int]]
    gpu_steps: int
    dgemm: int
    answers: int
    run: Path | None = None

    def described(self) -> dict[str, Any]:
        """Return all sizes, the models' widths and the dtype, for the record of a run."""
        sizes = {
            key: value for key, value in asdict(self).items() if key not in ("work", "keep", "run")
        }
        widths = {size: asdict(SIZES[size]) for size in self.written}
        return {**sizes, "widths": widths, "dtype": "bfloat16"}

    def files(self, size: str, pace: float = 1.0) -> Files:
        """Write the synthetic run of one size, or reuse it."""
        folder = size if pace == 1.0 else f"{size}_{pace:g}"
        return write_files(self.work / folder, size, self.written[size], self.seed, pace)


def full(work: Path, seed: int, repeats: int, keep: bool) -> Settings:
    """Return the sizes behind the reported numbers."""
    return Settings(
        work=work,
        seed=seed,
        repeats=repeats,
        keep=keep,
        written={"10M": 75, "100M": 20},
        trajectory_size="100M",
        trajectory_steps=20,
        paces=(0.125, 0.5),
        scaling_steps=(20, 75, 300),
        cell_limit_seconds=300.0,
        matrix=(1024, 4096),
        ranks=(1, 8),
        gpu_matrices={
            "q_proj": (3584, 3584),
            "k_proj": (512, 3584),
            "gate_proj": (18944, 3584),
            "down_proj": (3584, 18944),
        },
        gpu_steps=20,
        dgemm=1536,
        answers=10_000,
    )


def quick(work: Path, seed: int, repeats: int, keep: bool) -> Settings:
    """Return sizes that only show that every part works."""
    return Settings(
        work=work,
        seed=seed,
        repeats=min(repeats, 1),
        keep=keep,
        written={"100K": 4},
        trajectory_size="100K",
        trajectory_steps=4,
        paces=(0.5,),
        scaling_steps=(3, 6),
        cell_limit_seconds=300.0,
        matrix=(48, 160),
        ranks=(1, 4),
        gpu_matrices={"q_proj": (96, 96), "gate_proj": (256, 96)},
        gpu_steps=4,
        dgemm=256,
        answers=500,
    )
