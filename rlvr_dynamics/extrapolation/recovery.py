"""Rank-k recovery of a step's updates, and a random update of the same size.

All or some matrices of the layers change; everything else stays at the base.
Source: AlphaRL, arXiv 2510.00553, equations 1 to 3 (rank k), figure 4b (scaling by λ), figures 4a
and 11 (a single singular triple), figure 6c (modules by their R²). The random update is our
control.

Legend: m x n a weight matrix, k rank.
"""

import re
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.checkpoints.names import (
    ATTENTION_PROJECTIONS,
    MLP_PROJECTIONS,
    module_of,
    part_of,
)
from rlvr_dynamics.errors import TooLittle, UserError
from rlvr_dynamics.extrapolation.declaration import Look
from rlvr_dynamics.extrapolation.parameters import Parameter
from rlvr_dynamics.extrapolation.r2_windows import WINDOWS, matrices_of_window
from rlvr_dynamics.extrapolation.reconstruction import MatrixReconstruction
from rlvr_dynamics.system.palette import GREEN, GREY

if TYPE_CHECKING:
    from torch import Tensor

    from rlvr_dynamics.checkpoints.structure import Matrix
    from rlvr_dynamics.checkpoints.trajectory import Trajectory

PARTS = ("attention", "mlp", "mixer")
_LAYERS = re.compile(r"(\d+)-(\d+)")


def selected(
    trajectory: "Trajectory", parameters: Mapping[str, Any], accuracy: Mapping[int, float] | None
) -> tuple["Matrix", ...]:
    """Return the matrices of the selected modules and layers.

    Args:
        trajectory: Base and all checkpoints.
        parameters: `modules` ("all", a part in `PARTS` or a projection such as "q_proj"), `layers`
            ("all" or "a-b", inclusive) and `r2_window` (a window by R²; 0 for all).
        accuracy: Accuracy by step number, for `r2_window`.

    Raises:
        TooLittle: `r2_window` without enough accuracies.
        TooLittle: `modules` is a part or a projection that only other model families have.
        UserError: No matrix is left, `layers` has another form, or more than one of rank, percent
            and subspace is set.
    """
    rank, percent, index = parameters["rank"], parameters["percent"], parameters["subspace"]
    if (rank != 1) + (percent > 0.0) + (index > 0) > 1:
        raise UserError(
            f"rank_recovery: rank={rank}, percent={percent:g} and subspace={index} exclude one "
            "another",
            way_out="give one of them",
        )
    modules, layers, known = parameters["modules"], parameters["layers"], trajectory.matrices
    ends = _LAYERS.fullmatch(layers)
    if layers != "all" and ends is None:
        raise UserError(
            f"rank_recovery: layers cannot be {layers!r}", way_out="allowed: all, or 3-7"
        )
    layer_of = trajectory.structure.layer
    chosen = tuple(
        matrix
        for matrix in known
        if modules in ("all", part_of(matrix.tensor), module_of(matrix.tensor))
        and (ends is None or int(ends[1]) <= layer_of(matrix.tensor) <= int(ends[2]))
    )
    if known and not chosen:
        have = sorted({module_of(matrix.tensor) for matrix in known})
        parts = {part_of(matrix.tensor) for matrix in known}
        numbers = [int(layer_of(matrix.tensor)) for matrix in known]
        # A name from another family is not a typo: one list of settings serves every family.
        elsewhere = (*PARTS, *ATTENTION_PROJECTIONS, *MLP_PROJECTIONS)
        missing = modules in elsewhere and modules not in (*parts, *have)
        raise (TooLittle if missing else UserError)(
            f"rank_recovery: no matrix has modules={modules} and layers={layers}",
            way_out=f"modules: all, {', '.join([*sorted(parts), *have])}; layers: all, or within "
            f"{min(numbers)}-{max(numbers)}",
        )
    if parameters["r2_window"]:
        return matrices_of_window(trajectory, chosen, parameters["r2_window"], accuracy)
    return chosen


