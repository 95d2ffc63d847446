"""Benchmarks: every configuration, the shapes of the published tables, and what stops a build."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_dynamics import config
from rlvr_dynamics.benchmarks import build_benchmark, content_sha256
from rlvr_dynamics.benchmarks.choices import shuffled_choices
from rlvr_dynamics.benchmarks.golds import gold_answer
from rlvr_dynamics.benchmarks.written import print_remarks
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.grading.grade import grade
from rlvr_dynamics.scoring.samples import read_benchmark
from rlvr_dynamics.system.atomic import write_parquet

CELL = "+exp=grpo_qwen3_4b"
NAMES = sorted(path.stem for path in (config.CONFIG_FOLDER / "benchmark").glob("*.yaml"))
SUITES = {
    "alpharl": ["aime24", "aime25", "math500", "minerva", "gpqa_diamond", "gsm8k"],
    "relex": ["math", "aime25", "aime26", "hmmt_feb_2025", "olympiadbench", "amc23"],
    "beyond_mathematics": ["knights_knaves", "countdown", "spell_backward"],
}
ROWS = {
    **{"math500": 500, "math": 5000, "gsm8k": 1319, "amc23": 40, "minerva": 272},
    **{"aime24": 30, "aime25": 30, "aime26": 30, "hmmt_feb_2025": 30, "olympiadbench": 675},
    **{"gpqa_diamond": 198, "knights_knaves": 200, "countdown": 200, "spell_backward": 200},
}
REAL = Path(__file__).parents[1] / "data" / "benchmarks"

# One row as each table publishes it, and the right answer that is to come out.
SHAPES = {
    "math500": (
        {"problem": "1+1?", "solution": "So $\\boxed{2}$.", "answer": "2", "unique_id": "test/a/1"},
        "2",
    ),
    "math": (
        {"problem": "Half?", "solution": "First \\boxed{3}, no: $\\boxed{\\frac{1}{2}}$."},
        "\\frac{1}{2}",
    ),
    "gsm8k": ({"question": "Eggs?", "answer": "16 - 7 = <<16-7=9>>9\n#### 1,234"}, "1234"),
    "aime24": ({"id": 60, "problem": "m+n?", "solution": "...", "answer": "025"}, "25"),
    "aime25": ({"problem": "m+n?", "answer": "70"}, "70"),
    "aime26": ({"problem_idx": 1, "problem": "m+n?", "answer": 277}, "277"),
    "amc23": ({"id": 0, "problem": "How many?", "answer": 27.0, "url": "..."}, "27"),
    "hmmt_feb_2025": (
        {"problem_idx": 1, "problem": "x?", "answer": "$\\frac{1}{576}$", "problem_type": ["A"]},
        "\\frac{1}{576}",
    ),
    "minerva": ({"question": "Mass in grams?", "answer": "4.5e33"}, "4.5e33"),
    "olympiadbench": (
        {"id": 1, "question": "x?", "final_answer": ["$\\frac{1}{2}$, $-1$"], "unit": None},
        "\\frac{1}{2}, -1",
    ),
}


def benchmark_of(name, *overrides):
    return config.load([CELL, f"benchmark={name}", *overrides]).benchmark[name]


def stored(folder, name, rows):
    """The benchmark of a configuration, with a local file of these rows in place of the hub."""
    file = folder / f"{name}_{len(list(folder.iterdir()))}.jsonl"  # none is overwritten
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return benchmark_of(name).model_copy(update={"repo": str(file), "rows": len(rows)})


def gpqa_rows(count):
    return [
        {
            "Record ID": f"rec{n}",
            "Question": f"Which is {n}?\n",
            "Correct Answer": f"right {n}\n",
            **{f"Incorrect Answer {k}": f"wrong {n}.{k}" for k in (1, 2, 3)},
        }
        for n in range(count)
    ]


def arithmetic_rows(count):
    return [{"problem": f"What is {n}+{n}?", "answer": str(2 * n)} for n in range(count)]


@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_composes(name):
    loaded = config.load([CELL, f"benchmark={name}"]).benchmark
    assert list(loaded) == (SUITES.get(name) or ([] if name == "none" else [name]))
    for one, benchmark in loaded.items():
        assert benchmark.rows == ROWS[one]
        assert "\\boxed{}" in benchmark.instruction
        assert benchmark.revision is None


def test_suites_can_be_combined():
    both = config.load([CELL, "benchmark=[relex,beyond_mathematics]"]).benchmark
    assert list(both) == SUITES["relex"] + SUITES["beyond_mathematics"]
    assert [name for name in both if both[name].split_kind == "in_domain"] == ["math"]


@pytest.mark.parametrize("name", ["alpharl", "relex_1_5b", "relex_qwen3"])
def test_the_papers_protocols_compose(name):
    scoring = config.load([CELL, f"scoring={name}"]).scoring
    sampled = scoring.protocols[-1]
    wanted = {"alpharl": (0.6, 1.0, 32), "relex_1_5b": (0.7, 0.8, 8), "relex_qwen3": (0.7, 0.8, 8)}
    assert (sampled.temperature, sampled.top_p, sampled.samples) == wanted[name]
    limits = {"alpharl": 30000, "relex_1_5b": 4096, "relex_qwen3": 16384}
    assert scoring.max_tokens == limits[name]
    assert scoring.device == "cuda"


@pytest.mark.parametrize("name", SHAPES)
def test_the_published_shape_becomes_a_benchmark(name, tmp_path):
    row, gold = SHAPES[name]
    benchmark = stored(tmp_path, name, [row])
    table, facts = build_benchmark(name, benchmark)
    (built,) = table.to_dict("records")
    assert built["gold"] == gold
    assert built["prompt"].startswith(str(row.get("problem") or row.get("question")).strip())
    assert built["prompt"].endswith(benchmark.instruction)
    assert grade(built["gold"], f"\\boxed{{{built['gold']}}}", built["kind"]).score == 1.0
    assert (facts["rows"], facts["questions"], facts["left_out"]) == (1, 1, [])


def test_ids_come_from_the_table_or_count_its_rows(tmp_path):
    table, _ = build_benchmark("aime24", stored(tmp_path, "aime24", [SHAPES["aime24"][0]]))
    assert table["question_id"].tolist() == ["aime24-60"]
    table, _ = build_benchmark("aime25", stored(tmp_path, "aime25", [SHAPES["aime25"][0]] * 2))
    assert table["question_id"].tolist() == ["aime25-0", "aime25-1"]
    with pytest.raises(UserError, match="aime24-60 occurs 2 times"):
        build_benchmark("aime24", stored(tmp_path, "aime24", [SHAPES["aime24"][0]] * 2))


@pytest.mark.parametrize(
    ("value", "rules", "expected"),
    [
        ("\\fbox{7}", ["boxed"], "7"),
        ("thus $x=\\boxed 9$.", ["boxed"], "9"),
        ("\\frac{3}{4}", ["boxed"], "\\frac{3}{4}"),
        ("worth \\$5", ["dollars"], "worth \\$5"),
        (["$(1,2]$", "$x$"], ["first", "dollars"], "(1,2]"),
        ("27.00", ["integer"], "27"),
        (" -1,000 ", ["integer"], "-1000"),
        (r"336^\circ", ["integer"], r"336^\circ"),
        ("27.5", ["integer"], "27.5"),
    ],
)
def test_rules_find_the_answer(value, rules, expected):
    assert gold_answer(value, rules) == expected


@pytest.mark.parametrize(
    ("value", "rules", "problem"),
    [
        ("the answer is 5", ["after_hashes"], "no ####"),
        ("So it is five.\nQuite.", ["boxed"], "no .boxed"),
        ("\\boxed{never closed", ["boxed"], "no .boxed"),
        ([], ["first"], "is empty"),
        (None, [], "is empty"),
        (None, ["boxed", "integer"], "is empty"),
        (float("nan"), ["integer"], "is empty"),
        (float("-inf"), [], "is empty"),
        ("  ", [], "is empty"),
    ],
)
def test_rules_refuse_what_is_no_answer(value, rules, problem):
    with pytest.raises(ValueError, match=problem):
        gold_answer(value, rules)


def test_a_row_count_that_is_not_the_expected_one_stops_the_build(tmp_path):
    benchmark = stored(tmp_path, "aime25", arithmetic_rows(3)).model_copy(update={"rows": 30})
    with pytest.raises(UserError, match="has 3 rows, 30 were expected"):
        build_benchmark("aime25", benchmark)


@pytest.mark.parametrize("missing", ["problem", "answer", "unique_id"])
def test_a_missing_column_stops_the_build(tmp_path, missing):
    row = {name: value for name, value in SHAPES["math500"][0].items() if name != missing}
    with pytest.raises(UserError, match=f"no column {missing}.*it has"):
        build_benchmark("math500", stored(tmp_path, "math500", [row]))


def test_answers_that_cannot_be_graded_stop_the_build_and_are_all_named(tmp_path):
    rows = arithmetic_rows(9)
    rows[2]["answer"], rows[7]["answer"] = "\\frac{", ""
    benchmark = stored(tmp_path, "aime25", rows).model_copy(update={"extract": ()})
    with pytest.raises(UserError, match=r"2 gold answer\(s\)") as caught:
        build_benchmark("aime25", benchmark)
    assert "benchmark.aime25.exceptions=[" in caught.value.way_out
    assert {"aime25-2", "aime25-7"} <= set(caught.value.way_out.split("[")[1][:-1].split(","))
    left_out = benchmark.model_copy(update={"exceptions": ("aime25-2", "aime25-7")})
    table, facts = build_benchmark("aime25", left_out)
    assert len(table) == facts["questions"] == 7
    assert (facts["rows"], facts["left_out"]) == (9, ["aime25-2", "aime25-7"])
    assert "aime25-8" in table["question_id"].tolist()


def test_golds_that_algebra_cannot_read_are_built_counted_and_graded(tmp_path, capsys):
    large = ["2^{1009}", r"\frac{100!}{2^{50}}", "E_{1},E_{2}", "np.arcsin(10/13)"]
    unread = [r"\frac{}{}", r"\foo", *large]
    rows = [
        {"question": f"{place}?", "answer": gold} for place, gold in enumerate(["1", *unread, "2"])
    ]
    benchmark = stored(tmp_path, "minerva", rows)
    table, facts = build_benchmark("minerva", benchmark)
    assert table["gold"].tolist() == ["1", *unread, "2"]
    assert facts["compared_as_text"] == ["minerva-1", "minerva-2"]
    assert facts["left_out"] == []
    print_remarks({"benchmark.minerva": facts})
    assert "benchmark.minerva: 2 of 8 right answers" in capsys.readouterr().out


@pytest.mark.parametrize("gold", ["nan", "inf", "None", None, float("nan")])
def test_a_missing_gold_stops_the_build_and_is_named(tmp_path, gold):
    rows = [{"question": "1?", "answer": "1"}, {"question": "2?", "answer": gold}]
    with pytest.raises(UserError, match="minerva-1"):
        build_benchmark("minerva", stored(tmp_path, "minerva", rows))


def test_an_exception_that_does_not_exist_stops_the_build(tmp_path):
    benchmark = stored(tmp_path, "aime25", arithmetic_rows(3))
    with pytest.raises(UserError, match="names aime25-3, which"):
        build_benchmark("aime25", benchmark.model_copy(update={"exceptions": ("aime25-3",)}))


def test_a_rule_that_does_not_apply_names_the_question(tmp_path):
    rows = [SHAPES["gsm8k"][0], {"question": "Hens?", "answer": "nine"}]
    with pytest.raises(UserError, match="gsm8k-1 has no ####"):
        build_benchmark("gsm8k", stored(tmp_path, "gsm8k", rows))


def test_choices_are_shuffled_by_seed_and_the_letter_is_the_right_one(tmp_path):
    benchmark = stored(tmp_path, "gpqa_diamond", gpqa_rows(24))
    table, _ = build_benchmark("gpqa_diamond", benchmark)
    for number, (prompt, gold) in enumerate(zip(table["prompt"], table["gold"], strict=True)):
        assert f"\n{gold}) right {number}\n" in prompt
        assert all(f") wrong {number}.{k}\n" in prompt for k in (1, 2, 3))
        assert grade(gold, f"So it is \\boxed{{{gold}}}.", "letter").score == 1.0
    assert set(table["gold"]) == set("ABCD")
    again, _ = build_benchmark("gpqa_diamond", benchmark)
    pd.testing.assert_frame_equal(table, again)
    reordered = stored(tmp_path, "gpqa_diamond", gpqa_rows(24)[::-1])
    backwards, _ = build_benchmark("gpqa_diamond", reordered)
    assert backwards["prompt"].tolist() == table["prompt"].tolist()[::-1]
    other, _ = build_benchmark("gpqa_diamond", benchmark.model_copy(update={"seed": 1}))
    assert other["question_id"].tolist() == table["question_id"].tolist()
    # Another seed moves about three letters of four.
    moved = (other["gold"] != table["gold"]).mean()
    assert 0.5 < moved < 1.0


def test_a_choice_that_is_right_and_wrong_stops_the_build(tmp_path):
    rows = gpqa_rows(2)
    rows[1]["Incorrect Answer 2"] = "right 1"
    with pytest.raises(UserError, match="gpqa_diamond-rec1 stands among the wrong choices"):
        build_benchmark("gpqa_diamond", stored(tmp_path, "gpqa_diamond", rows))


@given(
    st.lists(st.text("xyz", min_size=1), min_size=2, max_size=4, unique=True),
    st.integers(0, 9),
    st.text("ab", min_size=1),
)
def test_every_choice_is_listed_once(choices, seed, question):
    right, *wrong = choices
    lines, letter = shuffled_choices(right, wrong, seed, question)
    listed = dict(line.split(") ") for line in lines.split("\n"))
    assert listed[letter] == right
    assert sorted(listed.values()) == sorted(choices)
    assert sorted(listed) == list("ABCD")[: len(choices)]


@pytest.mark.parametrize("name", SUITES["beyond_mathematics"])
def test_puzzles_are_solved_by_their_own_answer_and_differ_by_seed(name):
    benchmark = benchmark_of(name).model_copy(update={"rows": 20})
    table, facts = build_benchmark(name, benchmark)
    assert table["prompt"].is_unique
    assert facts["revision"].startswith("0.1")
    answers = [json.loads(gold)["answer"] for gold in table["gold"]]
    assert grade(table["gold"][0], f"\\boxed{{{answers[0]}}}", "reasoning_gym").score == 1.0
    assert grade(table["gold"][0], f"\\boxed{{{answers[1]}}}", "reasoning_gym").score == 0.0
    other, _ = build_benchmark(name, benchmark.model_copy(update={"seed": 1}))
    assert set(other["prompt"]).isdisjoint(table["prompt"])


@pytest.mark.slow
def test_puzzles_are_the_same_in_every_process():
    overrides = [CELL, "benchmark=beyond_mathematics"]
    overrides += [f"benchmark.{name}.rows=20" for name in SUITES["beyond_mathematics"]]
    code = (
        "from rlvr_dynamics import config; from rlvr_dynamics.benchmarks import build_benchmark\n"
        f"for item in config.load({overrides!r}).benchmark.items():\n"
        "    print(build_benchmark(*item)[1]['content_sha256'])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    here = [build_benchmark(*item)[1] for item in config.load(overrides).benchmark.items()]
    assert done.stdout.split() == [facts["content_sha256"] for facts in here]


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"subset": "fly"}, "no family 'fly'.*knights_knaves"),
        ({"parameters": {"wings": 2}}, "wings"),
        ({"revision": "0.0.1"}, "installed is 0.1"),
    ],
)
def test_a_generator_that_cannot_be_what_was_meant(update, message):
    benchmark = benchmark_of("knights_knaves").model_copy(update={"rows": 2, **update})
    with pytest.raises(UserError, match=message):
        build_benchmark("knights_knaves", benchmark)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("benchmark.math500.kind=letter", "columns of the wrong choices go together"),
        ("benchmark.math500.kind=reasoning_gym", "needs a family"),
        ("+benchmark.math500.parameters={a:1}", "parameters are for kind=reasoning_gym"),
        ("benchmark.math500.extract=[fly]", "'after_hashes'"),
        ("benchmark.math500.rows=0", "greater than or equal to 1"),
    ],
)
def test_a_mistake_in_a_configuration_is_named(override, message):
    with pytest.raises(UserError, match=message):
        benchmark_of("math500", override)


def test_equal_content_gives_equal_bytes_and_an_equal_hash(tmp_path):
    benchmark = stored(tmp_path, "aime25", arithmetic_rows(5))
    paths = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    for path in paths:
        write_parquet(path, build_benchmark("aime25", benchmark)[0])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    table = read_benchmark(paths[0])
    original = content_sha256(table)
    assert content_sha256(table.assign(title="Other", split="in_domain")) == original
    for column in ("question_id", "prompt", "gold", "kind"):
        changed = table.copy()
        changed.loc[0, column] = "other"
        assert content_sha256(changed) != original


@pytest.mark.parametrize(
    ("name", "file", "rows", "overrides"),
    [
        ("math500", "math.jsonl", 38, []),
        ("math", "math.jsonl", 38, []),
        ("aime24", "aime24.jsonl", 5, []),
        (
            "gsm8k",
            "gsm8k.jsonl",
            20,
            ["benchmark.gsm8k.question=problem", "benchmark.gsm8k.extract=[]"],
        ),
    ],
)
def test_real_tables_build_without_exceptions(name, file, rows, overrides):
    given = [f"benchmark.{name}.repo={REAL / file}", f"benchmark.{name}.rows={rows}", *overrides]
    table, facts = build_benchmark(name, benchmark_of(name, *given))
    assert len(table) == rows
    assert facts["left_out"] == []
    source = pd.read_json(REAL / file, lines=True, dtype=False)
    assert [gold.replace(" ", "") for gold in table["gold"]] == [
        str(answer).replace(" ", "") for answer in source["answer"]
    ]
    for prompt, problem in zip(table["prompt"], source["problem"], strict=True):
        assert problem in str(prompt)
