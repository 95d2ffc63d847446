"""Find the steps in a folder of checkpoints, and select among them."""

from collections.abc import Iterable
from pathlib import Path

from rlvr_dynamics.checkpoints.delta_names import BASE, is_store, version_folders
from rlvr_dynamics.checkpoints.model_folders import model_folder, refuse_step
from rlvr_dynamics.checkpoints.step_names import convention_of, is_step, named_by, no_steps
from rlvr_dynamics.checkpoints.weight_files import holds_adapter, holds_weights
from rlvr_dynamics.errors import UserError


def find_steps(checkpoints: Path, pattern: str | None = None) -> dict[int, Path]:
    """Map step numbers to model folders, in ascending order.

    Args:
        checkpoints: Folder whose subfolders are the steps; anything else in it is ignored.
        pattern: Name of a step's folder below `checkpoints`, with `{step}` for the number and
            optionally `*` for anything: `run-*-s{step}/hf`. None: the trainers' conventions.

    Returns:
        Step to folder, of a delta store its versions. Step 0, a base among the steps, is included
        only if it holds a model.

    Raises:
        UserError: No such folder, no steps, an invalid step number, a number that occurs twice
            (`step_3` and `step_03`), several conventions at once, or a step without a model.
    """
    if not checkpoints.is_dir():
        raise UserError(
            "checkpoints folder not found"
            if not checkpoints.is_file()
            else "source.checkpoints is a file; it must be the folder that holds the steps",
            where=str(checkpoints),
            way_out="check the path that you gave",
        )
    if pattern is None and is_store(checkpoints):
        versions = version_folders(checkpoints)
        if not versions.keys() - {BASE}:
            raise no_steps(checkpoints, pattern)
        return versions
    convention = (
        named_by(checkpoints, pattern) if pattern is not None else convention_of(checkpoints)
    )
    found = {step: convention.folders[step] for step in sorted(convention.folders)}
    models: dict[int, Path] = {}
    for step, path in found.items():
        if convention.below is not None:
            models[step] = path / convention.below
            continue
        model = model_folder(path)
        if model is not None:
            models[step] = model
        elif step:
            refuse_step(path)
    if not models.keys() - {0}:
        raise no_steps(checkpoints, pattern)
    return models


def base_folder(base: Path, checkpoints: Path) -> Path:
    """Return the folder of the base's weights: the given one or one below it, as for a step.

    A folder without weights is returned unchanged; reading it raises the error.

    Raises:
        UserError: It holds steps and is not a model.
    """
    if not base.is_dir() or holds_weights(base) or holds_adapter(base):
        return base
    steps = [path.name for path in sorted(base.iterdir()) if path.is_dir() and is_step(path.name)]
    if steps:
        swapped = checkpoints.is_dir() and holds_weights(checkpoints)
        raise UserError(
            f"source.base is a folder of steps ({steps[0]}, ...), not a model",
            where=str(base),
            way_out="source.base and source.checkpoints look swapped: give them the other way round"
            if swapped
            else "give the model before training, the one that all steps started from",
        )
    return model_folder(base) or base


def check_even(steps: Iterable[int], checkpoints: Path) -> None:
    """Check that steps are evenly spaced from step 0; 1, 2, 4 or 10, 20, 40 are not.

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
    """Keep only the wanted steps.

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
