"""Published models and tables, with local files in their place."""

import json

import pandas as pd
import pytest

from rlvr_dynamics import config
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.training.hub_data import fetch_model, write_tables


@pytest.fixture
def problems(tmp_path):
    file = tmp_path / "problems.jsonl"
    rows = [{"problem": f"What is {n}+{n}?", "answer": str(2 * n)} for n in range(10)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def cell(problems, *overrides):
    return config.load(
        [
            "+exp=grpo_qwen3_4b",
            f"data.train.repo={problems}",
            "data.train.rows=10",
            "data.validation_problems=2",
            f"benchmark.math500.repo={problems}",
            "benchmark.math500.rows=10",
            *overrides,
        ]
    )


def test_tables_from_local_files(problems, tmp_path):
    loaded = cell(problems)
    facts = write_tables(loaded.data, loaded.benchmark, tmp_path / "out")
    assert facts["train"]["rows"] == facts["math500"]["rows"] == 10
    train = pd.read_parquet(tmp_path / "out" / "train.parquet")
    validation = pd.read_parquet(tmp_path / "out" / "val.parquet")
    assert (len(train), len(validation)) == (8, 2)
    assert train["prompt"][0][0]["content"].startswith("What is 2+2?\nPlease reason")
    assert train["reward_model"][0]["ground_truth"] == "4"
    benchmark = pd.read_parquet(tmp_path / "out" / "benchmarks" / "math500.parquet")
    assert benchmark["gold"].tolist() == [str(2 * n) for n in range(10)]
    assert benchmark["question_id"].is_unique


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.train.rows=11", "has 10 rows, 11 were expected"),
        ("data.train.question=query", "no column query"),
        ("data.train.repo=missing.jsonl", "cannot be loaded"),
    ],
)
def test_a_table_that_is_not_what_was_meant(problems, tmp_path, override, message):
    loaded = cell(problems, override)
    with pytest.raises(UserError, match=message):
        write_tables(loaded.data, loaded.benchmark, tmp_path / "out")


def test_a_local_model_folder_stands_in_for_the_hub(problems, tmp_path):
    (tmp_path / "model").mkdir()
    for name in ("model.safetensors", "config.json", "tokenizer.json", "pytorch_model.bin"):
        (tmp_path / "model" / name).write_bytes(b"x")
    loaded = cell(problems, f"model.repo={tmp_path / 'model'}")
    fetch_model(loaded.model, tmp_path / "base")
    assert {path.name for path in (tmp_path / "base").iterdir()} == {
        "model.safetensors",
        "config.json",
        "tokenizer.json",
    }
