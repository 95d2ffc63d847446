"""AlphaRL's tables: printed rows, averages recomputed, our runs in their place, nulls beside."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.registry import artefacts, find
from rlvr_dynamics.claims.printed import printed
from rlvr_dynamics.reporting.tables import Table, as_markdown, as_tex, write_table
from rlvr_dynamics.results.kinds import runs_of_kind
from rlvr_dynamics.results.scores import paired_accuracy
from rlvr_dynamics.results.study import Study, load_study
from rlvr_dynamics.statistics.paired import GAIN, RATIO
from tests.support.reporting_fixture import ACCURACY, build_run

ALPHARL = {3: 0.60, 6: 0.72}  # observed step of 20: probability of a right in-domain answer
EXTRA = {
    **{f"alpharl__observe_{step}__step_20": chance for step, chance in ALPHARL.items()},
    "alpharl_final__observe_6__step_20": 0.73,
    "rank1_recovery__step_6": 0.50,
    "recovery_1_percent__step_20": 0.65,
    "recovery_10_percent__step_20": 0.70,
}
SIX = ["aime24", "aime25", "math500", "minerva", "gpqa_diamond", "gsm8k"]
BENCHMARK_COLUMNS = ["AIME24", "AIME25", "MATH", "Minerva", "GPQA", "GSM8K"]


def configured(folder: Path, change: Callable[[dict], None]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds of one run, and a control of shuffled rewards that learned less."""
    root = tmp_path_factory.mktemp("tables")
    runs = [build_run(root / f"grpo_seed{seed}", accuracy={**ACCURACY, **EXTRA}) for seed in (0, 1)]
    configured(runs[1], lambda config: config.update(seed=1))
    shuffled = {**ACCURACY, **EXTRA, "step_20": 0.37, "alpharl__observe_6__step_20": 0.36}
    control = build_run(root / "shuffled", accuracy=shuffled)
    configured(control, lambda config: config.update(data={"shuffle_answers": True}))
    return [*runs, control]


@pytest.fixture(scope="module")
def study(folders: list[Path]) -> Study:
    return load_study(folders)


@pytest.fixture(scope="module")
def again(folders: list[Path]) -> Study:
    """The same runs, given in another order."""
    return load_study(list(reversed(folders)))


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A run that says it is DAPO on Qwen3-8B-Base and has the paper's six benchmarks."""
    folder = build_run(
        tmp_path_factory.mktemp("qwen") / "dapo_qwen3_8b", accuracy={**ACCURACY, **EXTRA}
    )

    def change(config: dict) -> None:
        config["model"] = {"name": "qwen3_8b", "repo": "Qwen/Qwen3-8B-Base"}
        config["algorithm"] = {"name": "dapo", "learning_rate": 1e-6}

    configured(folder, change)
    scores = pd.read_parquet(folder / "scores" / "scores.parquet")
    one = scores[scores["benchmark"] == "sums"]
    copies = [one.assign(benchmark=name, title=name) for name in SIX]
    pd.concat(copies).to_parquet(folder / "scores" / "scores.parquet", index=False)
    samples = folder / "scores" / "samples"
    for model in samples.iterdir():
        content = (model / "sums.parquet").read_bytes()
        for name in SIX:
            (model / f"{name}.parquet").write_bytes(content)
    return load_study([folder])


def tables(name: str, study: Study) -> dict[str, Table]:
    artefact = find(name)
    return {table.name: table for table in artefact.make(study)}  # pyright: ignore[reportAttributeAccessIssue]


def frame(name: str, study: Study, table: str = "") -> pd.DataFrame:
    found = tables(name, study)[f"{name}{table}"].frame
    assert found is not None
    return found


EVERY = [f"alpharl_table_{number}" for number in (1, 3, 4, 5, 6, 7, 8)]


def test_the_tables_are_on_the_page_in_the_order_of_the_paper() -> None:
    assert [each.name for each in artefacts() if each.name in EVERY] == EVERY


@pytest.mark.parametrize("name", EVERY)
def test_every_table_says_what_it_lacks_and_names_its_runs(name: str, study: Study) -> None:
    for table in tables(name, study).values():
        if table.frame is None:
            assert table.missing
            continue
        known = {cell.name for cell in study.cells}
        assert table.frame.columns[-1] == "cell"
        assert set(table.frame["cell"].dropna()) <= known
        assert table.caption


