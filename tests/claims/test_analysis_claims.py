import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from rlvr_dynamics.claims.over_runs import LedgerClaim, over_runs, pool
from rlvr_dynamics.claims.run_ledger import build_claims
from rlvr_dynamics.claims.study_ledger import (
    CLAIMS,
    COLUMNS,
    PRINTED_NUMBERS,
    build_by_regime,
    build_by_run,
    build_ledger,
    ledger_tables,
    run_tables,
)
from rlvr_dynamics.claims.verdicts import FAILS, HOLDS, INCONCLUSIVE, NOT_MEASURED, Claim
from rlvr_dynamics.reporting.tables import as_tex, write_table
from rlvr_dynamics.results.run import TABLES, Results
from rlvr_dynamics.results.study import Cell, Study, load_study
from rlvr_dynamics.statistics.intervals import Interval
from tests.support.reporting_fixture import ACCURACY, build_run
from tests.support.study_settings import configure


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    """Two runs that differ in accuracy, and a control whose trajectory looks the same."""
    folder = tmp_path_factory.mktemp("runs")
    first = configure(build_run(folder / "first"), seed=0, rate=1e-5)
    worse = {**ACCURACY, "relex__observe_3__step_20": 0.2, "step_3": 0.30}
    second = configure(build_run(folder / "second", worse), seed=1, rate=1e-4, algorithm="rloo")
    control = configure(build_run(folder / "control"), seed=0, rate=1e-5, shuffled=True)
    return [first, second, control]


@pytest.fixture(scope="module")
def ledger(runs) -> pd.DataFrame:
    return build_ledger(load_study(runs)).set_index("id")


def empty_results() -> Results:
    return Results(Path("nowhere"), {}, {}, dict.fromkeys(TABLES))


def stub(
    value: float, low: float, high: float, verdict: str, null: float = math.nan, n: int = 10
) -> Claim:
    words = Claim("X", "a claim", "a paper", "a statistic", "> 0.5")
    return words.measured(Interval(value, low, high), n=n, n_unit="q", null=null, verdict=verdict)


def pooled(*rows: Claim, controls: tuple[Claim, ...] = (), **settings):
    """Pool given rows as if each came from a run."""
    cells = []
    for place, row in enumerate((*rows, *controls)):
        data = {"shuffle_answers": place >= len(rows)}
        results = replace(empty_results(), config={"seed": place, "data": data}, memo={"row": row})
        cells.append(Cell(f"run{place}", results))

    def measure(results: Results) -> Claim:
        return results.memo.get("row", Claim("X", "a claim", "a paper", "", "> 0.5", note="needs"))

    return pool(LedgerClaim(measure, "ours", 0.5, **settings), cells)


# One claim over runs


def test_interval_over_runs_is_students():
    values = [0.6, 0.7, 0.9]
    value, over = over_runs([stub(each, each, each, HOLDS) for each in values], [0, 1, 2])
    half = student.ppf(0.975, 2) * np.std(values, ddof=1) / math.sqrt(3)
    assert over == "runs, 3 bases"
    assert value == pytest.approx((np.mean(values), np.mean(values) - half, np.mean(values) + half))


def test_runs_that_share_a_base_are_not_independent():
    values = [0.6, 0.62, 0.8, 0.82]
    rows = [stub(each, each, each, HOLDS) for each in values]
    value, over = over_runs(rows, ["one", "one", "other", "other"])
    half = student.ppf(0.975, 1) * np.std([0.61, 0.81], ddof=1) / math.sqrt(2)
    assert over == "runs, 2 bases"
    assert value == pytest.approx((0.71, 0.71 - half, 0.71 + half))
    assert over_runs(rows, ["one"] * 4)[1] == "runs, all from one base"


def test_runs_that_agree_by_luck_keep_their_own_doubt():
    value, _ = over_runs([stub(0.7, 0.5, 0.9, HOLDS)] * 4, range(4))
    # A mean of four independent estimates, each ± 0.2.
    assert value == pytest.approx((0.7, 0.6, 0.8))


def test_one_run_keeps_its_own_interval_and_verdict():
    found = pooled(stub(0.7, 0.6, 0.8, INCONCLUSIVE))
    assert found.value == Interval(0.7, 0.6, 0.8)
    assert found.verdict == INCONCLUSIVE and found.over == "q of the one run"


