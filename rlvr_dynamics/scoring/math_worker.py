r"""What runs inside a worker process: math-verify on one short expression at a time.

Only math-verify's LaTeX reader is used. Its reader of plain expressions ends in sympy's
``parse_expr``, which evaluates text, and is left out. math-verify's own alarm works in a main
thread only and is switched off: the worker sets its own, and the pool kills what ignores it.
"""

import functools
import logging
import resource
import signal
import time
from types import FrameType
from typing import Any

MEMORY_LIMIT_BYTES = 2 * 1024**3
BAD_GOLD = "bad_gold"
NOT_DONE = "not_done"


class _TooSlow(BaseException):
    """Raised by the alarm; a BaseException, so that no library swallows it."""


def start(memory_limit: int = MEMORY_LIMIT_BYTES) -> None:
    """Prepare a worker: memory limit, own alarm, library imports.

    Args:
        memory_limit: Address space in bytes.
    """
    signal.signal(signal.SIGALRM, _on_alarm)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    logging.getLogger("latex2sympy2_extended").setLevel(logging.CRITICAL)
    _parse("1")
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = memory_limit if hard == resource.RLIM_INFINITY else min(memory_limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _on_alarm(number: int, frame: FrameType | None) -> None:
    raise _TooSlow


@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[Any, ...]:
    from math_verify import LatexExtractionConfig, parse

    return tuple(
        parse(
            f"\\boxed{{{text}}}",
            extraction_config=[LatexExtractionConfig(boxed_match_priority=0)],
            parsing_timeout=None,  # pyright: ignore[reportArgumentType]
            raise_on_error=False,
        )
    )


def _compare(gold: str, answer: str | None) -> str:
    from math_verify import verify

    right = _parse(gold)
    if not right:
        return BAD_GOLD
    given = _parse(answer) if answer is not None else ()
    if not given:
        return "no_answer" if answer is None else "incorrect"
    equal = verify(list(right), list(given), timeout_seconds=None, raise_on_error=False)
    return "correct" if equal else "incorrect"


def compare(gold: str, answer: str | None, time_limit: float) -> str:
    """Compare one answer with its gold, within `time_limit` seconds.

    Returns:
        A status of `grading.STATUSES` or `BAD_GOLD`.
    """
    signal.setitimer(signal.ITIMER_REAL, time_limit)
    try:
        status = _compare(gold, answer)
        signal.setitimer(signal.ITIMER_REAL, 0)
        return status
    except _TooSlow:
        return "timeout"
    except (MemoryError, RecursionError):
        return "limit"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def compare_chunk(pairs: list[tuple[str, str | None]], time_limit: float) -> list[str]:
    """Compare several answers; give up the rest once `time_limit` seconds are spent.

    Returns:
        One status per pair; `NOT_DONE` for those that were not reached.
    """
    began = time.monotonic()
    statuses = []
    for gold, answer in pairs:
        spent = time.monotonic() - began
        statuses.append(compare(gold, answer, time_limit) if spent < time_limit else NOT_DONE)
    return statuses