@pytest.mark.parametrize("name", EVERY)
def test_the_same_runs_give_the_same_bytes(
    name: str, study: Study, again: Study, tmp_path: Path
) -> None:
    for place, runs in (("first", study), ("second", again)):
        (tmp_path / place).mkdir()
        for table in tables(name, runs).values():
            write_table(table, tmp_path / place)
    written = sorted((tmp_path / "first").iterdir())
    assert written
    for path in written:
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


@pytest.mark.parametrize(("name", "rows"), [("1", 15), ("3", 39), ("4", 26)])
def test_every_printed_row_is_there_with_its_average_recomputed(
    name: str, rows: int, study: Study
) -> None:
    found = frame(f"alpharl_table_{name}", study)
    paper = found[found["source"] == "paper"]
    assert len(paper) == rows
    mean = paper[BENCHMARK_COLUMNS].mean(axis=1)
    assert np.allclose(paper["average"], mean)
    off = 100 * (paper["average as printed"] - mean)
    assert np.allclose(paper["difference"], off)


def test_the_misprinted_average_is_shown_as_twenty_points_off(study: Study) -> None:
    found = frame("alpharl_table_4", study)
    worst = found.loc[found["difference"].abs().idxmax()]
    assert (worst["model"], worst["share"]) == ("DeepSeek-R1-Distill-Qwen-7B", 0.2)
    assert math.isclose(worst["difference"], -20.0, abs_tol=0.01)


def test_table_3_takes_the_rows_that_it_shares_with_table_1(study: Study) -> None:
    third = frame("alpharl_table_3", study)
    first = frame("alpharl_table_1", study)
    rows = third[third["model"].eq("Qwen3-8B-Base") & third["source"].eq("paper")]
    assert list(dict.fromkeys(rows["share"])) == [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0]
    pick = {"algorithm": "dapo", "method": "AlphaRL", "share": 0.4, "source": "paper"}
    both = [
        table.loc[(table[list(pick)] == pd.Series(pick)).all(axis=1)] for table in (rows, first)
    ]
    assert both[0]["MATH"].tolist() == both[1]["MATH"].tolist() == [0.805]


def test_a_model_that_no_run_has_gets_dashes_not_zeros(study: Study) -> None:
    table = tables("alpharl_table_1", study)["alpharl_table_1"]
    assert table.frame is not None
    ours = table.frame[table.frame["source"] == "ours: no such run"]
    assert len(ours) == 3  # one for each algorithm
    assert ours[[*BENCHMARK_COLUMNS, "average", "n"]].isna().all(axis=None)
    assert not (table.frame["source"] == "ours").any()
    line = next(line for line in as_markdown(table).splitlines() if "no such run" in line)
    assert line.count("–") == 15  # all but model, algorithm and source


def test_a_run_of_the_same_model_and_algorithm_stands_beneath(qwen: Study) -> None:
    found = frame("alpharl_table_3", qwen)
    ours = found[found["source"] == "ours"]
    assert set(ours["model"]) == {"Qwen3-8B-Base"}
    at_30 = ours[ours["share"].eq(0.3) & ours["method"].str.startswith("AlphaRL")]
    place = found.index[
        found["source"].eq("paper")
        & found["model"].eq("Qwen3-8B-Base")
        & found["share"].eq(0.3)
        & found["method"].eq("AlphaRL")
    ][0]
    assert list(at_30.index) == [place + 1, place + 2]  # alpharl and alpharl_final, directly below
    scores = qwen.cells[0].results.tables["scores"]
    assert scores is not None
    wanted = scores[
        scores["model"].eq("alpharl__observe_6__step_20")
        & scores["protocol"].eq("sampled")
        & scores["benchmark"].eq("gsm8k")
    ]
    assert at_30["GSM8K"].iloc[0] == wanted["accuracy"].iloc[0]
    assert at_30["n"].iloc[0] == 6 * wanted["questions"].iloc[0]
    assert not (found["source"].eq("ours: no such run") & found["model"].eq("Qwen3-8B-Base")).any()
    # The other tables' rows of the same base, trained otherwise, are not its place.
    first = frame("alpharl_table_1", qwen)
    assert set(first[first["source"] == "ours"]["algorithm"]) == {"dapo"}


