import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from analysis.ours.ledger_tables import ledger_tables, run_tables
from rlvr_dynamics.claims.claim import GOOD_ENOUGH, Claim, Measured, Threshold
from rlvr_dynamics.claims.judge import FAILS, HOLDS, INCONCLUSIVE, NOT_MEASURED, Judged, judge
from rlvr_dynamics.claims.ledger import (
    CLAIMS,
    COLUMNS,
    PRINTED_NUMBERS,
    build_by_regime,
    build_by_run,
    build_ledger,
)
from rlvr_dynamics.claims.over_runs import over_runs
from rlvr_dynamics.reporting.tables import as_tex, write_table
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.study import Cell, Study, load_study
from rlvr_dynamics.run_directory.configuration import RecordedConfig
from rlvr_dynamics.schema.tables import TABLES
from rlvr_dynamics.statistics.intervals import Interval
from tests.support.ledger_outputs import run_ledger
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


def found(value: float, low: float, high: float, **further) -> Measured:
    return Measured(Interval(value, low, high), n=10, n_unit="q", **further)


def judged(
    *rows: Measured | None, controls: tuple[Measured, ...] = (), also: str = "", **rules
) -> Judged:
    """Judge given values as if each came from a run."""
    values = (*rows, *controls)
    cells = [
        Cell(
            f"run{place}",
            Results(Path("nowhere"), RecordedConfig(seed=place), {}, dict.fromkeys(TABLES)),
        )
        for place in range(len(values))
    ]
    claim = Claim(
        "X",
        "ours",
        "a claim",
        "a paper",
        "a statistic",
        Threshold(">", 0.5, also=also),
        needs="needs samples",
        measure=lambda results, _observe: values[results.seed],
        **rules,
    )
    return judge(claim, cells[: len(rows)], cells[len(rows) :])


# One claim over runs


def test_interval_over_runs_is_students():
    values = [0.6, 0.7, 0.9]
    value, over = over_runs([found(each, each, each) for each in values], [0, 1, 2])
    half = student.ppf(0.975, 2) * np.std(values, ddof=1) / math.sqrt(3)
    assert over == "runs, 3 bases"
    assert value == pytest.approx((np.mean(values), np.mean(values) - half, np.mean(values) + half))


def test_runs_that_share_a_base_are_not_independent():
    values = [0.6, 0.62, 0.8, 0.82]
    rows = [found(each, each, each) for each in values]
    value, over = over_runs(rows, ["one", "one", "other", "other"])
    half = student.ppf(0.975, 1) * np.std([0.61, 0.81], ddof=1) / math.sqrt(2)
    assert over == "runs, 2 bases"
    assert value == pytest.approx((0.71, 0.71 - half, 0.71 + half))
    assert over_runs(rows, ["one"] * 4)[1] == "runs, all from one base"


def test_runs_that_agree_by_luck_keep_their_own_doubt():
    value, _ = over_runs([found(0.7, 0.5, 0.9)] * 4, range(4))
    # A mean of four independent estimates, each ± 0.2.
    assert value == pytest.approx((0.7, 0.6, 0.8))


def test_one_run_keeps_its_own_interval_and_verdict():
    row = judged(found(0.7, 0.6, 0.8, null=0.6), null_counts=True)
    assert row.value == Interval(0.7, 0.6, 0.8)
    assert row.verdict == INCONCLUSIVE and row.over == "q of the one run"


@pytest.mark.parametrize(
    ("low", "high", "null", "verdict"),
    [
        (0.6, 0.8, 0.4, HOLDS),
        (0.6, 0.8, 0.6, INCONCLUSIVE),
        (0.6, 0.8, math.nan, HOLDS),
        (0.1, 0.4, 0.6, FAILS),
        (0.4, 0.8, 0.6, INCONCLUSIVE),
    ],
)
def test_a_claim_its_null_meets_cannot_hold(low, high, null, verdict):
    row = found((low + high) / 2, low, high, null=null)
    counted = judged(row, null_counts=True)
    assert counted.verdict == verdict
    assert ("the null passes too" in counted.notes) == (low == null)
    assert ("no control was measured" in counted.notes) == math.isnan(null)
    assert "the null passes too" not in judged(row).notes


def test_most_units_must_lie_above_their_null_where_the_claim_says_so():
    good = found(0.8, 0.7, 0.9, above=(60, 60))
    few, some, none = (replace(good, above=above) for above in ((9, 60), (31, 60), (0, 0)))
    assert [judged(row, also="x").verdict for row in (good, few, some, none)] == [
        *(HOLDS, FAILS, HOLDS, INCONCLUSIVE)
    ]
    assert [judged(row).verdict for row in (good, few, some, none)] == [
        *(HOLDS, INCONCLUSIVE, HOLDS, HOLDS)
    ]


def test_the_tensors_of_one_run_are_all_there_are():
    """Its value decides, whatever the spread; over runs the runs' own spread plays no part."""
    high, low = found(0.6, 0.1, 0.9, spread=True), found(0.4, 0.1, 0.9, spread=True)
    assert [judged(row).verdict for row in (high, low)] == [HOLDS, FAILS]
    assert judged(high).over == "a spread: quartiles over the q of the one run, no interval"
    rows = [replace(high, value=Interval(0.6 + shift, 0.0, 1.0)) for shift in (-0.01, 0, 0.01)]
    together = judged(*rows)
    half = student.ppf(0.975, 2) * 0.01 / math.sqrt(3)
    assert together.value == pytest.approx((0.6, 0.6 - half, 0.6 + half))
    assert together.verdict == HOLDS and together.over == "runs, 3 bases"
    # Held back by a second part, it is one of the runs that count against the mean.
    beside = [replace(row, above=(0, 10)) for row in rows]
    assert judged(*beside, also="most").verdict == FAILS


