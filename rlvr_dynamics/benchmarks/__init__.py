"""Benchmarks: tables from the hub, from local files or generated, built into one checked form.

`build.py` is the one to read first; `tables.py` loads, `golds.py` finds and checks the right
answers, `choices.py` shuffles, `generated.py` asks reasoning_gym, `lock.py` pins the revisions,
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
