"""Which optimizer moved a policy's weights, from the keys of a run and its overrides of verl's."""

import ast
from collections.abc import Iterable
from dataclasses import dataclass

from rlvr_dynamics.schema.overrides import key_of, value_at

OPTIM = "actor_rollout_ref.actor.optim"
CLASSES = {"adamw": "AdamW", "sgd": "SGD"}  # of torch.optim
_ARGUMENTS = f"{OPTIM}.override_optimizer_config"


@dataclass(frozen=True)
class OptimizerKeys:
    """An optimizer of torch as verl built it.

    Attributes:
        name: `adamw` or `sgd`.
        betas: Decays of the moments; the first alone, SGD's momentum, for `sgd`.
        weight_decay: Its weight decay.
        grad_clip: Largest norm of the whole gradient.
    """

    name: str
    betas: tuple[float, ...]
    weight_decay: float
    grad_clip: float


def optimizer_keys(
    name: str,
    betas: tuple[float, float],
    weight_decay: float,
    grad_clip: float,
    overrides: Iterable[str],
) -> OptimizerKeys | None:
    """Return the optimizer of a run whose `trainer.verl_overrides` may have changed it.

    Args:
        name: `algorithm.optimizer`.
        betas: `algorithm.betas`.
        weight_decay: `algorithm.weight_decay`.
        grad_clip: `algorithm.grad_clip`.
        overrides: `trainer.verl_overrides`.

    Returns:
        None where the overrides choose an optimizer, or arguments of one, that are not known here.
    """
    given = list(overrides)
    chosen = value_at(given, f"{OPTIM}.optimizer") or CLASSES[name]
    library = value_at(given, f"{OPTIM}.optimizer_impl") or "torch.optim"
    further = any(key_of(each).startswith((_ARGUMENTS, f"+{OPTIM}")) for each in given)
    whole = any(key_of(each) == OPTIM for each in given)
    if chosen not in CLASSES.values() or library != "torch.optim" or further or whole:
        return None
    try:
        decays = ast.literal_eval(value_at(given, f"{OPTIM}.betas") or str(betas))
        decay = float(value_at(given, f"{OPTIM}.weight_decay") or weight_decay)
        clip = float(value_at(given, f"{OPTIM}.clip_grad") or grad_clip)
        first, second = (float(each) for each in decays)
    except (ValueError, SyntaxError, TypeError):
        return None
    if chosen == CLASSES["adamw"]:
        return OptimizerKeys("adamw", (first, second), decay, clip)
    # verl gives betas to Adam alone: without our key SGD has no momentum.
    momentum = betas[0] if name == "sgd" else 0.0
    return OptimizerKeys("sgd", (momentum,), decay, clip)