def test_verdict_follows_the_interval_over_runs():
    assert judged(*[found(0.8, 0.75, 0.85)] * 3).verdict == HOLDS
    assert judged(*[found(0.3, 0.2, 0.4)] * 3).verdict == FAILS
    disagree = [found(0.9, 0.85, 0.95), found(0.2, 0.1, 0.3)]
    assert judged(*disagree).verdict == INCONCLUSIVE


def test_what_every_run_notes_and_what_each_finds_stand_beside_the_mean():
    rows = [
        found(0.2, 0.1, 0.3, facts=("uses the future", "seen 3 %")),
        found(0.4, 0.3, 0.45, facts=("seen 4 %", "uses the future")),
    ]
    both = judged(*rows)
    assert both.verdict == INCONCLUSIVE  # two bases: their interval is wide
    assert both.notes == ("uses the future", "each run by itself: 2 fails")
    disagree = judged(rows[0], found(0.9, 0.85, 0.95))
    assert disagree.notes == ("each run by itself: 1 fails, 1 holds",)


def test_null_or_second_part_of_a_run_holds_the_mean_back():
    good, held = (found(0.8, 0.7, 0.9, null=null) for null in (0.1, 0.6))
    row = judged(good, good, held, null_counts=True)
    assert row.verdict == INCONCLUSIVE and "1 of 3 runs" in row.notes[0]
    failed = found(0.8, 0.7, 0.9, above=(0, 60))
    assert judged(failed, failed, also="most units").verdict == FAILS


def test_null_counts_where_no_run_holds_by_itself():
    shifts = (-0.01, 0, 0.01, 0.02)

    def rows(null: float) -> list[Measured]:
        return [found(0.8 + shift, 0.45, 0.95, null=null) for shift in shifts] * 6

    assert judged(*rows(0.9), null_counts=True).value.low > 0.5
    assert judged(*rows(0.9), null_counts=True).verdict == INCONCLUSIVE
    assert judged(*rows(0.1), null_counts=True).verdict == HOLDS


def test_control_is_apart_and_lowers_a_claim_that_says_so():
    rows, control = [found(0.8, 0.75, 0.85)] * 3, (found(0.9, 0.8, 0.95),)
    plain = judged(*rows, controls=control)
    assert plain.runs == 3 and plain.value.value == pytest.approx(0.8)
    assert plain.control == 0.9 and plain.control_runs == 1 and plain.verdict == HOLDS
    counted = judged(*rows, controls=control, control_counts=True)
    assert counted.verdict == INCONCLUSIVE and "control" in counted.notes[0]
    assert "run3" not in counted.cells
    assert "not compared with a control run" in judged(*rows, control_counts=True).notes


def test_bounds_cut_the_interval():
    row = judged(found(0.9, 0.8, 1.0), found(0.7, 0.6, 0.8), bounds=(0.0, 1.0))
    assert row.value.low == 0 and row.value.high == 1


def test_unmeasured_claim_says_what_it_needs():
    row = judged(None)
    assert row.verdict == NOT_MEASURED and row.runs == 0 and math.isnan(row.value.value)
    assert row.notes == ("needs samples",)


def test_what_is_undefined_was_looked_at():
    row = judged(found(math.nan, math.nan, math.nan, facts=("no gain",)))
    assert row.verdict == INCONCLUSIVE and row.n == 10 and row.notes == ("no gain",)


def test_a_threshold_writes_itself_and_its_values():
    assert str(GOOD_ENOUGH) == "> −2 points (non-inferiority margin)"
    assert GOOD_ENOUGH.number(0.349) == "+0.3"
    assert GOOD_ENOUGH.interval(-1, 2.55) == "[−1.0, +2.5]"
    share = Threshold("≥", 0.814, also="above the null in most tensors")
    assert str(share) == "≥ 0.814, and above the null in most tensors"
    assert share.number(0.81449) == "0.814" and share.interval(0.8, math.nan) == "[0.800, –]"


# The ledger


def test_ledger_has_its_columns_and_every_claim_once(ledger):
    assert [*ledger.reset_index().columns] == list(COLUMNS)
    assert ledger.index.is_unique and len(ledger) >= 28
    assert set(ledger["verdict"]) <= {HOLDS, FAILS, INCONCLUSIVE, NOT_MEASURED}
    assert (ledger["source"] != "").all() and (ledger["threshold"] != "").all()


def test_mean_over_runs_is_that_of_the_table_by_run(runs, ledger):
    by_run = build_by_run(load_study(runs))
    mine = by_run[(by_run["id"] == "B3") & (by_run["control"] == "")]
    assert sorted(mine["cell"]) == ["first", "second"]
    assert ledger.loc["B3", "ours"] == pytest.approx(mine["ours"].mean())
    assert ledger.loc["B3", "runs"] == 2 and ledger.loc["B3", "interval_over"] == "runs, 2 bases"
    assert ledger.loc["B3", "cells"] == "first, second"
    assert set(by_run["cell"]) == {"first", "second", "control"}


def test_regimes_that_differ_are_told_apart(runs, ledger):
    assert "holds in one regime and fails in another" in ledger.loc["B3", "note"]
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
    # Its other values are not lost: they stand in the note.
    ratio = run_ledger(distilled).loc["A1", "note"]
    left, low, high = (1 - table.loc["A8", name] for name in ("ours", "ci_high", "ci_low"))
    assert f"distilled gives {left:.3f} [{low:.3f}, {high:.3f}]" in ratio


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
    assert "stages=[behaviour,report]" in ledger.loc["A10", "note"]
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
