"""Statistics of one tensor's weights, sufficient for every table, and the file that keeps them.

They are the Gram matrix of the updates, norms of the increments, counts of changed elements and,
for the matrices of the layers, the singular triples of their updates. One file per tensor makes a
measurement resumable and lets a longer trajectory extend a shorter one.

Legend: T observed steps, d elements of one tensor, m x n a weight matrix, s = min(m, n), k rank,
P steps with leading singular triples, S steps with full spectra.
"""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import quote

import numpy as np

from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.measurement.settings import MeasureSettings, evenly_spread, update_steps_of
from rlvr_dynamics.system.keyed import read_arrays, write_arrays
from rlvr_dynamics.system.sealed import is_whole

VERSION = 5
LONGEST_NAME = 160  # of a file name; the limit is 255, and temporary names are longer
METHODS = ("gram", "krylov", "full")
CASTS = ("bfloat16_changed", "bfloat16_differing", "float16_errors")

_FUSED_EXPERT = re.compile(r"(?P<tensor>.+)\[(?P<expert>[0-9]+)\]", re.DOTALL)


@dataclass(frozen=True)
class UpdateStatistics:
    """Singular values and vectors of one matrix's updates.

    Attributes:
        steps: Shape (P,): steps with leading singular triples, ascending.
        sigma: Shape (P, k), float64, descending.
        frobenius: ‖ΔW‖_F, shape (P,), float64.
        residual: Largest residual of the triples relative to σ1, shape (P,), float64.
        method: Index in `METHODS` of the method that computed each, shape (P,).
        u1: Leading output-side vectors, shape (P, m), float32, signs arbitrary.
        spectrum_steps: Shape (S,): steps with full spectra.
        spectrum: Shape (S, s), float64, descending.
        base_cosines: Largest principal cosine between the leading subspaces of update and base
            weight, output side and input side, shape (S, 2), float64.
        base_norm: ‖W_0‖_F of the matrix, shape (), float64.
    """

    steps: np.ndarray
    sigma: np.ndarray
    frobenius: np.ndarray
    residual: np.ndarray
    method: np.ndarray
    u1: np.ndarray
    spectrum_steps: np.ndarray
    spectrum: np.ndarray
    base_cosines: np.ndarray
    base_norm: np.ndarray


@dataclass(frozen=True)
class TensorStatistics:
    """All statistics of one tensor's trajectory.

    Attributes:
        steps: Step numbers, shape (T,), ascending.
        gram: M Mᵀ of the updates from the base, shape (T, T), float64.
        step_norms: ‖W_t - W_{t-1}‖ of every increment, shape (T,), float64.
        changed: Elements that differ from the base as read, shape (T,), int64.
        step_changed: Elements that differ from the step before as read, shape (T,), int64.
        bfloat16_changed: Elements that differ from the base by more than a tolerance once both are
            rounded to bfloat16 (`dynamics.changes_in_bfloat16`), shape (T,), float64; NaN in files
            of version 3.
        bfloat16_differing: The same without the tolerance.
        float16_errors: Squared error of the update after a cast to float16
            (`dynamics.float16_errors`), shape (T,), float64; NaN in files of version 3.
        base_norm: ‖W_0‖, shape (), float64.
        power_squares: Σ 4^e of the base's weights (`dynamics.power_squares`), shape (), float64;
            NaN in files of version 2.
        bits: Bits of the significand as read (`dynamics.used_bits`), shape (T,), int64; 0 where
            an adapter's update is read without rounding.
        exponents: How many of the base's weights have each exponent (`dynamics.exponent_counts`),
            shape (256,), int64; zeros in older files.
        sampled: Update from the base of each sampled weight (`sample.sampled_places`), shape
            (T, k), float32; k = 0 in files of version 4.
        sampled_base: W_0 of the same weights, shape (k,), float32.
        updates: One entry per matrix of the tensor: none, one, or one per expert.
    """

    steps: np.ndarray
    gram: np.ndarray
    step_norms: np.ndarray
    changed: np.ndarray
    step_changed: np.ndarray
    bfloat16_changed: np.ndarray
    bfloat16_differing: np.ndarray
    float16_errors: np.ndarray
    base_norm: np.ndarray
    power_squares: np.ndarray
    bits: np.ndarray
    exponents: np.ndarray
    sampled: np.ndarray
    sampled_base: np.ndarray
    updates: tuple[UpdateStatistics, ...]


def file_of(folder: Path, name: str) -> Path:
    """Return a tensor's file in a folder; no name escapes the folder or is too long."""
    shown = quote(name, safe="")
    if len(shown) > LONGEST_NAME:
        shown = f"{shown[:LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    return Path(folder) / f"{shown}.safetensors"


def load_updates(folder: Path, label: str) -> UpdateStatistics | None:
    """Return the statistics of one matrix by its label in the tables; None if there are none.

    Args:
        folder: Folder with the statistics of the tensors.
        label: The tensor's name, followed by `[e]` for expert e of a fused tensor.
    """
    tensor, expert = label, 0
    fused = _FUSED_EXPERT.fullmatch(label)
    if fused is not None:
        tensor, expert = fused["tensor"], int(fused["expert"])
    found = load(file_of(folder, tensor))
    updates = () if found is None else found[0].updates
    return updates[expert] if expert < len(updates) else None


