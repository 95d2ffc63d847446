"""The report of the newer tables, of many methods, and of a run directory without them."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rlvr_dynamics.claims.ledger import ledger_of_run
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.reporting.direction_figures import draw_alignment, draw_drift, draw_pls
from rlvr_dynamics.reporting.in_numbers import in_numbers
from rlvr_dynamics.reporting.method_figures import draw_method_accuracy, draw_skill
from rlvr_dynamics.reporting.method_scores import final_accuracy
from rlvr_dynamics.reporting.score_tables import scores_table
from rlvr_dynamics.reporting.spectral_figures import draw_rank_shares
from rlvr_dynamics.reporting.summaries import table_artefacts
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.reporting.training_figures import draw_changed, draw_learning
from rlvr_dynamics.results.formatting import DASH
from rlvr_dynamics.results.methods import USES_FUTURE, method_name, method_rank
from rlvr_dynamics.results.run import Results, load_results
from rlvr_dynamics.results.unread import unread_note
from rlvr_dynamics.schema.tables import BEHAVIOUR, TABLES
from tests.support.reporting_fixture import (
    ACCURACY,
    HELD_COSINE,
    STATUSES,
    build_run,
    write_directions,
    write_forecast,
    write_measure,
    write_scores,
)

NEWER = (
    *("rank_shares", "update_rank", "u1_alignment", "pls", "oracle", "drift"),
    *("explained_variance", "checkpoints"),
)
NEWER_COLUMNS = {
    "norms": ["changed_share", "step_changed_share"],
    "linearity": ["loo_r2", "loo_r2_null_mean", "r2_permuted_mean"],
    "update_svd": ["residual", "method"],
    "scores": [
        *("pass_at_n", "pass_at_n_low", "pass_at_n_high", "finish_stop", "finish_length"),
        *("majority", "majority_low", "majority_high", "finish_other", "grader", "uses_future"),
    ],
}
METHODS = (
    *("relex", "relex_raw", "hold_last", "weight_extrapolation", "expo", "momentum"),
    *("first_update", "neural", "shrunk_relex", "alpharl", "alpharl_released", "relex_rank5"),
)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run with twelve methods, of which alpharl and the reconstructions use the future."""
    accuracy = {key: value for key, value in ACCURACY.items() if not key.startswith("relex")}
    for place, method in enumerate(METHODS):
        for observe in (3, 6):
            accuracy[f"{method}__observe_{observe}__step_20"] = 0.5 + 0.02 * place
    folder = build_run(tmp_path_factory.mktemp("run"), accuracy, layers=2)
    write_forecast(folder, 2, {name: -0.1 * place for place, name in enumerate(METHODS, 1)})
    return folder


@pytest.fixture(scope="module")
def old_dir(run_dir, tmp_path_factory):
    """The same run as an earlier version measured it."""
    folder = tmp_path_factory.mktemp("old") / "run"
    shutil.copytree(run_dir, folder)
    for table in (*NEWER, "selection"):
        (folder / TABLES[table].file).unlink()
    for table, columns in NEWER_COLUMNS.items():
        path = folder / TABLES[table].file
        pd.read_parquet(path).drop(columns=columns).to_parquet(path)
    (folder / "predictions" / "index.parquet").unlink()
    return folder


def tables_of(results: Results) -> dict[str, Table]:
    return {
        table.name: table
        for artefact in table_artefacts(ledger_of_run(results))
        for table in artefact.make(results)
    }


@pytest.fixture(scope="module")
def tables(run_dir):
    """The tables of the run; nobody changes them."""
    return tables_of(load_results(run_dir))


def claim(folder: Path, id: str) -> pd.Series:
    return ledger_of_run(load_results(folder)).set_index("id").loc[id]


def replant(folder: Path, table: str, **columns: object) -> None:
    path = folder / TABLES[table].file
    pd.read_parquet(path).assign(**columns).to_parquet(path)


# Claims


@pytest.fixture
def measured(tmp_path):
    write_measure(tmp_path, layers=1)
    write_directions(tmp_path, layers=1)
    write_forecast(tmp_path, layers=1)
    return tmp_path


LOW = {"r2_null_mean": 0.5, "r2_null_high": 0.7, "r2_walk_mean": 0.5, "r2_walk_high": 0.8}