def test_verdict_follows_the_interval_over_runs():
    assert pooled(*[stub(0.8, 0.75, 0.85, HOLDS)] * 3).verdict == HOLDS
    assert pooled(*[stub(0.3, 0.2, 0.4, FAILS)] * 3).verdict == FAILS
    disagree = [stub(0.9, 0.85, 0.95, HOLDS), stub(0.2, 0.1, 0.3, FAILS)]
    assert pooled(*disagree).verdict == INCONCLUSIVE


def test_what_every_run_notes_and_what_each_finds_stand_beside_the_mean():
    rows = [
        replace(stub(0.2, 0.1, 0.3, FAILS), note="uses the future; seen 3 %"),
        replace(stub(0.4, 0.3, 0.45, FAILS), note="seen 4 %; uses the future"),
    ]
    found = pooled(*rows)
    assert found.verdict == INCONCLUSIVE  # two bases: their interval is wide
    assert found.notes == ("uses the future", "each run by itself: 2 fails")
    disagree = pooled(rows[0], stub(0.9, 0.85, 0.95, HOLDS))
    assert disagree.notes == ("each run by itself: 1 fails, 1 holds",)


def test_null_or_second_part_of_a_run_holds_the_mean_back():
    good, held = stub(0.8, 0.7, 0.9, HOLDS), stub(0.8, 0.7, 0.9, INCONCLUSIVE)
    found = pooled(good, good, held)
    assert found.verdict == INCONCLUSIVE and "1 of 3 runs" in found.notes[0]
    failed = stub(0.8, 0.7, 0.9, FAILS)
    assert pooled(failed, failed).verdict == FAILS


def test_null_counts_where_no_run_holds_by_itself():
    wide = stub(0.8, 0.45, 0.95, INCONCLUSIVE, null=0.9)
    rows = [replace(wide, ours=0.8 + shift) for shift in (-0.01, 0, 0.01, 0.02)] * 6
    assert pooled(*rows).value.low > 0.5
    assert pooled(*rows).verdict == INCONCLUSIVE
    assert pooled(*[replace(row, null=0.1) for row in rows]).verdict == HOLDS


def test_control_is_apart_and_lowers_a_claim_that_says_so():
    rows, control = [stub(0.8, 0.75, 0.85, HOLDS)] * 3, (stub(0.9, 0.8, 0.95, HOLDS),)
    plain = pooled(*rows, controls=control)
    assert plain.runs == 3 and plain.value.value == pytest.approx(0.8)
    assert plain.control == 0.9 and plain.control_runs == 1 and plain.verdict == HOLDS
    counted = pooled(*rows, controls=control, control_counts=True)
    assert counted.verdict == INCONCLUSIVE and "control" in counted.notes[0]
    assert "run3" not in counted.cells


def test_bounds_cut_the_interval():
    found = pooled(stub(0.9, 0.8, 1.0, HOLDS), stub(0.7, 0.6, 0.8, HOLDS), bounds=(0.0, 1.0))
    assert found.value.low == 0 and found.value.high == 1


def test_unmeasured_claim_says_what_it_needs():
    found = pooled(Claim("X", "a claim", "a paper", "", "> 0.5", note="needs samples"))
    assert found.verdict == NOT_MEASURED and found.runs == 0 and math.isnan(found.value.value)
    assert found.notes == ("needs samples",)


# The ledger


def test_ledger_has_its_columns_and_every_claim_once(ledger):
    assert [*ledger.reset_index().columns] == list(COLUMNS)
    assert ledger.index.is_unique and len(ledger) >= 28
    assert set(ledger["verdict"]) <= {HOLDS, FAILS, INCONCLUSIVE, NOT_MEASURED}
    assert (ledger["source"] != "").all() and (ledger["threshold"] != "").all()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.head.id)
def test_threshold_as_a_number_is_the_one_in_the_text(claim):
    number = re.search(r"[-−]?\d+(\.\d+)?", claim.head.threshold)
    assert number is not None
    assert float(number[0].replace("−", "-")) == claim.threshold
    assert claim.head.verdict == NOT_MEASURED and claim.head.note