def test_an_average_over_five_of_the_six_is_not_shown(qwen: Study) -> None:
    cell = qwen.cells[0]
    scores = cell.results.tables["scores"]
    assert scores is not None
    fewer = {**cell.results.tables, "scores": scores[scores["benchmark"] != "aime25"]}
    lacking = replace(cell, results=replace(cell.results, tables=fewer))
    found = frame("alpharl_table_3", Study((lacking,)))
    ours = found[found["source"] == "ours"]
    assert len(ours)
    assert ours["AIME25"].isna().all()
    assert ours["average"].isna().all()
    assert ours["MATH"].notna().all()


def test_what_alpharl_keeps_in_print_is_recomputed(study: Study) -> None:
    found = frame("alpharl_table_1", study, "_retention")
    paper = found[found["source"].eq("paper") & found["share"].eq(0.4)].set_index("algorithm")
    assert [round(paper.loc[name, "kept as printed"], 3) for name in ("grpo", "rloo")] == [
        0.959,
        0.955,
    ]
    assert round(paper.loc["grpo", "kept"], 3) == 0.951
    assert (paper["speed-up"] == 2.5).all()
    assert paper["gain"].isna().all()  # the paper prints no base


def test_what_alpharl_keeps_here_is_the_paired_ratio_beside_its_checkpoint(study: Study) -> None:
    found = frame("alpharl_table_3", study, "_retention")
    cell = study.where(seed=1)[0]
    row = found[
        found["cell"].eq(cell.name)
        & found["share"].eq(0.3)
        & found["benchmarks"].eq("in domain")
        & found["method"].eq(cell.results.method_name("alpharl"))
    ].iloc[0]
    models = ["alpharl__observe_6__step_20", "step_20", "base"]
    paired = paired_accuracy(cell.results, models, ["sums"])
    plain = paired_accuracy(cell.results, ["step_6", "step_20"], ["sums"])
    assert paired is not None and plain is not None
    ratio, gain = paired.compare(RATIO), paired.compare(GAIN)
    assert math.isclose(row["kept"], ratio.value)
    assert row["interval"] == f"[{ratio.low:.3f}, {ratio.high:.3f}]"
    assert math.isclose(row["gain"], gain.value)
    assert row["gain interval"] == f"[{gain.low:.3f}, {gain.high:.3f}]"
    assert math.isclose(row["checkpoint"], plain.compare(RATIO).value)
    assert row["n"] == 500
    means = [paired.means[0], plain.means[0]]
    assert math.isclose(row["advantage"], 100 * (means[0] - means[1]))


def test_seeds_are_rows_of_their_own_and_controls_stand_apart(study: Study) -> None:
    for name in ("alpharl_table_1", "alpharl_table_3", "alpharl_table_7", "alpharl_table_8"):
        here = frame(name, study, "_here")
        assert set(here["seed"]) == {0, 1}
        assert set(here["cell"]) == {"grpo_seed0", "grpo_seed1"}
        apart = tables(name, study)[f"{name}_controls_here"]
        assert apart.frame is not None
        assert set(apart.frame["cell"]) == {"shuffled"}
        assert "shuffled rewards" in apart.title


def test_without_controls_there_is_no_table_of_them(study: Study) -> None:
    names = tables("alpharl_table_1", Study(tuple(study.trained)))
    assert list(names) == [f"alpharl_table_1{end}" for end in ("", "_here", "_retention")]


def test_rows_of_a_run_have_its_scores(study: Study) -> None:
    found = frame("alpharl_table_3", study, "_here")
    rows = found[found["cell"] == "grpo_seed0"]
    scores = study.where(name="grpo_seed0")[0].results.tables["scores"]
    assert scores is not None
    sampled = scores[scores["protocol"].eq("sampled") & scores["benchmark"].eq("sums")]
    accuracy = sampled.set_index("model")["accuracy"]
    base, last = rows.iloc[0], rows.iloc[-1]
    assert (base["method"], base["share"], last["share"]) == ("base", 0, 1)
    assert base["Sums & differences"] == accuracy["base"]
    assert last["Sums & differences"] == accuracy["step_20"]
    assert math.isnan(base["speed-up"])
    assert last["n"] == 650
    # Steps of a short training that two shares name are shown once.
    assert not rows.duplicated(["method", "share"]).any()


