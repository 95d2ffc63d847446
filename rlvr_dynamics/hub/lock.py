"""The lock files of a run directory: the revision of every model, step and table it uses.

Each is a JSON object of entries by name. `repo` and `revision` say what was used; other fields
depend on the kind of entry. A run directory with a copied lock file uses the same revisions or
fails.
"""

from pathlib import Path
from typing import Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.files import read_object

TABLES = "benchmarks.lock.json"
MODELS = "models.lock.json"
STEPS = "published.lock.json"


def read_lock(path: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of a lock file; {} if there is none.

    Raises:
        UserError: The file is not a lock file.
    """
    if not path.exists():
        return {}
    way_out = "restore it, or delete it to resolve the revisions anew"
    entries = read_object(path, way_out=way_out)
    if isinstance(entries.get("steps"), dict) and entries.get("format") == 1:
        entries = {f"step_{step}": _renamed(each) for step, each in entries["steps"].items()}
    if not all(isinstance(each, dict) for each in entries.values()):
        raise UserError("not a lock file: no mapping of entries", where=str(path), way_out=way_out)
    return entries


def _renamed(step: Any) -> Any:
    """Convert an entry with published.lock.json's former field names to the current ones."""
    if not isinstance(step, dict) or "commit" not in step:
        return step
    return step | {"asked": step.get("revision"), "revision": step["commit"]}
