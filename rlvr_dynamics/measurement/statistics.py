"""Statistics of one tensor's weights, sufficient for every table.

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch

from rlvr_dynamics.checkpoints.differences import Differences, Piece, Room
from rlvr_dynamics.checkpoints.shards import create_shard
from rlvr_dynamics.checkpoints.structure import Matrix
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.checkpoints.writer import put_elements
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
    principal_cosines,
    row_combination,
    row_counts,
    svd_of_gram,
    update_spectrum,
    update_svd,
    used_bits,
)
from rlvr_dynamics.measurement.sample import sampled_places
from rlvr_dynamics.measurement.settings import MeasureSettings, evenly_spread, update_steps_of
from rlvr_dynamics.system.atomic import atomic_path
from rlvr_dynamics.system.keyed import read_arrays, write_arrays
from rlvr_dynamics.system.sealed import UNSEALED, is_whole, seal

VERSION = 5
LONGEST_NAME = 160  # of a file name; the limit is 255, and temporary names are longer
METHODS = ("gram", "krylov", "full")
SPAN = 1 << 26
"""Elements of a tensor that are added up at a time, wherever: so the sums do not depend on it."""

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
        for name in _CAST:
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


def collect_to_file(
    trajectory: Trajectory,
    name: str,
    settings: MeasureSettings,
    folder: Path,
    on_read: Callable[[int], None] | None = None,
    room: Room | None = None,
    parts: "Sequence[Part | None]" = (),
) -> None:
    """Read one tensor and publish its statistics, and its direction if requested.

    Nothing is read if a file with the same key exists. Gram matrix rows and singular triples are
    reused from a file of a shorter run of the same trajectory.

    Args:
        trajectory: Base and steps.
        name: The tensor.
        settings: What is measured.
        folder: Where to.
        on_read: Called with the number of bytes after every read.
        room: Memory to reuse.
        parts: Of every span of `spans_of`, what `collect_part` returned elsewhere. The tensor is
            then read once more to verify it: a hash is of all its bytes in order.

    Raises:
        UserError: A weight is NaN or infinite.
    """
    path, direction = file_of(folder / "statistics", name), file_of(folder / "directions", name)
    key = key_of(trajectory, name, settings)
    if is_collected(trajectory, name, settings, folder):
        return
    old = _shorter(path, key)
    direction.unlink(missing_ok=True)  # for other steps, or no longer requested
    differences = Differences(
        trajectory,
        name,
        settings.budget_bytes // settings.threads,
        device=device_of(settings),
        on_read=on_read,
        room=room,
    )
    statistics = old
    if statistics is None or len(statistics.steps) < differences.T:
        spans = spans_of(differences.d)
        made = [each for each in parts if each is not None] or [
            _first_pass(differences.within(span) if len(spans) > 1 else differences, old)
            for span in spans
        ]
        statistics = _added(made, old)
        for _ in differences.rows() if parts else ():
            pass
    statistics = replace(statistics, updates=())
    if settings.directions:
        _write_direction(differences, statistics.gram, direction)
    matrices = trajectory.structure.matrices_of(name)
    if matrices:
        known = old.updates if old is not None and len(old.updates) == len(matrices) else ()
        updates = tuple(
            _updates(
                differences,
                matrix,
                settings,
                known[number] if known else None,
                statistics.base_norm if len(matrices) == 1 else None,
            )
            for number, matrix in enumerate(matrices)
        )
        statistics = replace(statistics, updates=updates)
    trajectory.settle(name)
    save(path, statistics, key)


def device_of(settings: MeasureSettings) -> str:
    """Return the device on which updates are computed."""
    if settings.device != "auto":
        return settings.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def spans_of(d: int) -> list[tuple[int, int]]:
    """Return the ranges of a flattened tensor that are added up one by one."""
    return [(low, min(d, low + SPAN)) for low in range(0, d, SPAN)]


def collect_part(
    trajectory: Trajectory,
    name: str,
    settings: MeasureSettings,
    folder: Path,
    span: tuple[int, int],
) -> "Part | None":
    """Return the sums over a span of a tensor; None if they are on record.

    The values are not verified: a hash is of the whole tensor.

    Raises:
        UserError: A weight is NaN or infinite.
    """
    old = _shorter(file_of(folder / "statistics", name), key_of(trajectory, name, settings))
    if is_collected(trajectory, name, settings, folder) or (
        old is not None and len(old.steps) == len(trajectory.steps)
    ):
        return None
    share = settings.budget_bytes // settings.threads
    differences = Differences(trajectory, name, share, device=device_of(settings), span=span)
    return _first_pass(differences, old)


def _shorter(path: Path, key: dict[str, str]) -> TensorStatistics | None:
    """Return the statistics in a file if they are of the first steps of the same trajectory."""
    found = load(path)
    return found[0] if found is not None and _is_shorter(found[1], key) else None


def _is_shorter(old: dict[str, str], new: dict[str, str]) -> bool:
    """Whether the old file has the same tensor and a prefix of the new trajectory's steps."""
    if any(old.get(field) != new[field] for field in ("version", "tensor", "dtype", "base")):
        return False
    known, wanted = json.loads(old["steps"]), json.loads(new["steps"])
    top_k = [json.loads(each["settings"])["top_k"] for each in (old, new)]
    return known == wanted[: len(known)] and top_k[0] == top_k[1]


