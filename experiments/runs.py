"""Names of cells, the command that runs each, and where to find runs."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from rlvr_dynamics.config import experiments
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.run_directory.progress import events

from .arms import ALL, arm_cells
from .study import RUNS as STUDY_RUNS
from .study import StudyCell, study_cells

_STUDY = {cell.name: cell for cell in study_cells(wide=True)}
STUDY = tuple(cell.name for cell in study_cells())
CONTROLS = tuple(name for name in STUDY if _STUDY[name].control)
TRAINED = tuple(name for name in STUDY if name not in CONTROLS)
AGAIN = tuple(name for name in STUDY if _STUDY[name].donor)  # one base, another seed of RL
_BENCH = {cell.name: cell for cell in arm_cells([ALL])}
BENCH = tuple(cell.name for cell in arm_cells())
BENCH_RUNS = "acceleration"  # folder of the bench's runs, below that of all runs
DETAILED = TRAINED[0]  # the cell with the long lists, such as one projection at a time

# A repeat of a cell of the grid or of configs/exp: a control, with other updates, rate or seed.
_VARIANT = re.compile(
    r"(?P<exp>[a-z0-9_]+?)(?P<shuffled>-shuffled)?(-mini(?P<mini>\d+))?(-lr(?P<rate>\de-\d+))?"
    r"(-seed(?P<seed>\d+))?"
)

AS = "-as-"  # before the dtype in which a cell's checkpoints are read again
_TRAINED = (("base", "prepare/base"), ("checkpoints", "train/checkpoints"))

ALPHARL_8B = ("dapo_qwen3_8b", "grpo_qwen3_8b", "rloo_qwen3_8b")
ALPHARL_OTHERS = (
    "dapo_qwen3_14b",
    "dapo_glm4_9b",
    "dapo_r1_distill_qwen_7b",
    "dapo_llama3_1_8b",
)
ALPHARL_PUBLISHED = "alpharl_published_dapo_qwen3_8b"
# Models trained by others, which AlphaRL compares with their bases.
PUBLISHED_PAIRS = ("open_reasoner_zero_7b", "oat_zero_7b", "dapo_qwen_32b")
RELEX_PUBLISHED = (
    "relex_published_qwen2_5_math_1_5b",
    "relex_published_qwen3_4b",
    "relex_published_qwen3_8b",
)
RELEX = ("grpo_qwen2_5_math_1_5b", "grpo_qwen3_4b", "grpo_qwen3_8b_math")
ALPHARL_BENCHMARKS = ("aime24", "aime25", "math500", "minerva", "gpqa_diamond", "gsm8k")
RELEX_BENCHMARKS = ("math", "aime25", "aime26", "hmmt_feb_2025", "olympiadbench", "amc23")


def arguments(cell: str, runs: Path) -> list[str]:
    """Return the arguments of `python -m rlvr_dynamics.run` for a cell.

    Args:
        cell: A cell of the study or of the bench, or a name in `configs/exp`, optionally followed
            by `-shuffled`, `-miniN` (prompts in an update), `-lrRATE` and `-seedN`, in this order;
            and `-as-DTYPE` for the checkpoints of such a cell read in another dtype.
        runs: The folder of run directories; the study's are in its subfolder `study`, the bench's
            in `acceleration`.

    Raises:
        UserError: There is no such cell.
    """
    study = _STUDY.get(cell)
    if study is not None:
        return _study_arguments(study, runs)
    if cell in _BENCH:
        return _BENCH[cell].overrides(runs / BENCH_RUNS)
    trained, _, dtype = cell.partition(AS)
    if dtype:
        folders = (f"source.{name}={runs / trained / place}" for name, place in _TRAINED)
        return ["+exp=trajectory", *folders, f"measure.round_to={dtype}", f"run_dir={runs / cell}"]
    match = _VARIANT.fullmatch(cell)
    if match is None or match["exp"] not in experiments():
        raise UserError(f"no cell is called {cell}", way_out="python -m experiments.grid lists")
    found = [f"+exp={match['exp']}"]
    if match["shuffled"]:
        found.append("data.shuffle_answers=true")
    if match["mini"]:
        found.append(f"trainer.mini_batch_prompts={match['mini']}")
    if match["rate"]:
        found.append(f"algorithm.learning_rate={match['rate']}")
    if match["seed"]:
        found.append(f"seed={match['seed']}")
    if cell != match["exp"] or runs != Path("outputs"):
        found.append(f"run_dir={runs / cell}")
    return found


def _study_arguments(cell: StudyCell, runs: Path) -> list[str]:
    return cell.overrides(runs / STUDY_RUNS.name)


def command(*arguments: str) -> str:
    """Return the shell command."""
    return shlex.join(["python", "-m", "rlvr_dynamics.run", *arguments])


def typed(folder: Path) -> list[str] | None:
    """Return the arguments of a run's last call, from its log; None without a log."""
    commands = (event["command"] for event in events(folder) if "command" in event)
    return next((shlex.split(command)[3:] for command in commands), None)


def run_dirs(runs: Path) -> list[Path]:
    """Return run directories in a folder and its subfolders (outputs/study, outputs/slurm)."""
    own = [path.parent for path in runs.glob("*/config.json")]
    below = [path.parent for path in runs.glob("*/*/config.json") if path.parent.parent not in own]
    return sorted([*own, *below])


def by_cell(folders: Sequence[Path]) -> dict[str, Path]:
    """Return run directories by folder name, which is the name of the cell."""
    return {folder.name: folder for folder in reversed(folders)}
