"""A hash of what a benchmark asks, whatever file holds it."""

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("question_id", "prompt", "gold", "kind")


def content_sha256(table: "pd.DataFrame") -> str:
    """Hash the questions of a benchmark, their prompts, right answers and kinds, in their order.

    Unlike the hash of the parquet file it does not depend on the versions of pandas and pyarrow
    that wrote it, nor on titles.

    Args:
        table: Has at least the columns `COLUMNS`.
    """
    running = hashlib.sha256()
    for row in zip(*(table[name] for name in COLUMNS), strict=True):
        running.update(json.dumps([str(value) for value in row]).encode())
    return running.hexdigest()
