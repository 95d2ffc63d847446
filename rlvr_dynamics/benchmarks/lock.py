"""The entry of benchmarks.lock.json for each table, checked whenever the table is used again."""

from typing import Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub.lock import TABLES
from rlvr_dynamics.schema import HubTable

_HOW_SETTINGS = {"repo", "revision"}


def pinned_revision(lock: dict[str, Any], name: str, table: HubTable) -> str | None:
    """Return the revision to use: the configuration's, else the recorded one of the same table."""
    if table.revision is not None:
        return table.revision
    entry = lock.get(name, {})
    return entry.get("revision") if entry.get("repo") == table.repo else None


def lock_entry(table: HubTable, revision: str, content: str) -> dict[str, Any]:
    """Return a table's lock entry: its source, how it was read and the resulting content."""
    return {
        "repo": table.repo,
        "revision": revision,
        "settings": table.model_dump(mode="json", exclude=_HOW_SETTINGS),
        "content_sha256": content,
    }


def check_lock(lock: dict[str, Any], name: str, entry: dict[str, Any]) -> None:
    """Check that the same source, read in the same way, gave the same questions.

    Raises:
        UserError: It did not.
    """
    recorded = lock.get(name, {})
    same = all(recorded.get(key) == entry[key] for key in ("repo", "revision", "settings"))
    if same and recorded.get("content_sha256") != entry["content_sha256"]:
        raise UserError(
            f"{name}: the questions are not those that were recorded, though revision and "
            "settings are",
            where=TABLES,
            way_out="restore the table, or remove its entry to accept what is there now",
        )
