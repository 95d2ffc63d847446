"""The lock file: which revision of every table a run used, checked whenever it is used again.

Copied into another run directory, it makes that run use the same tables or refuse.
"""

from pathlib import Path
from typing import Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema import HubTable
from rlvr_dynamics.system.files import read_object

LOCK_FILE = "benchmarks.lock.json"
_HOW_SETTINGS = {"repo", "revision"}


def read_lock(path: Path) -> dict[str, Any]:
    """Return the entries of a lock file by table; {} if there is none.

    Raises:
        UserError: The file is not a lock file.
    """
    if not path.exists():
        return {}
    way_out = "restore it, or remove it to start anew"
    tables = read_object(path, way_out=way_out)
    if not all(isinstance(one, dict) for one in tables.values()):
        raise UserError("not a lock file: no mapping of tables", where=str(path), way_out=way_out)
    return tables


def pinned_revision(lock: dict[str, Any], name: str, table: HubTable) -> str | None:
    """Return the revision to use: the configuration's, else the recorded one of the same table."""
    if table.revision is not None:
        return table.revision
    entry = lock.get(name, {})
    return entry.get("revision") if entry.get("repo") == table.repo else None


def lock_entry(table: HubTable, revision: str, content: str) -> dict[str, Any]:
    """Return what is recorded of a table: where it came from, how it was read, what came out."""
    return {
        "repo": table.repo,
        "revision": revision,
        "settings": table.model_dump(mode="json", exclude=_HOW_SETTINGS),
        "content_sha256": content,
    }


def check_lock(lock: dict[str, Any], name: str, entry: dict[str, Any]) -> None:
    """Make sure that the same source, read in the same way, gave the same questions.

    Raises:
        UserError: It did not.
    """
    recorded = lock.get(name, {})
    same = all(recorded.get(key) == entry[key] for key in ("repo", "revision", "settings"))
    if same and recorded.get("content_sha256") != entry["content_sha256"]:
        raise UserError(
            f"{name}: the questions are not those that were recorded, though revision and "
            "settings are",
            where=LOCK_FILE,
            way_out="restore the table, or remove its entry to accept what is there now",
        )
