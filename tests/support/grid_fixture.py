"""Real training cells, small enough for two cores, shared by all tests of a session.

A cell is one algorithm on one model family. It is run by the command line, so a cell that another
test has trained is not trained again: requesting more of its stages only adds them.
A base is pretrained once per family and copied into the cells that start from it.
"""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from rlvr_dynamics.config import CONFIG_FOLDER

# Algorithm to model: together they cover every algorithm and every architecture, each trained
# once. tests/training/test_architectures_training.py continues with the architectures' cells.
CELLS = {
    "ppo": "tiny_qwen2",
    "grpo": "tiny",
    "dr_grpo": "tiny_llama",
    "rloo": "tiny_qwen3_untied",
    "reinforce_pp": "tiny",
    "dapo": "tiny",
    "gspo": "tiny_glm4",
}
# `make test` runs these two as well; grpo is in test_end_to_end.py.
IN_MAKE_TEST = ("ppo", "gspo")
VALIDATED = ("dapo",)
STEPS = 3
PROMPTS = 8
# verl's warm-up of one step starts at a learning rate of 0, so both updates of step 1 are exactly
# on-policy and their loss can be computed by hand; the second update of the other steps is
# off-policy and shows the clipping.
UPDATES = 2
# Small groups often agree, and long answers come near a limit of 32 tokens, so DAPO has groups to
# filter and answers to penalise.
GROUP = dict.fromkeys(CELLS, 8) | {"dapo": 4}
ANSWER_TOKENS = dict.fromkeys(CELLS, 48) | {"dapo": 32}
# So fast that the second update of a step finds ratios beyond the clips; GSPO's are the closest.
LEARNING_RATE = dict.fromkeys(CELLS, 3.0e-4) | {"gspo": 1.0e-4}
TRAINING = [
    f"trainer.steps={STEPS}",
    f"trainer.prompts_per_step={PROMPTS}",
    f"trainer.mini_batch_prompts={PROMPTS // UPDATES}",
    "algorithm.warmup_steps=1",
]
# So fast that an update moves values by more than the value clip's range.
CRITIC_RATE = 1.0e-2
CRITIC = ["algorithm.critic.warmup_steps=0", f"algorithm.critic.learning_rate={CRITIC_RATE}"]
TABLES = [
    "data.train_problems=256",
    "data.test_problems=32",
    "data.ood_problems=16",
    "data.validation_problems=16",
]
# Bases that are right some of the time, which group-relative advantages need.
BASE = ["model.steps_clean=260", "model.steps_noisy=10", "model.careful=0.6"]
# Smaller than the demo's; vLLM's attention on a CPU supports heads of 32 and up.
SMALL = ["model.hidden=64", "model.layers=2", "model.heads=2", "model.kv_heads=1"]


def run(arguments: list[str], *, timeout: float = 1500) -> None:
    """Run the command line in a separate process; a failure shows its output."""
    command = [sys.executable, "-m", "rlvr_dynamics.run", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="session")
def grid_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the session's folder of cells, shared by all test files that import this fixture."""
    folder = tmp_path_factory.getbasetemp() / "grid"
    folder.mkdir(exist_ok=True)
    return folder


def settings(algorithm: str) -> dict[str, Any]:
    """Return an algorithm's configuration file."""
    return yaml.safe_load((CONFIG_FOLDER / "algorithm" / f"{algorithm}.yaml").read_text())


def run_cell(
    grid: Path,
    algorithm: str,
    model: str | None = None,
    *,
    stages: tuple[str, ...] = ("prepare", "train"),
    overrides: tuple[str, ...] = (),
) -> Path:
    """Run stages of a cell and return its run directory.

    Args:
        grid: Folder of all cells (`grid_folder`).
        algorithm: A file in configs/algorithm.
        model: A tiny model in configs/model; None for the algorithm's model in `CELLS`.
        stages: Stages that must be finished afterwards; finished ones are not repeated.
        overrides: Only for later stages (measure, extrapolation, scoring): a finished cell with
            another training configuration is refused.
    """
    model = model or CELLS[algorithm]
    base, folder = grid / f"base_{model}", grid / f"{algorithm}_{model}"
    prepared = [f"model={model}", *TABLES, *BASE, *(SMALL if model == "tiny" else [])]
    if not (base / "prepare" / "stage.json").exists():
        run(["+exp=demo", *prepared, f"run_dir={base}", "stages=[prepare]"])
    if not folder.exists():
        shutil.copytree(base / "prepare", folder / "prepare")
    group = GROUP[algorithm]
    file = settings(algorithm)
    own = [
        f"trainer.max_response_tokens={ANSWER_TOKENS[algorithm]}",
        f"algorithm.group_size={group}",
        f"algorithm.learning_rate={LEARNING_RATE[algorithm]}",
        f"trainer.micro_batch_samples={PROMPTS // UPDATES * group // 2}",
        # The demo omits the reference model to save time; here the algorithm decides.
        f"algorithm.kl_loss_coef={file['kl_loss_coef']}",
        *(CRITIC if file["critic"] else []),
        *(["trainer.validate_every=2"] if algorithm in VALIDATED else []),
    ]
    rollouts = f"trainer.verl_overrides=['trainer.rollout_data_dir={folder / 'rollouts'}']"
    run(
        [
            *("+exp=demo", f"algorithm={algorithm}", *prepared, *TRAINING, *own, rollouts),
            *(*overrides, f"run_dir={folder}", f"stages=[{','.join(stages)}]"),
        ]
    )
    return folder


# Ray forwards both streams of a process as it reads them: lines of stderr can appear between
# printed ones, and a half-written printed line is forwarded in two parts.
ERROR_STREAM = re.compile(r"(INFO|WARNING|ERROR):|.*\w+Warning: |  \w+\.\w+\(")


def verl_configuration(folder: Path) -> dict[str, Any]:
    """Return the resolved configuration that verl's own process printed before training."""
    return printed_configuration((folder / "train" / "verl" / "verl_1.log").read_text())


def printed_configuration(log: str) -> dict[str, Any]:
    """Parse the mapping starting with `actor_rollout_ref` from a task runner's output."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", log)
    lines = [line.split(") ", 1)[1] for line in text.splitlines() if line.startswith("(TaskRunner")]
    lines = [line for line in lines if not ERROR_STREAM.match(line)]
    begin = next(i for i, line in enumerate(lines) if line.startswith("{'actor_rollout_ref'"))
    for end in range(begin + 1, len(lines) + 1):
        if lines[end - 1].endswith("}"):
            try:
                return ast.literal_eval("".join(lines[begin:end]))
            except SyntaxError:
                continue
    raise AssertionError("verl's log holds no whole configuration")


def metrics(folder: Path) -> pd.DataFrame:
    """Return verl's metrics, one row per step, without a validation of the base."""
    return pd.read_parquet(folder / "train" / "metrics.parquet").query("step > 0")


def rollouts(folder: Path) -> list[dict[str, Any]]:
    """Return all answers used in training, as dumped by verl: input, output, gts, score, ..."""
    files = sorted((folder / "rollouts").glob("*.jsonl"), key=lambda file: int(file.stem))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]
