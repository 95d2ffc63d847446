"""What could not be computed is named and counted; the run's steps stand beside the null's."""

import numpy as np
import pandas as pd

from rlvr_dynamics.reporting.clock_table import clocks_table, optimizer_table
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.run_directory.configuration import RecordedConfig
from rlvr_dynamics.schema.tables import TABLES

NAMES = ["a", "b", "c"]


def results(optimizer=(0.9, 0.9, 0.9), paths=NAMES, lengths=1.0) -> Results:
    svd = pd.DataFrame(
        {"tensor": NAMES, "index": 1, "explained_variance": 0.95, "null_mean": 0.8}
        | {"optimizer_null_mean": optimizer, "optimizer_drift_share": 0.1}
        | {"optimizer_autocorrelation_1": [0.5, 0.6, 0.9]}
        | {"optimizer_null_autocorrelation_1": 0.88, "optimizer_null_drift_share": 0.02}
    )
    lines = pd.DataFrame(
        [{"tensor": name, "clock": "step", "r2": 0.9, "heldout_r2": 0.1} for name in NAMES]
        + [{"tensor": name, "clock": "path", "r2": 0.99, "heldout_r2": 0.8} for name in paths]
    )
    norms = pd.DataFrame({"tensor": NAMES, "step": 1, "optimizer_step_length": lengths})
    whole = dict.fromkeys(TABLES) | {"trajectory_svd": svd, "linearity": lines, "norms": norms}
    return Results(None, RecordedConfig.model_validate({}), {}, whole)  # pyright: ignore


def test_nothing_is_said_to_be_missing_where_nothing_is():
    caption = clocks_table(results()).caption
    assert "no path clock" not in caption and "no optimizer" not in caption


def test_tensors_without_a_clock_or_a_null_are_counted():
    caption = clocks_table(results(optimizer=(0.9, np.nan, np.nan), paths=["a"])).caption
    assert "2 of 3 tensors have no path clock" in caption
    assert "2 of 3 tensors have no optimizer's noise" in caption


def test_the_noise_of_the_optimizer_stands_below_the_steps_of_the_run():
    table = optimizer_table(results(lengths=np.nan)).frame.set_index("steps")
    assert table["lag 1"].to_dict() == {"the run": 0.6, "null: optimizer's noise": 0.88}
    assert np.isnan(table.loc["the run", "first step"])  # SGD has no length in learning rates
    assert table["drift share"].to_dict() == {"the run": 0.1, "null: optimizer's noise": 0.02}


def test_optimizer_time_has_columns_or_one_remark():
    plain = results()
    assert "optimizer time" not in " ".join(clocks_table(plain).frame.columns)
    for rates, words in (
        ([1e-5, 1e-5], "The learning rate was constant, so optimizer time is the step number"),
        ([1e-6, 1e-5], "Measured before optimizer time"),
    ):
        metrics = pd.DataFrame({"step": [1, 2], "actor/lr": rates})
        found = clocks_table(Results(None, plain.config, {}, plain.tables | {"metrics": metrics}))  # pyright: ignore
        assert words in found.caption and "optimizer time" not in " ".join(found.frame.columns)
    timed = plain.tables["linearity"].query("clock == 'step'").assign(clock="optimizer", r2=0.7)
    lines = pd.concat([plain.tables["linearity"], timed])
    found = clocks_table(Results(None, plain.config, {}, plain.tables | {"linearity": lines}))  # pyright: ignore
    assert found.frame["R², optimizer time"].iloc[0] == 0.7
    assert "Optimizer time: the sum" in found.caption
