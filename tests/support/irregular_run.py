"""A finished run with distinct accuracies and irregular steps; for tests only."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from tests.support.irregular_weights import FINAL, STEPS, WINDOWS, drawn, write_weights

SAMPLES = 3
ANSWERS = ("question_id", "protocol", "sample", "score")
BENCHMARKS = {  # split, title, questions
    "sums": ("in_domain", "Sums", 180),
    "chains": ("out_of_domain", "Chains", 50),
    "products": ("out_of_domain", "Products", 70),
}
FAR = (250, 320)
VARIANTS = (
    *("relex_raw", "relex_rank5", "relex_rank10", "relex_polynomial", "relex_sinusoid", "neural"),
    *("weight_extrapolation", "expo", "alpharl", "first_update", "momentum"),
    *("relex_path", "weight_extrapolation_path"),
)
RECONSTRUCTED = (
    *("rank1_recovery", "random_update", "trajectory_oracle", "recovery_1_percent"),
    *("recovery_10_percent", "recovery_90_percent", "subspace_2", "subspace_3", "subspace_5"),
    *("rank1_scaled_0_4", "rank1_scaled_0_7"),
    *(f"rank1_r2_window_{place}" for place in range(1, 8)),
)
# Accuracy rises and falls over training, so that the last checkpoint is not the best.
REAL = dict(zip(STEPS, (0.37, 0.52, 0.46, 0.61, 0.57, 0.74, 0.66, 0.8, 0.71), strict=True))


def models() -> dict[str, float]:
    """Return every scored model with its probability of a right answer."""
    generator = np.random.default_rng(8)
    found = {"base": 0.33} | {f"step_{step}": chance for step, chance in REAL.items()}
    names = [f"{method}__step_{FINAL}" for method in RECONSTRUCTED]
    names += [f"{name}__step_{step}" for name in RECONSTRUCTED[:3] for step in (40, 110)]
    names += [f"relex__observe_{observe}__step_{FINAL}" for observe in WINDOWS]
    names += [f"relex__observe_{observe}__step_{far}" for observe in (30, 60) for far in FAR]
    for method in VARIANTS:
        names += [f"{method}__observe_{observe}__step_{FINAL}" for observe in WINDOWS]
    names += ["alpharl__observe_40__step_160"]
    # Readings of AlphaRL at 40 % of the training, and the rank-1 part that it starts from.
    names += [
        f"{name}__observe_80__step_{FINAL}" for name in ("alpharl_released", "alpharl_chosen")
    ]
    names += ["rank1_recovery__step_80"]
    chances = generator.uniform(0.4, 0.8, len(names))
    found |= dict(zip(names, chances, strict=True))
    # The best of the other directions is not the first of them.
    alone = {"subspace_2": 0.36, "subspace_3": 0.55, "subspace_5": 0.45, "random_update": 0.29}
    alone["borrowed_direction"] = 0.64
    return found | {f"{name}__step_{FINAL}": chance for name, chance in alone.items()}


def parse(model: str) -> tuple[str, float, int]:
    """Split a model id into method, last observed step (NaN for none) and step."""
    if model == "base":
        return "base", np.nan, 0
    if model.startswith("step_"):
        return "real", np.nan, int(model.removeprefix("step_"))
    method, *parts = model.split("__")
    found = {part.rpartition("_")[0]: int(part.rpartition("_")[2]) for part in parts}
    return method, found.get("observe", np.nan), found["step"]


def write_run(
    folder: Path,
    *,
    seed: int = 3,
    uneven: bool = False,
    future: tuple[str, ...] = ("rank1_recovery", "random_update"),
    **config: object,
) -> Path:
    """Write a finished run directory and return it.

    Args:
        folder: Where to write it.
        seed: Seed of all draws and of the run.
        uneven: Whether models lack some questions, each a different number.
        future: Methods that used the future.
        config: Changed keys of its configuration.
    """
    write_weights(folder, drawn(seed))
    write_scores(folder, models(), seed=seed, uneven=uneven)
    write_config(folder, seed=seed, **config)
    generator = np.random.default_rng([seed, 5])
    step = np.arange(1, FINAL + 1)
    reward = 0.2 + 0.5 * (step / FINAL) ** 2 + generator.normal(0, 0.03, FINAL)
    save(
        pd.DataFrame({"step": step, "critic/score/mean": reward}).sample(frac=1, random_state=2),
        folder / "train" / "metrics.parquet",
    )
    index = [
        {"method": method, "observe": observe, "step": FINAL, "uses_future": method in future}
        for method in (*VARIANTS, *RECONSTRUCTED, "relex")
        for observe in ((0,) if method in RECONSTRUCTED else WINDOWS)
    ]
    save(pd.DataFrame(index).assign(candidate_of=None), folder / "predictions" / "index.parquet")
    return folder


def write_config(folder: Path, *, seed: int, **config: object) -> None:
    """Write the run's configuration with parts replaced by `config`."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {
        "name": "irregular",
        "seed": seed,
        "model": {"name": "tiny"},
        "algorithm": {"name": "grpo", "learning_rate": 2e-5},
        "data": {"shuffle_answers": False},
    }
    (folder / "config.json").write_text(json.dumps({**plain, **config}))


