"""One table from the logs of several attempts, whole or still growing."""

import pandas as pd
import pytest

from rlvr_dynamics.training.verl_metrics import attempts, metrics_of, write_metrics

REWARD = "critic/score/mean"


def row(step, reward):
    return f'{{"step": {step}, "data": {{"{REWARD}": {reward}}}}}\n'


def test_metrics_of_several_attempts_are_joined(tmp_path):
    (tmp_path / "metrics_1.jsonl").write_text(row(1, 0.1) + row(2, 0.2) + '{"step": 3, "da')
    # The tenth attempt comes after the second.
    (tmp_path / "metrics_10.jsonl").write_text(row(2, 0.25) + row(3, 0.3))
    (tmp_path / "metrics_2.jsonl").write_text(row(2, 0.22))
    write_metrics(tmp_path, tmp_path / "metrics.parquet")
    table = pd.read_parquet(tmp_path / "metrics.parquet")
    assert table["step"].tolist() == [1, 2, 3]
    assert table[REWARD].tolist() == [0.1, 0.25, 0.3]


def test_an_attempt_forgets_the_steps_that_it_has_not_trained_again(tmp_path):
    (tmp_path / "metrics_1.jsonl").write_text("".join(row(step, 0.1) for step in range(1, 6)))
    (tmp_path / "metrics_2.jsonl").write_text(row(3, 0.2))
    table = metrics_of(attempts(tmp_path))
    assert dict(zip(table["step"], table[REWARD], strict=True)) == {1: 0.1, 2: 0.1, 3: 0.2}


@pytest.mark.parametrize("text", [None, "", '{"step": 1, "da'])
def test_nothing_logged_yet_is_an_empty_table(tmp_path, text):
    if text is not None:
        (tmp_path / "metrics_1.jsonl").write_text(text)
    table = metrics_of(attempts(tmp_path))
    assert list(table.columns) == ["step"] and table.empty
