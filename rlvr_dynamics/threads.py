"""Parallel over tensors, serial inside them."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let torch and numpy's BLAS use one thread per caller inside the block.

    Small matrices lose time to more threads: fitting a small network takes a hundred times longer.
    """
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(before)
