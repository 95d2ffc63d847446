"""A hash of a benchmark's content, independent of the file that holds it."""

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("question_id", "prompt", "gold", "kind")


def content_sha256(table: "pd.DataFrame") -> str:
    """Hash a benchmark's questions in order: prompts, gold answers and kinds.

    Unlike a hash of the parquet file, it does not depend on titles or on the pandas and pyarrow
    versions that wrote the file.

    Args:
        table: Has at least the columns `COLUMNS`.
    """
    running = hashlib.sha256()
    for row in zip(*(table[name] for name in COLUMNS), strict=True):
        running.update(json.dumps([str(value) for value in row]).encode())
    return running.hexdigest()
