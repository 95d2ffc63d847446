"""What one method predicts from one window, and the key of everything that it depends on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rlvr_dynamics.checkpoints.companions import companions_digest
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.extrapolation.rule import Rule
from rlvr_dynamics.extrapolation.stored import source_text


@dataclass(frozen=True)
class Job:
    """What to predict and from which steps.

    Attributes:
        method: The rule of the method.
        window: The trajectory restricted to the steps that the method may use.
        observe: Last observed step; 0 for a reconstruction, which observes what it rebuilds.
        targets: Step numbers, ascending.
        settings: All parameters of the method.
        reconstruct: Whether targets inside the window keep their observed coefficients.
        accuracy: Accuracy by step number, empty if the method does not need it.
        label: Name to store under.
        times: Optimizer time by step number, empty if the method is on another clock.
    """

    method: Rule
    window: Trajectory
    observe: int
    targets: list[int]
    settings: Mapping[str, Any]
    reconstruct: bool
    accuracy: Mapping[int, float]
    label: str
    times: Mapping[int, float] = field(default_factory=dict)

    @property
    def moved(self) -> int:
        """Number of parameters predicted: of the layers' matrices, if the method uses matrices."""
        if self.method.tensor_changes is None:
            names = (name for name in self.window.names if not self.method.holds(name))
            return sum(self.window.numel(name) for name in names)
        return sum(each.m * each.n for each in self.window.matrices)

    @property
    def source(self) -> str:
        """The text and key that identify a finished prediction."""
        chosen = [each.label for each in self.window.matrices if self.method.tensor_changes]
        return source_text(
            self.label,
            self.method.name,
            self.settings,
            f"steps up to {self.window.steps[-1]}",
            weights=self.window.mark,
            matrices=chosen,
            companions=companions_digest(self.window.folder(0)),
            reconstruct=self.reconstruct,
            accuracy=sorted(self.accuracy.items()),
            **({"times": sorted(self.times.items())} if self.times else {}),
        )
