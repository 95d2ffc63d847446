"""Benchmarks: tables from the hub, local files or a generator, converted to one checked form.

Start with `build.py`; `tables.py` loads tables, `golds.py` extracts and checks gold answers,
`choices.py` shuffles choices, `generated.py` calls reasoning_gym, `lock.py` pins revisions and
`written.py` writes the tables of a run.
"""

from rlvr_dynamics.benchmarks.build import Built, Question, build_benchmark, build_questions
from rlvr_dynamics.benchmarks.content import content_sha256
from rlvr_dynamics.benchmarks.lock import (
    check_lock,
    lock_entry,
    pinned_revision,
)

__all__ = [
    "Built",
    "Question",
    "build_benchmark",
    "build_questions",
    "check_lock",
    "content_sha256",
    "lock_entry",
    "pinned_revision",
]
