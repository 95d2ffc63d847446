"""From stored answers to one row of the table of scores."""

import math

import pandas as pd
import pytest

from rlvr_dynamics.schema.tables import TABLES
from rlvr_dynamics.scoring.table import scores_table
from rlvr_dynamics.statistics.intervals import mean_interval, wilson
from rlvr_dynamics.system.keyed import write_table

BENCHMARK = {
    "question_id": ["a", "b", "c"],
    "prompt": ["?"] * 3,
    "gold": ["1", "2", "3"],
    "kind": ["integer"] * 3,
    "split": ["in_domain"] * 3,
    "title": ["Three"] * 3,
}
# Question, answer, status, finish reason of four samples each; greedy takes the first.
ANSWERS = {
    "a": [("1", "correct"), ("01", "correct"), ("7", "incorrect"), ("8", "incorrect")],
    "b": [("2", "correct"), ("5", "incorrect"), ("5", "incorrect"), (None, "truncated")],
    "c": [(None, "no_answer"), (None, "truncated"), ("9", "incorrect"), ("x", "timeout")],
}


def rows(answers, first_only=False):
    return [
        {
            "question_id": question,
            "protocol": "greedy" if first_only else "sampled",
            "sample": sample,
            "gold": dict(zip(BENCHMARK["question_id"], BENCHMARK["gold"], strict=True))[question],
            "answer": answer,
            "status": status,
            "score": float(status == "correct"),
            "copied": answer in ("1", "5"),
            "finish_reason": "length" if status == "truncated" else "stop",
            "tokens": 10 * (sample + 1),
        }
        for question, samples in answers.items()
        for sample, (answer, status) in enumerate(samples[:1] if first_only else samples)
    ]


def table_of(folder, answers=ANSWERS, **metadata):
    folder.mkdir(exist_ok=True)
    benchmark = folder / "three.parquet"
    pd.DataFrame(BENCHMARK).to_parquet(benchmark)
    facts = {"keys": {"greedy": "k1", "sampled": "k2"}, "dtype": "float32", "seed": 0, **metadata}
    samples = pd.DataFrame(rows(answers, first_only=True) + rows(answers))
    path = folder / "samples" / "step_1" / "three.parquet"
    path.parent.mkdir(parents=True)
    write_table(path, samples, facts)
    return scores_table(folder / "samples", ["step_1"], {"three": benchmark})


@pytest.fixture
def scores(tmp_path):
    return table_of(tmp_path, grader="integer/abc").set_index("protocol")


def test_accuracy_is_the_mean_over_samples(scores):
    sampled = scores.loc["sampled"]
    expected = mean_interval([0.5, 0.25, 0.0], 4)
    assert (sampled.accuracy, sampled.ci_low, sampled.ci_high) == pytest.approx(expected)
    greedy = scores.loc["greedy"]
    assert (greedy.accuracy, greedy.ci_low, greedy.ci_high) == pytest.approx(wilson(2, 3))
    assert (sampled.questions, sampled.samples, greedy.samples) == (3, 4, 1)


def test_pass_and_majority_count_questions(scores):
    row = scores.loc["sampled"]
    found = (row.pass_at_n, row.pass_at_n_low, row.pass_at_n_high)
    assert found == pytest.approx(wilson(2, 3))
    # a: 1 and 01 are one answer, and right; b: 5 wins; c: 9 and x tie, both wrong.
    assert (row.majority, row.majority_low, row.majority_high) == pytest.approx(wilson(1, 3))


def test_pass_at_k_is_the_mean_over_all_choices_of_k_samples(scores):
    # Of four samples 2, 1 and 0 are correct: no correct one in C(2, 2), C(3, 2), C(4, 2) of six.
    row = scores.loc["sampled"]
    each = [1 - 1 / 6, 1 - 3 / 6, 0.0]
    found = (row.pass_at_2, row.pass_at_2_low, row.pass_at_2_high)
    assert found == pytest.approx(mean_interval(each, 2))
    assert row.accuracy < row.pass_at_2 < row.pass_at_4 == row.pass_at_n
    assert row[[f"pass_at_8{end}" for end in ("", "_low", "_high")]].isna().all()
    assert scores.loc["greedy", ["pass_at_2", "pass_at_4"]].isna().all()


def test_one_sample_has_no_vote(scores):
    columns = [
        f"{name}{end}" for name in ("pass_at_n", "majority") for end in ("", "_low", "_high")
    ]
    assert scores.loc["greedy", columns].isna().all()


def test_every_answer_is_counted_once(scores):
    row = scores.loc["sampled"]
    counts = row[["correct", "incorrect", "no_answer", "truncated", "limit", "timeout", "crash"]]
    assert list(counts) == [3, 5, 1, 2, 0, 1, 0]
    assert list(row[["finish_stop", "finish_length", "finish_other"]]) == [10, 2, 0]
    assert row.mean_tokens == 25


def test_a_second_grader_compares_texts(scores, tmp_path):
    row = scores.loc["sampled"]
    assert row.copied == 1  # of the three answers that stand in their question one is correct
    assert row.string_match == pytest.approx(3 / 12) and row.graders_disagree == 0
    answers = {
        **ANSWERS,
        "c": [("3", "incorrect"), ("9", "correct"), ("3", "timeout"), (None, "limit")],
    }
    row = table_of(tmp_path / "other", answers).set_index("protocol").loc["sampled"]
    assert row.string_match == pytest.approx(5 / 12) and row.graders_disagree == 3
    assert row.accuracy == pytest.approx(4 / 12)


def test_grader_is_named_where_it_is_known(scores, tmp_path):
    assert set(scores.grader) == {"integer/abc"}
    older = tmp_path / "older"
    older.mkdir()
    assert table_of(older).grader.isna().all()


def test_every_column_is_explained(scores):
    assert {*scores.reset_index().columns, "uses_future"} == set(TABLES["scores"].names)


def test_uneven_samples_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\[3, 4\] samples under protocol sampled"):
        table_of(tmp_path, {**ANSWERS, "a": ANSWERS["a"][:3]})


def test_a_wrong_answer_that_is_nan_has_no_vote(tmp_path):
    answers = {
        **ANSWERS,
        "c": [(math.nan, "crash"), ("3", "correct"), (None, "limit"), ("", "crash")],
    }
    row = table_of(tmp_path, answers).set_index("protocol").loc["sampled"]
    assert row.majority == pytest.approx(2 / 3)