@pytest.mark.parametrize("titles", [["T"] * 4, ["method", "average", "n", "T [95 %]"]])
def test_titles_of_benchmarks_are_no_names_of_columns(study: Study, titles: list[str]) -> None:
    cell = study.where(name="grpo_seed0")[0]
    scores = cell.results.tables["scores"]
    assert scores is not None
    names = sorted(set(scores["benchmark"]))
    called = scores.assign(title=scores["benchmark"].map(dict(zip(names, titles, strict=True))))
    tables = {**cell.results.tables, "scores": called}
    other = Study((replace(cell, results=replace(cell.results, tables=tables)),))
    for artefact in ("alpharl_table_3", "relex_out_of_domain"):
        plain, made = (frame(artefact, one, "_here") for one in (Study((cell,)), other))
        assert made.shape == plain.shape
        assert not made.columns.duplicated().any()
        for own, column in zip(plain.columns, made.columns, strict=True):
            pd.testing.assert_series_equal(plain[own], made[column], check_names=False)


def test_a_study_of_other_models_is_sent_from_table_4_to_table_3(study: Study) -> None:
    here = tables("alpharl_table_4", study)["alpharl_table_4_here"]
    assert here.frame is None
    assert "alpharl_table_3_here" in here.missing


def test_stages_show_rank_1_where_it_was_scored_and_dashes_elsewhere(study: Study) -> None:
    paper = frame("alpharl_table_5", study)
    printed_rows = paper[paper["source"] == "paper"]
    assert len(printed_rows) == 8
    assert math.isclose(printed_rows.iloc[-1]["rank-1 / full"], 62 / 65)
    assert printed_rows.iloc[-1:]["AlphaRL"].isna().all()
    here = frame("alpharl_table_5", study, "_here").set_index(["cell", "share"])
    assert here.loc[("grpo_seed0", 0.3), "rank-1"] > here.loc[("grpo_seed0", 0.15), "checkpoint"]
    assert math.isnan(here.loc[("grpo_seed0", 0.15), "rank-1"])
    assert here.loc[("grpo_seed0", 1.0), "random update"] < here.loc[("grpo_seed0", 1.0), "rank-1"]
    out_of_domain = frame("alpharl_table_6", study, "_here")
    assert set(out_of_domain["n"]) == {150}
    assert set(here["n"]) == {500}


def test_the_update_is_summed_up_over_matrices_only(study: Study) -> None:
    here = frame("alpharl_table_7", study, "_here").iloc[0]
    results = study.where(name=here["cell"])[0].results
    norms, shares = results.tables["norms"], results.tables["rank_shares"]
    assert norms is not None and shares is not None
    final = norms[norms["step"].eq(20) & norms["module"].ne("embed_tokens")].set_index("tensor")
    rank1 = shares[shares["step"].eq(20) & shares["rank"].eq("1")].set_index("tensor")
    assert here["matrices"] == len(final) == 21
    assert math.isclose(here["mean norm"], final["update_norm"].mean())
    assert math.isclose(here["rank-1 share"], rank1["norm_share"].mean())
    assert math.isclose(here["rank-1 share null"], rank1["norm_share_null"].mean())
    weight = final["update_norm"].reindex(rank1.index)
    sums = (rank1["norm_share"] * weight).sum() / weight.sum()
    assert math.isclose(here["rank-1 share of sums"], sums)
    ends = [float(end) for end in here["rank-1 share quartiles"].strip("[]").split(", ")]
    quartiles = 100 * rank1["norm_share"].quantile([0.25, 0.75])
    assert ends == [round(end, 1) for end in quartiles]


def test_weights_without_shares_show_rank_1_alone(study: Study) -> None:
    cell = study.where(name="grpo_seed0")[0]
    older = replace(cell.results, tables={**cell.results.tables, "rank_shares": None})
    here = frame("alpharl_table_7", Study((replace(cell, results=older),)), "_here").iloc[0]
    assert 0 < here["rank-1 share"] < 1
    assert math.isnan(here["rank-1 % share"])
    bare = replace(older, tables=dict.fromkeys(cell.results.tables))
    missing = tables("alpharl_table_7", Study((replace(cell, results=bare),)))
    assert "measure/norms.parquet" in missing["alpharl_table_7_here"].missing


