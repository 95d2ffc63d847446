import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reporting_fixture import SKILL, build_run, write_forecast
from study_settings import configure

from analysis.regime_map import draw, tables, window_rows
from analysis.regimes import forecasts, regimes, where_it_ends
from analysis.relex_models import skill
from analysis.study import load_study
from rlvr_dynamics.reporting.figure_style import save, style
from rlvr_dynamics.reporting.weight_tables import forecast_table


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
    return [small, large, control]


def test_size_of_a_regime_is_read_from_the_norms(runs):
    table = regimes(load_study(runs)).set_index("cell")
    assert table.loc["large", "relative_update"] == pytest.approx(
        10 * table.loc["small", "relative_update"]
    )
    assert table.loc["small", "rate_x_steps"] == pytest.approx(1e-5 * 20)
    assert (table["update_low"] <= table["relative_update"]).all()
    assert table.loc["control", "control"] == "shuffled rewards"
    for name in ("rank1_share", "variance_share", "r2", "heldout_r2"):
        assert (table[f"{name}_low"] <= table[name]).all()
        assert table[f"{name}_null"].notna().all()


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
    stored = pd.read_parquet(runs[0] / "predictions" / "forecast.parquet")
    mine = stored.query("method == 'relex' and observe == 6 and step == 20")["skill"]
    row = table.query("cell == 'small' and method == 'relex' and observe == 6").iloc[0]
    assert row["skill"] == pytest.approx(np.median(mine))
    assert row["skill_low"] < row["skill"] < row["skill_high"]
    assert row["positive"] == (mine > 0).sum() and row["tensors"] == len(mine)
    held = table.query("method == 'hold_last'")
    assert (held["skill"] == 0).all() and held["skill_low"].isna().all()
    # 55 % of the held checkpoint between 35 % of the base and 74 % of the end.
    gain = held.query("cell == 'small' and observe == 6")["gain"].iloc[0]
    assert gain == pytest.approx((0.55 - 0.35) / (0.74 - 0.35), abs=0.1)


def test_end_of_predictability_is_what_the_runs_say(runs):
    study = load_study(runs)
    table, sizes = window_rows(forecasts(study)), regimes(study).set_index("cell")
    said = where_it_ends(table, "relex")
    assert "in 1 of 2 runs" in said  # the control does not count
    assert f"= {sizes.loc['large', 'relative_update']:.2g}" in said
    assert f"is {sizes.loc['small', 'relative_update']:.2g}" in said
    only_small = table[table["cell"] == "small"]
    assert where_it_ends(only_small, "relex").startswith("beats holding in all 1 runs")
    only_large = table[table["cell"] == "large"]
    assert where_it_ends(only_large, "relex").endswith("none beats holding")
    assert where_it_ends(table, "momentum") == "has no forecast here"


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
    from reporting_fixture import ACCURACY, write_scores

    run = build_run(tmp_path / "flat")
    write_scores(run, dict.fromkeys(ACCURACY, 0.5))
    table = forecasts(load_study([run]))
    assert table["gain"].isna().all()
    assert not math.isnan(table["accuracy"].iloc[0])
