"""One process's parts of some tensors in a safetensors file: a saved anchor, a kept candidate."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rlvr_dynamics.checkpoints.shards import create_shard
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.atomic import atomic_path


def write_pieces(path: Path, pieces: Mapping[str, Tensor]) -> None:
    """Publish tensors of any device, each of shape (n,), with one at a time on the CPU.

    Raises:
        UserError: The disk is full.
    """
    shapes = {name: (piece.numel(),) for name, piece in pieces.items()}
    dtypes = {name: str(piece.dtype).removeprefix("torch.") for name, piece in pieces.items()}
    with atomic_path(path) as temporary:
        start = create_shard(temporary, shapes, dtypes).data_start
        with temporary.open("r+b") as file:
            file.seek(start)
            for piece in pieces.values():
                file.write(piece.detach().cpu().contiguous().view(torch.uint8).numpy().data)


def read_pieces(path: Path, sizes: Mapping[str, int]) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a file one by one.

    Args:
        path: The file.
        sizes: The names and numbers of elements that it must have.

    Raises:
        UserError: The file is missing or damaged, or has other tensors.
    """
    way_out = "resume from an earlier state, with as many devices as the state was saved on"
    if not path.is_file():
        raise UserError("a saved anchor is missing", where=str(path), way_out=way_out)
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
            if found != {name: [size] for name, size in sizes.items()}:
                raise UserError(
                    "a saved anchor is of another model or another number of devices",
                    where=str(path),
                    way_out=way_out,
                )
            for name in sizes:
                yield name, file.get_tensor(name)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"a saved anchor cannot be read ({type(error).__name__}: {error})",
            where=str(path),
            way_out=way_out,
        ) from error
