"""Synthetic run directories of a study, fast to write; for tests only."""

import json
import os
from itertools import product
from pathlib import Path

from tests.support.reporting_fixture import SKILL, T, build_run, write_forecast, write_scores

ALGORITHMS = ("grpo", "rloo", "dapo", "ppo", "dr_grpo", "reinforce_pp", "gspo")
RATES = (1e-5, 1e-4)
SEEDS = (0, 1)
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
# Contents of the study's runs: a window's methods, and reconstructions of the last checkpoint.
WINDOWED = {
    "relex": 0.74,
    "relex_raw": 0.73,
    "relex_rank5": 0.73,
    "relex_rank10": 0.73,
    "relex_polynomial": 0.3,
    "neural": 0.72,
    "weight_extrapolation": 0.7,
    "momentum": 0.66,
    "first_update": 0.5,
    "alpharl": 0.69,
    "alpharl_final": 0.7,
}
WHOLE = {
    "rank1_recovery": 0.71,
    "random_update": 0.35,
    "trajectory_oracle": 0.73,
    **{f"recovery_{rank}_percent": 0.72 for rank in (1, 10, 30, 50, 70, 90)},
    **{f"subspace_{place}": 0.36 for place in (2, 3, 5)},
    **{f"rank1_scaled_{scale}": 0.6 for scale in ("0_4", "0_7")},
    **{f"rank1_r2_window_{place}": 0.7 - 0.02 * place for place in range(1, 8)},
}


def full_accuracy() -> dict[str, float]:
    """Return the models of a full study run, with the probability of a correct answer."""
    windows = [max(1, round(share * T)) for share in SHARES]
    found = {"base": 0.35, f"step_{T}": 0.74}
    found |= {f"step_{step}": 0.35 + 0.4 * step / T for step in windows}
    found |= {f"{method}__step_{T}": value for method, value in WHOLE.items()}
    found |= {
        f"{method}__observe_{window}__step_{T}": value
        for (method, value), window in product(WINDOWED.items(), windows)
    }
    return found


def build_cells(folder: Path, count: int = 3, *, full: bool = False) -> list[Path]:
    """Write `count` run directories that differ in algorithm, learning rate, seed and model.

    The first is written; the others share its tables (hard links) but have their own
    configuration, so that many take little time and disk.

    Args:
        folder: Where to write them.
        count: Number of runs; with four or more, the last is a control with shuffled rewards.
        full: Give every run the methods and windows of the study, for a test of speed.
    """
    first = folder / ".first"
    build_run(first)
    if full:
        write_scores(first, full_accuracy())
        skill = {**SKILL, **{method: 0.3 for method in WINDOWED}}
        windows = tuple(sorted({max(1, round(share * T)) for share in SHARES}))
        write_forecast(first, skill=skill, windows=windows)
    found = []
    settings = product(("tiny", "tiny_b"), RATES, ALGORITHMS, SEEDS)
    for place, (model, rate, algorithm, seed) in zip(range(count), settings, strict=False):
        shuffled = count > 3 and place == count - 1
        run = folder / f"{model}_{algorithm}_{rate:.0e}_seed{seed}{'_shuffled' if shuffled else ''}"
        link_tree(first, run)
        set_config(
            run,
            seed=seed,
            model={"name": model},
            algorithm={"name": algorithm, "learning_rate": rate},
            data={"shuffle_answers": shuffled},
        )
        found.append(run)
    return found


def link_tree(source: Path, target: Path) -> None:
    """Hard-link all files into another folder; JSON is copied, because it will be changed."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".json":
                copy.write_bytes(path.read_bytes())
            else:
                os.link(path, copy)


def set_config(run: Path, **changes: object) -> None:
    """Change keys of a run's config.json."""
    path = run / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def remove_stage(run: Path, stage: str) -> None:
    """Remove the output of a stage, as if it had not run."""
    for path in sorted((run / stage).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (run / stage).rmdir()
