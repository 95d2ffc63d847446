"""A pool of processes that compare expressions and can be killed, one at a time.

The pool starts on first use, belongs to this process alone, and ends with it. It may be used from
any thread and inside a Ray worker.
"""

import atexit
import os
import threading
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeout

from pebble import ProcessExpired, ProcessPool

from rlvr_dynamics.scoring.clean_spawn import CleanSpawnContext
from rlvr_dynamics.scoring.math_limits import is_balanced, over_limit, plain_number
from rlvr_dynamics.scoring.math_worker import BAD_GOLD, NOT_DONE, compare_chunk, start

CHUNK = 64
MAX_WORKERS = 8
# The worker's own alarm stops what runs in Python; the pool waits this much longer before it kills.
GRACE_SECONDS = 1.0

Pair = tuple[str, str | None]

_lock = threading.Lock()
_pool: ProcessPool | None = None
_owner = 0


def _get_pool() -> ProcessPool:
    global _pool, _owner
    with _lock:
        if _pool is None or _owner != os.getpid() or not _pool.active:
            workers = max(1, min(MAX_WORKERS, len(os.sched_getaffinity(0))))
            _pool = ProcessPool(workers, initializer=start, context=CleanSpawnContext())
            _owner = os.getpid()
        return _pool


@atexit.register
def stop_pool() -> None:
    """End the workers; the next use starts new ones."""
    global _pool
    with _lock:
        if _pool is not None and _owner == os.getpid():
            _pool.stop()
            _pool.join()
        _pool = None


def compare_many(pairs: Sequence[Pair], *, time_limit: float) -> list[str]:
    """Compare answers with their golds.

    Args:
        pairs: (gold, answer) each, bare expressions; an answer of None only checks the gold.
        time_limit: Seconds that one comparison may take.

    Returns:
        One status of `grading.STATUSES` per pair, or `math_worker.BAD_GOLD`.
    """
    statuses = [_without_parser(gold, answer) for gold, answer in pairs]
    unique: dict[Pair, list[int]] = {}
    for i, status in enumerate(statuses):
        if status is None:
            unique.setdefault(pairs[i], []).append(i)
    if unique:
        for pair, status in _in_pool(list(unique), time_limit).items():
            for i in unique[pair]:
                statuses[i] = status
    return [status or "crash" for status in statuses]


def _without_parser(gold: str, answer: str | None) -> str | None:
    """Settle what needs no algebra: text over the limits, and two plain numbers."""
    if not gold.strip() or over_limit(gold) or not is_balanced(gold):
        return BAD_GOLD
    right = plain_number(gold)
    if answer is None:
        return "no_answer" if right is not None else None
    if over_limit(answer):
        return "limit"
    if not is_balanced(answer):
        return "incorrect"
    given = plain_number(answer)
    if right is None or given is None:
        return None
    return "correct" if right == given else "incorrect"


def _in_pool(pairs: list[Pair], time_limit: float) -> dict[Pair, str]:
    done: dict[Pair, str] = {}
    chunks = [pairs[i : i + CHUNK] for i in range(0, len(pairs), CHUNK)]
    while chunks:
        pool = _get_pool()
        running = [
            (
                chunk,
                pool.schedule(
                    compare_chunk,
                    args=(chunk, time_limit),
                    timeout=2 * time_limit + GRACE_SECONDS,
                ),
            )
            for chunk in chunks
        ]
        chunks = []
        for chunk, future in running:
            try:
                statuses = future.result()
            except (FutureTimeout, ProcessExpired) as failure:
                if len(chunk) == 1:
                    done[chunk[0]] = "timeout" if isinstance(failure, FutureTimeout) else "crash"
                else:
                    chunks.extend([pair] for pair in chunk)
                continue
            done.update(
                (pair, status)
                for pair, status in zip(chunk, statuses, strict=True)
                if status != NOT_DONE
            )
            rest = [pair for pair in chunk if pair not in done]
            if rest:
                chunks.append(rest)
    return done
