"""Models and problem tables from the Hugging Face hub, or from local files in their place."""

import shutil
from pathlib import Path
from typing import Any

from rlvr_dynamics.atomic import write_parquet
from rlvr_dynamics.config import Benchmark, HubData, HubModel, HubTable
from rlvr_dynamics.errors import UserError

MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")
LOADERS = {".parquet": "parquet", ".jsonl": "json", ".json": "json"}


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


def write_tables(data: HubData, benchmarks: dict[str, Benchmark], folder: Path) -> dict[str, Any]:
    """Write train.parquet, val.parquet and benchmarks/*.parquet from published tables.

    Returns:
        Facts for the report: rows and revision of each table.

    Raises:
        UserError: A table cannot be had, has other columns or another number of rows.
    """
    import pandas as pd

    rows, facts = _rows(data.train), {}
    facts["train"] = {"repo": data.train.repo, "rows": len(rows)}
    verl = [
        {
            "data_source": "math",
            "prompt": [{"role": "user", "content": f"{question}\n{data.instruction}"}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": answer},
            "extra_info": {"split": "train", "index": index},
        }
        for index, (question, answer) in enumerate(rows)
    ]
    held_out = min(data.validation_problems, len(verl) - 1)
    write_parquet(folder / "val.parquet", pd.DataFrame(verl[:held_out]))
    write_parquet(folder / "train.parquet", pd.DataFrame(verl[held_out:]))
    for name, benchmark in benchmarks.items():
        questions = _rows(benchmark)
        facts[name] = {"repo": benchmark.repo, "rows": len(questions)}
        table = pd.DataFrame(
            {
                "question_id": f"{name}-{index}",
                "prompt": f"{question}\n{benchmark.instruction}",
                "gold": answer,
                "kind": "math",
                "split": benchmark.split_kind,
                "title": benchmark.title,
            }
            for index, (question, answer) in enumerate(questions)
        )
        write_parquet(folder / "benchmarks" / f"{name}.parquet", table)
    return facts


def _rows(table: HubTable) -> list[tuple[str, str]]:
    from datasets import Dataset, load_dataset

    path = Path(table.repo)
    try:
        if path.is_file() and path.suffix in LOADERS:
            loaded = load_dataset(LOADERS[path.suffix], data_files=str(path), split="train")
        else:
            loaded = load_dataset(
                table.repo, table.subset, revision=table.revision, split=table.split
            )
    except (OSError, ValueError) as error:
        raise UserError(
            f"table {table.repo} cannot be loaded: {str(error).splitlines()[0]}",
            way_out="check the network and the id, or give a local .parquet or .jsonl file",
        ) from error
    if not isinstance(loaded, Dataset):
        raise UserError(f"table {table.repo}: {table.split} is not one split", way_out="name one")
    missing = {table.question, table.answer} - set(loaded.column_names)
    if missing:
        raise UserError(
            f"table {table.repo} has no column {' or '.join(sorted(missing))}",
            way_out=f"name its columns; it has {', '.join(loaded.column_names)}",
        )
    if len(loaded) != table.rows:
        raise UserError(
            f"table {table.repo} has {len(loaded)} rows, {table.rows} were expected",
            way_out="pin the revision, or set rows to what you mean to use",
        )
    questions, answers = loaded[table.question], loaded[table.answer]
    return [(str(q), str(a)) for q, a in zip(questions, answers, strict=True)]