def measured_gram(
    folder: Path, trajectory: Trajectory, name: str, steps: Sequence[int]
) -> np.ndarray | None:
    """Return M Mᵀ of some steps of a tensor from its statistics, if they are of the same weights.

    Args:
        folder: Folder with the statistics of the tensors.
        trajectory: Base and steps.
        name: The tensor.
        steps: Some of its steps, ascending.

    Returns:
        Shape (steps, steps), float64. None if the statistics are missing, damaged or of other
        weights, or if their updates are an adapter's own, which no stored weight has.
    """
    statistics = _of_same_weights(folder, trajectory, name, steps)
    if statistics is None or any(trajectory.computes(step, name) for step in steps):
        return None
    own = np.searchsorted(statistics.steps, steps)
    return statistics.gram[np.ix_(own, own)]


def measured_updates(
    folder: Path, trajectory: Trajectory, name: str, steps: Sequence[int]
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]] | None:
    """Return the leading triples of a tensor's updates from its statistics.

    Args:
        folder: Folder with the statistics of the tensors.
        trajectory: Base and steps.
        name: The tensor.
        steps: Some of its steps, ascending.

    Returns:
        Of each of its matrices u1 (steps, m), float32, σ1 (steps,) and ‖ΔW‖_F (steps,), float64,
        signs arbitrary. None if the statistics are missing, damaged or of other weights, or if not
        all of these steps were decomposed.
    """
    statistics = _of_same_weights(folder, trajectory, name, steps)
    if statistics is None or not all(set(steps) <= {*each.steps} for each in statistics.updates):
        return None
    found = []
    for each in statistics.updates:
        own = np.searchsorted(each.steps, steps)
        found.append((each.u1[own], each.sigma[own, 0], each.frobenius[own]))
    return found


def _of_same_weights(
    folder: Path, trajectory: Trajectory, name: str, steps: Sequence[int]
) -> TensorStatistics | None:
    """Return the statistics of a tensor if they are of these steps' weights."""
    found = load(file_of(folder, name))
    if found is None:
        return None
    statistics, key = found
    identities = trajectory.identities
    known = dict(json.loads(key["steps"]))
    same = (
        key["version"] == str(VERSION)
        and key["tensor"] == name
        and key["dtype"] == trajectory.dtype_of(name)
        and key["base"] == identities[0]
        and all(known.get(step) == identities[step] for step in steps)
    )
    return statistics if same else None


def save(path: Path, statistics: TensorStatistics, key: dict[str, str]) -> None:
    """Publish the statistics of one tensor with the key they were made from."""
    arrays = {
        field.name: np.asarray(getattr(statistics, field.name), order="C")
        for field in fields(statistics)
        if field.name != "updates"
    }
    for number, updates in enumerate(statistics.updates):
        arrays |= {
            f"updates.{number}.{field.name}": np.asarray(getattr(updates, field.name), order="C")
            for field in fields(updates)
        }
    write_arrays(path, arrays, key)


def load(path: Path) -> tuple[TensorStatistics, dict[str, str]] | None:
    """Return the statistics in a file and their key; None if it is missing or damaged."""
    found = read_arrays(path)
    if found is None:
        return None
    arrays, key = found
    inner: dict[int, dict[str, np.ndarray]] = {}
    for name in [name for name in arrays if "." in name]:
        _, number, field = name.split(".")
        inner.setdefault(int(number), {})[field] = arrays.pop(name)
    try:
        updates = tuple(UpdateStatistics(**inner[number]) for number in range(len(inner)))
        arrays.setdefault("power_squares", np.array(math.nan))
        arrays.setdefault("bits", np.zeros_like(arrays["steps"]))
        arrays.setdefault("exponents", np.zeros(256, dtype=np.int64))
        arrays.setdefault("sampled", np.empty((len(arrays["steps"]), 0), dtype=np.float32))
        arrays.setdefault("sampled_base", np.empty(0, dtype=np.float32))
        for name in CASTS:
            arrays.setdefault(name, np.full(len(arrays["steps"]), math.nan))
        return TensorStatistics(**arrays, updates=updates), key
    except (TypeError, KeyError):  # from another version
        return None


def key_of(trajectory: Trajectory, name: str, settings: MeasureSettings) -> dict[str, str]:
    """Return the key of all that a tensor's statistics depend on; equal keys, equal statistics."""
    identities = trajectory.identities
    steps = [[step, identities[step]] for step in trajectory.steps]
    chosen = {
        "top_k": settings.top_k,
        "update_steps": update_steps_of(settings, trajectory.steps),
        "spectrum_steps": evenly_spread(trajectory.steps, settings.spectrum_steps),
    }
    return {
        "version": str(VERSION),
        "tensor": name,
        "dtype": trajectory.dtype_of(name),
        "base": identities[0],
        "steps": json.dumps(steps),
        "settings": json.dumps(chosen),
    }


def is_collected(
    trajectory: Trajectory, name: str, settings: MeasureSettings, folder: Path
) -> bool:
    """Return whether a tensor's statistics, and its direction if requested, are stored."""
    found = load(file_of(folder / "statistics", name))
    direction = file_of(folder / "directions", name)
    return (
        found is not None
        and found[1] == key_of(trajectory, name, settings)
        and (is_whole(direction) or not settings.directions)
    )
