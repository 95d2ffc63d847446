"""The control at equal rollouts: as many real steps at a higher rate, chosen on validation."""

import json
from pathlib import Path

import pandas as pd
import pytest

from rlvr_dynamics.claims.in_words import by_chance
from rlvr_dynamics.claims.judge import HOLDS, NOT_MEASURED
from rlvr_dynamics.claims.ledger import build_ledger, ledger_of_run
from rlvr_dynamics.results.formatting import number
from rlvr_dynamics.results.run import load_results
from rlvr_dynamics.results.study import load_study
from tests.support.irregular_weights import FINAL
from tests.support.ledger_outputs import by_run
from tests.support.levels_run import QUESTIONS, write_levels

REAL, WINDOW = f"step_{FINAL}", 30
BASE, FULL, RELEX = 1_200, 3_200, 3_190
SAME = {"seed": 0, "trainer": {"steps": FINAL, "prompts_per_step": 8}}


def write(
    folder: Path,
    rate: float,
    *,
    held: int,
    validation: float | None,
    full: int = FULL,
    prepare: str = "one",
    settings: dict | None = None,
) -> Path:
    """Write a run whose checkpoint of the window's last step answers `held` questions right."""
    right = {"base": BASE, REAL: full, "step_150": full, f"step_{WINDOW}": held}
    right[f"relex__observe_{WINDOW}__{REAL}"] = RELEX
    algorithm = {"name": "grpo", "learning_rate": rate}
    write_levels(folder, right, {}, algorithm=algorithm)
    trained = {**SAME, "algorithm": algorithm} | (settings or {})
    record = {"finished": True, "identity": folder.name}
    record["material"] = {"settings": trained, "inputs": {"prepare": prepare}}
    (folder / "train").mkdir()
    (folder / "train" / "stage.json").write_text(json.dumps(record))
    if validation is not None:
        row = {"model": f"step_{WINDOW}", "method": "real", "observe": 0, "step": WINDOW}
        table = pd.DataFrame([{**row, "protocol": "sampled", "accuracy": validation}])
        table.to_parquet(folder / "scores" / "validation.parquet")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Three rates; the middle one is best on the validation problems, not on the benchmark."""
    place = tmp_path_factory.mktemp("rates")
    return {
        "slow": write(place / "slow", 1e-5, held=2_000, validation=0.99),
        "middle": write(place / "middle", 3e-5, held=3_100, validation=0.8),
        "fast": write(place / "fast", 1e-4, held=3_180, validation=0.7),
    }


def rows_of(runs) -> pd.DataFrame:
    return by_run(list(runs)).query("id == 'B3r'").set_index("cell")


def test_relex_is_compared_with_the_rate_that_validation_chose(runs):
    rows = rows_of(runs.values())
    assert rows["ours"].to_dict() == pytest.approx(
        {
            "slow": 100 * (RELEX - 3_100) / QUESTIONS,
            "middle": 100 * (RELEX - 3_180) / QUESTIONS,  # the only rate above its own
        }
    )
    assert "chosen rate 3e-05" in rows.loc["slow", "note"]
    assert rows.loc["slow", "verdict"] == HOLDS and rows.loc["slow", "n"] == QUESTIONS
    ledger = build_ledger(load_study(list(runs.values()))).set_index("id")
    assert ledger.loc["B3r", "runs"] == 2
    assert ledger.loc["B3r", "ours"] == pytest.approx(rows["ours"].mean())


def test_the_row_of_relex_shows_what_the_control_reaches(runs):
    notes = by_run(list(runs.values())).query("id == 'B3'").set_index("cell")["note"]
    words = "as many real steps at a higher learning rate, chosen on validation problems"
    assert f"{words}: −2.5 points (1 run)" in notes["slow"]
    assert "−2.5 points (1 run), that" not in notes["slow"]
    assert f"{words}: −0.5 points (1 run), that reaches the threshold too" in notes["middle"]
    assert words not in notes["fast"]
    rows = by_run(list(runs.values())).query("id == 'B3'").set_index("cell")
    assert rows.loc["slow", "verdict"] == HOLDS  # the claim is about RELEX and the real model


def test_one_run_alone_says_what_would_measure_it(runs):
    row = ledger_of_run(load_results(runs["slow"])).set_index("id").loc["B3r"]
    assert row["verdict"] == NOT_MEASURED
    assert "python -m experiments.study" in row["note"]


@pytest.mark.parametrize(
    "other",
    [
        {"prepare": "another base"},
        {"settings": {"seed": 1}},
        {"settings": {"trainer": {"steps": FINAL, "prompts_per_step": 16}}},
        {"validation": None},
    ],
)
def test_only_what_differs_in_the_rate_alone_and_was_validated_is_a_control(runs, tmp_path, other):
    further = write(tmp_path / "other", 3e-5, **{"held": 3_190, "validation": 1.0} | other)
    assert "slow" not in set(rows_of([runs["slow"], further]).index)


def test_a_longer_or_shorter_training_is_a_control_too(runs, tmp_path):
    settings = {"trainer": {"steps": 60, "prompts_per_step": 8, "validate_every": 10}}
    further = write(tmp_path / "short", 3e-5, held=3_000, validation=0.5, settings=settings)
    assert rows_of([runs["slow"], further]).loc["slow", "ours"] == pytest.approx(4.75)


def test_how_many_verdicts_chance_may_turn(runs):
    claims = ledger_of_run(load_results(runs["slow"]))
    intervals = claims["ci_low"].notna() & ~claims["interval_over"].str.startswith("a spread")
    tested = int((intervals & (claims["kind"] == "measured here")).sum())
    exact = int(claims["interval_over"].str.startswith("a spread").sum())
    words = by_chance(claims)
    assert words.startswith(f"{tested} verdicts rest on a 95 % interval, each by itself: at most ")
    assert (
        f"at most {number(0.025 * tested, 1)} of them" in words
        and f"{exact} more are exact" in words
    )
    assert by_chance(claims[claims["verdict"] == NOT_MEASURED]) == ""
