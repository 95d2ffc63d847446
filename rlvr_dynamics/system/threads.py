"""Run tensors in parallel, one thread each, and no more at once than memory allows."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let torch and numpy's BLAS use one thread per caller inside the block.

    More threads slow down small matrices: fitting a small network takes a hundred times longer.
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


class Memory:
    """Admit tasks while their combined memory stays below a total.

    A task larger than the total runs alone.

    Args:
        total: Bytes that all tasks may use together.
    """

    def __init__(self, total: int) -> None:
        """Start with nothing held."""
        self.total = total
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Wait until `size` bytes are free, and reserve them inside the block."""
        with self._changed:
            self._changed.wait_for(lambda: self._held == 0 or self._held + size <= self.total)
            self._held += size
        try:
            yield
        finally:
            with self._changed:
                self._held -= size
                self._changed.notify_all()