def rank_part(update: "Tensor", name: str, parameters: Mapping[str, Any]) -> "Tensor":
    """Return λ times the selected part of an update, rescaled to the norm of the full update.

    Raises:
        UserError: There is no singular triple with the given index.
    """
    from rlvr_dynamics import dynamics

    index, percent = parameters["subspace"], parameters["percent"]
    m, n = update.shape
    if index > min(m, n):
        raise UserError(
            f"rank_recovery: {name} has no singular triple {index}",
            way_out=f"its shape is {m} x {n}: at most {min(m, n)}",
        )
    if index > 0:
        part = dynamics.subspace_update(update, index)
    elif percent > 0.0:
        part = dynamics.rank_k_update(update, dynamics.rank_of_percent(m, n, percent))
    else:
        part = dynamics.rank_k_update(update, parameters["rank"])
    return part.mul_(parameters["scale"])


def _rank_k(update: "Tensor", name: str, parameters: Mapping[str, Any]) -> "Tensor":
    from rlvr_dynamics.dynamics import rank_k_update

    return rank_k_update(update, int(parameters["rank"]))


def _random(update: "Tensor", name: str, parameters: Mapping[str, Any]) -> "Tensor":
    """Return a Gaussian matrix with the update's Frobenius norm, seeded by seed and name."""
    import numpy as np
    import torch

    generator = np.random.default_rng([int(parameters["seed"]), zlib.crc32(name.encode())])
    noise = torch.from_numpy(generator.standard_normal(tuple(update.shape)))
    norm = torch.linalg.vector_norm(update.double())
    return noise * (norm / torch.linalg.vector_norm(noise))


_RANK = Parameter(default=1, minimum=1, summary="singular directions kept")

RANK1_RECOVERY = MatrixReconstruction(
    name="rank1_recovery",
    title="rank-1 update, rescaled",
    paper="https://arxiv.org/abs/2510.00553",
    summary="rank-k part of a step's update, rescaled to the norm of the whole",
    look=Look(GREEN, "D"),
    principal=True,
    rebuild=_rank_k,
    parameters={"rank": _RANK},
)

RANK_RECOVERY = MatrixReconstruction(
    name="rank_recovery",
    title="part of the update, rescaled",
    paper="https://arxiv.org/abs/2510.00553",
    summary="part of a step's update by rank, share, triple, module or layer, times λ",
    look=Look(GREEN, "d"),
    labels={
        "rank1_attention": "rank-1 update, attention only",
        "rank1_mlp": "rank-1 update, MLP only",
        r"rank1_([a-z_]+_proj)": "rank-1 update, {} only",
        r"rank1_r2_window_(\d+)": "rank-1 update, third {} by R²",
        r"rank1_scaled_(\d+)_(\d+)": "rank-1 update, rescaled, × {}.{}",
        r"recovery_(\d+)_percent": "rank-{} % update, rescaled",
        r"subspace_(\d+)": "direction {} alone",
    },
    rebuild=rank_part,
    selects=selected,
    needs_accuracy=lambda parameters: parameters["r2_window"] > 0,
    parameters={
        "rank": _RANK,
        "percent": Parameter(
            default=0.0,
            minimum=0.0,
            maximum=100.0,
            summary="rank as a share of min(m, n), rounded up; 0 for off",
        ),
        "scale": Parameter(default=1.0, summary="λ, the factor on the rescaled update"),
        "subspace": Parameter(
            default=0, minimum=0, summary="one singular triple alone, from 1; 0 for off"
        ),
        "modules": Parameter(
            default="all", summary="all, attention, mlp, mixer, or a projection such as q_proj"
        ),
        "layers": Parameter(default="all", summary="all, or a-b with both ends included"),
        "r2_window": Parameter(
            default=0,
            minimum=0,
            maximum=WINDOWS,
            summary=f"a third of these by R², from 1 (best) to {WINDOWS}; 0 for all",
        ),
    },
)

RANDOM_UPDATE = MatrixReconstruction(
    name="random_update",
    title="random update, same norm",
    paper="https://arxiv.org/abs/2510.00553",
    summary="control: a random Gaussian update of the same norm per matrix",
    look=Look(GREY, "X", "--"),
    principal=True,
    rebuild=_random,
    parameters={"seed": Parameter(default=0, minimum=0, summary="seed of the noise")},
)
