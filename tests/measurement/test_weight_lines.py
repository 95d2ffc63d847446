"""Lines through single weights: closed forms, brute force in float64, nulls selected alike."""

import numpy as np
import pandas as pd
import pytest
import torch

from rlvr_dynamics.measurement import MeasureSettings, OptimizerRecord, measure
from tests.support.extrapolation_fixture import build

STEPS = (1, 2, 3, 4, 5, 6)
SHAPES = {
    "model.layers.0.mlp.up_proj.weight": (6, 7),
    "model.layers.0.mlp.down_proj.weight": (7, 6),
    "model.layers.0.self_attn.q_proj.bias": (9,),
    "model.norm.weight": (7,),
}
SAMPLED = sum(int(np.prod(shape)) for name, shape in SHAPES.items() if "bias" not in name)


def drawn(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: scale * torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in SHAPES.items()
    }


def course(step_of, base=None):
    """Weights of the base and of every step, base + step_of(step), as float32 stores them."""
    base = drawn(0, 0.1) if base is None else base
    weights = {0: {name: value.float() for name, value in base.items()}}
    for step in STEPS:
        moved = step_of(step)
        weights[step] = {name: (base[name] + moved[name]).float() for name in base}
    return weights


def table_of(root, weights, dtype=torch.float32, **settings):
    chosen = MeasureSettings(**({"draws": 40, "directions": False} | settings))
    measure(build(root, weights, dtype), chosen, root / "m", progress=False)
    return pd.read_parquet(root / "m" / "weight_lines.parquet").set_index(["clock", "selection"])


def updates_of(weights):
    """Updates of all weights but biases, base first, shape (K, P), float64."""
    names = [name for name in SHAPES if "bias" not in name]
    rows = [
        torch.cat([weights[step][name].double().reshape(-1) for name in names])
        for step in (0, *STEPS)
    ]
    return torch.stack(rows, dim=1).numpy() - rows[0].numpy()[:, None]


def squared_correlation(positions, series):
    x, y = positions - positions.mean(), series - series.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (y @ x) ** 2 / ((x @ x) * (y**2).sum(axis=-1))


def kept_by_paper(series):
    several = np.array([len(set(row)) >= 4 for row in series.tolist()])
    return several & (series.max(axis=1) - series.min(axis=1) > 1e-4)


def test_weights_on_a_line_have_an_r2_of_one_and_the_selection_keeps_those_that_moved(tmp_path):
    speeds = dict(zip(SHAPES, (1e-4, 1e-5, 1e-4, 1e-4), strict=True))
    table = table_of(
        tmp_path,
        course(
            lambda step: {
                name: step * speed + 0.0 * drawn(0, 1)[name] for name, speed in speeds.items()
            }
        ),
    )
    whole, paper = table.loc[("step", "all")], table.loc[("step", "paper")]
    assert whole["sampled"] == whole["weights"] == SAMPLED and whole["tensors"] == 3
    assert whole["points"] == 7 and whole["dtype"] == "float32"
    assert whole["largest"] == pytest.approx(6e-4, rel=1e-3)
    assert paper["weights"] == SAMPLED - 42 and paper["kept_share"] == pytest.approx(49 / SAMPLED)
    for score in ("r2", "above_share", "heldout_r2"):
        assert paper[score] == pytest.approx(1.0, abs=1e-4)
    # Walks of equal steps: those that went far look straight.
    assert whole["r2_null_mean"] < paper["r2_null_mean"] < paper["optimizer_r2_null_mean"] < 0.99


