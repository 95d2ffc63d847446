"""The plain way to predict a checkpoint: two scripts that pass all updates through the disk.

Script 1 writes W_t - W_0 of every step in float16. Script 2 stacks one tensor's updates in
float32, decomposes the T x T Gram matrix, fits a line to each coefficient and adds the result to
the base. The updates have two layouts, which we implement ourselves:

- mapped, the design of RELEX's released code (arXiv 2605.21468): a memory-mapped array per tensor
  with a row per step, flushed to disk at the end, read back row by row with numpy.
- lenient: a safetensors file per step, left to the page cache, read back with torch.

Both make the cheap choice where there is one: the base is cast once, the stack is filled row by
row without a second copy, and only the kept directions are saved.

Legend: T observed steps, d elements of one tensor, r rank.
"""

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

NEGLIGIBLE = 1e-6
WEIGHTS = "model.safetensors"
Stack = Callable[[str, int], torch.Tensor]  # tensor name and d -> updates, shape (T, d), float32


def write_differences(base: Path, checkpoints: Path, last: int, deltas: Path) -> None:
    """Script 1, lenient: save the update of every step as a float16 file."""
    deltas.mkdir(parents=True)
    before = {name: tensor.half() for name, tensor in load_file(base / WEIGHTS).items()}
    for step in range(1, last + 1):
        after = load_file(checkpoints / f"step_{step}" / WEIGHTS)
        update = {name: after[name].half() - before[name] for name in before}
        save_file(update, deltas / f"step_{step}.safetensors")


def write_mapped(base: Path, checkpoints: Path, last: int, deltas: Path) -> None:
    """Script 1, mapped: write a float16 array per tensor to disk, two checkpoints at a time."""
    deltas.mkdir(parents=True)
    before = {name: tensor.half() for name, tensor in load_file(base / WEIGHTS).items()}
    arrays = {
        name: np.memmap(deltas / name, np.float16, "w+", shape=(last, *tensor.shape))
        for name, tensor in before.items()
    }

    def fill(step: int) -> None:
        after = load_file(checkpoints / f"step_{step}" / WEIGHTS)
        for name, array in arrays.items():
            array[step - 1] = (after[name].half() - before[name]).numpy()

    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(fill, range(1, last + 1)))
    for array in arrays.values():
        array.flush()


def _stack_lenient(deltas: Path, last: int) -> Stack:
    files = [safe_open(deltas / f"step_{step}.safetensors", "pt") for step in range(1, last + 1)]

    def stack(name: str, d: int) -> torch.Tensor:
        rows = torch.empty(last, d)
        for row, file in zip(rows, files, strict=True):
            row.copy_(file.get_tensor(name).flatten())
        return rows

    return stack


def _stack_mapped(deltas: Path, last: int) -> Stack:
    def stack(name: str, d: int) -> torch.Tensor:
        rows = np.zeros((last, d), dtype=np.float32)
        for step in range(last):
            rows[step] = np.fromfile(deltas / name, np.float16, count=d, offset=2 * step * d)
        return torch.from_numpy(rows)

    return stack


def extrapolate(base: Path, stack_of: Stack, last: int, target: int, rank: int, out: Path) -> None:
    """Script 2: decompose each tensor's updates, fit lines, save directions and prediction."""
    (out / "predicted").mkdir(parents=True)
    directions, predicted = {}, {}
    for name, tensor in load_file(base / WEIGHTS).items():
        stack = stack_of(name, tensor.numel())
        values, vectors = torch.linalg.eigh(stack @ stack.T)
        sigma = values.flip(0)[:rank].clamp(min=0).sqrt()
        u = vectors.flip(1)[:, :rank]
        kept = sigma > NEGLIGIBLE * sigma[0]
        v = torch.where(kept, stack.T @ u / sigma.where(kept, 1.0), 0.0)
        lines = np.polyfit(np.arange(last), (sigma * u).double().numpy(), 1)
        coefficient = lines[0] * (last - 1 + target - last) + lines[1]
        update = v @ torch.from_numpy(coefficient).float()
        predicted[name] = (tensor.float() + update.view(tensor.shape)).to(tensor.dtype)
        directions[name] = v
    save_file(directions, out / "directions.safetensors")
    save_file(predicted, out / "predicted" / WEIGHTS)


def main() -> None:
    """Run one of the two scripts; report its time after the imports."""
    parser = argparse.ArgumentParser(prog="perf.reference", description=__doc__)
    parser.add_argument("script", choices=("differences", "extrapolate"))
    for name in ("base", "checkpoints", "deltas", "out"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--last", type=int, required=True)
    parser.add_argument("--target", type=int)
    parser.add_argument("--rank", type=int, default=1)
    parser.add_argument("--mapped", action="store_true")
    given = parser.parse_args()
    start = time.perf_counter()
    if given.script == "differences":
        write = write_mapped if given.mapped else write_differences
        write(given.base, given.checkpoints, given.last, given.deltas)
    else:
        stack = (_stack_mapped if given.mapped else _stack_lenient)(given.deltas, given.last)
        extrapolate(given.base, stack, given.last, given.target, given.rank, given.out)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
