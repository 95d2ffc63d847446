"""Reconstructions of a real step: its rank-k update, and a random update of the same size.

Both look at the step that they rebuild, so they answer "what is in the update", not "could it
have been foreseen". Attention and MLP matrices change; everything else stays at the base.
Source: AlphaRL, arXiv 2510.00553, equations 1 to 3; the random update is a control of ours.

Legend: m x n a weight matrix, k rank.
"""

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation.base import (
    Parameter,
    Prediction,
    complete_parameters,
    prediction_folder,
)

if TYPE_CHECKING:
    from torch import Tensor

    from rlvr_dynamics.checkpoints.trajectory import Trajectory


@dataclass(frozen=True)
class Reconstruction:
    """A way to rebuild a real checkpoint from part of its update.

    Attributes:
        name: Its key in the registry.
        paper: Where it is described.
        summary: What it does, in one line.
        rebuild: Function of (update of shape (m, n), tensor name, parameters) that returns the
            replacing update, shape (m, n), float64.
        parameters: Declared settings.
        uses_future: Always true: the rebuilt step itself is looked at.
    """

    name: str
    paper: str
    summary: str
    rebuild: Callable[["Tensor", str, Mapping[str, Any]], "Tensor"]
    parameters: Mapping[str, Parameter]
    uses_future: bool = True

    def run(
        self,
        trajectory: "Trajectory",
        targets: Iterable[int],
        out_root: Path,
        *,
        label: str | None = None,
        **parameters: Any,
    ) -> list[Prediction]:
        """Rebuild every target step and write `<method>/observe_0/step_<N>`.

        Args:
            trajectory: Base and checkpoints.
            targets: Steps to rebuild, each one of the trajectory's.
            out_root: The predictions folder.
            label: Name to store under instead of `name`, for a variant.
            **parameters: The declared settings.

        Raises:
            UserError: A target that was not saved, an unknown parameter, damaged or non-finite
                weights.
        """
        from rlvr_dynamics.checkpoints.differences import Differences
        from rlvr_dynamics.checkpoints.writer import CheckpointWriter

        settings = complete_parameters(self.name, self.parameters, parameters)
        words = ", ".join(f"{key}={value}" for key, value in settings.items())
        method = label or self.name
        made = []
        for step in sorted(set(targets)):
            _check_saved(trajectory.steps, step, self.name)
            window = trajectory.only([step])
            window.verify()
            folder = prediction_folder(out_root, method, 0, step)
            source = f"{method} ({self.name}: {words}) of step {step}"
            changed = set(window.block_matrices)
            with CheckpointWriter(window.folder(0), folder, step=step, source=source) as writer:
                for name in window.names:
                    base = window.tensor(0, name)
                    if name in changed:
                        update = Differences(window, name).row(0).view(base.shape)
                        base = base.double() + self.rebuild(update, name, settings)
                    writer.write(name, base)
            identity = writer.manifest["identity"]
            made.append(Prediction(method, 0, step, folder, identity, self.uses_future))
        return made


def _check_saved(steps: tuple[int, ...], step: int, method: str) -> None:
    if step not in steps:
        near = ", ".join(map(str, sorted(steps, key=lambda have: abs(have - step))[:3]))
        raise UserError(
            f"{method} rebuilds a saved step, and step {step} was not saved",
            way_out=f"the nearest that exist: {near}",
        )


def _rank_k(update: "Tensor", name: str, parameters: Mapping[str, Any]) -> "Tensor":
    from rlvr_dynamics.dynamics import rank_k_update

    return rank_k_update(update, int(parameters["rank"]))


def _random(update: "Tensor", name: str, parameters: Mapping[str, Any]) -> "Tensor":
    """Return a Gaussian matrix of the update's Frobenius norm, seeded by seed and name."""
    import numpy as np
    import torch

    generator = np.random.default_rng([int(parameters["seed"]), zlib.crc32(name.encode())])
    noise = torch.from_numpy(generator.standard_normal(tuple(update.shape)))
    norm = torch.linalg.vector_norm(update.double())
    return noise * (norm / torch.linalg.vector_norm(noise))


RANK1_RECOVERY = Reconstruction(
    name="rank1_recovery",
    paper="https://arxiv.org/abs/2510.00553",
    summary="rank-k part of a step's update, rescaled to the norm of the whole",
    rebuild=_rank_k,
    parameters={"rank": Parameter(default=1, minimum=1, summary="singular directions kept")},
)

RANDOM_UPDATE = Reconstruction(
    name="random_update",
    paper="https://arxiv.org/abs/2510.00553",
    summary="control: a random Gaussian update of the same norm per matrix",
    rebuild=_random,
    parameters={"seed": Parameter(default=0, minimum=0, summary="seed of the noise")},
)