@pytest.mark.parametrize(
    ("columns", "verdict"),
    [
        ({"r2": 0.95, **LOW}, "holds"),
        ({"r2": 0.85, **LOW}, "fails"),
        ({"r2": 0.95, **LOW, "r2_null_high": 0.96}, "fails"),
        ({"r2": 0.95, **LOW, "r2_walk_high": 0.96}, "fails"),
        ({"r2": 0.95, **LOW, "r2_walk_mean": 0.92}, "inconclusive"),
        ({"r2": 0.95, **LOW, "r2_walk_high": math.nan}, "inconclusive"),
        ({"r2": math.nan}, "not measured"),
    ],
)
def test_left_vectors_follow_accuracy(measured, columns, verdict):
    replant(measured, "pls", **columns)
    assert claim(measured, "A2")["verdict"] == verdict


def test_left_vectors_claim_says_what_it_rests_on(measured):
    replant(measured, "pls", r2=0.95, **{**LOW, "r2_walk_mean": 0.6})
    row = claim(measured, "A2")
    assert row["ours"] == pytest.approx(0.95) and row["n"] == 7
    assert row["null"] == pytest.approx(0.7)  # the higher of 0.7 (permuted) and 0.6 (walks)
    assert "y(t): in-domain scores of 8 checkpoints" in row["note"]
    assert "7 of 7 matrices lie above both" in row["note"]


@pytest.mark.parametrize(
    ("predicted", "held", "verdict"),
    [(0.74, 0.5, "holds"), (0.55, 0.5, "fails"), (0.74, 0.74, "inconclusive")],
)
def test_alpharl_from_forty_per_cent(tmp_path, predicted, held, verdict):
    accuracy = {"base": 0.35, "step_20": 0.74, "step_15": 0.74, "step_8": held}
    write_scores(tmp_path, {**accuracy, "alpharl__observe_8__step_20": predicted})
    row = claim(tmp_path, "A3")
    assert row["verdict"] == verdict and USES_FUTURE not in row["note"]


def test_alpharl_that_looks_ahead_is_marked(tmp_path):
    write_scores(tmp_path, {"base": 0.35, "step_20": 0.74, "alpharl__observe_8__step_20": 0.74})
    write_measure(tmp_path, layers=1)
    write_forecast(tmp_path, 1, {"alpharl": 0.1}, (8,))
    assert USES_FUTURE in claim(tmp_path, "A3")["note"]


def test_direction_is_compared_with_the_held_one(measured):
    row = claim(measured, "B7")
    forecast = pd.read_parquet(measured / "predictions" / "forecast.parquet")
    mine = forecast.query("method == 'relex' and observe == 3 and step == 20")
    assert row["ours"] == pytest.approx(np.median(mine["cosine"]) - HELD_COSINE)
    replant(measured, "forecast", cosine=HELD_COSINE - 0.1)
    assert claim(measured, "B7")["verdict"] == "fails"
    replant(measured, "forecast", cosine=HELD_COSINE + 0.1)
    assert claim(measured, "B7")["verdict"] == "holds"


def test_direction_needs_both_lengths(measured):
    norms = pd.read_parquet(measured / "measure" / "norms.parquet")
    norms[norms["step"] != 3].to_parquet(measured / "measure" / "norms.parquet")
    assert claim(measured, "B7")["verdict"] == "not measured"


# Tables


def test_old_run_directory_reports_with_dashes(old_dir, tables):
    tables, newer = tables_of(load_results(old_dir)), tables
    parts = ("rank_shares", "update_rank", "pls_summary", "oracle", "explained_variance")
    for name in (*parts, "selection"):
        assert tables[name].frame is None and "Not measured" in tables[name].missing, name
        assert newer[name].frame is not None, name
    for name, heading in (
        ("update_norms", "median changed"),
        ("linearity_summary", "median left-out R²"),
        ("linearity_summary", "R², permuted"),
    ):
        column = newer[name].header.index(heading)
        assert {cells[column] for cells in tables[name].cells()} == {DASH}
        assert DASH not in {cells[column] for cells in newer[name].cells()}
    assert claim(old_dir, "A2")["verdict"] == "not measured"


def test_old_run_directory_draws_what_it_has(old_dir):
    results = load_results(old_dir)
    for draw in (draw_changed, draw_pls, draw_alignment, draw_drift, draw_rank_shares):
        assert draw(results) is None
    assert draw_method_accuracy(results) is not None


