"""A pool of processes that compare expressions and can be killed, one at a time.

The pool starts on first use, belongs to this process alone, and ends with it. It may be used from
any thread and inside a Ray worker.
"""

import atexit
import functools
import os
import threading
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeout

from pebble import ProcessExpired, ProcessPool

from rlvr_dynamics.scoring.answer_text import normalise
from rlvr_dynamics.scoring.clean_spawn import CleanSpawnContext
from rlvr_dynamics.scoring.exact_rules import decide, without_percent
from rlvr_dynamics.scoring.math_limits import is_balanced, over_limit
from rlvr_dynamics.scoring.math_worker import BAD_GOLD, NOT_DONE, compare_chunk, start

CHUNK = 16
MAX_WORKERS = 8
# A worker is replaced after this many chunks: parser and algebra keep caches that grow.
MAX_TASKS = 250
# The worker's own alarm stops what runs in Python after the limit in processor time. The pool kills
# what ignores it by the clock, and far later: the machine may be busy.
KILL_FACTOR = 6
GRACE_SECONDS = 1.0

Pair = tuple[str, str | None]


class _Settled:
    """The last verdicts of math-verify: the samples of one question repeat their answers."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._verdicts: dict[Pair, str] = {}
        self._lock = threading.Lock()

    def get(self, pair: Pair) -> str | None:
        return self._verdicts.get(pair)

    def put(self, pair: Pair, status: str) -> None:
        with self._lock:
            while len(self._verdicts) >= self._size:
                del self._verdicts[next(iter(self._verdicts))]
            self._verdicts[pair] = status


_settled = _Settled(16384)
_lock = threading.Lock()
_pool: ProcessPool | None = None
_owner = 0


def _get_pool() -> ProcessPool:
    global _pool, _owner
    with _lock:
        if _pool is None or _owner != os.getpid() or not _pool.active:
            workers = max(1, min(MAX_WORKERS, len(os.sched_getaffinity(0))))
            _pool = ProcessPool(
                workers, max_tasks=MAX_TASKS, initializer=start, context=CleanSpawnContext()
            )
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


def compare_many(
    pairs: Sequence[Pair], *, time_limit: float, exact_rules: bool = True
) -> list[str]:
    """Compare answers with their golds.

    Args:
        pairs: (gold, answer) each, bare expressions; an answer of None only checks the gold.
        time_limit: Seconds of processor time that one comparison may take.
        exact_rules: Whether `exact_rules` may decide; without them math-verify sees every pair.

    Returns:
        One status of `grading.STATUSES` per pair, or `math_worker.BAD_GOLD`.
    """
    statuses: list[str | None] = []
    unique: dict[Pair, list[int]] = {}
    for i, (gold, answer) in enumerate(pairs):
        status, pair = _without_algebra(gold, answer, exact_rules)
        if status is None:
            status = _settled.get(pair)
        statuses.append(status)
        if status is None:
            unique.setdefault(pair, []).append(i)
    if unique:
        for pair, status in run_in_pool("math", list(unique), time_limit).items():
            if status in ("correct", "incorrect"):
                _settled.put(pair, status)
            for i in unique[pair]:
                statuses[i] = status
    return [status or "crash" for status in statuses]


@functools.lru_cache(maxsize=16384)
def _without_algebra(gold: str, answer: str | None, exact_rules: bool) -> tuple[str | None, Pair]:
    """Settle what needs no algebra, or return the normalised pair for the pool."""
    right = _normalised(gold)
    if not right or not is_balanced(right):
        return BAD_GOLD, (gold, answer)
    if answer is None:
        return None, (without_percent(right), None)
    given = _normalised(answer)
    if given is None:
        return "limit", (gold, answer)
    if not is_balanced(given):
        return "incorrect", (gold, answer)
    if exact_rules and (decided := decide(right, given)):
        return ("correct" if decided[1] else "incorrect"), (gold, answer)
    return None, (without_percent(right), without_percent(given))


def _normalised(text: str) -> str | None:
    """Return the text as compared, None if it is over the limits before or after."""
    if over_limit(text):
        return None
    text = normalise(text)
    return None if over_limit(text) else text


def run_in_pool(kind: str, pairs: Sequence[Pair], time_limit: float) -> dict[Pair, str]:
    """Compare distinct pairs in the workers.

    Args:
        kind: ``math`` (normalised expressions) or ``reasoning_gym`` (task and answer).
        pairs: (gold, answer) each, without repetition; an answer of None only checks the gold.
        time_limit: Seconds of processor time that one comparison may take.

    Returns:
        One status of `grading.STATUSES` per pair, or `math_worker.BAD_GOLD`.
    """
    done: dict[Pair, str] = {}
    chunks = [pairs[i : i + CHUNK] for i in range(0, len(pairs), CHUNK)]
    while chunks:
        pool = _get_pool()
        running = [
            (
                chunk,
                pool.schedule(
                    compare_chunk,
                    args=(kind, chunk, time_limit),
                    timeout=KILL_FACTOR * time_limit + GRACE_SECONDS,
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
