"""`stage.json`: what a stage was made from, whether it is finished, and which files it published.

The records of a run directory must agree. A stage made from inputs other than the present ones is
invalid, even if its files are intact.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.system.sealed import read_sealed_json

RECORD = "stage.json"
FOLDERS = {
    "prepare": "prepare",
    "train": "train",
    "measure": "measure",
    "extrapolate": "predictions",
    "score": "scores",
    "behaviour": "behaviour",
    "report": "report",
}
# Hours of training: never discarded because of a changed configuration.
PRECIOUS = ("prepare", "train")
WRITE_AGAIN = (
    "run the command of this directory again, which writes it anew, or put it back from a copy"
)


def read_our_json(path: Path, way_out: str = WRITE_AGAIN) -> dict[str, Any]:
    """Return the content of a sealed JSON file of a run directory.

    Args:
        path: The file.
        way_out: What the user can do if it is damaged.

    Raises:
        UserError: It cannot be read, or has changed since it was written.
    """
    try:
        return read_sealed_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"damaged {path.name}", where=str(path), way_out=way_out) from error


def read_record(folder: Path) -> dict[str, Any]:
    """Read a stage's `stage.json`; empty if it does not exist.

    Raises:
        UserError: It is damaged.
    """
    way_out = "run the stage again, which makes it anew"
    if folder.name in PRECIOUS:
        way_out = "put this file back from a copy, or choose another run_dir=..."
    try:
        return read_our_json(folder / RECORD, way_out)
    except UserError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return {}
        raise


def differences(old: Any, new: Any, prefix: str = "") -> Iterator[str]:
    """Yield `key: old there, new now` for every leaf that differs between two JSON values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{prefix}{key}.")
    elif old != new:
        yield f"{prefix[:-1].removeprefix('settings.')}: {old} there, {new} now"


def inputs_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the identities of a stage's inputs, by the stage that made them."""
    material = record.get("material")
    inputs = material.get("inputs") if isinstance(material, Mapping) else None
    return dict(inputs) if isinstance(inputs, Mapping) else {}


def disagreements(records: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Find the finished stages made from inputs other than those in the run directory.

    Stages made from the same input must agree on it even if it no longer exists.

    Args:
        records: Stage to record, in the order of the stages; {} if there is none.

    Returns:
        Stage to a description of the disagreement.
    """
    made = {name: each["identity"] for name, each in records.items() if each.get("finished")}
    first: dict[str, str] = {}
    found: dict[str, str] = {}
    for name, record in records.items():
        if not record.get("finished"):
            continue
        for need, identity in inputs_of(record).items():
            if need in made and made[need] != identity:
                found.setdefault(name, f"{name} was made from another {need} than the one there")
            elif need not in made and records[first.setdefault(need, name)] is not record:
                other = first[need]
                if inputs_of(records[other])[need] != identity:
                    what = "checkpoints" if need == "train" else need
                    found.setdefault(name, f"{name} was made from other {what} than {other}")
    return found


def check_records(run_dir: Path, there: set[str]) -> None:
    """Check that the stages of a run directory fit together.

    Args:
        run_dir: The run directory.
        there: Stages whose tables are read.

    Raises:
        UserError: A stage was made from inputs other than the present ones, or is unfinished, so
            its tables may belong to another run.
    """
    records = {name: read_record(run_dir / folder) for name, folder in FOLDERS.items()}
    wrong = disagreements(records)
    for name, record in records.items():
        # A training in progress adds rows to its table; every other stage writes tables last.
        if name in there and name != "train" and record and not record.get("finished"):
            wrong.setdefault(name, f"{name} has not finished, and its tables may be earlier ones")
    wrong.pop("report", None)  # it is made from the others and not read here
    if not wrong:
        return
    name, what = next(iter(wrong.items()))
    raise UserError(
        f"the stages of this run directory do not fit together: {what}",
        where=str(run_dir),
        way_out=f"run its command again with stages=[{','.join(wrong)},report], or leave this "
        f"directory out (or move {FOLDERS[name]}/ away)",
    )
