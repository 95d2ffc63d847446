"""Which optimizer moved a policy's weights, from the keys of a run and its overrides of verl's."""

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from rlvr_dynamics.schema.overrides import key_of, value_at
from rlvr_dynamics.schema.training import Lora

OPTIM = "actor_rollout_ref.actor.optim"
USUAL_BETAS = (0.9, 0.999)
CLASSES = {"adamw": "AdamW", "sgd": "SGD"}  # of torch.optim
RATE, GRADIENT = "actor/lr", "actor/grad_norm"
"""What verl logs of each step: the learning rate after the scheduler's step, which is that of the
next one, and the norm of the gradient before clipping."""
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

    @property
    def unusual(self) -> str:
        """What sets it apart from AdamW with its usual betas, in words; empty for that one."""
        if self.name == "sgd":
            return f"SGD, momentum {self.betas[0]:g}"
        return "" if self.betas == USUAL_BETAS else f"betas {self.betas[0]:g}, {self.betas[1]:g}"


class Chosen(Protocol):
    """The keys of `algorithm` that are about the optimizer, of a run or of its recording."""

    @property
    def optimizer(self) -> str: ...  # noqa: D102
    @property
    def betas(self) -> tuple[float, float]: ...  # noqa: D102
    @property
    def weight_decay(self) -> float: ...  # noqa: D102
    @property
    def grad_clip(self) -> float: ...  # noqa: D102
    @property
    def lora(self) -> Lora | None: ...  # noqa: D102


class Warming(Protocol):
    """The key of `algorithm` about the warm-up, of a run or of its recording."""

    @property
    def warmup_steps(self) -> int: ...  # noqa: D102


def warms_up(algorithm: Warming, overrides: Iterable[str]) -> bool:
    """Return whether a run's learning rate rises from 0, so that its first step moves nothing.

    Args:
        algorithm: The section `algorithm` of its configuration.
        overrides: `trainer.verl_overrides`.
    """
    given = list(overrides)
    steps = float(value_at(given, f"{OPTIM}.lr_warmup_steps") or algorithm.warmup_steps)
    share = float(value_at(given, f"{OPTIM}.lr_warmup_steps_ratio") or 0.0)
    return steps > 0 or share > 0


def optimizer_keys(algorithm: Chosen, overrides: Iterable[str]) -> OptimizerKeys | None:
    """Return the optimizer of a run whose overrides of verl's keys may have changed it.

    Args:
        algorithm: The section `algorithm` of its configuration.
        overrides: `trainer.verl_overrides`.

    Returns:
        None where the overrides choose an optimizer, or arguments of one, that are not known here,
        and under LoRA: what it does to B and A is no step of such an optimizer of the weights.
    """
    if algorithm.lora is not None:
        return None
    given = list(overrides)
    chosen = value_at(given, f"{OPTIM}.optimizer") or CLASSES[algorithm.optimizer]
    library = value_at(given, f"{OPTIM}.optimizer_impl") or "torch.optim"
    further = any(key_of(each).startswith((_ARGUMENTS, f"+{OPTIM}")) for each in given)
    whole = any(key_of(each) == OPTIM for each in given)
    if chosen not in CLASSES.values() or library != "torch.optim" or further or whole:
        return None
    try:
        decays = ast.literal_eval(value_at(given, f"{OPTIM}.betas") or str(algorithm.betas))
        decay = float(value_at(given, f"{OPTIM}.weight_decay") or algorithm.weight_decay)
        clip = float(value_at(given, f"{OPTIM}.clip_grad") or algorithm.grad_clip)
        first, second = (float(each) for each in decays)
    except (ValueError, SyntaxError, TypeError):
        return None
    if chosen == CLASSES["adamw"]:
        return OptimizerKeys("adamw", (first, second), decay, clip)
    # verl gives betas to Adam alone: without our key SGD has no momentum.
    momentum = algorithm.betas[0] if algorithm.optimizer == "sgd" else 0.0
    return OptimizerKeys("sgd", (momentum,), decay, clip)