@dataclass(frozen=True)
class Part:
    """What was added up over some elements of a tensor.

    Attributes:
        new: Of the steps that are not on record; all steps in `steps`.
        products: M Nᵀ of the steps on record with the new ones, shape (known, new), float64.
    """

    new: TensorStatistics
    products: np.ndarray


def _first_pass(differences: Differences, old: TensorStatistics | None) -> Part:
    """Read every value once and compute everything except the singular triples."""
    steps, count = np.array(differences.trajectory.steps), differences.T
    known = len(old.steps) if old is not None else 0
    new = count - known
    double = {"dtype": torch.float64, "device": differences.device}
    products, corner = torch.zeros(known, new, **double), torch.zeros(new, new, **double)
    squares, base_square = torch.zeros(new, dtype=torch.float64), 0.0
    changed, step_changed = torch.zeros(new, dtype=torch.int64), torch.zeros(new, dtype=torch.int64)
    casts = {name: torch.zeros(new, dtype=torch.float64) for name in _CAST}
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
        squares += _row_squares(moves)
        base_square += float(_row_squares(piece.base[None].float()))
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
        for name, found in zip(_CAST, of_casts, strict=True):
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


def _added(parts: Sequence[Part], old: TensorStatistics | None) -> TensorStatistics:
    """Return the statistics of a tensor from those of its spans, after the steps on record."""
    found = parts[0].new
    if len(parts) > 1:
        every = [part.new for part in parts]
        sums = ("gram", "changed", "step_changed", *_CAST, "power_squares", "exponents")
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
        for name in ("step_norms", "changed", "step_changed", "bits", "sampled", *_CAST)
    }
    of_base = ("base_norm", "power_squares", "exponents", "sampled_base")
    whole = {name: getattr(old, name) for name in of_base}
    return replace(new, gram=gram.numpy(), **whole, **rows)


def _row_squares(rows: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64).square().cpu()


def _write_direction(differences: Differences, gram: np.ndarray, path: Path) -> None:
    """Publish v1 of the trajectory in the tensor's shape, float32, under the tensor's name."""
    steps = np.array(differences.trajectory.steps)
    weights = svd_of_gram(torch.from_numpy(gram), 1, steps).rows_to_directions
    shapes = {"trajectory_v1": differences.trajectory.shape(differences.name)}
    words = {"seal": UNSEALED}
    with atomic_path(path) as temporary:
        entry = (shard := create_shard(temporary, shapes, words=words)).entries
        with shard.path.open("r+b") as file:
            for piece in differences.active_pieces():
                direction = torch.zeros(piece.stop - piece.start)
                moved = row_combination(weights, piece.updates)[0].float().cpu()
                direction[slice(None) if piece.columns is None else piece.columns] = moved
                put_elements(file.fileno(), entry["trajectory_v1"], piece.start, direction)
        seal(temporary)


def _updates(
    differences: Differences,
    matrix: Matrix,
    settings: MeasureSettings,
    old: UpdateStatistics | None,
    base_norm: np.ndarray | None,
) -> UpdateStatistics:
    """Decompose the updates of one matrix; compute its base norm if not given."""
    trajectory, name = differences.trajectory, differences.name
    m, n, part = matrix.m, matrix.n, (matrix.start, matrix.stop)
    k = min(settings.top_k, m, n)
    wanted = update_steps_of(settings, trajectory.steps)
    spectra = evenly_spread(trajectory.steps, settings.spectrum_steps)
    place = {int(step): row for row, step in enumerate(old.steps)} if old is not None else {}
    rows, spectrum, cosines = [], [], []
    base, start = None, None
    for step in sorted({*wanted, *spectra}):
        known = place.get(step)
        if known is not None and old is not None and step not in spectra:
            rows.append([getattr(old, field)[known] for field in _ROWS])
            continue
        delta = differences.part(trajectory.steps.index(step), *part).view(m, n)
        found = update_svd(delta, k, start=start)
        start = found.v
        if step in wanted:
            rows.append(
                [
                    found.singular_values.numpy(),
                    found.frobenius,
                    found.residual,
                    METHODS.index(found.method),
                    found.u[:, 0].float().numpy(),
                ]
            )
        if step in spectra:
            if base is None:
                weights = trajectory.elements(0, name, *part).view(m, n)
                base = update_svd(weights.float().to(delta.device), k)
            spectrum.append(update_spectrum(delta).cpu().numpy())
            pairs = ((found.u, base.u), (found.v, base.v))
            moved = found.frobenius > 0.0
            cosines.append(
                [float(principal_cosines(*pair)[0]) if moved else math.nan for pair in pairs]
            )
    columns = {field: np.array([row[place] for row in rows]) for place, field in enumerate(_ROWS)}
    return UpdateStatistics(
        steps=np.array(wanted),
        **columns,
        spectrum_steps=np.array(spectra),
        spectrum=np.array(spectrum),
        base_cosines=np.array(cosines),
        base_norm=_norm(trajectory.elements(0, name, *part)) if base_norm is None else base_norm,
    )


def _norm(values: torch.Tensor) -> np.ndarray:
    return np.array(math.sqrt(float(_row_squares(values.float()[None]))))


_CAST = ("bfloat16_changed", "bfloat16_differing", "float16_errors")
_ROWS = ("sigma", "frobenius", "residual", "method", "u1")