def save(frame: pd.DataFrame, path: Path) -> None:
    """Write a table, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path, index=False)


def write_scores(
    folder: Path, chances: Mapping[str, float], *, seed: int, uneven: bool = False
) -> None:
    """Write every model's samples and scores; all models share the questions' difficulty."""
    rows = []
    for benchmark, (split, title, questions) in BENCHMARKS.items():
        generator = np.random.default_rng([seed, zlib.crc32(benchmark.encode())])
        hard = generator.random(questions)
        names = np.array([f"{benchmark}-{place:03d}" for place in range(questions)])
        for place, (model, chance) in enumerate(chances.items()):
            asked = questions - (place % 23 if uneven else 0)
            kept = np.sort(generator.permutation(questions)[:asked])
            here = chance if split == "in_domain" else 0.7 * chance
            samples: dict[str, list] = {name: [] for name in ANSWERS}
            for protocol, count, shift in (("sampled", SAMPLES, 0.0), ("greedy", 1, 0.04)):
                noise = generator.random((questions, count))
                right = (0.6 * hard[:, None] + 0.4 * noise < here + shift)[kept]
                given = right.astype(float).ravel()
                if uneven and count > 1:  # some scores are unknown
                    given[generator.random(right.size) < 0.02] = np.nan
                order = generator.permutation(right.size)  # rows in random order
                samples["question_id"].append(names[kept].repeat(count)[order])
                samples["protocol"].append(np.repeat(protocol, right.size))
                samples["sample"].append(np.tile(np.arange(count), asked)[order])
                samples["score"].append(given[order])
                rows.append(_scored(model, benchmark, title, split, protocol, right, generator))
            path = folder / "scores" / "samples" / model / f"{benchmark}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(
                pa.table({name: np.concatenate(parts) for name, parts in samples.items()}), path
            )
    save(pd.DataFrame(rows).sample(frac=1, random_state=4), folder / "scores" / "scores.parquet")


def _scored(model, benchmark, title, split, protocol, right, generator) -> dict:
    """Return a row of the table of scores, with arbitrary, distinct interval and counts."""
    method, observe, step = parse(model)
    accuracy, n = right.mean(), right.size
    several = right.shape[1] > 1
    cut, none = generator.integers(1, max(2, int(n - right.sum()) // 2 + 1), 2)
    return {
        **{"model": model, "method": method, "observe": observe, "step": step},
        **{"benchmark": benchmark, "title": title, "split": split, "protocol": protocol},
        **{"questions": right.shape[0], "samples": right.shape[1], "accuracy": accuracy},
        "ci_low": accuracy - generator.uniform(0.02, 0.05),
        "ci_high": accuracy + generator.uniform(0.03, 0.06),
        "pass_at_n": right.max(axis=1).mean() if several else np.nan,
        "majority": (right.mean(axis=1) > 0.5).mean() if several else np.nan,
        **{"correct": int(right.sum()), "truncated": int(cut), "no_answer": int(none)},
        "incorrect": int(n - right.sum() - cut - none),
        **{"limit": 0, "timeout": 0, "crash": 0, "dtype": "bfloat16", "seed": 3},
    }