def test_modules_stand_in_the_order_of_the_network(tables):
    frame = tables["linearity_summary"].frame
    modules = list(frame["module"])
    assert modules[:2] == ["embed_tokens", "q_proj"] and modules[-2:] == ["down_proj", "all"]
    assert frame["tensors"].iloc[-1] == frame["tensors"].iloc[:-1].sum()


def test_pls_table_counts_what_passes_both_nulls(measured):
    table = pd.read_parquet(measured / "measure" / "pls.parquet")
    r2 = np.where(table["module"] == "q_proj", 0.9, 0.7)
    replant(measured, "pls", r2=r2, r2_null_high=0.8, r2_walk_high=0.85)
    frame = tables_of(load_results(measured))["pls_summary"].frame.set_index("module")
    assert frame.loc["q_proj", "beyond both"] == 1 and frame.loc["k_proj", "beyond both"] == 0
    assert frame.loc["all", "beyond both"] == pytest.approx(1 / 7)


def test_rank_shares_rise_and_stand_beside_the_printed_ones(tables):
    frame = tables["rank_shares"].frame
    assert list(frame["rank"])[:3] == ["1", "1%", "5%"] and frame["rank"].iloc[-1] == "90%"
    assert frame["null mean"].is_monotonic_increasing
    assert frame["RL (DAPO), paper"].dropna().tolist() == [0.193, 0.365]


def test_forecast_table_counts_tensors_with_skill(tables):
    frame = tables["forecast_skill"].frame
    assert len(frame) == len(METHODS) * 2 * 2
    row = frame[(frame["method"] == "RELEX, rank 5") & (frame["step"] == 20)].iloc[0]
    assert row["skill > 0"] == "0 of 15"


def test_methods_table_has_every_method_and_window(run_dir, tables):
    results = load_results(run_dir)
    table = tables["methods"]
    rows = {cells[0]: cells[1:] for cells in table.cells()}
    assert len(rows) == len(METHODS) + 4  # and base, real, two reconstructions
    at = table.header.index("in domain, step 6") - 1
    assert rows["RELEX"][at] != DASH and rows["base"][at] == DASH
    frame = final_accuracy(results)
    assert list(frame["method"]) == sorted(
        frame["method"][frame["split"] == "in_domain"], key=method_rank
    ) + sorted(frame["method"][frame["split"] == "out_of_domain"], key=method_rank)


def test_last_observed_checkpoint_stands_in_for_hold_last(tmp_path):
    write_scores(
        tmp_path, {"base": 0.3, "step_3": 0.5, "step_20": 0.7, "relex__observe_3__step_20": 0.6}
    )
    frame = final_accuracy(load_results(tmp_path)).query("split == 'in_domain'")
    held = frame[frame["method"] == "hold_last"]
    assert list(held["model"]) == ["step_3"] and list(held["observe"]) == [3]


# What uses the future is marked wherever it is named


def test_methods_that_use_the_future_are_marked(run_dir, tables):
    results = load_results(run_dir)
    assert results.future_methods == {"rank1_recovery", "random_update", "alpharl"}
    for name in ("methods", "accuracy", "recovery", "scores", "forecast_skill"):
        named = set(tables[name].frame["method"])
        assert "AlphaRL (uses the future)" in named and "AlphaRL, as released" in named, name
    for draw in (draw_method_accuracy, draw_skill):
        figure = draw(results)
        labels = {label.get_text().replace("\n", " ") for label in figure.axes[0].get_yticklabels()}
        assert "AlphaRL (uses the future)" in labels and "RELEX" in labels


def test_a_step_inside_the_window_is_not_the_future(tmp_path):
    (tmp_path / "predictions").mkdir()
    rows = [("relex", 6, 3, True), ("relex", 3, 20, False), ("oracle", 6, 20, True)]
    frame = pd.DataFrame(rows, columns=["method", "observe", "step", "uses_future"])
    frame.to_parquet(tmp_path / "predictions" / "index.parquet")
    assert load_results(tmp_path).future_methods == {"oracle"}


def test_many_methods_leave_the_curves_legible(run_dir):
    figure = draw_learning(load_results(run_dir))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(labels) <= 8 and "RELEX, first 15 %" in labels
    assert "AlphaRL (uses the future), first 15 %" in labels
    assert not any(label.startswith("ExPO") for label in labels)


