"""NExt: small networks predict the rank-1 part of a later change from those of earlier ones.

At checkpoint i of a matrix the global change is G = W_i - W_0, the local one L = W_i - W_{i-1} and
the wanted one W_{i+k} - W_i. Each is reduced to its leading triple (u, σ, v). From (G, L) one
network predicts u and v of each length, shared by all matrices, and one σ. It learns from the pairs
inside the window, and predicts from the last checkpoint: Ŵ = W + α σ̂ û v̂ᵀ, û and v̂ of length 1.
Source: NExt, arXiv 2604.11446; released code: github.com/RUCAIBox/NExt.

As there: the loss (absolute errors, summed), AdamW with a cosine to 10 %, and α. Ours: the matrices
of the layers alone move; what the text leaves open is how the three blocks of a network are joined
(here one reads G, one L, and one both); the signs of the triples may be aligned. The decomposition
leaves them to chance, and the released code takes them as they are. Where the window has too few
changes as long as the wanted one, shorter ones are learned, and σ̂ grows in proportion.

Legend: T checkpoints, m x n a weight matrix, d length of a vector, p pairs, k checkpoints ahead.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from rlvr_dynamics.extrapolation.base import Extrapolator
from rlvr_dynamics.extrapolation.declaration import Look
from rlvr_dynamics.extrapolation.parameters import Parameter
from rlvr_dynamics.extrapolation.rule import Change, KnownUpdates, LowRank
from rlvr_dynamics.system.palette import GREEN

if TYPE_CHECKING:
    from torch import Tensor

    from rlvr_dynamics.checkpoints.structure import Matrix
    from rlvr_dynamics.checkpoints.trajectory import Trajectory

FEWEST_PAIRS = 2
LAST_RATE = 0.1  # of the cosine, as a share of the first
_ROWS_BYTES = 64 << 20

Triple = dict[str, "Tensor"]
"""`u` (m,), `v` (n,) and `sigma` (1,), float32."""


@dataclass(frozen=True)
class Changes:
    """The triples of one matrix.

    Attributes:
        known: (G, L) at the checkpoints with a wanted change, p of them, then at the last one.
        wanted: The change k checkpoints on, p of them.
    """

    known: tuple[tuple[Triple, Triple], ...]
    wanted: tuple[Triple, ...]


def tensor_changes(
    window: "Trajectory",
    name: str,
    targets: np.ndarray,
    parameters: Mapping[str, Any],
    accuracy: Mapping[int, float],
    remarks: list[str],
    known_updates: KnownUpdates | None = None,
) -> list[Change]:
    """Return the change of one tensor for each target.

    Args:
        window: The trajectory of the observed steps.
        name: The tensor.
        targets: Target steps, shape (targets,).
        parameters: The declared settings.
        accuracy: Not read.
        remarks: Receives lines to be recorded.
        known_updates: Not read: it needs the right-hand vectors of every step.
    """
    last = window.steps[-1]
    found = []
    for target in targets.tolist():
        predicted = _predictions(window, int(target) - last, parameters, remarks)
        parts = tuple(
            LowRank(matrix.start, predicted[matrix.label][0], predicted[matrix.label][1])
            for matrix in window.structure.matrices_of(name)
            if matrix.label in predicted
        )
        found.append(Change(last, parts))
    return found


_FITS: "WeakKeyDictionary[Trajectory, dict[Any, Any]]" = WeakKeyDictionary()
_ONE = Lock()  # all tensors of a window share its networks, whichever is asked for first


def _predictions(
    window: "Trajectory", ahead: int, parameters: Mapping[str, Any], remarks: list[str]
) -> "dict[str, tuple[Tensor, Tensor]]":
    """Return α σ̂ û (m, 1) and v̂ (n, 1) of every matrix that has moved, float64."""
    places = _places(window.steps, int(parameters["spacing"]))
    apart = (window.steps[places[-1]] - window.steps[places[0]]) / (len(places) - 1)
    most = len(places) - 1 - FEWEST_PAIRS
    k = min(max(1, round(ahead / apart)), most)
    if k * apart != ahead:
        remarks.append(f"learned from changes over {k * apart:g} steps, σ̂ scaled to {ahead}")
    key = (k, *sorted(parameters.items()))
    with _ONE:
        fits = _FITS.setdefault(window, {})
        if key not in fits:
            fits[key] = _fit(window, places, k, parameters)
        scale = ahead / (k * apart)
        return {label: (scale * left, right) for label, (left, right) in fits[key].items()}


def _fit(
    window: "Trajectory", places: Sequence[int], k: int, parameters: Mapping[str, Any]
) -> "dict[str, tuple[Tensor, Tensor]]":
    align = bool(parameters["align"])
    changes = {each.label: _changes(window, each, places, k, align) for each in window.matrices}
    predicted = {
        part: _predict(list(changes.values()), part, parameters) for part in ("u", "sigma", "v")
    }
    found = {}
    for place, (label, change) in enumerate(changes.items()):
        if not any(float(whole["sigma"][0]) > 0.0 for whole, _ in change.known):
            continue  # it has no direction, and the networks would give it one
        u, sigma, v = (predicted[part][place].double() for part in ("u", "sigma", "v"))
        scale = float(parameters["alpha"]) * float(sigma[0])
        found[label] = (scale * (u / u.norm())[:, None], (v / v.norm())[:, None])
    return found


def _places(steps: Sequence[int], spacing: int) -> list[int]:
    """Return the indices of the steps that are used: the last, and back from it at a spacing."""
    index = {step: place for place, step in enumerate(steps)}
    wanted = range(steps[-1], 0, -spacing)
    return [index[step] for step in reversed(wanted) if step in index]


def _changes(
    window: "Trajectory", matrix: "Matrix", places: Sequence[int], k: int, align: bool
) -> Changes:
    from rlvr_dynamics.checkpoints.differences import Differences

    differences = Differences(window, matrix.tensor, _ROWS_BYTES)
    updates = [
        differences.part(place, matrix.start, matrix.stop).view(matrix.m, matrix.n)
        for place in places
    ]
    known: list[tuple[Triple, Triple]] = []
    wanted: list[Triple] = []
    whole: Triple = {}
    local: Triple = {}
    for at in range(1, len(places)):
        before = whole
        whole, local = _triple(updates[at]), _triple(updates[at] - updates[at - 1])
        if align:
            whole = _turned(whole, before)
            local = _turned(local, whole)
        if at + k < len(places):
            later = _triple(updates[at + k] - updates[at])
            known.append((whole, local))
            wanted.append(_turned(later, whole) if align else later)
    return Changes((*known, (whole, local)), tuple(wanted))


def _triple(change: "Tensor") -> Triple:
    from rlvr_dynamics.dynamics import update_svd

    svd = update_svd(change, 1)
    u, v = svd.u[:, 0].float(), svd.v[:, 0].float()
    return {"u": u, "v": v, "sigma": svd.singular_values[:1].float()}


def _turned(triple: Triple, beside: Triple) -> Triple:
    """Return a triple on the side of another; without one, with its largest u above 0."""
    u, v = triple["u"], triple["v"]
    side = u @ beside["u"] + v @ beside["v"] if beside else u[u.abs().argmax()]
    return triple if float(side) >= 0 else triple | {"u": -u, "v": -v}


def _predict(
    changes: Sequence[Changes], part: str, parameters: Mapping[str, Any]
) -> "list[Tensor]":
    """Return a predicted part of every matrix, from one network for each of its lengths."""
    sizes = [len(each.wanted[0][part]) for each in changes]
    found: list[Any] = [None] * len(changes)
    for size in sorted(set(sizes)):
        here = [place for place, each in enumerate(sizes) if each == size]
        values = _network(size, [changes[place] for place in here], part, parameters)
        for place, value in zip(here, values, strict=True):
            found[place] = value
    return found


def _network(
    size: int, changes: Sequence[Changes], part: str, parameters: Mapping[str, Any]
) -> "Tensor":
    """Train a network on all pairs; returns its predictions, shape (matrices, size)."""
    import torch

    pairs = [pair for each in changes for pair in each.known[:-1]]
    whole, local = (torch.stack([pair[at][part] for pair in pairs]) for at in (0, 1))
    wanted = torch.stack([triple[part] for each in changes for triple in each.wanted])
    now = [torch.stack([each.known[-1][at][part] for each in changes]) for at in (0, 1)]
    epochs, rate = int(parameters["epochs"]), float(parameters["learning_rate"])
    # The training around it goes on with its own random numbers.
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(int(parameters["seed"]))
        blocks = [_block(size), _block(size), _block(2 * size, size)]
        weights = [weight for block in blocks for weight in block.parameters()]
        optimizer = torch.optim.AdamW(weights, lr=rate)
        for epoch in range(epochs):
            cosine = (1 + math.cos(math.pi * epoch / epochs)) / 2
            optimizer.param_groups[0]["lr"] = rate * (LAST_RATE + (1 - LAST_RATE) * cosine)
            optimizer.zero_grad()
            (_joined(blocks, whole, local) - wanted).abs().sum().backward()
            optimizer.step()
    with torch.no_grad():
        return _joined(blocks, *now)


def _joined(blocks: Sequence[Any], whole: "Tensor", local: "Tensor") -> "Tensor":
    import torch

    return blocks[2](torch.cat([blocks[0](whole), blocks[1](local)], dim=1))


def _block(size: int, out: int | None = None, width: int = 256) -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Linear(size, width),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.Linear(width, size if out is None else out),
    )


NEXT = Extrapolator(
    name="next",
    title="NExt",
    paper="https://arxiv.org/abs/2604.11446",
    summary="rank-1 change of every matrix, predicted by networks that learn from earlier changes",
    look=Look(GREEN, "*"),
    labels={"next_unaligned": "NExt, signs as they come"},
    tensor_changes=tensor_changes,
    fewest_steps=lambda parameters: (FEWEST_PAIRS + 1) * int(parameters["spacing"]) + 1,
    parameters={
        "alpha": Parameter(default=1.5, minimum=0.0, summary="how much of the change is added"),
        "spacing": Parameter(default=1, minimum=1, summary="steps from checkpoint to checkpoint"),
        "align": Parameter(
            default=True, summary="turn the singular vectors to one side; false: as released"
        ),
        "epochs": Parameter(default=1000, minimum=1, summary="updates of each network"),
        "learning_rate": Parameter(default=2e-5, minimum=0.0, summary="of the networks"),
        "seed": Parameter(default=0, minimum=0, summary="seed of the networks' start"),
    },
)
