"""One training read as float32 and as bfloat16: side by side in a table, once in the ledger."""

import numpy as np
import pandas as pd
import pytest

from analysis.ours.dtypes import tables
from rlvr_dynamics.checkpoints import Trajectory
from rlvr_dynamics.claims.ledger import build_ledger
from rlvr_dynamics.measurement import MeasureSettings, OptimizerRecord, measure
from rlvr_dynamics.results.readings import without_repeats
from rlvr_dynamics.results.study import load_study
from rlvr_dynamics.system.atomic import write_sealed_json
from tests.support.extrapolation_fixture import build, wandering

STEPS = range(1, 7)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return a training, its reading in bfloat16, and another training."""
    root = tmp_path_factory.mktemp("study")
    for name in ("one", "other"):
        weights = wandering(STEPS)
        if name == "other":
            weights = {step: {n: 2 * t for n, t in each.items()} for step, each in weights.items()}
        build(root / name, weights)
    trained = {"algorithm": {"name": "grpo", "learning_rate": 1e-3}}
    given = {"source": {"base": "one/base", "checkpoints": "one/checkpoints"}}
    for run, files, dtype, config in (
        ("run", "one", None, trained),
        ("run-as-bfloat16", "one", "bfloat16", given),
        ("other-run", "other", None, trained),
    ):
        trajectory = Trajectory.open(
            root / files / "base", root / files / "checkpoints", round_to=dtype
        )
        optimizer = OptimizerRecord(learning_rates=dict.fromkeys(STEPS, 1e-3))
        settings = MeasureSettings(draws=20, directions=False, optimizer=optimizer)
        measure(trajectory, settings, root / run / "measure", progress=False)
        write_sealed_json(root / run / "config.json", {"name": run, **config})
    return load_study([root / run for run in ("run-as-bfloat16", "other-run", "run")])


def test_every_statistic_stands_beside_its_nulls_by_dtype(study):
    (table,) = tables(study)
    rows = table.frame
    assert set(rows["cell"]) == {"run", "run-as-bfloat16"}
    assert set(rows["learning_rate"]) == {1e-3}  # of the training, also where it is read again
    dtypes = ["float32", "bfloat16 (rounded from float32 files)"]
    for _, pair in rows.groupby("statistic"):
        assert pair["dtype"].tolist() == dtypes
    shown = rows.set_index(["statistic", "cell"])
    for cell in study.where(name="run") + study.where(name="run-as-bfloat16"):
        held = cell.results.tables
        first = held["trajectory_svd"].query("index == 1")
        row = shown.loc[("explained variance", cell.name)]
        assert row["median"] == np.median(first["explained_variance"])
        assert row["optimizer"] == np.median(first["optimizer_null_mean"])
        path = held["linearity"].query("clock == 'path'")
        row = shown.loc[("held-out R², length of the path", cell.name)]
        assert row["median"] == np.median(path["heldout_r2"])
        assert row["walk"] == np.median(path["heldout_r2_null_mean"])
        last = held["norms"].query("step == 6")
        row = shown.loc[("last step in learning rates", cell.name)]
        assert row["median"] == np.median(last["optimizer_step_length"])
        assert np.isnan(row["walk"]) and row["tensors"] == len(last)


def test_without_a_second_dtype_there_is_nothing_to_compare(study):
    (table,) = tables(type(study)(tuple(study.where(name="run") + study.where(name="other-run"))))
    assert table.frame is None and "measure.round_to" in table.missing


def test_a_training_counts_once_in_the_ledger(study):
    assert [cell.name for cell in without_repeats(study.cells)] == ["other-run", "run"]
    ledger = build_ledger(study).set_index("id")
    assert ledger.loc["B1", "runs"] == 2
    assert pd.isna(ledger.loc["B1", "ours"]) is False
