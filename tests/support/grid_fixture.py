"""Real training cells, small enough for two cores, shared by every test of a session.

A cell is one algorithm on one family of models. It goes through the command line, so a cell that
another test has already trained is not trained again: asking for more of its stages only adds them.
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

# Algorithm to model: between them every algorithm and every architecture, each of which is trained
# once. tests/training/test_architectures_training.py goes on with the cells of the architectures.
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
# One update a step is on-policy, and its loss can be computed by hand; a second one is not, and
# shows the clipping.
OFF_POLICY = ("gspo",)
STEPS = 3
PROMPTS = 8
# Small groups often agree, and long answers come near a limit of 32 tokens: so DAPO has groups to
# leave out, and answers to punish.
GROUP = dict.fromkeys(CELLS, 8) | {"dapo": 4}
ANSWER_TOKENS = dict.fromkeys(CELLS, 48) | {"dapo": 32}
LEARNING_RATE = 1.0e-4
TRAINING = [
    f"trainer.steps={STEPS}",
    f"trainer.prompts_per_step={PROMPTS}",
    "algorithm.warmup_steps=0",
    f"algorithm.learning_rate={LEARNING_RATE}",
]
TABLES = [
    "data.train_problems=256",
    "data.test_problems=32",
    "data.ood_problems=16",
    "data.validation_problems=16",
]
# Bases that are right some of the time, which is what group-relative advantages live on.
BASE = ["model.steps_clean=260", "model.steps_noisy=10", "model.careful=0.6"]
# Smaller than the demo's; vLLM's attention on a CPU knows heads of 32 and up.
SMALL = ["model.hidden=64", "model.layers=2", "model.heads=2", "model.kv_heads=1"]


def run(arguments: list[str], *, timeout: float = 1500) -> None:
    """The command line in a process of its own; a failure shows what it said."""
    command = [sys.executable, "-m", "rlvr_dynamics.run", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="session")
def grid_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The session's folder of cells, the same for every test file that imports this fixture."""
    folder = tmp_path_factory.getbasetemp() / "grid"
    folder.mkdir(exist_ok=True)
    return folder


def settings(algorithm: str) -> dict[str, Any]:
    """An algorithm's own file."""
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
        algorithm: A file of configs/algorithm.
        model: A tiny model of configs/model; None for the algorithm's own in `CELLS`.
        stages: What must be finished afterwards; what is finished already is not repeated.
        overrides: For later stages only (measure, extrapolation, scoring): a finished cell with
            another training configuration is refused.
    """
    model = model or CELLS[algorithm]
    base, folder = grid / f"base_{model}", grid / f"{algorithm}_{model}"
    prepared = [f"model={model}", *TABLES, *BASE, *(SMALL if model == "tiny" else [])]
    if not (base / "prepare" / "stage.json").exists():
        run(["+exp=demo", *prepared, f"run_dir={base}", "stages=[prepare]"])
    if not folder.exists():
        shutil.copytree(base / "prepare", folder / "prepare")
    mini = PROMPTS // 2 if algorithm in OFF_POLICY else PROMPTS
    group = GROUP[algorithm]
    file = settings(algorithm)
    own = [
        f"trainer.mini_batch_prompts={mini}",
        f"trainer.max_response_tokens={ANSWER_TOKENS[algorithm]}",
        f"algorithm.group_size={group}",
        f"trainer.micro_batch_samples={mini * group // 2}",
        # The demo leaves the reference model out to save time; here it is the algorithm's to say.
        f"algorithm.kl_loss_coef={file['kl_loss_coef']}",
        *(["algorithm.critic.warmup_steps=0"] if file["critic"] else []),
    ]
    rollouts = f"trainer.verl_overrides=['trainer.rollout_data_dir={folder / 'rollouts'}']"
    run(
        [
            *("+exp=demo", f"algorithm={algorithm}", *prepared, *TRAINING, *own, rollouts),
            *(*overrides, f"run_dir={folder}", f"stages=[{','.join(stages)}]"),
        ]
    )
    return folder


# Ray passes both streams of a process on as it reads them: lines of the error stream can stand
# between the printed ones, and a printed line that was half written is passed on in two parts.
ERROR_STREAM = re.compile(r"(INFO|WARNING|ERROR):|.*\w+Warning: |  \w+\.\w+\(")


def verl_configuration(folder: Path) -> dict[str, Any]:
    """The resolved configuration as verl's own process printed it before training."""
    return printed_configuration((folder / "train" / "verl" / "verl_1.log").read_text())


def printed_configuration(log: str) -> dict[str, Any]:
    """The mapping that begins with `actor_rollout_ref` in what a task runner printed."""
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
    """What verl reported, one row per step."""
    return pd.read_parquet(folder / "train" / "metrics.parquet")


def rollouts(folder: Path) -> list[dict[str, Any]]:
    """Every answer that training used, as verl dumped it: input, output, gts, score, step, ..."""
    files = sorted((folder / "rollouts").glob("*.jsonl"), key=lambda file: int(file.stem))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]
