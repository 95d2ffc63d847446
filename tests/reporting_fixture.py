"""A synthetic finished run directory with small tables; for tests only."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

T = 20
WINDOWS = (3, 6)
BENCHMARKS = {
    "sums": ("in_domain", "Sums & differences", 80),
    "chains": ("out_of_domain", "Longer chains", 50),
    "large": ("out_of_domain", "Larger numbers_100%", 50),
    "products": ("out_of_domain", "Products", 50),
}
MODULES = {
    "q_proj": (16, 16),
    "k_proj": (8, 16),
    "v_proj": (8, 16),
    "o_proj": (16, 16),
    "gate_proj": (24, 16),
    "up_proj": (24, 16),
    "down_proj": (16, 24),
}
STATUSES = ["correct", "incorrect", "no_answer", "truncated", "limit", "timeout", "crash"]

# Probability of a correct in-domain answer; out of domain it is half of it.
ACCURACY = {
    "base": 0.35,
    "step_3": 0.46,
    "step_6": 0.55,
    "step_10": 0.64,
    "step_20": 0.74,
    "rank1_recovery__step_20": 0.62,
    "random_update__step_20": 0.35,
    "relex__observe_3__step_10": 0.62,
    "relex__observe_3__step_20": 0.73,
    "relex__observe_3__step_30": 0.79,
    "relex__observe_6__step_10": 0.63,
    "relex__observe_6__step_20": 0.74,
    "relex__observe_6__step_30": 0.75,
    "relex_raw__observe_3__step_10": 0.61,
    "relex_raw__observe_3__step_20": 0.72,
    "relex_raw__observe_3__step_30": 0.74,
    "relex_raw__observe_6__step_10": 0.62,
    "relex_raw__observe_6__step_20": 0.73,
    "relex_raw__observe_6__step_30": 0.73,
}


def tensors(layers: int = 3) -> list[tuple[str, str, float, int, int]]:
    """Name, module, layer, m, n of every tensor."""
    found = [("model.embed_tokens.weight", "embed_tokens", float("nan"), 40, 16)]
    for layer in range(layers):
        for module, (m, n) in MODULES.items():
            block = "mlp" if module in ("gate_proj", "up_proj", "down_proj") else "self_attn"
            name = f"model.layers.{layer}.{block}.{module}.weight"
            found.append((name, module, float(layer), m, n))
    return found


def build_run(
    folder: Path,
    accuracy: dict[str, float] | None = None,
    response: str = "6-5=1\n\\boxed{1}",
    layers: int = 3,
    steps: int = T,
) -> Path:
    """Write a finished run directory and return it."""
    write_config(folder)
    write_train(folder, steps)
    write_measure(folder, layers, steps)
    write_forecast(folder, layers)
    write_scores(folder, ACCURACY if accuracy is None else accuracy, response)
    return folder


def write_config(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "name": "demo",
        "seed": 0,
        "run_dir": "outputs/demo",
        "model": {"name": "tiny"},
        "algorithm": {"name": "grpo", "learning_rate": 1e-5},
        "report": {"bootstrap_draws": 500},
        "source": {"base": None, "checkpoints": None},
    }
    provenance = {
        "command": "python -m rlvr_dynamics.run +exp=demo",
        "commit": "abc123",
        "seed": 0,
        "versions": {"python": "3.11", "torch": "2.13.0"},
        "hardware": {"cores": 2, "memory_gib": 24.0, "gpus": []},
        "base": "Qwen3 architecture, 0.6 M parameters, pretrained here",
        "regime": "grpo, learning rate 1e-05 x 20 steps",
        "stages": {
            "prepare": {"seconds": 99.0, "key": "k1"},
            "train": {"seconds": 300.5, "key": "k2"},
            "score": {"seconds": None, "key": None},
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "provenance.json").write_text(json.dumps(provenance))


def _save(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path, index=False)


def write_train(folder: Path, steps: int = T) -> None:
    generator = np.random.default_rng(1)
    step = np.arange(1, steps + 1)
    reward = 0.35 + 0.4 * step / steps + generator.normal(0, 0.03, steps)
    _save(
        pd.DataFrame({"step": step, "critic/score/mean": reward, "timing_s/step": 2.5}),
        folder / "train" / "metrics.parquet",
    )


def write_measure(folder: Path, layers: int = 3, steps: int = T) -> None:
    generator = np.random.default_rng(2)
    update, trajectory, coefficients, linearity, norms = [], [], [], [], []
    step = np.arange(1, steps + 1)
    for name, module, layer, m, n in tensors(layers):
        label = {"tensor": name, "module": module, "layer": layer}
        slope = generator.uniform(0.002, 0.004)
        line = slope * step + generator.normal(0, slope * 0.2, steps)
        r2 = float(np.corrcoef(step, line)[0, 1] ** 2)
        null = {"null_mean": 0.80, "null_low": 0.68, "null_high": 0.90}
        for at, value in zip(step, line, strict=True):
            for index in (1, 2, 3):
                noise = value if index == 1 else generator.normal(0, 0.003 / index)
                coefficients.append({**label, "step": at, "index": index, "coefficient": noise})
            norms.append(
                {
                    **label,
                    "step": at,
                    "update_norm": value * 1.01,
                    "step_norm": slope,
                    "base_norm": 5.0,
                    "relative_update": value / 5.0,
                }
            )
        shares = np.array([0.975, 0.01, 0.005, 0.003, 0.002, 0.001, 0.001, 0.001])
        for index, share in enumerate(shares, start=1):
            extra = null if index == 1 else dict.fromkeys(null, np.nan)
            trajectory.append(
                {
                    **label,
                    "d": m * n,
                    "T": steps,
                    "index": index,
                    "sigma": np.sqrt(share),
                    "explained_variance": share,
                    **extra,
                    "draws": 200,
                    "seed": 0,
                    "dtype": "float32",
                }
            )
        linearity.append(
            {
                **label,
                "T": steps,
                "slope": slope,
                "intercept": 0.0,
                "r2": r2,
                "r2_null_mean": 0.93,
                "r2_null_low": 0.80,
                "r2_null_high": 0.979,
                "heldout_r2": generator.uniform(-3, 0.95),
                "heldout_r2_null_mean": -2.0,
                "heldout_r2_null_low": -9.0,
                "heldout_r2_null_high": 0.6,
                "draws": 200,
                "seed": 0,
            }
        )
        if module != "embed_tokens":
            sigma = np.sort(generator.exponential(1, min(m, n)))[::-1] + 0.3
            sigma[0] *= 1.8
            frobenius = np.sqrt((sigma**2).sum())
            for index, value in enumerate(sigma[:8], start=1):
                update.append(
                    {
                        "step": steps,
                        **label,
                        "m": m,
                        "n": n,
                        "index": index,
                        "sigma": value,
                        "frobenius": frobenius,
                        "norm_share": value / frobenius,
                        "energy_share": (value / frobenius) ** 2,
                        "dtype": "float32",
                    }
                )
    for table, rows in {
        "update_svd": update,
        "trajectory_svd": trajectory,
        "norms": norms,
        "coefficients": coefficients,
        "linearity": linearity,
    }.items():
        _save(pd.DataFrame(rows), folder / "measure" / f"{table}.parquet")


def write_forecast(folder: Path, layers: int = 3) -> None:
    generator = np.random.default_rng(3)
    rows = []
    for method, level in (("relex", 0.6), ("relex_raw", 0.45)):
        for observe in WINDOWS:
            for target in (10, 20):
                for name, module, layer, *_ in tensors(layers):
                    skill = level - generator.exponential(0.3) * (target - observe) / 10
                    rows.append(
                        {
                            "method": method,
                            "observe": observe,
                            "step": target,
                            "tensor": name,
                            "module": module,
                            "layer": layer,
                            "sse": 1 - skill,
                            "sse_hold": 1.0,
                            "skill": skill,
                            "cosine": 0.8,
                            "magnitude_ratio": 1.2,
                            "dtype": "float32",
                        }
                    )
    _save(pd.DataFrame(rows), folder / "predictions" / "forecast.parquet")


def parse_model(model: str) -> tuple[str, float, int]:
    """Method, observed step and step of a model id."""
    if model == "base":
        return "base", float("nan"), 0
    if model.startswith("step_"):
        return "real", float("nan"), int(model.removeprefix("step_"))
    method, *parts = model.split("__")
    values = {part.rsplit("_", 1)[0]: int(part.rsplit("_", 1)[1]) for part in parts}
    return method, values.get("observe", float("nan")), values["step"]


def write_scores(folder: Path, accuracy: dict[str, float], response: str = "\\boxed{1}") -> None:
    """Samples and scores; all models share each question's luck, so differences are paired."""
    rows = []
    for benchmark, (split, title, questions) in BENCHMARKS.items():
        generator = np.random.default_rng([7, len(benchmark), questions])
        luck = {
            "greedy": generator.random((questions, 1)),
            "sampled": generator.random((questions, 4)),
        }
        for model, probability in accuracy.items():
            chance = probability if split == "in_domain" else probability / 2
            method, observe, step = parse_model(model)
            samples = []
            for protocol, draws in luck.items():
                right = (draws < chance).astype(float)
                samples += [
                    {
                        "question_id": f"{benchmark}-{question:04d}",
                        "protocol": protocol,
                        "sample": sample,
                        "prompt": "6-5=",
                        "response": response,
                        "gold": "1",
                        "answer": "1",
                        "status": "correct" if right[question, sample] else "incorrect",
                        "score": right[question, sample],
                        "finish_reason": "stop",
                        "tokens": 8,
                        "seed": 0,
                    }
                    for question in range(questions)
                    for sample in range(draws.shape[1])
                ]
                share, n = right.mean(), right.size
                half = 1.96 * np.sqrt(max(share * (1 - share), 1e-4) / n)
                rows.append(
                    {
                        "model": model,
                        "method": method,
                        "observe": observe,
                        "step": step,
                        "benchmark": benchmark,
                        "title": title,
                        "split": split,
                        "protocol": protocol,
                        "questions": questions,
                        "samples": draws.shape[1],
                        "accuracy": share,
                        "ci_low": share - half,
                        "ci_high": share + half,
                        **dict.fromkeys(STATUSES, 0),
                        "correct": int(right.sum()),
                        "incorrect": int(n - right.sum()),
                        "mean_tokens": 8.0,
                        "dtype": "float32",
                        "seed": 0,
                        "key": "k",
                    }
                )
            _save(
                pd.DataFrame(samples),
                folder / "scores" / "samples" / model / f"{benchmark}.parquet",
            )
    _save(pd.DataFrame(rows), folder / "scores" / "scores.parquet")