def test_the_best_of_a_grid_that_looks_ahead_is_marked_too(tmp_path):
    (tmp_path / "predictions").mkdir()
    rows = [("expo_alpha_0_5", 3, 20, True, "expo"), ("relex", 3, 20, False, None)]
    columns = ["method", "observe", "step", "uses_future", "candidate_of"]
    frame = pd.DataFrame(rows, columns=columns)
    frame.to_parquet(tmp_path / "predictions" / "index.parquet")
    results = load_results(tmp_path)
    assert results.method_name("expo") == "ExPO (uses the future)"
    assert results.method_name("expo_alpha_0_5") == "ExPO, alpha 0.5 (uses the future)"


def test_names_of_candidates_and_of_strangers():
    assert method_name("expo_alpha_minus_1") == "ExPO, alpha −1"
    assert method_name("relex_rank5") == "RELEX, rank 5"
    assert method_name("my_own_method_2") == "my_own_method_2"


def test_repeated_checkpoints_are_said(measured):
    def said() -> str:
        results = load_results(measured)
        return " ".join(in_numbers(results, ledger_of_run(results)))

    assert "repeat the weights" not in said()
    table = pd.read_parquet(measured / "measure" / "checkpoints.parquet")
    replant(measured, "checkpoints", repeats=np.where(table["step"] > 18, 18.0, np.nan))
    assert "2 of 21 checkpoints repeat the weights of an earlier one" in said()


def test_the_stretch_that_was_measured_is_said_first(measured):
    def said() -> list[str]:
        results = load_results(measured)
        return in_numbers(results, ledger_of_run(results))

    assert not any("stretch" in sentence for sentence in said())
    path = measured / "measure" / "stretches.json"
    path.write_text(json.dumps({"jumps": {"13": {}}, "measured": [0, 12]}))
    assert said()[0].startswith("The weights jumped after step 12: measured is the longest stretch")
    path.write_text("{}")
    with pytest.raises(UserError, match="damaged"):
        said()


def test_a_dtype_too_coarse_for_the_update_is_said_and_an_older_run_is_silent(measured):
    def said() -> str:
        results = load_results(measured)
        return " ".join(in_numbers(results, ledger_of_run(results)))

    path = measured / TABLES["norms"].file
    table = pd.read_parquet(path)
    assert "rounding_share" not in table and "too coarse" not in said()
    tensor = table["tensor"].astype("category").cat.codes  # 0 to 7
    # Coarse in every tensor up to step 5, at the last step in two of eight; a third stands still.
    share = np.where((table["step"] <= 5) | (tensor < 2), 0.3, 0.01)
    still = (table["step"] == 20) & (tensor == 7)
    replant(measured, "norms", rounding_share=np.where(still, np.nan, share))
    replant(measured, "norms", update_norm=np.where(still, 0.0, table["update_norm"]))
    assert "in 2 of 7 tensors at the last step (1 more did not move at all)" in said()
    assert "in the median tensor at 5 of 20 steps" in said()
    replant(measured, "norms", rounding_share=0.01)
    assert "too coarse" not in said()


def test_variants_stand_behind_their_method():
    methods = ["zzz", "expo_alpha_0.3", "momentum", "expo", "relex_rank5", "relex"]
    order = ["relex", "relex_rank5", "expo", "expo_alpha_0.3", "momentum", "zzz"]
    assert sorted(methods, key=method_rank) == order


# Accuracies


def test_the_best_of_several_methods_is_corrected_for_the_choice(tables):
    frame = tables["best"].frame
    assert list(frame["split"]) == ["in domain"] * 2 + ["out of domain"] * 2
    # Of twelve, hold_last is the reference and alpharl, which uses the future, is left out.
    assert set(frame["methods"]) == {10} and set(frame["method"]) == {"RELEX, rank 5"}
    for row in frame.to_dict("records"):
        assert row["points"] == pytest.approx(100 * (row["accuracy"] - row["held"]))
        own, corrected = (ends(row[f"{name} interval"]) for name in ("own", "corrected"))
        assert corrected[0] <= own[0] < row["points"] < own[1] <= corrected[1]
    assert "max statistic" in tables["best"].caption


def ends(interval: str) -> list[float]:
    return [float(end.replace("−", "-")) for end in interval.strip("[]").split(",")]


