"""Runs without a signal beside their nulls, and both clocks over learning rates."""

import numpy as np
import pandas as pd
import pytest

from analysis.ours.clocks import clocks_tables
from analysis.ours.clocks_figure import draw
from analysis.ours.no_signal import no_signal_tables
from rlvr_dynamics.reporting.figure_style import style
from rlvr_dynamics.results.run import Results
from rlvr_dynamics.results.study import Cell, Study
from rlvr_dynamics.run_directory.configuration import RecordedConfig
from rlvr_dynamics.schema.tables import TABLES
from tests.support.figure_text import check_texts

EV = [0.90, 0.93, 0.97, 0.99]
STEPS = 20


def cell(name, *, rate=1e-5, reward="exact", seed=0, heldout=(0.2, 0.8), skills=(0.1, 0.6), **more):
    names = [f"w{place}" for place in range(4)]
    labels = {"tensor": names, "module": "q_proj", "layer": 0}
    svd = pd.DataFrame(
        {**labels, "T": STEPS, "index": 1, "explained_variance": EV, "null_mean": 0.8}
        | {"optimizer_null_mean": 0.94, "optimizer_null_low": 0.92, "optimizer_null_high": 0.98}
        | {"optimizer_autocorrelation_1": 0.85, "optimizer_null_autocorrelation_1": 0.9}
        | {"optimizer_drift_null_mean": 0.96, "optimizer_drift_share": 0.05}
    )
    lines = [
        {**labels, "clock": clock, "r2": 0.97, "r2_null_mean": 0.9, "heldout_r2": value}
        | {"optimizer_r2_null_mean": 0.98, "optimizer_r2_null_low": 0.96}
        | {"optimizer_r2_null_high": 0.99, "optimizer_heldout_r2_null_mean": 0.5}
        for clock, value in zip(("step", "path"), heldout, strict=True)
    ]
    forecast = [
        {**labels, "method": method, "observe": 4, "step": STEPS, "skill": value}
        | {"sse": 1.0, "sse_hold": 2.0, "magnitude_ratio": 1.0}
        for method, value in zip(("relex", "relex_path"), skills, strict=True)
    ]
    tables = dict.fromkeys(TABLES) | {
        "norms": pd.DataFrame({**labels, "step": STEPS}),
        "trajectory_svd": svd,
        "linearity": pd.concat([pd.DataFrame(each) for each in lines], ignore_index=True),
        "forecast": pd.concat([pd.DataFrame(each) for each in forecast], ignore_index=True),
    }
    given = {
        "model": {"name": "tiny"},
        "algorithm": {"name": "grpo", "learning_rate": rate, **more},
        "data": {"reward": reward},
        "trainer": {"steps": STEPS},
        "seed": seed,
    }
    return Cell(name, Results(None, RecordedConfig.model_validate(given), {}, tables))  # pyright: ignore


def test_controls_come_first_and_the_share_inside_counts_each_tensor_with_its_own_ends():
    study = Study((cell("signal"), cell("other", rate=1e-4), cell("coin", reward="random")))
    table = no_signal_tables(study)[0].frame
    assert list(dict.fromkeys(table["cell"])) == ["coin", "signal"]
    row = table[(table["cell"] == "coin") & (table["statistic"] == "EV1")].iloc[0]
    assert row["control"] == "random rewards"
    assert row["observed"] == pytest.approx(0.95)
    assert (row["independent steps"], row["optimizer"]) == (0.8, 0.94)
    assert row["inside"] == 0.5  # of .90, .93, .97 and .99 in [.92, .98]
    assert row["tensors"] == 4
    lag = table[table["statistic"] == "cosine at lag 1"].iloc[0]
    assert (lag["observed"], lag["optimizer"]) == (0.85, 0.9)
    assert set(table["statistic"]) >= {"R², step", "R², path"}


def test_without_a_control_the_table_says_what_is_missing():
    made = no_signal_tables(Study((cell("signal"),)))[0]
    assert made.frame is None and "data.reward=random" in made.missing


def test_rates_and_optimizers_are_rows_and_runs_of_one_are_averaged():
    sgd = cell("sgd", optimizer="sgd", rate=1e-5)
    cells = (
        cell("a", heldout=(0.2, 0.8), skills=(0.1, 0.6)),
        cell("b", seed=1, heldout=(0.4, 0.9), skills=(0.3, 0.7)),
        cell("c", rate=1e-4, heldout=(-2.0, 0.5), skills=(-1.0, 0.2)),
        cell("d", reward="constant"),
        sgd,
    )
    table = clocks_tables(Study(cells))[0].frame
    assert len(table) == 4
    assert sgd.algorithm == "grpo (SGD, momentum 0.9)"
    assert set(table["control"]) == {"", "constant rewards"}
    first = table.iloc[0]
    assert first["runs"] == 2
    assert first["held-out R², step"] == pytest.approx(0.3)
    assert first["held-out R², path"] == pytest.approx(0.85)
    assert first["held-out R², path over runs"] == "0.800 to 0.900"
    assert first["skill of RELEX, path"] == pytest.approx(0.65)
    assert first["EV1 of optimizer's noise"] == pytest.approx(0.94)
    assert first["observed"] == "first 20 %"
    faster = table[table["learning rate"] == 1e-4].iloc[0]
    assert faster["skill of RELEX, step"] == pytest.approx(-1.0)
    assert faster["held-out R², step over runs"] == ""
    assert "skill of two-point line, step" not in table  # no run has it
    assert np.isfinite(table["drift share"]).all()


def test_the_figure_needs_two_rates_and_draws_each_runs_mean():
    alone = draw(Study((cell("a"), cell("b", rate=1e-4, reward="random"))))
    assert alone.figure is None and "two learning rates" in alone.missing
    three = (cell("a"), cell("b", seed=1, heldout=(0.4, 0.6)), cell("c", rate=1e-4))
    with style():  # as every figure is drawn
        made = draw(Study(three))
    assert made.figure is not None
    check_texts({"clocks": made.figure})
    lines = {line.get_label(): line for line in made.figure.axes[0].containers}
    drawn = lines["length of the path"].lines[0].get_ydata()
    np.testing.assert_allclose(drawn, [0.7, 0.8])
    assert made.cells == ("a", "b", "c")
    assert "n = 3 runs" in made.facts