def test_study_of_one_run_says_what_the_run_says(runs):
    study = load_study(runs[:1])
    ours, run = build_ledger(study).set_index("id"), build_claims(study.cells[0].results)
    run = run.set_index("id")
    shared = ["P0", "A1", "A1b", "A2", "A3", "B1", "B2", "B2h"]
    for name in shared:
        assert ours.loc[name, "verdict"] == run.loc[name, "verdict"]
        assert ours.loc[name, "ours"] == pytest.approx(run.loc[name, "ours"], nan_ok=True)
    # The paper's window of 15 % stands under the same number as in the run's own ledger.
    assert ours.loc["B3", "ours"] == pytest.approx(run.loc["B3", "ours"])


def test_mean_over_runs_is_that_of_the_table_by_run(runs, ledger):
    by_run = build_by_run(load_study(runs))
    mine = by_run[(by_run["id"] == "B3") & (by_run["control"] == "")]
    assert sorted(mine["cell"]) == ["first", "second"]
    assert ledger.loc["B3", "ours"] == pytest.approx(mine["ours"].mean())
    assert ledger.loc["B3", "runs"] == 2 and ledger.loc["B3", "interval_over"] == "runs, 2 bases"
    assert ledger.loc["B3", "cells"] == "first, second"
    assert set(by_run["cell"]) == {"first", "second", "control"}


def test_regimes_that_differ_are_told_apart(runs, ledger):
    assert "holds at one learning rate and fails at another" in ledger.loc["B3", "note"]
    assert ledger.loc["B3", "verdict"] == INCONCLUSIVE
    assert "each run by itself: 1 fails, 1 holds" in ledger.loc["B3", "note"]
    words = ledger.loc["B3", "by_learning_rate"]
    assert "lr 1e-05 x 20 steps: holds" in words
    assert "lr 1e-04 x 20 steps: fails" in words
    by_regime = build_by_regime(load_study(runs))
    rows = by_regime[by_regime["id"] == "B3"].set_index("regime")
    assert list(rows["runs"]) == [1, 1]
    assert rows.loc["lr 1e-04 x 20 steps", "verdict"] == FAILS


def test_control_passes_what_needs_no_learning(ledger):
    # The synthetic control has the same trajectory, so one component dominates there as well.
    assert ledger.loc["B1", "control_runs"] == 1
    assert ledger.loc["B1", "control"] > 0.814 and ledger.loc["B1", "verdict"] != HOLDS
    assert "control" not in ledger.loc["B1", "cells"]


def test_run_without_gain_is_left_out_of_claims_about_accuracy(tmp_path, runs):
    flat = {**ACCURACY, "step_20": ACCURACY["base"]}
    flat = configure(build_run(tmp_path / "flat", flat), seed=2)
    table = build_ledger(load_study([*runs[:2], flat])).set_index("id")
    assert table.loc["A1", "cells"] == "first, second" and table.loc["A1", "runs"] == 2
    assert "1 run left out" in table.loc["A1", "note"]
    assert "flat" in table.loc["P0", "cells"]
    alone = build_ledger(load_study([flat])).set_index("id")
    assert alone.loc["A1b", "verdict"] == INCONCLUSIVE
    assert "did not demonstrably lift" in alone.loc["A1b", "note"]


def test_distilled_model_joins_no_claim_about_rl(tmp_path, runs):
    distilled = configure(
        build_run(tmp_path / "distilled"), repo="deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"
    )
    table = build_ledger(load_study([*runs[:2], distilled])).set_index("id")
    assert "distilled" not in table.loc["A1", "cells"]
    assert table.loc["A8", "cells"] == "distilled"
    ratio = build_claims(load_study([distilled]).cells[0].results).set_index("id").loc["A1"]
    assert table.loc["A8", "ours"] == pytest.approx(1 - ratio["ours"])
    assert table.loc["A8", "ci_low"] == pytest.approx(1 - ratio["ci_high"])


def test_without_tables_everything_of_ours_is_not_measured(tmp_path):
    bare = configure(build_run(tmp_path / "bare"))
    for path in bare.rglob("*.parquet"):
        path.unlink()
    table = build_ledger(load_study([bare]))
    here = table[table["kind"] != PRINTED_NUMBERS]
    assert set(here["verdict"]) == {NOT_MEASURED}
    assert here["ours"].isna().all() and (here["note"] != "").all()
    assert table.loc[table["kind"] == PRINTED_NUMBERS, "verdict"].ne(NOT_MEASURED).all()
    assert build_by_run(load_study([bare])).empty
    assert run_tables(load_study([bare]))[0].missing


