"""Published tables, with local files in their place."""

import json
from pathlib import Path

import pandas as pd
import pytest

from rlvr_dynamics import config
from rlvr_dynamics.benchmarks.written import write_tables
from rlvr_dynamics.checkpoints import Trajectory
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow.prepare import prepare
from rlvr_dynamics.hub.lock import MODELS, TABLES, read_lock
from rlvr_dynamics.run_directory.run import Run


@pytest.fixture
def problems(tmp_path):
    """MATH's columns: the answer is the last box of the solution."""
    file = tmp_path / "problems.jsonl"
    rows = [
        {"problem": f"What is {n}+{n}?", "solution": f"It is $\\boxed{{{2 * n}}}$."}
        for n in range(10)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def cell(problems, *overrides):
    return config.load(
        [
            "+exp=grpo_qwen3_4b",
            "benchmark=math",
            f"data.train.repo={problems}",
            "data.train.rows=10",
            "data.validation_problems=2",
            f"benchmark.math.repo={problems}",
            "benchmark.math.rows=10",
            *overrides,
        ]
    )


def tables(loaded, folder):
    return write_tables(loaded.data, loaded.benchmark, folder / "out", folder / TABLES)


def test_tables_from_local_files(problems, tmp_path):
    facts = tables(cell(problems), tmp_path)
    assert facts["data.train"]["rows"] == facts["benchmark.math"]["rows"] == 10
    assert sorted(read_lock(tmp_path / TABLES)) == ["benchmark.math", "data.train"]
    train = pd.read_parquet(tmp_path / "out" / "train.parquet")
    validation = pd.read_parquet(tmp_path / "out" / "val.parquet")
    assert (len(train), len(validation)) == (8, 2)
    assert train["prompt"][0][0]["content"].startswith("What is 2+2?\nPlease reason")
    # The first rows are held out, and every problem keeps its own answer.
    for table, numbers in ((validation, range(2)), (train, range(2, 10))):
        asked = [messages[0]["content"].split("?")[0] for messages in table["prompt"]]
        assert asked == [f"What is {n}+{n}" for n in numbers]
        assert [row["ground_truth"] for row in table["reward_model"]] == [
            str(2 * n) for n in numbers
        ]
    benchmark = pd.read_parquet(tmp_path / "out" / "benchmarks" / "math.parquet")
    assert benchmark["gold"].tolist() == [str(2 * n) for n in range(10)]
    assert benchmark["question_id"].is_unique


def test_training_problems_without_a_gradable_answer_are_named_or_left_out(problems, tmp_path):
    problems.write_text(problems.read_text().replace("boxed{12}", "boxed{\\\\frac{}"))
    with pytest.raises(UserError, match="train-6") as caught:
        tables(cell(problems), tmp_path)
    assert caught.value.way_out.endswith("data.train.exceptions=[train-6]")
    loaded = cell(problems, "data.train.exceptions=[train-6]", "benchmark.math.exceptions=[math-6]")
    facts = tables(loaded, tmp_path)
    assert facts["data.train"]["left_out"] == ["train-6"]
    assert len(pd.read_parquet(tmp_path / "out" / "train.parquet")) == 7


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.train.rows=11", "has 10 rows, 11 were expected"),
        ("data.train.question=query", "no column query"),
        ("data.train.repo=missing.jsonl", "cannot be loaded"),
    ],
)
def test_a_table_that_is_not_what_was_meant(problems, tmp_path, override, message):
    with pytest.raises(UserError, match=message):
        tables(cell(problems, override), tmp_path)


def test_a_broken_file_is_the_users_mistake(problems, tmp_path):
    problems.write_text('{"problem": "1+1?", "solution"')
    with pytest.raises(UserError, match="cannot be loaded"):
        tables(cell(problems), tmp_path)


def test_prepare_records_every_table_and_says_what_was_left_out(problems, tmp_path, capsys):
    loaded = cell(
        problems,
        f"model.repo={model_folder(tmp_path)}",
        "model.stop_tokens=[]",
        "trainer.checkpoint_dtype=bfloat16",
        "benchmark.math.exceptions=[math-3]",
        f"run_dir={tmp_path / 'run'}",
    )
    run, folder = Run(loaded, tmp_path / "run"), tmp_path / "run" / "prepare"
    prepare(run, folder)
    facts = json.loads((folder / "task.json").read_text())
    # Training starts from the rounded base, and the facts say so.
    assert facts["base_dtype"] == {"stored": "bfloat16", "original": "float32"}
    assert Trajectory.open(folder / "base", steps(tmp_path)).dtype == "bfloat16"
    assert sorted(read_lock(run.folder / MODELS)) == ["qwen3_4b"]
    benchmark = facts["tables"]["benchmark.math"]
    assert (benchmark["rows"], benchmark["questions"]) == (10, 9)
    assert benchmark["left_out"] == ["math-3"]
    assert len(benchmark["content_sha256"]) == 64
    assert "benchmark.math: 1 of 10 questions left out" in capsys.readouterr().out
    assert (run.folder / TABLES).is_file()


def steps(tmp_path: Path) -> Path:
    model_folder(tmp_path, "steps/step_1", "bfloat16")
    return tmp_path / "steps"


def model_folder(tmp_path: Path, name: str = "model", dtype: str = "float32") -> Path:
    import torch
    from safetensors.torch import save_file

    folder = tmp_path / name
    folder.mkdir(parents=True)
    weight = torch.ones(2, 2, dtype=getattr(torch, dtype))
    save_file({"weight": weight}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


def test_a_benchmark_does_not_replace_one_that_the_data_bring(problems, tmp_path):
    loaded = cell(problems)
    (tmp_path / "out" / "benchmarks").mkdir(parents=True)
    (tmp_path / "out" / "benchmarks" / "math.parquet").write_bytes(b"theirs")
    with pytest.raises(UserError, match=r"benchmark\.math: the training data bring"):
        tables(loaded, tmp_path)
    assert (tmp_path / "out" / "benchmarks" / "math.parquet").read_bytes() == b"theirs"