def test_grids_show_every_candidate_and_the_chosen_one(tables):
    frame = tables["selection"].frame
    assert list(frame["chosen"]) == ["", "chosen", ""] * 2
    assert list(frame["method"])[:3] == ["ExPO, alpha 0.1", "ExPO, alpha 1.0", "ExPO, alpha 4.0"]
    assert "up to 3 candidates" in tables["selection"].caption
    assert tables["selection"].cells()[1][6] == "70.0 %"


def test_every_method_says_how_many_parameters_it_moves(tables):
    moved = tables["moved_parameters"]
    shown = {row[0].partition(" (")[0]: row[1:] for row in moved.cells()}
    assert shown["rank-1 update, rescaled"] == ["750", "1000", "75.0 %"]
    assert shown["RELEX"] == ["1000", "1000", "100.0 %"]
    assert "(75.0 % to 100.0 %)" in moved.caption


def test_cut_answers_stand_beside_accuracies(run_dir, tables):
    scores = pd.read_parquet(run_dir / TABLES["scores"].file)
    base = scores.query("model == 'base' and benchmark == 'sums' and protocol == 'sampled'")
    share = 100 * (base["truncated"] / (base["questions"] * base["samples"])).iloc[0]
    assert share > 0.5
    said = f"(cut off {share:.1f} %)"
    for name in ("accuracy", "methods"):
        assert said in tables[name].cells()[0][3 if name == "accuracy" else 1], name
    assert f"cut off {share:.1f} %" not in set(tables["recovery"].frame["accuracy"])
    assert tables["recovery"].frame["unread"].str.startswith("cut off").any()


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"correct": 8, "incorrect": 2}, ""),
        ({"correct": 8, "truncated": 1, "no_answer": 1}, "cut off 10.0 %, no answer 10.0 %"),
        ({"correct": 7, "limit": 1, "timeout": 1, "crash": 1}, "grader gave up 30.0 %"),
        ({"correct": 9999, "no_answer": 1}, "no answer < 0.1 %"),
        ({}, ""),
    ],
)
def test_what_was_not_read_is_said(tmp_path, counts, said):
    write_scores(tmp_path, {"base": 0.5})
    path = tmp_path / TABLES["scores"].file
    scores = pd.read_parquet(path).query("benchmark == 'sums' and protocol == 'greedy'")
    scores.drop(columns=STATUSES).assign(**counts).to_parquet(path)
    assert unread_note(load_results(tmp_path), "base", ["sums"], "greedy") == said


def test_scores_have_pass_and_majority_with_several_samples_only(tables):
    table = tables["scores"]
    for heading in ("pass@n", "majority@n"):
        column = table.header.index(heading)
        shown = {cells[table.header.index("protocol")]: cells[column] for cells in table.cells()}
        assert shown["greedy"] == DASH and shown["sampled"].endswith("%")


def test_pass_and_majority_of_fewer_answers_are_a_dash(tmp_path):
    write_scores(tmp_path, {"base": 0.5, "step_8": 0.7})
    path = tmp_path / TABLES["scores"].file
    scores = pd.read_parquet(path).query("protocol == 'sampled'")
    fewer = scores.model.eq("step_8") & scores.benchmark.eq("sums")
    scores.assign(samples=scores.samples.mask(fewer, 2)).to_parquet(path)
    frame = scores_table(load_results(tmp_path)).frame
    few = frame[frame.samples == 2]
    assert len(few) == 1 and few.accuracy.notna().all()
    votes = [name for name in frame if name.startswith(("pass_at_n", "majority"))]
    assert len(votes) == 6 and few[votes].isna().all(axis=None)
    assert frame[frame.samples == 4][votes].notna().all(axis=None)


# Columns


def test_every_column_of_the_tables_is_explained(run_dir):
    for table in TABLES.values():
        if table.stage in ("measure", "extrapolate", "score"):
            assert set(pd.read_parquet(run_dir / table.file)) <= set(table.names)


def test_columns_are_a_table_of_the_report(tables):
    table = tables["columns"]
    declared = (*TABLES.values(), *BEHAVIOUR.values())
    assert len(table.cells()) == sum(len(each.columns) for each in declared)
    assert table.long  # folded away on the page
    assert all(DASH not in cells for cells in table.cells())
