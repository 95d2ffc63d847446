"""Score many checkpoints of the demo's model, against one engine start plus pure generation."""

import json
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from perf.models import SIZES
from perf.report import NAN, Part, Row
from perf.settings import Settings
from rlvr_dynamics.config import load
from rlvr_dynamics.flow.score import engine_settings
from rlvr_dynamics.schema import TrainingData
from rlvr_dynamics.scoring.generation import (
    PROOF_FILE,
    TIMES_FILE,
    ScoredModel,
    score_models,
)
from rlvr_dynamics.scoring.sizes import protocols_of

CHECKPOINTS = 10
QUICK_CHECKPOINTS, QUICK_QUESTIONS = 3, 16
SMALL = 1_000_000  # elements; smaller models only show that the measurement works
NOISE = 1e-3
IDEAL = "start of one engine + generation, one engine after the other"
BUSIEST = "start + generation of the busiest engine"


def measure(settings: Settings, say: Callable[[str], None]) -> Part:
    """Score the checkpoints once and compare the total time with its unavoidable parts.

    Args:
        settings: Sizes (small models imply few checkpoints and questions), and a finished run of
            the demo; without one, random weights of its architecture are used.
        say: Called with what is happening.
    """
    run = settings.run
    small = SIZES[settings.trajectory_size].parameters < SMALL
    folder = settings.work / "scoring"
    shutil.rmtree(folder, ignore_errors=True)
    config = load([])
    count = QUICK_CHECKPOINTS if small else CHECKPOINTS
    if run is None:
        say(f"drawing {count} checkpoints of {config.model.name}")
        folders = _random_checkpoints(folder, count, settings.seed)
        benchmarks = _benchmarks(folder, small)
    else:
        folders = _spread(run / "train" / "checkpoints", count)
        benchmarks = {f.stem: f for f in sorted((run / "prepare" / "benchmarks").glob("*.parquet"))}
    models = [
        ScoredModel(f"step_{i + 1}", path, f"checkpoint {path.name}")
        for i, path in enumerate(folders)
    ]
    protocols = protocols_of(config)
    engine = engine_settings(config)
    out = folder / "scores" / "samples"
    say(f"scoring {len(models)} checkpoints on {len(benchmarks)} benchmarks")
    start = time.perf_counter()
    work = score_models(models, benchmarks, protocols, engine, out, settings.seed)
    wall = time.perf_counter() - start
    times = json.loads((out.parent / TIMES_FILE).read_text())["engines"]
    proof = json.loads((out.parent / PROOF_FILE).read_text())
    if not settings.keep:
        shutil.rmtree(folder, ignore_errors=True)
    tokens = sum(one["tokens"] for one in times)
    facts = {
        "checkpoints": len(models),
        "benchmarks": len(benchmarks),
        "answers": work.generated,
        "tokens": tokens,
        "weights": "random" if run is None else "of a run",
        "engines": times,
        "reload": proof["mode"],
        "wall_seconds": wall,
    }
    return Part(
        title=f"Scoring: {len(models)} checkpoints of the demo's model, {len(benchmarks)} "
        f"benchmarks, {work.generated} answers of {tokens / max(work.generated, 1):.0f} tokens",
        rows=_rows(wall, times),
        notes=[
            "Time is the call of `score_models`: planning, engines, the proof that a reload in "
            "place is right, generation, grading, publishing. Generation is the sum of the calls "
            "of vLLM's generate over all checkpoints.",
            f"{len(times)} engine processes side by side, one thread each, weights: "
            f"{facts['weights']}, got in by: {facts['reload']}. An engine's start is from its "
            "process to its first loaded model, while the other one starts too.",
            "The first reference adds up what the engines did side by side; against the second, "
            "nothing is hidden by working in parallel.",
        ],
        details=facts,
    )


def _rows(wall: float, times: Sequence[dict[str, Any]]) -> list[Row]:
    loaded = statistics.mean(one["loaded"] for one in times)
    generating = sum(one["generating"] for one in times)
    busiest = max(one["loaded"] + one["generating"] for one in times)
    ready = [one["ready"] - one["loaded"] for one in times if one["ready"] is not None]
    prepared = statistics.mean(ready) if ready else NAN
    return [
        Row("time, all in all", "s", wall, loaded + generating, IDEAL),
        Row("time, all in all", "s", wall, busiest, BUSIEST),
        Row("above the first reference", "share", wall / (loaded + generating) - 1),
        Row("above the second reference", "share", wall / busiest - 1),
        Row("start of one engine", "s", loaded),
        Row("proof of the reload, per engine", "s", prepared),
        Row("generation, all engines", "s", generating),
        Row("tokens per second of generation", "1/s", sum(o["tokens"] for o in times) / generating),
    ]


def _random_checkpoints(folder: Path, count: int, seed: int) -> list[Path]:
    """Write random weights of the demo's architecture, each set slightly off the previous one."""
    import torch

    from rlvr_dynamics.training.tiny_base import build_model, build_tokenizer

    config, tokenizer = load([]), build_tokenizer()
    if config.model.kind != "tiny":
        raise ValueError("the demo's model is not generated here")
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = build_model(config.model, tokenizer)
    folders = []
    for step in range(1, count + 1):
        with torch.no_grad():
            for tensor in model.parameters():
                tensor.add_(NOISE * torch.randn(tensor.shape, generator=generator))
        folders.append(folder / "checkpoints" / f"step_{step}")
        model.save_pretrained(folders[-1])
        tokenizer.save_pretrained(folders[-1])
    return folders


def _benchmarks(folder: Path, small: bool) -> dict[str, Path]:
    from rlvr_dynamics.training.arithmetic import ArithmeticTask

    config = load([])
    values = config.data.model_dump(exclude={"kind", *TrainingData.model_fields})
    if small:
        values |= {"train_problems": 1, "validation_problems": 1}
        values |= {"test_problems": QUICK_QUESTIONS, "ood_problems": QUICK_QUESTIONS}
    ArithmeticTask(seed=config.seed, **values).write(folder / "task")
    return {file.stem: file for file in sorted((folder / "task" / "benchmarks").glob("*.parquet"))}


def _spread(checkpoints: Path, count: int) -> list[Path]:
    """Return evenly spaced steps of a run, including the last."""
    found = sorted(checkpoints.glob("step_*"), key=lambda path: int(path.name[5:]))
    if len(found) < count:
        raise ValueError(f"{checkpoints} has {len(found)} checkpoints, {count} are needed")
    return [found[(i + 1) * len(found) // count - 1] for i in range(count)]
