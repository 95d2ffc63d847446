"""Loads a table's rows from the hub at one commit, or from a local file instead."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_dynamics.benchmarks.local_file import READERS, read_local
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub.lock import TABLES
from rlvr_dynamics.schema import HubTable

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Loaded:
    """A table as loaded.

    Attributes:
        rows: One dictionary per row, with the wanted columns only.
        columns: Purpose -> the column that was used for it.
        revision: Commit of the hub repository, or ``sha256:...`` of a local file.
        split: The split that was read.
    """

    rows: list[dict[str, Any]]
    columns: dict[str, str]
    revision: str
    split: str


def load_table(table: HubTable, revision: str | None, wanted: dict[str, Iterable[str]]) -> Loaded:
    """Load the wanted columns of a table.

    Args:
        table: The table.
        revision: Commit to read, None for the newest; for a local file, the recorded hash.
        wanted: Purpose -> possible column names; the first that exists is used.

    Raises:
        UserError: The table is unavailable, or has other columns, splits or rows.
    """
    path = Path(table.repo)
    if path.suffix.lower() in READERS:
        possible = {name for names in wanted.values() for name in names}
        present, rows, found = read_local(path, possible)
        if revision not in (None, found):
            raise _other_revision(str(path), found, str(revision))
        split = "the whole file"
    else:
        data, found, split = _hub(table, revision)
        present, rows = list(data.column_names), data
    columns = _columns(table, present, wanted)
    if len(rows) != table.rows:
        raise UserError(
            f"table {table.repo} has {len(rows)} rows, {table.rows} were expected",
            where=f"{found}, split {split}",
            way_out="pin the revision, or set rows to what you mean to use",
        )
    names = sorted(set(columns.values()))
    if not isinstance(rows, list):
        rows = rows.select_columns(names).to_list()
    return Loaded([{name: row.get(name) for name in names} for row in rows], columns, found, split)


def _columns(
    table: HubTable, present: list[str], wanted: dict[str, Iterable[str]]
) -> dict[str, str]:
    columns = {}
    for role, names in wanted.items():
        found = [name for name in names if name in present]
        if not found:
            raise UserError(
                f"table {table.repo} has no column {' or '.join(names)}",
                way_out=f"name its columns; it has {', '.join(present)}",
            )
        columns[role] = found[0]
    return columns


def _hub(table: HubTable, revision: str | None) -> tuple[Any, str, str]:
    from datasets import load_dataset_builder
    from datasets.exceptions import DatasetsError
    from httpx import HTTPError

    try:
        commit = revision if _is_commit(revision) else _resolve(table.repo, revision)
        builder = load_dataset_builder(table.repo, table.subset, revision=commit)
        found = str(builder.hash)
        # Offline, `datasets` uses the newest cached copy, whatever revision was requested.
        if commit is not None and found != commit:
            raise _other_revision(table.repo, found, commit)
        builder.download_and_prepare()
        split = _split(table, list(builder.info.splits or {}))
        return builder.as_dataset(split=split), found, split
    except (OSError, ValueError, DatasetsError, HTTPError) as error:
        raise _unavailable(table.repo, error) from error


def _is_commit(revision: str | None) -> bool:
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def _resolve(repo: str, revision: str | None) -> str | None:
    """Return the commit of a branch, a tag or the newest (None); None if there is no network."""
    import datasets.config
    from huggingface_hub import HfApi

    if datasets.config.HF_HUB_OFFLINE:
        if revision is None:
            return None
        raise UserError(
            f"table {repo}: what commit {revision} is cannot be looked up offline",
            way_out="give the commit itself as revision, or unset HF_DATASETS_OFFLINE",
        )
    return HfApi().dataset_info(repo, revision=revision).sha


def _split(table: HubTable, splits: list[str]) -> str:
    for split in (table.split, table.fallback_split):
        if split is not None and split.split("[")[0] in splits:
            return split
    raise UserError(
        f"table {table.repo} has no split {table.split}",
        way_out=f"name one of its splits: {', '.join(splits)}",
    )


def _other_revision(repo: str, found: str, wanted: str) -> UserError:
    return UserError(
        f"table {repo} is available at {found}, but {wanted} is required",
        where=f"from revision= or {TABLES}",
        way_out="restore the required one (offline only the newest cached copy is found), or "
        "remove its revision there to use the available one",
    )


def _unavailable(repo: str, error: Exception) -> UserError:
    import datasets.config

    text = _first_line(error)
    if "gated" in text.lower():
        way_out = f"accept its conditions at https://huggingface.co/datasets/{repo}, then log in: "
        way_out += "hf auth login; or give a local file"
    elif datasets.config.HF_HUB_OFFLINE:
        way_out = "offline only cached tables can be used: unset HF_DATASETS_OFFLINE once to "
        way_out += "fetch it, or give a local file"
    else:
        way_out = "check the network and the id, or give a local .parquet or .jsonl file"
    return UserError(f"table {repo} cannot be loaded: {text}", way_out=way_out)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
