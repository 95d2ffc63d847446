"""A pool of processes that compare expressions and can be killed individually.

The pool starts on first use, belongs to this process only and ends with it. It can be used from any
thread and inside a Ray worker.
"""

import atexit
import functools
import os
import threading
from collections.abc import Sequence
from concurrent.futures import TimeoutError as FutureTimeout

from pebble import ProcessExpired, ProcessPool

from rlvr_dynamics.grading.answer_text import normalise
from rlvr_dynamics.grading.gold_text import is_usable, same_text
from rlvr_dynamics.grading.math_limits import explosive, is_balanced, too_large
from rlvr_dynamics.grading.math_worker import BAD_GOLD, NOT_DONE, compare_chunk, start
from rlvr_dynamics.grading.plain_numbers import without_percent
from rlvr_dynamics.grading.same_answer import decide, is_read, leftovers
from rlvr_dynamics.system.clean_spawn import CleanSpawnContext

CHUNK = 16
MAX_WORKERS = 8
# A worker is replaced after this many chunks, because the parser's and algebra's caches grow.
MAX_TASKS = 250
# The worker's own alarm stops Python code after the limit in CPU time. The pool kills what ignores
# the alarm, by wall-clock time and much later, because the machine may be busy.
KILL_FACTOR = 6
GRACE_SECONDS = 1.0

Pair = tuple[str, str | None]
_VERDICTS = ("correct", "incorrect")


class _Settled:
    """Cache of math-verify's latest verdicts, because samples of a question repeat answers."""

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
_readable: dict[str, bool] = {}  # normalised gold -> whether algebra can read it
_READABLE_SIZE = 16384
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

    A gold that algebra cannot read (see `golds_as_text`) is compared as text and by exact rules.

    Args:
        pairs: (gold, answer) pairs of bare expressions; None means no answer.
        time_limit: Maximum CPU seconds per comparison.
        exact_rules: Whether `exact_rules` may decide; otherwise math-verify sees every pair.

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
        done = run_in_pool("math", list(unique), time_limit)
        unsure = {gold for (gold, _), status in done.items() if status not in _VERDICTS}
        as_text = _unreadable(unsure, time_limit)
        for pair, status in done.items():
            if pair[0] in as_text:
                status = _as_text(*pair)
            if status in _VERDICTS:
                _settled.put(pair, status)
            for i in unique[pair]:
                statuses[i] = status
    return [status or "crash" for status in statuses]


def golds_as_text(golds: Sequence[str], time_limit: float) -> set[str]:
    """Return the usable golds that neither `same_answer` nor algebra can read."""
    found, normalised = set(), {}
    for gold in golds:
        text = _normalised(gold)
        if text is not None and is_read(text):
            continue
        if text is not None and is_balanced(text) and not explosive(text):
            normalised[gold] = without_percent(text)
        elif is_usable(gold):
            found.add(gold)
    unreadable = _unreadable(set(normalised.values()), time_limit)
    return found | {gold for gold, text in normalised.items() if text in unreadable}


def _unreadable(golds: set[str], time_limit: float) -> set[str]:
    """Return the normalised golds that algebra cannot read; each is checked only once."""
    known = {gold: _readable[gold] for gold in golds if gold in _readable}
    unknown: list[Pair] = [(gold, None) for gold in sorted(golds - known.keys())]
    found = {
        gold: status == "no_answer"
        for (gold, _), status in run_in_pool("math", unknown, time_limit).items()
    }
    if len(_readable) + len(found) > _READABLE_SIZE:
        _readable.clear()
    _readable.update(found)
    return {gold for gold, reads in (known | found).items() if not reads}


def _as_text(gold: str, answer: str | None) -> str:
    if answer is None:
        return "no_answer"
    return "correct" if same_text(gold, answer) else "incorrect"


@functools.lru_cache(maxsize=16384)
def _without_algebra(gold: str, answer: str | None, exact_rules: bool) -> tuple[str | None, Pair]:
    """Decide a pair that needs no algebra, or return it normalised for the pool."""
    if not is_usable(gold):
        return BAD_GOLD, (gold, answer)
    if answer is None:
        return "no_answer", (gold, None)
    right, given = _normalised(gold), _normalised(answer)
    if right is None or not is_balanced(right):
        same = same_text(gold, answer)
        return "correct" if same else "limit" if given is None else "incorrect", (gold, answer)
    if given is None:
        return "limit", (gold, answer)
    if not is_balanced(given):
        return "incorrect", (gold, answer)
    if exact_rules:
        decided = decide(right, given)
        if decided is not None:
            return ("correct" if decided[1] else "incorrect"), (gold, answer)
        if leftovers(given) - leftovers(right):
            return "incorrect", (gold, answer)
    if explosive(right):
        return _as_text(right, given), (gold, answer)
    if explosive(given):
        return "limit", (gold, answer)
    return None, (without_percent(right), without_percent(given))


def _normalised(text: str) -> str | None:
    """Return the normalised text, None if it is too large before or after normalising."""
    if too_large(text):
        return None
    text = normalise(text)
    return None if too_large(text) else text


def run_in_pool(kind: str, pairs: Sequence[Pair], time_limit: float) -> dict[Pair, str]:
    """Compare distinct pairs in the workers.

    Args:
        kind: ``math`` (normalised expressions) or ``reasoning_gym`` (task and answer).
        pairs: Distinct (gold, answer) pairs; with None as the answer only the gold is checked.
        time_limit: Maximum CPU seconds per comparison.

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
