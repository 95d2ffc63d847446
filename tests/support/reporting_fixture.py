"""A synthetic finished run directory with small tables; for tests only."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from tests.support.irregular_weights import drawn, weight_lines

T = 20
WINDOWS = (3, 6)
BENCHMARKS = {
    "sums": ("in_domain", "Sums & differences", 500),
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

# Probability of a correct in-domain answer; out of domain it is half of that.
ACCURACY = {
    "base": 0.35,
    "step_3": 0.46,
    "step_6": 0.55,
    "step_10": 0.64,
    "step_15": 0.75,
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


RECONSTRUCTIONS = ("rank1_recovery", "random_update")
HELD_COSINE = 0.7  # cosine of the last observed update with the true one
FUTURE = {*RECONSTRUCTIONS, "trajectory_oracle", "alpharl"}


def tensors(layers: int = 3) -> list[tuple[str, str, float, int, int]]:
    """Return name, module, layer, m, n of every tensor."""
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
    write_directions(folder, layers, steps)
    write_forecast(folder, layers)
    write_scores(folder, ACCURACY if accuracy is None else accuracy, response)
    write_selection(folder)
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
    columns = {"critic/score/mean": reward, "timing_s/step": 2.5, "actor/pg_clipfrac": 0.0}
    _save(pd.DataFrame({"step": step, **columns}), folder / "train" / "metrics.parquet")


def write_measure(folder: Path, layers: int = 3, steps: int = T) -> None:
    generator = np.random.default_rng(2)
    update, trajectory, coefficients, linearity, norms, exponents = [], [], [], [], [], []
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
                    "changed_share": 1 - np.exp(-at / steps),
                    "step_changed_share": 0.1,
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
                "loo_r2": r2 - 0.01,
                **spread("loo_r2_null", 0.92, 0.78, 0.975),
                **spread("r2_permuted", 0.05, 0.0, 0.25),
                **spread("heldout_r2_permuted", -3.0, -9.0, 0.0),
                **spread("loo_r2_permuted", -0.2, -0.4, 0.1),
                "draws": 200,
                "seed": 0,
            }
        )
        if module != "embed_tokens":
            exponents.append({**label, "exponent": -5, "count": m * n, "bits": 23})
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
                        "norm_share_null": 0.4 / index**0.5,
                        "energy_share": (value / frobenius) ** 2,
                        "residual": 1e-8,
                        "method": "gram",
                        "dtype": "float32",
                    }
                )
    for table, rows in {
        "update_svd": update,
        "trajectory_svd": trajectory,
        "norms": norms,
        "coefficients": coefficients,
        "linearity": linearity,
        "exponents": exponents,
    }.items():
        _save(pd.DataFrame(rows), folder / "measure" / f"{table}.parquet")
    _save(weight_lines(drawn(3)), folder / "measure" / "weight_lines.parquet")


def spread(prefix: str, mean: float, low: float, high: float) -> dict[str, float]:
    """Return the three columns of a null."""
    return {f"{prefix}_mean": mean, f"{prefix}_low": low, f"{prefix}_high": high}


def write_directions(folder: Path, layers: int = 3, steps: int = T) -> None:
    """Write the tables that an older run directory lacks."""
    generator = np.random.default_rng(4)
    shares, ranks, alignment, pls, oracle, drift = [], [], [], [], [], []
    for name, module, layer, m, n in tensors(layers):
        label = {"tensor": name, "module": module, "layer": layer}
        smaller = min(m, n)
        for step in range(1, steps + 1):
            for rank, top in ((1, 0.9), (3, 0.95), (5, 0.97), (10, 0.99)):
                cosine = top - 0.4 * (1 - step / steps) + generator.normal(0, 0.002)
                error = np.sqrt(1 - cosine**2)
                here = {"step": step, "rank": rank, "cosine": cosine, "relative_error": error}
                oracle.append({**label, **here})
        for share in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0):
            drift.append(
                {
                    **label,
                    "share": share,
                    "stop": int(share * steps),
                    "cosine": 1 - 0.3 * (1 - share) - generator.uniform(0, 0.1) * (1 - share),
                    **spread("null", share**0.5, 0.7 * share**0.5, min(1, 1.3 * share**0.5)),
                    "draws": 200,
                    "seed": 0,
                }
            )
        if module == "embed_tokens":
            continue
        for step in (steps // 2, steps):
            for rank in ("1", "1%", "5%", "10%", *(f"{tens}0%" for tens in range(2, 10))):
                part = 1 / smaller if rank == "1" else int(rank[:-1]) / 100
                k = max(1, int(np.ceil(part * smaller)))
                shares.append(
                    {
                        "step": step,
                        **label,
                        "m": m,
                        "n": n,
                        "rank": rank,
                        "k": k,
                        "norm_share": (k / smaller) ** 0.3 * generator.uniform(0.95, 1.0),
                        "norm_share_null": (k / smaller) ** 0.4,
                        "dtype": "float32",
                    }
                )
            ranks.append(
                {
                    "step": step,
                    **label,
                    "stable_rank": generator.uniform(2, 4),
                    "stable_rank_null": 0.35 * smaller,
                    "effective_rank": generator.uniform(0.6, 0.7) * smaller,
                    "effective_rank_null": 0.85 * smaller,
                    "numerical_rank": smaller,
                    "full_rank": smaller,
                    "base_cosine_left": 0.6,
                    "base_cosine_left_null": 0.55,
                    "base_cosine_right": 0.5,
                    "base_cosine_right_null": 0.52,
                    "subspace_k": 4,
                    "dtype": "float32",
                }
            )
        for step in range(1, steps + 1):
            turned = generator.uniform(0, 0.6) * (1 - step / steps)
            alignment.append(
                {
                    **label,
                    "step": step,
                    "flipped": bool(step % 2),
                    "cosine_next": 1 - turned / 5 if step < steps else np.nan,
                    "cosine_last": 1 - turned,
                    "sigma1": 0.01 * step,
                    "alpha": 2.0,
                }
            )
        pls.append(
            {
                **label,
                "T": 8,
                "r2": generator.uniform(0.93, 0.99),
                **spread("r2_null", 0.7, 0.4, 0.9),
                **spread("r2_walk", 0.8, 0.5, 0.92),
                "p_value": 0.005,
                "loo_r2": generator.uniform(0.3, 0.8),
                "accuracy": "in-domain scores of 8 checkpoints, sampled answers",
                "draws": 200,
                "seed": 0,
            }
        )
    counts = {"tensors": len(tensors(layers)), "parameters": 10_000}
    for table, rows in {
        "rank_shares": shares,
        "update_rank": ranks,
        "u1_alignment": alignment,
        "pls": pls,
        "oracle": oracle,
        "drift": drift,
        "checkpoints": [
            {
                "step": step,
                "identity": f"{step:064x}",
                "dtype": "float32",
                "repeats": np.nan,
                "bytes": 40_000,
            }
            for step in range(steps + 1)
        ],
        "explained_variance": [
            {
                "rank": rank,
                **counts,
                **{"min": low, "mean": low + 0.01, "median": low + 0.02, "weighted_mean": low},
                **{"above_90": counts["tensors"], "above_95": counts["tensors"], "above_99": 0},
                "null_mean": 0.8 if rank == 1 else np.nan,
                "null_high": 0.9 if rank == 1 else np.nan,
            }
            for rank, low in ((1, 0.95), (3, 0.96), (5, 0.97), (10, 0.975))
        ],
    }.items():
        _save(pd.DataFrame(rows), folder / "measure" / f"{table}.parquet")


SKILL = {"relex": 0.6, "relex_raw": 0.45, "hold_last": 0.0}


def write_forecast(
    folder: Path,
    layers: int = 3,
    skill: dict[str, float] = SKILL,
    windows: tuple[int, ...] = WINDOWS,
) -> None:
    """Write forecast and index; reconstructions are only in the index."""
    generator = np.random.default_rng(3)
    norms = pd.read_parquet(folder / "measure" / "norms.parquet")
    norm = {(row["tensor"], row["step"]): row["update_norm"] for row in norms.to_dict("records")}
    rows = []
    for method, level in skill.items():
        for observe in windows:
            for target in (10, 20):
                for name, module, layer, *_ in tensors(layers):
                    noise = generator.exponential(0.3) * (target - observe) / 10
                    value = level - noise * bool(level)
                    held, true = norm[name, observe], norm[name, target]
                    hold = held**2 + true**2 - 2 * HELD_COSINE * held * true
                    rows.append(
                        {
                            "method": method,
                            "observe": observe,
                            "step": target,
                            "tensor": name,
                            "module": module,
                            "layer": layer,
                            "sse": hold * (1 - value),
                            "sse_hold": hold,
                            "skill": value,
                            "cosine": HELD_COSINE + 0.1 * value,
                            "magnitude_ratio": 1.2 + 0.3 * np.tanh(noise) * (-1) ** len(rows),
                            "uses_future": method in FUTURE,
                            "dtype": "float32",
                        }
                    )
    _save(pd.DataFrame(rows), folder / "predictions" / "forecast.parquet")
    index = [
        {
            "method": method,
            "observe": observe,
            "step": 20,
            "path": f"predictions/{method}/observe_{observe}/step_20",
            "identity": "abc",
            "uses_future": method in FUTURE,
            "candidate_of": None,
            "moved": 750 if method in ("alpharl", "rank1_recovery") else 1000,
            "parameters": 1000,
        }
        for method in (*skill, *RECONSTRUCTIONS)
        for observe in ((0,) if method in RECONSTRUCTIONS else windows)
    ]
    _save(pd.DataFrame(index), folder / "predictions" / "index.parquet")


def parse_model(model: str) -> tuple[str, float, int]:
    """Split a model id into method, observed step and step."""
    if model == "base":
        return "base", float("nan"), 0
    if model.startswith("step_"):
        return "real", float("nan"), int(model.removeprefix("step_"))
    method, *parts = model.split("__")
    values = {part.rsplit("_", 1)[0]: int(part.rsplit("_", 1)[1]) for part in parts}
    return method, values.get("observe", float("nan")), values["step"]


def write_scores(folder: Path, accuracy: dict[str, float], response: str = "\\boxed{1}") -> None:
    """Write samples and scores; all models share each question's luck, so differences are paired.

    One sampled answer in fifty, among the wrong ones, is cut off; the others are complete.
    """
    rows = []
    for benchmark, (split, title, questions) in BENCHMARKS.items():
        generator = np.random.default_rng([7, len(benchmark), questions])
        luck = {
            "greedy": generator.random((questions, 1)),
            "sampled": generator.random((questions, 4)),
        }
        ids = np.array([f"{benchmark}-{question:04d}" for question in range(questions)])
        for model, probability in accuracy.items():
            chance = probability if split == "in_domain" else probability / 2
            method, observe, step = parse_model(model)
            samples = []
            for protocol, draws in luck.items():
                right = (draws < chance).astype(float)
                cut = (draws > 0.98) & (right == 0) & (protocol == "sampled")
                status = np.where(right > 0, "correct", np.where(cut, "truncated", "incorrect"))
                samples.append(
                    pd.DataFrame(
                        {
                            "question_id": ids.repeat(draws.shape[1]),
                            "protocol": protocol,
                            "sample": np.tile(np.arange(draws.shape[1]), questions),
                            "prompt": "6-5=",
                            "response": response,
                            "gold": "1",
                            "answer": "1",
                            "status": status.ravel(),
                            "score": right.ravel(),
                            "finish_reason": np.where(cut, "length", "stop").ravel(),
                            "tokens": 8,
                            "seed": 0,
                        }
                    )
                )
                share, n = right.mean(), right.size
                several = draws.shape[1] > 1
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
                        **votes("pass_at_n", right.max(axis=1).mean(), several),
                        **votes("majority", (right.mean(axis=1) > 0.5).mean(), several),
                        **dict.fromkeys(STATUSES, 0),
                        "correct": int(right.sum()),
                        "incorrect": int(n - right.sum() - cut.sum()),
                        "truncated": int(cut.sum()),
                        "finish_stop": int(n - cut.sum()),
                        "finish_length": int(cut.sum()),
                        "finish_other": 0,
                        "mean_tokens": 8.0,
                        "dtype": "float32",
                        "seed": 0,
                        "grader": "integer/1",
                        "key": "k",
                        "uses_future": method in FUTURE,
                    }
                )
            _save(
                pd.concat(samples), folder / "scores" / "samples" / model / f"{benchmark}.parquet"
            )
    _save(pd.DataFrame(rows), folder / "scores" / "scores.parquet")


def votes(name: str, share: float, several: bool) -> dict[str, float]:
    """Return a statistic over a question's samples with its interval, missing for one sample."""
    found = (share, share - 0.05, share + 0.05) if several else (np.nan,) * 3
    return dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))


def write_selection(folder: Path) -> None:
    """Write a grid of one method, selected on the validation problems."""
    rows = [
        {
            "method": f"expo_alpha_{value}",
            "observe": observe,
            "step": T,
            "identity": "abc",
            "uses_future": False,
            "candidate_of": "expo",
            "accuracy": accuracy,
            "ci_low": accuracy - 0.1,
            "ci_high": accuracy + 0.1,
            "questions": 64,
            "samples": 4,
            "chosen": value == "1_0",
        }
        for observe in WINDOWS
        for value, accuracy in (("0_1", 0.5), ("1_0", 0.7), ("4_0", 0.6))
    ]
    _save(pd.DataFrame(rows), folder / "scores" / "selection.parquet")
    ends = {"method": "real", "observe": 0, "protocol": "sampled", "accuracy": 0.5}
    ends = [{"model": f"step_{step}", "step": step, **ends} for step in WINDOWS]
    _save(pd.DataFrame(ends), folder / "scores" / "validation.parquet")