def test_the_numbers_are_those_of_every_weight_by_itself(tmp_path):
    weights = course(
        lambda step: {
            name: 2e-5 * step * drawn(1, 1)[name] + 4e-5 * drawn(10 + step, 1)[name]
            for name in SHAPES
        }
    )
    table = table_of(tmp_path, weights)
    series = updates_of(weights)
    r2 = squared_correlation(np.arange(7.0), series)
    reach = series.max(axis=1) - series.min(axis=1)
    chosen = {
        "all": np.ones(SAMPLED, dtype=bool),
        "paper": kept_by_paper(series),
        "half": reach > np.sort(reach)[(SAMPLED - 1) // 2],
    }
    assert 0 < chosen["paper"].sum() < SAMPLED
    line = np.polynomial.polynomial.polyfit(np.arange(4.0), series[:, :4].T, 1)
    ahead = line[0][:, None] + line[1][:, None] * np.arange(4.0, 7.0)
    late = series[:, 4:]
    spread = ((late - late.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    heldout = 1 - ((late - ahead) ** 2).sum(axis=1) / spread
    for selection, keep in chosen.items():
        row = table.loc[("step", selection)]
        assert row["weights"] == keep.sum(), selection
        assert row["kept_share"] == pytest.approx(keep.mean())
        assert row["above_share"] == pytest.approx((r2[keep] > 0.7).mean())
        for score, values in (("r2", r2), ("heldout_r2", heldout)):
            middle = np.sort(values[keep])[(keep.sum() - 1) // 2]
            assert row[score] == pytest.approx(middle, rel=1e-4), (selection, score)
        quarter = np.sort(r2[keep])[int(np.ceil(keep.sum() / 4)) - 1]
        assert row["r2_low"] == pytest.approx(quarter, rel=1e-4)


def test_the_walks_are_selected_as_the_weights_are(tmp_path):
    weights = course(
        lambda step: {
            name: 1.5e-5 * step * drawn(1, 1)[name] + 3e-5 * drawn(10 + step, 1)[name]
            for name in SHAPES
        }
    )
    row = table_of(tmp_path, weights).loc[("step", "paper")]
    increments = np.diff(updates_of(weights), axis=1)
    generator = np.random.default_rng(8)
    kept, medians = [], []
    for _ in range(400):
        signs = generator.choice((-1.0, 1.0), increments.shape)
        walk = np.cumsum(np.pad(increments * signs, ((0, 0), (1, 0))), axis=1)
        keep = kept_by_paper(walk)
        kept.append(keep.mean())
        medians.append(np.median(squared_correlation(np.arange(7.0), walk)[keep]))
    for values, name in ((kept, "kept_share"), (medians, "r2")):
        off = abs(np.mean(values) - row[f"{name}_null_mean"])
        assert off < 4 * np.std(values) / np.sqrt(40), name
        low, high = np.quantile(values, (0.025, 0.975))
        assert row[f"{name}_null_low"] == pytest.approx(low, abs=1.2 * np.std(values))
        assert row[f"{name}_null_high"] == pytest.approx(high, abs=1.2 * np.std(values))
    # Adam's noise goes farther in the same steps, and looks straighter.
    assert row["optimizer_kept_share_null_mean"] > row["kept_share_null_mean"]
    assert row["optimizer_r2_null_mean"] > row["r2_null_mean"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_walks_are_rounded_as_the_files_are(tmp_path, dtype):
    """A weight that moved by one unit once has two values; noise spreads that over its steps.

    Float32 files whose values were cast from bfloat16 have the same units.
    """
    base = {name: torch.full(shape, 1.5, dtype=torch.float64) for name, shape in SHAPES.items()}
    when = {
        name: 1 + torch.arange(value.numel()).reshape(value.shape) % 6
        for name, value in base.items()
    }
    weights = course(lambda step: {name: 2.0**-7 * (when[name] <= step) for name in SHAPES}, base)
    table = table_of(tmp_path, weights, dtype)
    whole, paper = table.loc[("step", "all")], table.loc[("step", "paper")]
    assert whole["weights"] == SAMPLED and whole["largest"] == pytest.approx(2.0**-7)
    assert paper["weights"] == 0 and np.isnan(paper["r2"])
    assert paper["kept_share"] == paper["kept_share_null_mean"] == 0.0
    assert paper["optimizer_kept_share_null_mean"] < 0.5  # unrounded all of them take 7 values
    assert whole["optimizer_kept_share_null_mean"] > 0.3


def test_a_large_tensor_counts_for_the_sample_that_the_paper_takes(tmp_path):
    big, small = "model.embed_tokens.weight", "model.norm.weight"
    generator = torch.Generator().manual_seed(3)
    weights = {0: {big: torch.zeros(700, 1000), small: torch.zeros(60)}}
    for step in STEPS:
        weights[step] = {
            big: torch.full((700, 1000), 1e-3 * step),
            small: 1e-3 * torch.randn(60, generator=generator),
        }
    row = table_of(tmp_path, weights).loc[("step", "all")]
    assert row["sampled"] == 550
    linear = row["above_share"] * 750  # 700 of one tensor and 50 of the other
    assert 700 <= round(linear, 6) < 720


def test_without_an_even_clock_or_a_known_optimizer_there_is_one_null_and_one_clock(tmp_path):
    weights = course(
        lambda step: {name: step * 1e-4 + value for name, value in drawn(step, 1e-4).items()}
    )
    del weights[2]
    table = table_of(tmp_path / "gap", weights)
    assert set(table.index.get_level_values("clock")) == {"step"}
    assert table["optimizer_r2_null_mean"].isna().all() and table["r2_null_mean"].notna().all()
    even = table_of(
        tmp_path / "unknown",
        course(lambda step: drawn(step, 1e-4)),
        optimizer=OptimizerRecord(beta1=None),
    )
    assert set(even.index.get_level_values("clock")) == {"step", "path"}
    assert even["optimizer_r2_null_mean"].isna().all()
