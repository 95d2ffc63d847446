"""Models and problem tables from the Hugging Face hub, or from local files in their place."""

import shutil
from pathlib import Path
from typing import Any

from rlvr_dynamics.atomic import write_json, write_parquet
from rlvr_dynamics.benchmarks import (
    build_benchmark,
    build_questions,
    check_lock,
    content_sha256,
    lock_entry,
    pinned_revision,
    read_lock,
)
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema import Benchmark, HubData, HubModel

MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")


def fetch_model(model: HubModel, folder: Path) -> dict[str, Any]:
    """Copy a model to `folder`: a local folder, or a hub repository at a resolved commit.

    Returns:
        Facts for the report: the repository and the commit that was resolved.

    Raises:
        UserError: The model cannot be had.
    """
    if Path(model.repo).is_dir():
        wanted = [file for pattern in MODEL_FILES for file in Path(model.repo).glob(pattern)]
        folder.mkdir(parents=True, exist_ok=True)
        for file in wanted:
            shutil.copy2(file, folder / file.name)
        return {"repo": model.repo, "revision": None}
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        commit = HfApi().model_info(model.repo, revision=model.revision).sha
        snapshot_download(
            model.repo, revision=commit, local_dir=folder, allow_patterns=list(MODEL_FILES)
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"model {model.repo} cannot be fetched: {str(error).splitlines()[0]}",
            way_out="check the network and the id, or give a local folder: model.repo=DIR",
        ) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return {"repo": model.repo, "revision": commit}


def write_tables(
    data: HubData, benchmarks: dict[str, Benchmark], folder: Path, lock_file: Path
) -> dict[str, Any]:
    """Write train.parquet, val.parquet and benchmarks/*.parquet from published tables.

    Args:
        data: Training problems.
        benchmarks: Benchmarks by name.
        folder: Where the tables go.
        lock_file: Revisions to keep to; written anew with those that were used.

    Returns:
        Facts for the report, by the table's key in the configuration (``data.train``,
        ``benchmark.math500``): its repository, revision, rows, left_out and content.

    Raises:
        UserError: A table cannot be had, is not what was meant or was recorded, or has answers
            that cannot be graded.
    """
    import pandas as pd

    key, lock = "data.train", read_lock(lock_file)
    revision = pinned_revision(lock, key, data.train)
    built = build_questions(key, "train", data.train, "math", revision)
    questions = built.questions
    table = pd.DataFrame(
        {
            "question_id": [question.id for question in questions],
            "prompt": [f"{question.text}\n{data.instruction}" for question in questions],
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
        write_parquet(folder / "benchmarks" / f"{name}.parquet", table)
        lock[key] = entry
        facts[key] = built
    if benchmarks:
        write_json(lock_file, lock)
    return facts
