"""Local files in the place of published tables: what is hashed is read, mistakes are named."""

import json
import os

import pandas as pd
import pytest

from rlvr_dynamics import config
from rlvr_dynamics.benchmarks import build_benchmark
from rlvr_dynamics.errors import UserError


def benchmark_of(file, rows, **update):
    loaded = config.load(["+exp=grpo_qwen3_4b", "benchmark=minerva"]).benchmark["minerva"]
    return loaded.model_copy(update={"repo": str(file), "rows": rows, **update})


def write_rows(file, answers):
    rows = [{"question": f"{place}?", "answer": gold} for place, gold in enumerate(answers)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def golds(file, rows):
    table, facts = build_benchmark("minerva", benchmark_of(file, rows))
    return table["gold"].tolist(), facts["revision"]


def test_new_content_under_the_same_path_and_time_is_what_is_read(tmp_path):
    file = tmp_path / "questions.jsonl"
    write_rows(file, ["1", "2"])
    before, first_hash = golds(file, 2)
    status = file.stat()
    write_rows(file, ["3", "4"])
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.stat().st_size == status.st_size
    after, second_hash = golds(file, 2)
    assert (before, after) == (["1", "2"], ["3", "4"])
    assert first_hash != second_hash
    with pytest.raises(UserError, match="is available at sha256"):
        build_benchmark("minerva", benchmark_of(file, 2), first_hash)


@pytest.mark.parametrize("name", ["g[1].jsonl", "g*.jsonl", "g?.jsonl", "{g,h}.jsonl", "~g.jsonl"])
def test_a_name_is_no_pattern(tmp_path, name):
    write_rows(tmp_path / "g1.jsonl", ["1"])
    write_rows(tmp_path / name, ["2"])
    assert golds(tmp_path / name, 1)[0] == ["2"]


@pytest.mark.parametrize("ending", ["jsonl", "JSONL", "json", "csv", "parquet"])
def test_every_format_gives_the_same_questions(tmp_path, ending):
    file = tmp_path / f"table.{ending}"
    table = pd.DataFrame(
        {"question": ["Ä \u2028?", "2?"], "answer": ["1e-5", "007"], "more": ["", "x"]}
    )
    writers = {
        "jsonl": lambda: table.to_json(file, orient="records", lines=True),
        "json": lambda: table.to_json(file, orient="records", indent=2),
        "csv": lambda: table.to_csv(file, index=False),
        "parquet": lambda: table.to_parquet(file),
    }
    writers[ending.lower()]()
    built, facts = build_benchmark("minerva", benchmark_of(file, 2))
    assert built["gold"].tolist() == ["1e-5", "007"]
    assert built["prompt"][0].startswith("Ä \u2028?\n")
    assert facts["revision"].startswith("sha256:")


GOOD = b'{"question": "1?", "answer": "1"}\n'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", GOOD + b"null\n", "line 2 is not an object with named fields but null"),
        ("a.jsonl", GOOD + b"[1]\n", "line 2 is not an object .* but list"),
        ("a.jsonl", GOOD + GOOD + b'{"question": "\xff"}\n', "line 3 is not UTF-8"),
        ("a.jsonl", GOOD + b'{"question', "line 2 is not JSON"),
        ("a.jsonl", GOOD + b"[" * 100_000 + b"\n", "line 2 is nested too deep"),
        ("a.jsonl", GOOD + b'{"question": ' + b"1" * 5000 + b"}", "line 2 is not JSON"),
        ("a.jsonl", b"", "the file is empty"),
        ("a.jsonl", b" \n\n", "the file is empty"),
        ("a.jsonl", "question".encode("utf-16"), "line 1 is not UTF-8"),
        ("a.json", b"[" + GOOD + b",null]", "row 2 is not an object"),
        ("a.json", b"[", "the file is not JSON"),
        ("a.json", b"null", "line 1 is not an object"),
        ("a.csv", b"question,answer\n1?,1\n2?\n", "line 3 has 1 cells for 2 columns"),
        ("a.csv", b"question,question\n1?,1\n", "two columns have one name"),
        ("a.csv", b'question,answer\n1?,"1\n', "is not CSV"),
        ("a.csv", b"question,answer\n\xe4,1\n", "line 2 is not UTF-8"),
        ("a.csv", b"", "the file is empty"),
        ("a.parquet", b"", "the file is empty"),
        ("a.parquet", b"PAR1 nothing PAR1", "not a sound parquet file"),
    ],
)
def test_a_damaged_file_is_one_line_that_names_the_place(tmp_path, name, content, message):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        build_benchmark("minerva", benchmark_of(file, 2))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": None, "answer": "1"}, "minerva-1 belongs to a question that is empty"),
        ({"question": ["a"], "answer": "1"}, "minerva-1 belongs to a question that is a list"),
        ({"question": float("nan"), "answer": "1"}, "a question that is empty"),
        ({"question": "\ud800", "answer": "1"}, "half a character"),
        ({"question": "1?", "answer": "\udc00"}, "minerva-1 holds half a character"),
        ({"question": "1?", "answer": ["5"]}, "minerva-1 is a list"),
        ({"question": "1?", "answer": {"a": 5}}, "minerva-1 is a dict"),
        ({"question": "1?"}, "minerva-1 is empty"),
    ],
)
def test_a_row_that_is_no_question_is_named(tmp_path, row, message):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(GOOD + json.dumps(row).encode() + b"\n")
    benchmark = benchmark_of(file, 2, extract=())
    with pytest.raises(UserError, match=message):
        build_benchmark("minerva", benchmark)


def test_a_row_without_an_id_is_named(tmp_path):
    file = tmp_path / "rows.jsonl"
    rows = [{"question": "?", "answer": "1", "name": name} for name in ("a", None)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match="the id of row 2"):
        build_benchmark("minerva", benchmark_of(file, 2, id="name"))


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_waited_for(tmp_path, make):
    make(tmp_path / "a.jsonl")
    with pytest.raises(UserError, match="there is no such file"):
        build_benchmark("minerva", benchmark_of(tmp_path / "a.jsonl", 1))
