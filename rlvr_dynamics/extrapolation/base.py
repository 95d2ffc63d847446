"""What an extrapolator is: a rule that turns observed updates into weights on those updates.

Every method here predicts W_0 + A M, where M (T x d) holds the observed updates of a tensor and A
(targets x T) depends on M only through its Gram matrix. So a method is a small function that
returns A, and one streaming pass over the files serves all targets of a window.

Legend: T observed steps, d elements of one tensor.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rlvr_dynamics.errors import UserError

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints.trajectory import Trajectory

DEFAULT_BUDGET_BYTES = 1 << 30


@dataclass(frozen=True)
class Window:
    """What a method may look at, for one tensor.

    Attributes:
        steps: Observed step numbers, shape (T,), rising.
        gram: M Mᵀ, shape (T, T), float64; None when the method did not ask for it.
    """

    steps: np.ndarray
    gram: np.ndarray | None


@dataclass(frozen=True)
class Parameter:
    """A declared setting of a method: its default and what is allowed.

    Attributes:
        default: Value when nothing is given; its type is the type that is allowed.
        summary: What it does, in one line.
        choices: Allowed values, or empty.
        minimum: Smallest allowed number, or None.
    """

    default: int | str
    summary: str
    choices: tuple[str, ...] = ()
    minimum: int | None = None

    def check(self, method: str, name: str, value: Any) -> None:
        """Refuse a value of the wrong type or range.

        Raises:
            UserError: Names the method, the parameter, what was given and what is allowed.
        """
        allowed = " or ".join(self.choices) or f"{type(self.default).__name__}" + (
            f" of at least {self.minimum}" if self.minimum is not None else ""
        )
        fits = type(value) is type(self.default)
        if fits and isinstance(value, str):
            fits = not self.choices or value in self.choices
        elif fits:
            fits = self.minimum is None or value >= self.minimum
        if not fits:
            raise UserError(f"{method}: {name} cannot be {value!r}", way_out=f"allowed: {allowed}")


def complete_parameters(
    method: str, declared: Mapping[str, Parameter], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the declared defaults overridden by what was given, all checked.

    Raises:
        UserError: An unknown parameter, or a value that is not allowed.
    """
    for name, value in given.items():
        if name not in declared:
            raise UserError(
                f"{method} has no parameter {name!r}",
                way_out=f"it has: {', '.join(declared) or 'none'}",
            )
        declared[name].check(method, name, value)
    return {name: given.get(name, parameter.default) for name, parameter in declared.items()}


@dataclass(frozen=True)
class Prediction:
    """One predicted checkpoint on disk.

    Attributes:
        method: Name under which it is stored and reported.
        observe: Last observed step; 0 for reconstructions, which observe the step they rebuild.
        step: Target step.
        folder: The Hugging Face folder.
        identity: Identity of its weights.
        uses_future: Whether the target itself was looked at.
    """

    method: str
    observe: int
    step: int
    folder: Path
    identity: str
    uses_future: bool


def prediction_folder(out_root: Path, method: str, observe: int, step: int) -> Path:
    """Return where a prediction lives below the predictions folder."""
    return Path(out_root) / method / f"observe_{observe}" / f"step_{step}"


@dataclass(frozen=True)
class Extrapolator:
    """A method that predicts later weights from a window of earlier ones.

    Attributes:
        name: Its key in the registry.
        paper: Where it is described.
        summary: What it does, in one line.
        row_weights: Function of (window, targets, parameters, reconstruct) that returns A, shape
            (targets, T), float64.
        needs_gram: Whether the window must carry the Gram matrix (one more pass when the stack
            does not fit the memory budget).
        fewest_steps: Function from parameters to the smallest T that works.
        parameters: Declared settings.
    """

    name: str
    paper: str
    summary: str
    row_weights: Callable[[Window, np.ndarray, Mapping[str, Any], bool], np.ndarray]
    needs_gram: bool = False
    fewest_steps: Callable[[Mapping[str, Any]], int] = lambda parameters: 1
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    def run(
        self,
        trajectory: "Trajectory",
        observe: int,
        targets: Iterable[int],
        out_root: Path,
        *,
        reconstruct: bool = False,
        label: str | None = None,
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
        progress: bool = False,
        **parameters: Any,
    ) -> list[Prediction]:
        """Predict every target from the steps up to `observe` and write the checkpoints.

        Args:
            trajectory: Base and checkpoints; steps after `observe` are not read.
            observe: Last observed step, one of the trajectory's.
            targets: Steps to predict.
            out_root: Folder that gets `<method>/observe_<K>/step_<N>`.
            reconstruct: Allow targets inside the window.
            label: Name to store under instead of `name`, for a variant.
            budget_bytes: Memory for the stack of one tensor's updates.
            progress: Show a bar.
            **parameters: The method's declared settings.

        Returns:
            One entry per target, in rising order.

        Raises:
            UserError: Target inside the window, window too short, unknown parameter, damaged or
                non-finite weights, a prediction that overflows the stored dtype.
        """
        from rlvr_dynamics.extrapolation.streaming import stream_predictions

        settings = complete_parameters(self.name, self.parameters, parameters)
        steps = check_window(trajectory.steps, observe, targets, reconstruct)
        window = trajectory.until(observe)
        fewest = self.fewest_steps(settings)
        if len(window.steps) < fewest:
            raise UserError(
                f"{self.name} needs at least {fewest} observed steps and the window up to step "
                f"{observe} has {len(window.steps)}",
                way_out="observe more steps or save checkpoints more often",
            )
        return stream_predictions(
            self,
            window,
            steps,
            Path(out_root),
            settings=settings,
            reconstruct=reconstruct,
            label=label or self.name,
            budget_bytes=budget_bytes,
            show_progress=progress,
        )


def check_window(
    steps: tuple[int, ...], observe: int, targets: Iterable[int], reconstruct: bool
) -> list[int]:
    """Return the targets in rising order, each checked against the observed window.

    Raises:
        UserError: `observe` is no step of the trajectory, there are no targets, or a target is not
            after the window.
    """
    if observe not in steps:
        near = ", ".join(map(str, sorted(steps, key=lambda step: abs(step - observe))[:3]))
        raise UserError(
            f"the window cannot end at step {observe}: there is no such checkpoint",
            way_out=f"the nearest that exist: {near}",
        )
    chosen = sorted(set(targets))
    if not chosen:
        raise UserError("no target steps", way_out="name at least one step after the window")
    if chosen[0] < 1 or (chosen[0] <= observe and not reconstruct):
        raise UserError(
            f"target step {chosen[0]} is not after the observed window, steps {steps[0]} to "
            f"{observe}",
            way_out="choose a later target, or ask for reconstruction",
        )
    return chosen
