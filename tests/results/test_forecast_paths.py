"""How well a path was continued: predicted over true length, where the true steps exist."""

import numpy as np
import pandas as pd
import pytest

from rlvr_dynamics.reporting.weight_tables import forecast_table
from rlvr_dynamics.results.forecasts import path_ratios
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.run_directory.configuration import RecordedConfig
from rlvr_dynamics.schema.tables import TABLES

STEPS = np.arange(1, 41)
LENGTHS = {"bent": STEPS**-0.5, "even": np.full(40, 0.25)}


def results(steps=STEPS, **lengths) -> Results:
    rows = [
        {"step": step, "tensor": name, "module": "q_proj", "layer": 0, "step_norm": length}
        for name, walked in (lengths or LENGTHS).items()
        for step, length in zip(steps, walked, strict=True)
    ]
    made = [
        {"method": method, "observe": 12, "step": target, "tensor": name, "module": "q_proj"}
        | {"layer": 0, "sse": 1.0, "sse_hold": 2.0, "skill": 0.5, "cosine": 0.9}
        | {"magnitude_ratio": 1.1, "clock": clock, "continuation": how, "uses_future": False}
        for method, clock, how in (
            ("relex", "step", None),
            ("relex_path", "path", "power_law"),
            ("relex_constant", "path", "constant"),
            ("average", None, None),
        )
        for target in (40, 60)
        for name in lengths or LENGTHS
    ]
    whole = dict.fromkeys(TABLES) | {"norms": pd.DataFrame(rows), "forecast": pd.DataFrame(made)}
    return Results(None, RecordedConfig.model_validate({}), {}, whole)  # pyright: ignore


def test_the_ratio_is_that_of_the_continued_to_the_walked_path():
    found = path_ratios(results())
    assert set(found["step"]) == {40}  # nobody walked to 60
    ratio = found.set_index(["tensor", "continuation"])["path_ratio"]
    bent, late = LENGTHS["bent"], LENGTHS["bent"][4:12].mean()
    assert ratio["bent", "power_law"] == pytest.approx(1.0, rel=1e-9)
    assert ratio["bent", "constant"] == pytest.approx((bent[:12].sum() + 28 * late) / bent.sum())
    assert ratio["even", "power_law"] == pytest.approx(1.0, rel=1e-9)
    assert ratio["even", "constant"] == pytest.approx(1.0, rel=1e-9)


def test_a_path_with_gaps_or_without_movement_has_no_ratio():
    gaps = np.array([*range(1, 31), 40])
    assert not len(path_ratios(results(gaps, bent=gaps**-0.5)))
    resting = path_ratios(results(resting=np.zeros(40)))
    assert set(resting["continuation"]) == {"constant"}
    assert resting["path_ratio"].isna().all()


def test_the_table_shows_both_clocks_and_a_dash_where_nothing_is_true():
    table = forecast_table(results()).frame.set_index(["step", "method"])
    assert table.loc[(40, "RELEX"), "clock"] == "step"
    assert table.loc[(40, "RELEX, path clock"), "clock"] == "path"
    assert table.loc[(40, "RELEX, path clock"), "path"] == pytest.approx(1.0, rel=1e-9)
    assert np.isnan(table.loc[(60, "RELEX, path clock"), "path"])
    assert np.isnan(table.loc[(40, "RELEX"), "path"])
    assert pd.isna(table.loc[(40, "average of the last"), "clock"])


def test_a_table_of_an_earlier_version_has_no_clock():
    old = results()
    old.tables["forecast"] = old.tables["forecast"].drop(columns=["clock", "continuation"])
    assert path_ratios(old) is None
    assert forecast_table(old).frame["clock"].isna().all()


def test_tensors_that_stayed_on_the_step_number_are_counted_in_the_table():
    run = results()
    table = run.tables["forecast"]
    table["tensors_on_step"] = np.where(table["method"] == "relex_path", 1.0, np.nan)
    table.loc[table["method"] == "relex_constant", "tensors_on_step"] = 0.0
    shown = forecast_table(run).frame.set_index(["step", "method"])["clock"]
    assert shown[40, "RELEX, path clock"] == "path (1 of 2 tensors on the step number)"
    assert shown[40, "relex_constant"] == "path" and shown[40, "RELEX"] == "step"