def test_empty_study_still_checks_the_printed_numbers():
    table = build_ledger(Study(())).set_index("id")
    assert (table["verdict"] == NOT_MEASURED).sum() == len(CLAIMS)


# Printed numbers


def test_printed_numbers_stay_apart_from_ours(ledger):
    rows = ledger[ledger["kind"] == PRINTED_NUMBERS]
    assert rows["ours"].isna().all() and (rows["cells"] == "").all() and (rows["runs"] == 0).all()
    assert ledger.loc["A1", "printed"] == pytest.approx(0.9917)
    assert "read in the paper" in ledger.loc["A1", "printed_origin"]
    assert ledger.loc["B9w", "printed"] == pytest.approx(71.6 - 70.4)
    assert ledger.loc["B8n", "printed"] == pytest.approx(71.6 - 72.1)
    assert "others' copies" in ledger.loc["B8n", "printed_origin"]


def test_averages_of_the_papers_do_not_all_match(ledger):
    assert ledger.loc["N1", "n"] == 75 and ledger.loc["N1", "verdict"] == FAILS
    assert "36 of 75" in ledger.loc["N1", "note"]
    # The 48.23 that its columns make 68.23.
    assert ledger.loc["N1", "printed"] == pytest.approx(20, abs=0.05)


def test_headline_of_96_percent_fails_in_two_models(ledger):
    row = ledger.loc["N2"]
    assert row["n"] == 7 and row["verdict"] == FAILS and "5 of 7" in row["note"]
    assert "grpo 95.1" in row["note"] and "rloo" in row["note"] and "dapo" not in row["note"]


# Behaviour


def test_behaviour_is_read_where_it_was_measured(tmp_path, runs, ledger):
    assert ledger.loc["A10", "verdict"] == NOT_MEASURED
    assert "rlvr_dynamics.behaviour" in ledger.loc["A10", "note"]
    run = configure(build_run(tmp_path / "read"))
    (run / "behaviour").mkdir()
    common = {"reader": "base", "answers": 50, "tokens": 900, "non_greedy_tokens": 45}
    rows = [
        {"metric": "non_greedy_share", "writer": "trained", "value": 0.05, "low": 0.04}
        | {"high": 0.06},
        {"metric": "non_greedy_share", "writer": "random_update", "value": 0.02, "low": 0.01}
        | {"high": 0.03},
        {"metric": "perplexity", "writer": "base", "value": 1.2, "low": 1.15, "high": 1.25},
        {"metric": "perplexity", "writer": "trained", "value": 2.0, "low": 1.9, "high": 2.1},
    ]
    pd.DataFrame([{**row, **common} for row in rows]).to_parquet(
        run / "behaviour" / "summary.parquet"
    )
    table = build_ledger(load_study([run])).set_index("id")
    assert table.loc["A10", "ours"] == pytest.approx(0.95)
    assert table.loc["A10", "ci_low"] == pytest.approx(0.94)
    assert "random update" in table.loc["A10", "note"] and table.loc["A10", "n"] == 50
    assert table.loc["A11", "ours"] == pytest.approx(0.6) and table.loc["A11", "verdict"] == FAILS
    assert table.loc["A12", "verdict"] == NOT_MEASURED


# Tables


def test_tables_are_written_and_name_their_runs(runs, tmp_path):
    study = load_study(runs)
    written = [*ledger_tables(study), *run_tables(study)]
    assert [table.name for table in written] == ["claims", "claims_by_regime", "claims_by_run"]
    for table in written:
        assert table.frame is not None
        assert table.header[-1] == "cell"
        write_table(table, tmp_path)
        assert "%" not in re.sub(r"\\%|^%.*$", "", as_tex(table), flags=re.MULTILINE)
    shown = written[0].frame.set_index("id")
    assert shown.loc["A7", "ours"] == "–" and shown.loc["A7", "verdict"] == NOT_MEASURED
    assert shown.loc["B3", "cells"] == "first, second"


def test_ledger_is_the_same_twice(runs, ledger):
    again = build_ledger(load_study(runs)).set_index("id")
    pd.testing.assert_frame_equal(again, ledger)
