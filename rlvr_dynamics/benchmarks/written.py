"""Writes a run's tables: training problems and benchmarks, from the hub or local files."""

from pathlib import Path
from typing import Any

from rlvr_dynamics.benchmarks.build import build_benchmark, build_questions
from rlvr_dynamics.benchmarks.content import content_sha256
from rlvr_dynamics.benchmarks.lock import check_lock, lock_entry, pinned_revision
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub.lock import read_lock
from rlvr_dynamics.schema import Benchmark, HubData
from rlvr_dynamics.system.atomic import write_json, write_parquet


def write_tables(
    data: HubData, benchmarks: dict[str, Benchmark], folder: Path, lock_file: Path
) -> dict[str, Any]:
    """Write train.parquet, val.parquet and benchmarks/*.parquet from published tables.

    Args:
        data: Training problems.
        benchmarks: Benchmarks by name.
        folder: Where the tables go.
        lock_file: Recorded revisions to use; rewritten with the ones used.

    Returns:
        Facts for the report, by the table's key in the configuration (``data.train``,
        ``benchmark.math500``): its repository, revision, rows, left_out, compared_as_text and
        content.

    Raises:
        UserError: A table is unavailable, is not as configured or recorded, or has answers that
            cannot be graded.
    """
    import pandas as pd

    key, lock = "data.train", read_lock(lock_file)
    revision = pinned_revision(lock, key, data.train)
    built = build_questions(key, "train", data.train, "math", revision)
    questions = built.questions
    table = pd.DataFrame(
        {
            "question_id": [question.id for question in questions],
            "prompt": [data.ask(question.text) for question in questions],
            "gold": [question.gold for question in questions],
            "kind": "math",
        }
    )
    entry = lock_entry(data.train, built.facts["revision"], content_sha256(table))
    check_lock(lock, key, entry)
    verl = [
        {
            "data_source": "math",
            "prompt": [{"role": "user", "content": prompt}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": gold},
            "extra_info": {"split": "train", "index": index},
        }
        for index, (prompt, gold) in enumerate(zip(table["prompt"], table["gold"], strict=True))
    ]
    held_out = min(data.validation_problems, len(verl) - 1)
    write_parquet(folder / "val.parquet", pd.DataFrame(verl[:held_out]))
    write_parquet(folder / "train.parquet", pd.DataFrame(verl[held_out:]))
    write_json(lock_file, lock | {key: entry})
    facts = {key: built.facts | {"content_sha256": entry["content_sha256"]}}
    return facts | write_benchmarks(benchmarks, folder, lock_file)


def write_benchmarks(
    benchmarks: dict[str, Benchmark], folder: Path, lock_file: Path
) -> dict[str, Any]:
    """Write benchmarks/*.parquet; arguments, facts and errors as in `write_tables`."""
    lock, facts = read_lock(lock_file), {}
    for name, benchmark in benchmarks.items():
        key = f"benchmark.{name}"
        table, built = build_benchmark(name, benchmark, pinned_revision(lock, key, benchmark))
        entry = lock_entry(benchmark, built["revision"], built["content_sha256"])
        check_lock(lock, key, entry)
        file = folder / "benchmarks" / f"{name}.parquet"
        if file.exists():
            raise UserError(
                f"{key}: the training data bring a benchmark of this name",
                way_out="give yours another name",
            )
        write_parquet(file, table)
        lock[key] = entry
        facts[key] = built
    if benchmarks:
        write_json(lock_file, lock)
    return facts


def print_remarks(tables: dict[str, Any]) -> None:
    """Print what was left out of the tables, and how many gold answers are compared as text.

    Args:
        tables: Facts from `write_tables`.
    """
    for key, table in tables.items():
        if table["left_out"]:
            print(f"{key}: {len(table['left_out'])} of {table['rows']} questions left out")
        if table["compared_as_text"]:
            print(
                f"{key}: {len(table['compared_as_text'])} of {table['rows']} right answers are "
                "nothing that algebra reads, and compared as text"
            )
