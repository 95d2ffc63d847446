"""Borrowed direction: another run's update from the same base, at the length of this run's.

Each tensor moves along the other run's last update, as far as this run moved it:
‖ΔW_B‖ ΔW_A / ‖ΔW_A‖. It asks whose direction an update has: the base's and the task's, so that any
run from there would do, or this run's own. Its control is the random update of the same norm.

Source: ours, with the updates of one base as vectors (task vectors, arXiv 2212.04089).

Legend: A the other run, B this one, ΔW = W - W_0 of one tensor.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.errors import TooLittle, UserError
from rlvr_dynamics.extrapolation.declaration import Look
from rlvr_dynamics.extrapolation.parameters import Parameter
from rlvr_dynamics.extrapolation.reconstruction import Means, Reconstruction
from rlvr_dynamics.extrapolation.stored import Prediction
from rlvr_dynamics.system.palette import PURPLE

if TYPE_CHECKING:
    from rlvr_dynamics.checkpoints.differences import Differences
    from rlvr_dynamics.checkpoints.trajectory import Trajectory


@dataclass(frozen=True, kw_only=True)
class BorrowedDirection(Reconstruction):
    """All tensors change, as in training."""

    def rebuild_steps(
        self,
        trajectory: "Trajectory",
        targets: list[int],
        settings: Mapping[str, Any],
        means: Means,
    ) -> list[Prediction]:
        """Rebuild the targets one after the other, tensor by tensor.

        Raises:
            TooLittle: No run is named.
            UserError: It has another base, or is this run.
        """
        donor = means.donor
        if donor is None:
            raise TooLittle(
                f"{means.label}: no run lends its direction", way_out="extrapolation.donor=RUN_DIR"
            )
        if donor.identities[0] != trajectory.identities[0]:
            raise UserError(
                f"{means.label}: that run started from another base, so its direction means "
                "nothing here",
                where=f"{donor.folder(0)} and {trajectory.folder(0)}",
                way_out="name a run of the same base (base_seed=N) in the same dtype",
            )
        last = donor.steps[-1]
        if donor.identities[last] in {trajectory.identities[step] for step in targets}:
            raise UserError(
                f"{means.label}: that run's last step is the one to rebuild",
                where=str(donor.folder(last)),
                way_out="name another run",
            )

        def write(window: "Trajectory", folder: Path, source: str) -> str:
            theirs = window.beside(window.steps[0], donor.folder(last))
            theirs.prove_on_reading()
            return _write(window, theirs, folder, source, means.budget_bytes)

        return self.one_by_one(
            trajectory,
            targets,
            settings,
            means,
            moved=trajectory.parameters,
            write=write,
            facts={"direction": donor.identities[last]},
        )


def _write(
    window: "Trajectory", theirs: "Trajectory", folder: Path, source: str, budget_bytes: int
) -> str:
    from rlvr_dynamics.checkpoints.differences import Differences
    from rlvr_dynamics.checkpoints.writer import CheckpointWriter

    with CheckpointWriter(
        window.folder(0),
        folder,
        step=window.steps[0],
        source=source,
        dtypes=window.dtypes,
        layout=window.template,
    ) as writer:
        still = 0
        for name in window.names:
            own, other = (Differences(each, name, budget_bytes // 2) for each in (window, theirs))
            length, reach = _length(own), _length(other)
            still += length > 0.0 == reach
            scale = length / reach if reach else 0.0
            for piece in other.pieces():
                moved = piece.stored[0].double() + scale * piece.updates[0].double()
                writer.write_elements(name, piece.start, moved)
        window.settle()
        theirs.settle()
        if still:
            print(f"{still} tensors without a direction in the other run stay at the base")
    return str(writer.manifest["identity"])


def _length(differences: "Differences") -> float:
    """Return ‖ΔW‖ of the only step."""
    return math.sqrt(sum(float(each.double().square().sum()) for *_, each in differences.chunks()))


BORROWED_DIRECTION = BorrowedDirection(
    name="borrowed_direction",
    title="another run's direction, same norm",
    paper="https://arxiv.org/abs/2212.04089",
    summary="another run's last update from the same base, with this run's norm per tensor",
    look=Look(PURPLE, "<", "--"),
    parameters={
        "run": Parameter(
            default="", summary="run directory of the other run; empty for extrapolation.donor"
        )
    },
)
