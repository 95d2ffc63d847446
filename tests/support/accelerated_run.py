"""Runs of acceleration's arms with levels and costs that a test sets; for tests only."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlvr_dynamics.config import load

QUESTIONS = 1_000
BENCHMARKS = {"sums": "in_domain", "chains": "out_of_domain"}
STEPS, PROMPTS, GROUP = 60, 8, 8
STEP_SECONDS = 2.0
TIMERS = {"gen": 1.0, "old_log_prob": 0.2, "update_actor": 0.4, "save_checkpoint": 0.1}
TIMERS |= {"update_weights": 0.05, "step": STEP_SECONDS}


def acceleration(*overrides: str) -> dict[str, Any]:
    """The section of a run's configuration that overrides compose; empty for plain steps."""
    found = load(["+exp=demo", *overrides]).model_dump(mode="json")["acceleration"]
    return found or {}


def jump(step: int, **changes: Any) -> dict[str, Any]:
    """A record of a tried jump, rejected after one candidate answered 40 problems 4 times."""
    return {
        "step": step,
        "accepted": False,
        "factor": None,
        "tried": [{"factor": 2.0, "gain": -0.1, "lower": -0.2, "accepted": False}],
        "rollouts": 320,
        "tokens": 3200,
        "seconds": {"search": 0.3, "validate": 3.0, "sync": 0.5, "sketch": 0.1, "total": 4.0},
    } | changes


def write_arm(
    folder: Path,
    accuracies: Mapping[int, float],
    *,
    rate: float = 1e-5,
    seed: int = 1,
    arm: Sequence[str] = (),
    passes: int = 1,
    jumps: Sequence[Mapping[str, Any]] = (),
    validation: float | None = None,
    start_seconds: float = 0.0,
) -> Path:
    """Write a run directory and return it.

    Args:
        folder: Where to write it; its name is the run's.
        accuracies: Accuracy by step, 0 for the base.
        rate: Learning rate.
        seed: Seed of the training.
        arm: Overrides of `acceleration`.
        passes: Through the answers of a step.
        jumps: Records.
        validation: Accuracy of verl's validation at steps 20, 40 and 60.
        start_seconds: What the first step takes longer.
    """
    _write_scores(folder / "scores", accuracies)
    trainer = {"steps": STEPS, "prompts_per_step": PROMPTS, "mini_batch_prompts": PROMPTS}
    config = {
        "seed": seed,
        "base_seed": 0,
        "model": {"name": "tiny", "kind": "tiny"},
        "data": {"kind": "arithmetic"},
        "algorithm": {"name": "grpo", "learning_rate": rate, "group_size": GROUP},
        "trainer": trainer | {"passes": passes},
        "acceleration": acceleration(*arm) or None,
        "report": {"bootstrap_draws": 200},
    }
    (folder / "config.json").write_text(json.dumps(config))
    rows = [
        {"step": step, "rollouts/answers": PROMPTS * GROUP, "response_length/mean": 10.0}
        | {f"timing_s/{name}": seconds for name, seconds in TIMERS.items()}
        for step in range(1, STEPS + 1)
    ]
    rows[0]["timing_s/gen"] += start_seconds
    rows[0]["timing_s/step"] += start_seconds
    if validation is not None:
        for step in (20, 40, 60):
            rows[step - 1] |= {"validation/acc_exact": validation, "validation/answers": 256}
            rows[step - 1] |= {"timing_s/testing": 4.0}
    for record in jumps:
        rows[record["step"] - 1]["timing_s/step"] += record["seconds"]["total"]
    train = folder / "train"
    (train / "acceleration").mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(train / "metrics.parquet")
    for record in jumps:
        path = train / "acceleration" / f"step_{record['step']}.json"
        path.write_text(json.dumps(record))
    return folder


def _write_scores(folder: Path, accuracies: Mapping[int, float]) -> None:
    """Of every model the first questions are right, so that all runs answer the same ones."""
    names = [f"q{place:04d}" for place in range(QUESTIONS)]
    rows = []
    for step, value in accuracies.items():
        model = f"step_{step}" if step else "base"
        right = (np.arange(QUESTIONS) < round(QUESTIONS * value)).astype(float)
        answers = {"question_id": names, "protocol": "sampled", "sample": 0, "score": right}
        for benchmark, split in BENCHMARKS.items():
            place = folder / "samples" / model / f"{benchmark}.parquet"
            place.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(answers).to_parquet(place)
            row = {"model": model, "method": "real" if step else "base", "observe": np.nan}
            row |= {"step": step, "benchmark": benchmark, "split": split, "protocol": "sampled"}
            row |= {"accuracy": right.mean(), "pass_at_n": value + 0.05, "samples": 4}
            rows.append(row | {"questions": QUESTIONS})
    pd.DataFrame(rows).to_parquet(folder / "scores.parquet")


def line(slope: float, base: float = 0.2, every: int = 5) -> dict[int, float]:
    """Accuracies that rise by `slope` a step, to 0.9 at most."""
    return {step: min(0.9, base + slope * step) for step in range(0, STEPS + 1, every)}