def test_printed_norms_and_shares_are_those_of_the_paper(study: Study) -> None:
    found = frame("alpharl_table_7", study)
    paper = found[found["source"] == "paper"].set_index("kind")
    assert paper.loc["online RL, DAPO", "mean norm"] == 0.01
    assert math.isclose(paper.loc["offline distillation", "rank-1 % share"], 0.293)
    conditions = paper.loc["offline DPO", ["on-policy", "constrained"]]
    assert conditions.tolist() == ["no", "yes"]


def test_a_released_model_is_of_the_kind_that_trained_it(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "distilled")

    def change(config: dict) -> None:
        config["model"] = {"name": "qwen2_5_math_7b", "repo": "Qwen/Qwen2.5-Math-7B"}
        config["source"] = {"published": {"repo": "a/released-model", "method": "dist"}}

    configured(folder, change)
    study = load_study([folder])
    found = {kind: len(runs_of_kind(study, kind)) for kind in ("dist", "opd", "sft", "dpo", "dapo")}
    assert found == {"dist": 1, "opd": 0, "sft": 0, "dpo": 0, "dapo": 0}
    seventh = frame("alpharl_table_7", study)
    ours = seventh[seventh["source"] == "ours"]
    assert ours["kind"].tolist() == ["offline distillation"]


def test_directions_are_compared_with_the_full_model_and_two_controls(study: Study) -> None:
    here = frame("alpharl_table_8", study, "_here")
    rows = here[here["cell"] == "grpo_seed0"]
    results = study.where(name="grpo_seed0")[0].results
    names = ["rank1_recovery", "recovery_1_percent", "recovery_10_percent"]
    assert rows["method"].tolist() == [*map(results.method_name, names), "full update"]
    ten = rows.iloc[2]
    models = ["recovery_10_percent__step_20", "step_20", "base"]
    paired = paired_accuracy(results, models, ["sums"])
    random = paired_accuracy(results, ["random_update__step_20", "step_20"], ["sums"])
    assert paired is not None and random is not None
    ratio = paired.compare(RATIO)
    assert math.isclose(ten["ratio"], ratio.value)
    assert ten["ratio [95 %]"] == f"[{ratio.low:.3f}, {ratio.high:.3f}]"
    assert math.isclose(ten["gain"], paired.compare(GAIN).value)
    assert math.isclose(ten["random update"], random.compare(RATIO).value)
    assert math.isclose(ten["base"], paired.means[2] / paired.means[1])


def test_table_8_puts_a_run_into_the_column_of_its_kind(qwen: Study, study: Study) -> None:
    found = frame("alpharl_table_8", qwen)
    ours = found[found["source"] == "ours"]
    assert len(ours) == 8
    first = ours[ours["rank"] == "1"].iloc[0]
    assert 0 < first["online RL, DAPO"] < 1
    assert math.isnan(first["offline SFT"])
    assert first["n"] == 500
    assert ours[ours["rank"] == "90 %"]["online RL, DAPO"].isna().all()  # never scored
    assert (frame("alpharl_table_8", study)["source"] != "ours").all()
    numbers = printed(paper="alpharl", table="table8", algorithm="sft", method="rank90pct")
    last = found[found["rank"].eq("90 %") & found["source"].eq("paper")]
    assert math.isclose(100 * last["offline SFT"].iloc[0], numbers["value"].iloc[0])


def test_every_table_survives_latex(study: Study) -> None:
    for name in EVERY:
        for table in tables(name, study).values():
            if table.frame is None:
                continue
            body = as_tex(table).replace(r"\%", "").replace(r"\&", "").replace(r"\_", "")
            ends = [line for line in body.splitlines() if line.endswith(r"\\")]
            lines = [line for line in ends if not line.startswith(r"\caption")]
            assert {line.count(" & ") for line in lines} == {len(table.frame.columns) - 1}
            assert "%" not in body.partition("\n")[2]
