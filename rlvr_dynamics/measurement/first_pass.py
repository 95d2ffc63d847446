"""What is added up over the elements of a tensor: all of its statistics but the singular triples.

A large tensor is added up in spans, which different processes may read.

Legend: T observed steps, d elements of one tensor.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from rlvr_dynamics.checkpoints.differences import Differences, Piece
from rlvr_dynamics.dynamics import (
    BITS,
    FEWEST_STEPS,
    accumulate_gram,
    accumulate_gram_of_weights,
    accumulate_products,
    changes_in_bfloat16,
    exponent_counts,
    extend_gram,
    float16_errors,
    power_squares,
    row_counts,
    used_bits,
)
from rlvr_dynamics.measurement.kept_updates import KeptUpdates
from rlvr_dynamics.measurement.sample import sampled_places
from rlvr_dynamics.measurement.statistics import CASTS, TensorStatistics

SPAN = 1 << 26
"""Elements of a tensor that are added up at a time, wherever: so the sums do not depend on it."""


@dataclass(frozen=True)
class Part:
    """What was added up over some elements of a tensor.

    Attributes:
        new: Of the steps that are not on record; all steps in `steps`.
        products: M Nᵀ of the steps on record with the new ones, shape (known, new), float64.
    """

    new: TensorStatistics
    products: np.ndarray


def spans_of(d: int) -> list[tuple[int, int]]:
    """Return the ranges of a flattened tensor that are added up one by one."""
    return [(low, min(d, low + SPAN)) for low in range(0, d, SPAN)]


def first_pass(
    differences: Differences, old: TensorStatistics | None, kept: KeptUpdates | None = None
) -> Part:
    """Read every value once and compute everything except the singular triples.

    Args:
        differences: The tensor, or a span of it.
        old: Statistics of the first steps, if they are on record.
        kept: Given every piece, if the tensor's updates are decomposed afterwards.
    """
    steps, count = np.array(differences.trajectory.steps), differences.T
    known = len(old.steps) if old is not None else 0
    new = count - known
    double = {"dtype": torch.float64, "device": differences.device}
    products, corner = torch.zeros(known, new, **double), torch.zeros(new, new, **double)
    squares, base_square = torch.zeros(new, dtype=torch.float64), 0.0
    changed, step_changed = torch.zeros(new, dtype=torch.int64), torch.zeros(new, dtype=torch.int64)
    casts = {name: torch.zeros(new, dtype=torch.float64) for name in CASTS}
    powers, bits = 0.0, np.zeros(new, dtype=np.int64)
    exponents = np.zeros(256, dtype=np.int64)
    places = sampled_places(differences.name, differences.d)
    sampled = np.zeros((new, len(places)), dtype=np.float32)
    sampled_base = np.zeros(len(places), dtype=np.float32)
    stored_steps = [
        row
        for row, step in enumerate(differences.trajectory.steps[known:])
        if not differences.trajectory.computes(step, differences.name)
    ]
    for piece in differences.active_pieces():
        updates, stored = piece.updates, piece.stored
        if kept is not None:
            kept.add(piece, differences.trajectory.steps)
        if new >= FEWEST_STEPS and differences.device == "cpu" and len(stored_steps) == new:
            rows = stored if not known else torch.cat([stored[:1], stored[1 + known :]])
            accumulate_gram_of_weights(corner, rows)
        else:
            accumulate_gram(corner, updates[known:])
        if known:
            accumulate_products(products, updates[:known], updates[known:])
        # From the increments themselves, because from the Gram matrix they would cancel.
        moves = updates[known:].clone()
        moves[int(known == 0) :] -= updates[max(0, known - 1) : -1]
        squares += row_squares(moves)
        base_square += float(row_squares(piece.base[None].float()))
        powers += power_squares(piece.base)
        exponents += exponent_counts(piece.base)
        still = _unchanged(piece)
        bits[stored_steps] = np.maximum(bits[stored_steps], used_bits(still))
        for row in stored_steps:
            if bits[row] < BITS["float32"]:  # a wider value cannot be found any more
                bits[row] = max(bits[row], used_bits(stored[1 + known + row]))
        rows = stored[1 + known :]
        changed += row_counts(rows != stored[0])
        # The row before the first new one is the base or the last known step.
        step_changed += row_counts(rows != stored[known:-1])
        of_casts = (
            *changes_in_bfloat16(stored[0], rows),
            float16_errors(stored[0], rows, updates[known:])
            + float16_errors(still, still[None], still.new_zeros(1, len(still)).float()),
        )
        for name, found in zip(CASTS, of_casts, strict=True):
            casts[name] += found
        here = slice(*np.searchsorted(places, [piece.start, piece.stop]))
        wanted = torch.from_numpy(places[here] - piece.start).to(updates.device)
        sampled[:, here] = _columns_of(piece, wanted)[known:].cpu().numpy()
        sampled_base[here] = piece.base[wanted].float().cpu().numpy()
    collected = TensorStatistics(
        steps=steps,
        gram=corner.cpu().numpy(),
        step_norms=squares.sqrt().numpy(),
        changed=changed.numpy(),
        step_changed=step_changed.numpy(),
        **{name: counted.numpy() for name, counted in casts.items()},
        base_norm=np.array(math.sqrt(base_square)),
        power_squares=np.array(powers),
        bits=bits,
        exponents=exponents,
        sampled=sampled,
        sampled_base=sampled_base,
        updates=(),
    )
    return Part(collected, products.cpu().numpy())


def added(parts: Sequence[Part], old: TensorStatistics | None) -> TensorStatistics:
    """Return the statistics of a tensor from those of its spans, after the steps on record."""
    found = parts[0].new
    if len(parts) > 1:
        every = [part.new for part in parts]
        sums = ("gram", "changed", "step_changed", *CASTS, "power_squares", "exponents")
        whole = {
            name: np.asarray(np.sum([getattr(each, name) for each in every], axis=0))
            for name in (*sums, "sampled", "sampled_base")  # of which others have zeros
        }
        for name in ("step_norms", "base_norm"):
            squares = [np.square(getattr(each, name)) for each in every]
            whole[name] = np.asarray(np.sqrt(np.sum(squares, axis=0)))
        bits = np.max([each.bits for each in every], axis=0)
        found = replace(found, **whole, bits=bits)
    if old is None:
        return found
    products = np.sum([part.products for part in parts], axis=0)
    return _joined(old, torch.from_numpy(products), found)


def _unchanged(piece: Piece) -> torch.Tensor:
    """Return W_0 of the columns that no step changed."""
    if piece.columns is None:
        return piece.base[:0]
    still = torch.ones(len(piece.base), dtype=torch.bool)
    still[piece.columns] = False
    return piece.base[still]


def _columns_of(piece: Piece, wanted: torch.Tensor) -> torch.Tensor:
    """Return the updates of some columns of a piece, shape (T, wanted)."""
    if piece.columns is None:
        return piece.updates[:, wanted]
    found = piece.updates.new_zeros(len(piece.updates), len(wanted))
    if len(piece.columns):
        near = torch.searchsorted(piece.columns, wanted).clamp_(max=len(piece.columns) - 1)
        there = piece.columns[near] == wanted
        found[:, there] = piece.updates[:, near[there]]
    return found


def _joined(
    old: TensorStatistics, products: torch.Tensor, new: TensorStatistics
) -> TensorStatistics:
    gram = extend_gram(torch.from_numpy(old.gram), products, torch.from_numpy(new.gram))
    rows = {
        name: np.concatenate([getattr(old, name), getattr(new, name)])
        for name in ("step_norms", "changed", "step_changed", "bits", "sampled", *CASTS)
    }
    of_base = ("base_norm", "power_squares", "exponents", "sampled_base")
    whole = {name: getattr(old, name) for name in of_base}
    return replace(new, gram=gram.numpy(), **whole, **rows)


def row_squares(rows: torch.Tensor) -> torch.Tensor:
    """Return the squared norms of rows (T, c), shape (T,), float64, on the CPU."""
    return torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64).square().cpu()
