"""Which steps a folder of checkpoints holds.

Accepted: `step_<N>` (ours) and `global_step_<N>/actor/huggingface` (as verl saves them).
"""

import re
from collections.abc import Iterable
from pathlib import Path

from rlvr_dynamics.errors import UserError

_STEP_FOLDER = re.compile(r"(?:global_)?step_(.*)", re.DOTALL)
_SHOWN_RUNS = 12
_VERL_MODEL = Path("actor") / "huggingface"


def find_steps(checkpoints: Path) -> dict[int, Path]:
    """Map step numbers to checkpoint folders, in rising order.

    Args:
        checkpoints: Folder whose subfolders are the steps; anything else in it is ignored.

    Raises:
        UserError: No such folder, no steps, a step that is not a positive number, a number that
            occurs twice (`step_3` beside `step_03`), or a verl step without its model.
    """
    if not checkpoints.is_dir():
        raise UserError(
            "checkpoints folder not found",
            where=str(checkpoints),
            way_out="check the path that you gave",
        )
    found: dict[int, Path] = {}
    for path in sorted(checkpoints.iterdir()):
        matched = _STEP_FOLDER.fullmatch(path.name)
        if matched is None or not path.is_dir():
            continue
        step = _step_number(matched.group(1), path)
        if step in found:
            raise UserError(
                f"step {step} occurs twice: {found[step].name} and {path.name}",
                where=str(checkpoints),
                way_out="remove or rename one of the two folders",
            )
        found[step] = path
    if not found:
        raise UserError(
            "no checkpoints here: no folder is called step_<N> or global_step_<N>",
            where=str(checkpoints),
            way_out="point at the folder that holds the steps, not at one of them",
        )
    return {step: _model_folder(found[step]) for step in sorted(found)}


def _step_number(text: str, path: Path) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", text) or int(text) == 0:
        raise UserError(
            f"{path.name!r} is not a step: the number must be a positive integer",
            where=str(path.parent),
            way_out="rename the folder to step_<N>, or move it away; the base model is step 0 and "
            "is given apart",
        )
    return int(text)


def _model_folder(path: Path) -> Path:
    if not path.name.startswith("global_"):
        return path
    model = path / _VERL_MODEL
    if not model.is_dir():
        raise UserError(
            f"{path.name} has no {_VERL_MODEL} folder: verl saved no Hugging Face model",
            where=str(path),
            way_out="train with hf_model in actor.checkpoint.save_contents, or merge the shards "
            "with python -m verl.model_merger",
        )
    return model


def check_even(steps: Iterable[int], checkpoints: Path) -> None:
    """Refuse steps with a gap, seen from step 0 on, such as 1, 2, 4 or 10, 20, 40.

    Raises:
        UserError: The spacing is uneven.
    """
    numbers = [0, *sorted(steps)]
    spacings = [after - before for before, after in zip(numbers, numbers[1:], strict=False)]
    smallest = min(spacings)
    for before, spacing in zip(numbers, spacings, strict=False):
        if spacing != smallest:
            raise UserError(
                f"gap in the steps: after {before} comes {before + spacing}, "
                f"where the others are {smallest} apart",
                where=str(checkpoints),
                way_out="add the missing checkpoints, or set source.allow_gaps=true (steps then "
                "count by number)",
            )


def select_steps(found: dict[int, Path], wanted: Iterable[object], where: Path) -> dict[int, Path]:
    """Keep the wanted steps only.

    Raises:
        UserError: A wanted step is not a positive integer, is named twice, or does not exist.
    """
    chosen: dict[int, Path] = {}
    for step in wanted:
        if not isinstance(step, int) or isinstance(step, bool) or step < 1:
            raise UserError(
                f"{step!r} is not a step number",
                where=str(where),
                way_out="give positive integers",
            )
        if step in chosen:
            raise UserError(
                f"step {step} is asked for twice", where=str(where), way_out="name each step once"
            )
        if step not in found:
            near = ", ".join(map(str, sorted(found, key=lambda have: abs(have - step))[:3]))
            raise UserError(
                f"no checkpoint of step {step}",
                where=str(where),
                way_out=f"the nearest that exist: {near}",
            )
        chosen[step] = found[step]
    if not chosen:
        raise UserError("no steps chosen", where=str(where), way_out="name at least one step")
    return dict(sorted(chosen.items()))


def shortened(steps: Iterable[int]) -> str:
    """Write steps as ranges: `1-75, 500`."""
    numbers = sorted(set(steps))
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return ", ".join(words[:_SHOWN_RUNS]) + (", ..." if len(words) > _SHOWN_RUNS else "")
