"""The reconstruction: a real step rebuilt from part of its own update.

It uses the step that it rebuilds, so it answers "what is in the update", not "could it have been
predicted". It is stored with 0 as the last observed step.

Legend: m x n a weight matrix.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.checkpoints.companions import companions_digest
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation.base import DEFAULT_BUDGET_BYTES, DEFAULT_THREADS
from rlvr_dynamics.extrapolation.declaration import Declaration
from rlvr_dynamics.extrapolation.parameters import complete_parameters
from rlvr_dynamics.extrapolation.stored import (
    Prediction,
    finished,
    made_before,
    prediction_folder,
    source_text,
)

if TYPE_CHECKING:
    from torch import Tensor

    from rlvr_dynamics.checkpoints.structure import Matrix
    from rlvr_dynamics.checkpoints.trajectory import Trajectory
    from rlvr_dynamics.checkpoints.writer import CheckpointWriter
    from rlvr_dynamics.extrapolation.job import Job

_PIECE = 1 << 20  # elements copied at a time


@dataclass(frozen=True)
class Means:
    """Where to write rebuilt checkpoints, under which name, and the resources to use.

    Attributes:
        out_root: The predictions folder.
        label: Name to store under.
        budget_bytes: Memory for stored weights.
        threads: Tensors at a time.
        accuracy: Accuracy by step number, if known.
        donor: Base and checkpoints of the other run that a method with the parameter `run` reads.
    """

    out_root: Path
    label: str
    budget_bytes: int
    threads: int
    accuracy: Mapping[int, float] | None
    donor: "Trajectory | None" = None


@dataclass(frozen=True, kw_only=True)
class Reconstruction(Declaration, ABC):
    """A way to rebuild a real checkpoint.

    Attributes:
        uses_future: Always true: the rebuilt step itself is used.
    """

    uses_future: bool = True

    def run(
        self,
        trajectory: "Trajectory",
        targets: Iterable[int],
        out_root: Path,
        *,
        label: str | None = None,
        accuracy: Mapping[int, float] | None = None,
        donor: "Trajectory | None" = None,
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
        threads: int = DEFAULT_THREADS,
        **parameters: Any,
    ) -> list[Prediction]:
        """Rebuild every target step and write `<method>/observe_0/step_<N>`.

        A step rebuilt before with the same settings is reused.

        Args:
            trajectory: Base and checkpoints.
            targets: Steps to rebuild, all from the trajectory.
            out_root: The predictions folder.
            label: Name to store under instead of `name`, for a variant.
            accuracy: Accuracy in [0, 1] by step number, for settings that need it.
            donor: Base and checkpoints of the run that the parameter `run` names.
            budget_bytes: Memory for stored weights; a single matrix's update must fit in any case.
            threads: Tensors at a time, where parallel work is possible.
            **parameters: The declared settings.

        Returns:
            One entry per target, in ascending order.

        Raises:
            UserError: A target that was not saved, an unknown parameter, settings that match no
                tensor of this model, damaged or non-finite weights.
        """
        steps, settings = self._checked(trajectory, targets, parameters)
        means = Means(Path(out_root), label or self.name, budget_bytes, threads, accuracy, donor)
        return self.rebuild_steps(trajectory, steps, settings, means)

    def job(
        self,
        trajectory: "Trajectory",
        targets: Iterable[int],
        *,
        label: str | None = None,
        **parameters: Any,
    ) -> "Job | None":
        """Return what `run` would rebuild, for a pass that it can share; None if it cannot.

        Raises:
            UserError: A target that was not saved, or an unknown parameter.
        """
        steps, settings = self._checked(trajectory, targets, parameters)
        return self.job_of(trajectory, steps, settings, label or self.name)

    def job_of(
        self, trajectory: "Trajectory", targets: list[int], settings: Mapping[str, Any], label: str
    ) -> "Job | None":
        """Return checked targets as row combinations of the steps; None if they are none."""
        return None

    def _checked(
        self, trajectory: "Trajectory", targets: Iterable[int], parameters: Mapping[str, Any]
    ) -> tuple[list[int], dict[str, Any]]:
        settings = complete_parameters(self.name, self.parameters, parameters)
        steps = sorted(set(targets))
        for step in steps:
            _check_saved(trajectory.steps, step, self.name)
        return steps, settings

    @abstractmethod
    def rebuild_steps(
        self,
        trajectory: "Trajectory",
        targets: list[int],
        settings: Mapping[str, Any],
        means: Means,
    ) -> list[Prediction]:
        """Rebuild checked targets with complete settings."""

    def one_by_one(
        self,
        trajectory: "Trajectory",
        targets: list[int],
        settings: Mapping[str, Any],
        means: Means,
        *,
        moved: int,
        write: Callable[["Trajectory", Path, str], str],
        facts: Mapping[str, Any],
    ) -> list[Prediction]:
        """Write every target that does not exist yet.

        Args:
            trajectory: Base and checkpoints.
            targets: Saved steps.
            settings: Complete settings.
            means: Where to write.
            moved: Number of parameters that change.
            write: Function of (the trajectory with the target alone, the folder to write, the text
                on where it comes from) that returns the identity of the weights.
            facts: What the weights depend on besides trajectory and settings; JSON values.
        """
        made, label = [], means.label
        facts = {**facts, "companions": companions_digest(trajectory.folder(0))}
        for step in targets:
            window = trajectory.only([step])
            folder = prediction_folder(means.out_root, label, 0, step)
            seen = f"step {step}"
            source = source_text(label, self.name, settings, seen, weights=window.mark, **facts)
            identity = made_before(folder, source)
            if identity is None:
                window.prove_on_reading()
                identity = write(window, folder, source)
            made.append(
                finished(
                    method=label,
                    observe=0,
                    step=step,
                    folder=folder,
                    identity=identity,
                    uses_future=self.uses_future,
                    moved=moved,
                    parameters=window.parameters,
                )
            )
        return made


@dataclass(frozen=True, kw_only=True)
class MatrixReconstruction(Reconstruction):
    """A reconstruction that replaces the update of some matrices and keeps the others at the base.

    Attributes:
        rebuild: Function of (update of shape (m, n), the matrix's label, parameters) that returns
            the new update, shape (m, n), float64.
        selects: Function of (trajectory, parameters, accuracy) that returns the matrices whose
            update is replaced.
        needs_accuracy: Function from parameters to whether the selection depends on accuracies.
    """

    rebuild: Callable[["Tensor", str, Mapping[str, Any]], "Tensor"]
    selects: Callable[
        ["Trajectory", Mapping[str, Any], Mapping[int, float] | None], tuple["Matrix", ...]
    ] = lambda trajectory, parameters, accuracy: trajectory.matrices
    needs_accuracy: Callable[[Mapping[str, Any]], bool] = lambda parameters: False

    def rebuild_steps(
        self,
        trajectory: "Trajectory",
        targets: list[int],
        settings: Mapping[str, Any],
        means: Means,
    ) -> list[Prediction]:
        """Rebuild the targets one after the other, tensor by tensor."""
        changed = self.selects(trajectory, settings, means.accuracy)
        return self.one_by_one(
            trajectory,
            targets,
            settings,
            means,
            moved=sum(each.m * each.n for each in changed),
            write=lambda window, folder, source: self._write(
                window, folder, source, changed, settings
            ),
            facts={"matrices": sorted(each.label for each in changed)},
        )

    def _write(
        self,
        window: "Trajectory",
        folder: Path,
        source: str,
        changed: tuple["Matrix", ...],
        settings: Mapping[str, Any],
    ) -> str:
        from rlvr_dynamics.checkpoints.differences import Differences
        from rlvr_dynamics.checkpoints.writer import CheckpointWriter

        step = window.steps[0]
        parts: dict[str, list[Matrix]] = defaultdict(list)
        for matrix in changed:
            parts[matrix.tensor].append(matrix)
        with CheckpointWriter(
            window.folder(0),
            folder,
            step=step,
            source=source,
            dtypes=window.dtypes,
            layout=window.template,
        ) as writer:
            for name in window.names:
                differences, place = Differences(window, name), 0
                for matrix in sorted(parts[name], key=lambda each: each.start):
                    self._copy_base(window, name, place, matrix.start, writer)
                    place = matrix.stop
                    update = differences.part(0, matrix.start, place).view(matrix.m, matrix.n)
                    base = window.elements(0, name, matrix.start, place).view(update.shape)
                    rebuilt = self.rebuild(update, matrix.label, settings).add_(base)
                    writer.write_elements(name, matrix.start, rebuilt.reshape(-1))
                self._copy_base(window, name, place, window.numel(name), writer)
            window.settle()
        return str(writer.manifest["identity"])

    @staticmethod
    def _copy_base(
        window: "Trajectory", name: str, start: int, stop: int, writer: "CheckpointWriter"
    ) -> None:
        for low in range(start, stop, _PIECE):
            high = min(stop, low + _PIECE)
            writer.write_elements(name, low, window.elements(0, name, low, high))


def _check_saved(steps: tuple[int, ...], step: int, method: str) -> None:
    if step not in steps:
        near = ", ".join(map(str, sorted(steps, key=lambda have: abs(have - step))[:3]))
        raise UserError(
            f"{method} rebuilds a saved step, and step {step} was not saved",
            way_out=f"the nearest that exist: {near}",
        )
