"""Trajectory oracle: a step projected on the leading directions of the full run.

No curve is fitted: the rebuilt step has its own coefficients, and the directions come from all
steps, including later ones. It bounds what any extrapolation of that rank can reach.
Source: the oracle reconstruction of RELEX, arXiv 2605.21468.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rlvr_dynamics.extrapolation.declaration import Look
from rlvr_dynamics.extrapolation.reconstruction import Means, Reconstruction
from rlvr_dynamics.extrapolation.relex import RANK
from rlvr_dynamics.extrapolation.rule import Rule, Window
from rlvr_dynamics.extrapolation.stored import Prediction
from rlvr_dynamics.system.palette import BLUE

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints.trajectory import Trajectory
    from rlvr_dynamics.extrapolation.job import Job


@dataclass(frozen=True, kw_only=True)
class TrajectoryOracle(Reconstruction):
    """All tensors change, as in RELEX."""

    def rebuild_steps(
        self,
        trajectory: "Trajectory",
        targets: list[int],
        settings: Mapping[str, Any],
        means: Means,
    ) -> list[Prediction]:
        """Rebuild all targets in one pass."""
        from rlvr_dynamics.extrapolation.streaming import stream_predictions

        streamed = stream_predictions(
            [self.job_of(trajectory, targets, settings, means.label)],
            trajectory,
            means.out_root,
            budget_bytes=means.budget_bytes,
            threads=means.threads,
            show_progress=False,
        )
        return streamed.predictions[0]

    def job_of(
        self, trajectory: "Trajectory", targets: list[int], settings: Mapping[str, Any], label: str
    ) -> "Job":
        """Return the projections as row combinations of all steps."""
        from rlvr_dynamics.extrapolation.job import Job

        return Job(
            method=_PROJECTION,
            window=trajectory,
            observe=0,
            targets=targets,
            settings=settings,
            reconstruct=True,
            accuracy={},
            label=label,
        )


def _project(
    window: Window, targets: np.ndarray, parameters: Mapping[str, Any], reconstruct: bool
) -> np.ndarray:
    """Return A such that W_0 + A M are the projections of observed steps, shape (targets, T)."""
    import torch

    from rlvr_dynamics.dynamics import svd_of_gram

    svd = svd_of_gram(torch.from_numpy(window.gram), int(parameters["rank"]), window.steps)
    return svd.coefficients[np.searchsorted(window.steps, targets)] @ svd.rows_to_directions


_PROJECTION = Rule(
    name="trajectory_oracle", row_weights=_project, needs_gram=lambda parameters: True
)

TRAJECTORY_ORACLE = TrajectoryOracle(
    name=_PROJECTION.name,
    title="trajectory rank-1, oracle",
    paper="https://arxiv.org/abs/2605.21468",
    summary="a step projected on the leading directions of the whole run",
    look=Look(BLUE, "*"),
    labels={r"trajectory_oracle_rank(\d+)": "trajectory rank-{}, oracle"},
    parameters={"rank": RANK},
)
