"""The extrapolator: a declared rule that predicts later weights from a window of steps."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.errors import TooLittle, UserError
from rlvr_dynamics.extrapolation.accuracy import check_accuracy
from rlvr_dynamics.extrapolation.declaration import Declaration
from rlvr_dynamics.extrapolation.on_clock import check_clock, on_optimizer_time
from rlvr_dynamics.extrapolation.parameters import complete_parameters
from rlvr_dynamics.extrapolation.rule import Rule
from rlvr_dynamics.extrapolation.stored import Prediction

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints.trajectory import Trajectory
    from rlvr_dynamics.extrapolation.job import Job

DEFAULT_BUDGET_BYTES = 1 << 30
DEFAULT_THREADS = 2


@dataclass(frozen=True, kw_only=True)
class Extrapolator(Declaration, Rule):
    """A method that predicts later weights from a window of earlier ones.

    Attributes:
        needs_accuracy: Whether accuracies of the observed steps must be given.
        fewest_steps: Function from parameters to the smallest T that works.
        last_steps: Function from parameters to the number of last observed steps that are used; 0
            for all.
    """

    needs_accuracy: bool = False
    fewest_steps: Callable[[Mapping[str, Any]], int] = lambda parameters: 1
    last_steps: Callable[[Mapping[str, Any]], int] = lambda parameters: 0

    def run(
        self,
        trajectory: "Trajectory",
        observe: int,
        targets: Iterable[int],
        out_root: Path,
        *,
        reconstruct: bool = False,
        label: str | None = None,
        accuracy: Mapping[int, float] | None = None,
        times: Mapping[int, float] | None = None,
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
        threads: int = DEFAULT_THREADS,
        progress: bool = False,
        **parameters: Any,
    ) -> list[Prediction]:
        """Predict every target from the steps up to `observe` and write the checkpoints.

        A target predicted before from the same window with the same settings is reused.

        Args:
            trajectory: Base and checkpoints; steps after `observe` are not read.
            observe: Last observed step, one of the trajectory's.
            targets: Steps to predict.
            out_root: Folder to write `<method>/observe_<K>/step_<N>` to.
            reconstruct: Allow targets inside the window.
            label: Name to store under instead of `name`, for a variant.
            accuracy: Accuracy in [0, 1] by step number, for methods that need it. Steps after
                `observe` are hidden from methods that do not declare using the future.
            times: Optimizer time by step number (`OptimizerRecord.times`), for `clock=optimizer`.
            budget_bytes: Memory for the stacks of updates of all threads together.
            threads: Tensors processed at a time.
            progress: Whether to show a progress bar.
            **parameters: The method's declared settings.

        Returns:
            One entry per target, in ascending order.

        Raises:
            UserError: Target inside the window, window too short, unknown parameter, missing or
                constant accuracies, damaged or non-finite weights, a prediction that overflows
                the stored dtype.
        """
        from rlvr_dynamics.extrapolation.streaming import stream_predictions

        job = self.job(
            trajectory,
            observe,
            targets,
            reconstruct=reconstruct,
            label=label,
            accuracy=accuracy,
            times=times,
            **parameters,
        )
        streamed = stream_predictions(
            [job],
            trajectory,
            Path(out_root),
            budget_bytes=budget_bytes,
            threads=threads,
            show_progress=progress,
        )
        return streamed.predictions[0]

    def job(
        self,
        trajectory: "Trajectory",
        observe: int,
        targets: Iterable[int],
        *,
        reconstruct: bool = False,
        label: str | None = None,
        accuracy: Mapping[int, float] | None = None,
        times: Mapping[int, float] | None = None,
        **parameters: Any,
    ) -> "Job":
        """Return what `run` would predict, checked, for a pass that several jobs share.

        Raises:
            UserError: As `run`, apart from what only reading the weights can show.
        """
        from rlvr_dynamics.extrapolation.job import Job

        settings = complete_parameters(self.name, self.parameters, parameters)
        steps = check_window(trajectory.steps, observe, targets, reconstruct)
        window = trajectory.until(observe)
        used = self.used_steps(window.steps, settings)
        known = self.known_accuracy(accuracy, used, settings)
        clock = (times or {}) if on_optimizer_time(settings) else {}
        check_clock(used, steps, settings, clock)
        return Job(
            method=self,
            window=window.only(used),
            observe=observe,
            targets=steps,
            settings=settings,
            reconstruct=reconstruct,
            accuracy=known,
            times=clock,
            label=label or self.name,
        )

    def used_steps(self, steps: tuple[int, ...], settings: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the steps of a window that the method uses.

        Args:
            steps: The observed steps, ascending.
            settings: All of the method's parameters.

        Raises:
            TooLittle: They are too few.
        """
        used, fewest = steps[-self.last_steps(settings) :], self.fewest_steps(settings)
        if len(used) < fewest:
            raise TooLittle(
                f"{self.name} needs at least {fewest} observed steps and the window up to step "
                f"{steps[-1]} has {len(used)}",
                way_out="observe more (extrapolation.windows), or save checkpoints more often",
            )
        return used

    def known_accuracy(
        self,
        accuracy: Mapping[int, float] | None,
        used: tuple[int, ...],
        settings: Mapping[str, Any],
    ) -> Mapping[int, float]:
        """Return the accuracies that the method may know; empty if it needs none.

        Raises:
            TooLittle: They are too few, or all alike.
            UserError: One is not a share of 1.
        """
        if not self.needs_accuracy:
            return {}
        last = None if self.uses_future(settings) else used[-1]
        return check_accuracy(self.name, accuracy, used, last)


def check_window(
    steps: tuple[int, ...], observe: int, targets: Iterable[int], reconstruct: bool
) -> list[int]:
    """Return the targets in ascending order, each checked against the observed window.

    Raises:
        UserError: `observe` is not a step of the trajectory, there are no targets, or a target is
            not after the window.
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
