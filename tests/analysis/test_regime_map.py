import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.ours.regime_map import draw, tables, window_rows
from analysis.ours.regimes import forecasts, regimes, where_it_ends
from rlvr_dynamics.reporting.figure_style import save, style
from rlvr_dynamics.reporting.weight_tables import forecast_table
from rlvr_dynamics.results.forecasts import skill
from rlvr_dynamics.results.study import load_study
from tests.support.figure_text import check_texts
from tests.support.reporting_fixture import SKILL, build_run, write_forecast
from tests.support.study_settings import configure


def stored(run: Path, table: str) -> pd.DataFrame:
    return pd.read_parquet(run / f"{table}.parquet")


def vary(run: Path, seed: int, columns: dict[str, tuple[str, ...]]) -> None:
    """Columns that are the same in all rows of a synthetic run get values of their own."""
    generator = np.random.default_rng(seed)
    for table, names in columns.items():
        frame = stored(run, f"measure/{table}")
        for name in names:
            frame[name] *= generator.uniform(0.6, 1.0, len(frame))
        frame.to_parquet(run / "measure" / f"{table}.parquet", index=False)


VARIED = {
    "trajectory_svd": ("explained_variance", "null_mean"),
    "linearity": ("r2_null_mean", "heldout_r2_null_mean"),
    "update_svd": ("norm_share_null",),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    """A small update that is predictable, a larger one that is not, and a control."""
    folder = tmp_path_factory.mktemp("runs")
    small = build_run(folder / "small")
    configure(small, seed=0, rate=1e-5)
    large = build_run(folder / "large")
    configure(large, seed=1, rate=1e-4, algorithm="rloo")
    norms = pd.read_parquet(large / "measure" / "norms.parquet")
    norms["relative_update"] *= 10
    norms.to_parquet(large / "measure" / "norms.parquet", index=False)
    write_forecast(large, skill={**SKILL, "relex": -40.0, "relex_raw": -0.5})
    control = build_run(folder / "control")
    configure(control, seed=0, rate=1e-5, shuffled=True)
    write_forecast(control, skill={**SKILL, "relex": -3.0})
    for seed, run in enumerate((small, large, control)):
        vary(run, seed, VARIED)
    return [small, large, control]


def test_size_of_a_regime_is_that_of_its_last_step(runs):
    table = regimes(load_study(runs)).set_index("cell")
    for run in runs:
        norms = stored(run, "measure/norms")
        last = norms["relative_update"][norms["step"] == 20]
        row = table.loc[run.name]
        found = row[["update_low", "relative_update", "update_high"]].tolist()
        assert found == pytest.approx(np.quantile(last, [0.25, 0.5, 0.75]))
    assert table["rate_x_steps"].to_dict() == pytest.approx(
        {"small": 1e-5 * 20, "large": 1e-4 * 20, "control": 1e-5 * 20}
    )
    assert table["control"].to_dict() == {"small": "", "large": "", "control": "shuffled rewards"}
    assert table["tensors"].tolist() == [22] * 3


@pytest.mark.parametrize(
    ("name", "source", "column", "null", "of"),
    [
        ("rank1_share", "update_svd", "norm_share", "norm_share_null", np.mean),
        ("variance_share", "trajectory_svd", "explained_variance", "null_mean", np.mean),
        ("r2", "linearity", "r2", "r2_null_mean", np.median),
        ("heldout_r2", "linearity", "heldout_r2", "heldout_r2_null_mean", np.median),
    ],
)
def test_what_is_said_of_a_regime_is_of_the_leading_component(runs, name, source, column, null, of):
    table = regimes(load_study(runs)).set_index("cell")
    for run in runs:
        rows = stored(run, f"measure/{source}")
        if "index" in rows:
            rows = rows[rows["index"] == 1]
        values, row = rows[column].to_numpy(), table.loc[run.name]
        assert row[name] == pytest.approx(of(values))
        assert row[f"{name}_null"] == pytest.approx(of(rows[null]))
        ends = list(np.quantile(values, [0.25, 0.75]))
        assert [row[f"{name}_low"], row[f"{name}_high"]] == pytest.approx(ends)


def test_tensors_that_a_method_leaves_alone_are_no_forecast_of_it(tmp_path, runs):
    run = shutil.copytree(runs[0], tmp_path / "small")
    path = run / "predictions" / "forecast.parquet"
    stored = pd.read_parquet(path)
    relex = (stored["method"] == "relex") & (stored["observe"] == 6) & (stored["step"] == 20)
    held = stored.index[relex][:2]
    stored.loc[held, "sse"] = stored.loc[held, "sse_hold"]
    stored.loc[held, "skill"] = 0.0
    in_base = stored.index[relex][2]
    stored.loc[in_base, ["skill", "magnitude_ratio"]] = -9.0, 0.0
    stored.to_parquet(path)
    study = load_study([run])
    row = forecasts(study).query("method == 'relex' and observe == 6").iloc[0]
    assert row["tensors"] == relex.sum() - 3
    expected = stored["skill"][relex].drop([*held, in_base]).median()
    assert row["skill"] == pytest.approx(expected)
    # Other tables and the page of the run give the same number.
    assert skill(study.cells[0].results, "relex", 6) == pytest.approx(expected)
    frame = forecast_table(study.cells[0].results).frame
    assert frame is not None
    (same,) = frame.query("method == 'RELEX' and observe == 6 and step == 20")["median skill"]
    assert same == pytest.approx(expected)


def test_skill_is_the_median_over_tensors_and_holding_has_none(runs):
    table = forecasts(load_study(runs))
    forecast = stored(runs[0], "predictions/forecast")
    for observe in (3, 6):
        mine = forecast.query(f"method == 'relex' and observe == {observe} and step == 20")["skill"]
        row = table.query(f"cell == 'small' and method == 'relex' and observe == {observe}").iloc[0]
        assert row["skill"] == pytest.approx(np.median(mine))
        ends = list(mine.quantile([0.25, 0.75]))
        assert [row["skill_low"], row["skill_high"]] == pytest.approx(ends)
        assert (row["positive"], row["tensors"]) == ((mine > 0).sum(), len(mine))
        assert row["share"] == observe / 20
    held = table.query("method == 'hold_last'")
    assert (held["skill"] == 0).all() and held["skill_low"].isna().all()


def test_gain_is_the_share_of_the_real_one(runs):
    table = forecasts(load_study(runs))
    scores = stored(runs[0], "scores/scores").query("benchmark == 'sums' and protocol == 'sampled'")
    accuracy = scores.set_index("model")["accuracy"]
    gained = accuracy["step_20"] - accuracy["base"]
    for method, model in {"relex": "relex__observe_6__step_20", "hold_last": "step_6"}.items():
        row = table.query(f"cell == 'small' and method == '{method}' and observe == 6").iloc[0]
        assert row["accuracy"] == pytest.approx(accuracy[model])
        assert row["gain"] == pytest.approx((accuracy[model] - accuracy["base"]) / gained)
        assert row["questions"] == 500
    # Paired: over the same questions, resampled together.
    answers = [
        stored(runs[0], f"scores/samples/{name}/sums").query("protocol == 'sampled'")
        for name in ("step_6", "step_20", "base")
    ]
    right = np.array([each.groupby("question_id")["score"].mean() for each in answers])
    draws = right[:, np.random.default_rng(5).integers(0, 500, (4000, 500))].mean(axis=2)
    ends = np.quantile((draws[0] - draws[2]) / (draws[1] - draws[2]), [0.025, 0.975])
    held = table.query("cell == 'small' and method == 'hold_last' and observe == 6").iloc[0]
    width = ends[1] - ends[0]
    assert [held["gain_low"], held["gain_high"]] == pytest.approx(ends, abs=0.09 * width)


def test_end_of_predictability_is_what_the_runs_say(runs):
    table = window_rows(forecasts(load_study(runs)))
    sizes = {
        run.name: float(
            stored(run, "measure/norms").query("step == 20")["relative_update"].median()
        )
        for run in runs
    }
    said = where_it_ends(table, "relex")
    assert "in 1 of 2 runs" in said  # the control does not count
    assert f"the smallest such update is ‖ΔW‖/‖W‖ = {sizes['large']:.2g}" in said
    assert said.endswith(f"the largest at which it does is {sizes['small']:.2g}")
    only_small = table[table["cell"] == "small"]
    assert where_it_ends(only_small, "relex").startswith("beats holding in all 1 runs")
    only_large = table[table["cell"] == "large"]
    assert where_it_ends(only_large, "relex").endswith("none beats holding")
    assert where_it_ends(table, "momentum") == "has no forecast here"


def test_the_edge_lies_between_the_largest_won_and_the_smallest_lost_update():
    table = pd.DataFrame(
        {
            "method": "relex",
            "control": ["", "", "", "", "shuffled rewards"],
            "skill": [0.4, -0.1, 0.2, -0.5, -3.0],
            "relative_update": [0.0011, 0.0093, 0.0042, 0.031, 0.0007],
        }
    )
    assert where_it_ends(table, "relex") == (
        "does not beat holding in 2 of 4 runs; the smallest such update is ‖ΔW‖/‖W‖ = 0.0093, "
        "the largest at which it does is 0.0042"
    )
    won = table[table["skill"] > 0]
    assert where_it_ends(won, "relex").endswith("all 2 runs, up to a median ‖ΔW‖/‖W‖ of 0.0042")


def test_nearest_window_is_one_per_run():
    table = pd.DataFrame(
        {"cell": list("aabb"), "observe": [3, 6, 1, 2], "share": [0.1, 0.3, 0.05, 0.15]}
    )
    assert list(window_rows(table, 0.2)["observe"]) == [3, 2]


def test_figure_is_the_same_twice_and_names_its_runs(runs, tmp_path):
    pictures = []
    for name in ("first", "second"):
        with style():
            drawing = draw(load_study(runs))
            assert drawing.figure is not None
            save(drawing.figure, tmp_path, name)
            check_texts({name: drawing.figure})
        pictures.append((tmp_path / f"{name}.png").read_bytes())
    assert pictures[0] == pictures[1]
    assert set(drawing.cells) == {"small", "large", "control"}
    assert "2 runs and 1 controls" in drawing.facts and "seeds 0, 1" in drawing.facts


def test_tables_hold_every_run_and_method(runs):
    by_run, by_method = tables(load_study(runs))
    assert by_run.frame is not None and by_method.frame is not None
    assert list(by_run.frame["cell"]) == ["small", "large", "control"]  # by size, controls last
    counts = by_method.frame["cell"].value_counts()
    assert (counts == 2 * len(SKILL)).all()  # two windows, and hold_last counts once
    assert set(by_method.frame["method"]) >= {"RELEX", "per-weight line"}


def test_nothing_measured_is_said_and_not_drawn(tmp_path):
    run = build_run(tmp_path / "bare")
    for table in ("measure", "predictions", "scores"):
        for path in (run / table).rglob("*.parquet"):
            path.unlink()
    study = load_study([run])
    assert draw(study).figure is None and "Not measured" in draw(study).missing
    assert all(table.frame is None and table.missing for table in tables(study))


def test_run_that_learned_nothing_keeps_no_gain(tmp_path):
    from tests.support.reporting_fixture import ACCURACY, write_scores

    run = build_run(tmp_path / "flat")
    write_scores(run, dict.fromkeys(ACCURACY, 0.5))
    table = forecasts(load_study([run]))
    assert table["gain"].isna().all()
    assert not math.isnan(table["accuracy"].iloc[0])
