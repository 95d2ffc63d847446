"""Leaving out what never changed changes no number: measured and predicted with and without it."""

import pandas as pd
import pytest
import torch

from rlvr_dynamics.dynamics import changes
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation import EXTRAPOLATORS
from rlvr_dynamics.measurement import MeasureSettings, measure
from rlvr_dynamics.schema.tables import MEASURED
from tests.support.extrapolation_fixture import SHAPES, UP, build, load, run
from tests.support.rare_changes import rarely_changed

FEW = MeasureSettings(draws=20, top_k=3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float16])
def test_every_table_is_that_of_all_columns(tmp_path, monkeypatch, dtype):
    trajectory = build(tmp_path, rarely_changed(dtype), dtype)
    measure(trajectory, FEW, tmp_path / "active", progress=False)
    monkeypatch.setattr(changes, "DENSE", -1.0)
    measure(trajectory, FEW, tmp_path / "all", progress=False)
    for name in MEASURED:
        one, two = (
            pd.read_parquet(tmp_path / each / f"{name}.parquet") for each in ("active", "all")
        )
        pd.testing.assert_frame_equal(one, two, rtol=1e-9, atol=1e-15)
    norms = pd.read_parquet(tmp_path / "active" / "norms.parquet").set_index("tensor")
    assert (norms.loc[next(iter(SHAPES)), "changed_share"] == 0.0).all()
    assert 0.0 < norms.loc[UP, "changed_share"].iloc[-1] < 0.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float16])
@pytest.mark.parametrize("method", ["relex", "momentum", "hold_last", "weight_extrapolation"])
def test_every_prediction_is_that_of_all_columns(tmp_path, monkeypatch, dtype, method):
    trajectory = build(tmp_path, rarely_changed(dtype), dtype)
    (active,) = run(EXTRAPOLATORS[method], trajectory, 5, [9], tmp_path / "active")
    monkeypatch.setattr(changes, "DENSE", -1.0)
    (dense,) = run(EXTRAPOLATORS[method], trajectory, 5, [9], tmp_path / "all")
    assert active.identity == dense.identity
    still = next(iter(SHAPES))
    assert torch.equal(load(active)[still], trajectory.tensor(0, still).float())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_was_never_finite_is_named(tmp_path, value):
    weights = rarely_changed(torch.bfloat16)
    for tensors in weights.values():
        tensors[UP].reshape(-1)[5] = value
    trajectory = build(tmp_path, weights, torch.bfloat16)
    with pytest.raises(UserError, match=r"the base \(step 0\), element 5"):
        measure(trajectory, FEW, tmp_path / "out", progress=False)
    for method in ("relex", "momentum"):
        with pytest.raises(UserError, match=r"the base \(step 0\), element 5"):
            run(EXTRAPOLATORS[method], trajectory, 5, [9], tmp_path / "out")
