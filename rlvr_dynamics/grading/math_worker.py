r"""Code of a worker process: one comparison at a time, by math-verify or reasoning-gym.

Only math-verify's LaTeX parser is used. Its parser of plain expressions calls sympy's
``parse_expr``, which evaluates text, so it is left out. math-verify's own alarm only works in a
main thread and is disabled: the worker sets its own, and the pool kills what ignores it.
"""

import functools
import gc
import itertools
import logging
import math
import os
import resource
import signal
import time
from types import FrameType
from typing import Any

from rlvr_dynamics.grading.reasoning_tasks import is_solved, scorer, task_of

MEMORY_LIMIT_BYTES = 2 * 1024**3
GROWTH_LIMIT_BYTES = 768 * 1024**2
# Interval between checks of a running comparison, in CPU seconds.
WATCH_SECONDS = 0.1
AGAIN_SECONDS = 1.0
BAD_GOLD = "bad_gold"
NOT_DONE = "not_done"


class _TooSlow(BaseException):
    """Raised by the alarm; a BaseException so that no library swallows it."""


class _TooLarge(BaseException):
    """Raised by the alarm: math-verify swallows a MemoryError and calls the answer wrong."""


_deadline = math.inf
_growth_limit = GROWTH_LIMIT_BYTES
_resident_limit = math.inf


def start(memory_limit: int = MEMORY_LIMIT_BYTES, growth_limit: int = GROWTH_LIMIT_BYTES) -> None:
    """Prepare a worker: memory limit, own alarm, library imports.

    Args:
        memory_limit: Address space in bytes, enforced by the kernel.
        growth_limit: Resident memory in bytes that one comparison may add, checked every
            `WATCH_SECONDS`.
    """
    global _growth_limit
    _growth_limit = growth_limit
    # Every thread of a numerical library reserves address space, which counts towards the limit.
    os.environ.update({"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"})
    signal.signal(signal.SIGPROF, _on_alarm)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    logging.getLogger("latex2sympy2_extended").setLevel(logging.CRITICAL)
    _parse("1")
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = memory_limit if hard == resource.RLIM_INFINITY else min(memory_limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _on_alarm(number: int, frame: FrameType | None) -> None:
    # Raise again later in case it was swallowed, but not while it is being handled.
    global _deadline, _resident_limit
    now = time.process_time()
    if now >= _deadline:
        _deadline = now + AGAIN_SECONDS
        raise _TooSlow
    if _resident_bytes() > _resident_limit:
        _resident_limit, _deadline = math.inf, now + AGAIN_SECONDS
        raise _TooLarge


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _forget() -> None:
    """Clear the libraries' caches after a comparison was stopped."""
    from sympy.core.cache import clear_cache

    _parse.cache_clear()
    clear_cache()
    gc.collect()


@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[Any, ...]:
    from math_verify import parse

    return tuple(
        parse(
            f"\\boxed{{{text}}}",
            extraction_config=[_extraction()],
            parsing_timeout=None,  # pyright: ignore[reportArgumentType]
            raise_on_error=False,
        )
    )


@functools.cache
def _extraction() -> Any:
    """Return math-verify's LaTeX rules without the one that drops letters as units."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig

    spelling = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="all"
    )
    return LatexExtractionConfig(boxed_match_priority=0, normalization_config=spelling)


def _compare(gold: str, answer: str | None) -> str:
    right = _parse(gold)
    # math-verify returns what it cannot read as a string.
    if all(isinstance(parsed, str) for parsed in right):
        return BAD_GOLD
    given = _parse(answer) if answer is not None else ()
    if not given:
        return "no_answer" if answer is None else "incorrect"
    return (
        "correct" if any(_equal(g, a) for g, a in itertools.product(right, given)) else "incorrect"
    )


def _equal(gold: Any, answer: Any) -> bool:
    from math_verify import verify

    try:
        return verify(
            gold,
            answer,
            timeout_seconds=None,
            raise_on_error=True,
            allow_set_relation_comp=True,
        )
    except (MemoryError, RecursionError):
        raise
    except Exception:  # sympy raises arbitrary exceptions for what it cannot compare
        return False


def _solve(gold: str, answer: str | None) -> str:
    entry = task_of(gold)
    if entry is None or not is_solved(gold, entry["answer"]):
        return BAD_GOLD
    if answer is None:
        return "no_answer"
    return "correct" if is_solved(gold, answer) else "incorrect"


_COMPARISONS = {"math": _compare, "reasoning_gym": _solve}


def compare(kind: str, gold: str, answer: str | None, time_limit: float) -> str:
    """Compare one answer with its gold within a time limit.

    Args:
        kind: ``math`` or ``reasoning_gym``.
        gold: A normalised expression, or the JSON of a task.
        answer: The answer; None only checks the gold.
        time_limit: CPU seconds, so that no verdict depends on how busy the machine is.

    Returns:
        A status of `grading.STATUSES` or `BAD_GOLD`.
    """
    global _deadline, _resident_limit
    _deadline = time.process_time() + time_limit
    _resident_limit = _resident_bytes() + _growth_limit
    watch = min(WATCH_SECONDS, time_limit)
    try:
        signal.setitimer(signal.ITIMER_PROF, watch, watch)
        status = _COMPARISONS[kind](gold, answer)
        _deadline = math.inf
        signal.setitimer(signal.ITIMER_PROF, 0)
        return status
    except _TooSlow:
        signal.setitimer(signal.ITIMER_PROF, 0)
        _forget()
        return "timeout"
    except (_TooLarge, MemoryError, RecursionError):
        signal.setitimer(signal.ITIMER_PROF, 0)
        _forget()
        return "limit"
    finally:
        _deadline = math.inf
        signal.setitimer(signal.ITIMER_PROF, 0)


def compare_chunk(kind: str, pairs: list[tuple[str, str | None]], time_limit: float) -> list[str]:
    """Compare several answers until `time_limit` is used up.

    Returns:
        One status per pair; `NOT_DONE` for those not reached.
    """
    if kind == "reasoning_gym":
        # Importing the families takes seconds once, which should not count against an answer.
        for family in {_family(gold) for gold, _ in pairs} - {None}:
            scorer(family)
    began = time.process_time()
    statuses = []
    for gold, answer in pairs:
        spent = time.process_time() - began
        statuses.append(compare(kind, gold, answer, time_limit) if spent < time_limit else NOT_DONE)
    return statuses


def _family(gold: str) -> str | None:
    entry = task_of(gold)
    return entry["metadata"]["source_dataset"] if entry else None
