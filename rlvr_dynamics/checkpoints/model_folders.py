"""Find the folder of a step, or of a base, that holds the model."""

import re
from collections.abc import Iterator
from pathlib import Path

from rlvr_dynamics.checkpoints.other_formats import refuse_unreadable
from rlvr_dynamics.checkpoints.weight_files import holds_adapter, holds_weights
from rlvr_dynamics.errors import UserError

_SHOWN = 4
_DEEPEST = 3
_VERL_MODEL = Path("actor") / "huggingface"
# Folders of a step that hold other networks or states, not the policy.
_OTHER_PARTS = re.compile(
    r"\.|(?:critic|value|ref|reference|reward|rm|optim|optimizer|scheduler|rng)(?:[_-].*)?$"
)


def model_folder(step: Path) -> Path | None:
    """Return the folder that holds a step's model: the step's own or one below it.

    The step's own weights come first, then verl's `actor/huggingface`, then the only subfolder with
    weights; critics, reference models and optimizers are skipped.

    Raises:
        UserError: Several folders hold weights.
    """
    for path in (step, step / _VERL_MODEL):
        if path.is_dir() and (holds_weights(path) or holds_adapter(path)):
            return path
    found = list(_models_below(step, _DEEPEST))
    if len(found) > 1:
        names = [str(path.relative_to(step)) for path in found]
        numbered = re.sub(r"[0-9]+(?=[^0-9]*$)", "{step}", step.name)
        raise UserError(
            f"{step.name} holds several models: {', '.join(names[:_SHOWN])}",
            where=str(step),
            way_out="say which is meant, with {step} for the number: "
            f"source.pattern='{numbered}/{names[0]}'",
        )
    return found[0] if found else None


def _models_below(folder: Path, depth: int) -> Iterator[Path]:
    for path in sorted(folder.iterdir()) if depth else ():
        if not path.is_dir() or _OTHER_PARTS.match(path.name):
            continue
        if path.is_symlink() and folder.resolve().is_relative_to(path.resolve()):
            continue  # symlink loop
        if holds_weights(path) or holds_adapter(path):
            yield path
        else:
            yield from _models_below(path, depth - 1)


def refuse_step(path: Path) -> None:
    """Raise an error that says why a step has no readable model.

    Raises:
        UserError: Always.
    """
    if path.name.startswith("global_step") and not any(
        file.is_file() for file in path.rglob("*.*")
    ):
        raise UserError(
            f"{path.name} has no {_VERL_MODEL} folder: verl saved no Hugging Face model",
            where=str(path),
            way_out="train with hf_model in actor.checkpoint.save_contents, or merge the shards "
            "with python -m verl.model_merger",
        )
    refuse_unreadable(path)
