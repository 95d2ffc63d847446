import json
import math
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from rlvr_dynamics.checkpoints import Trajectory, write_manifest
from rlvr_dynamics.dynamics import linearity, random_walk_null
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation import EXTRAPOLATORS, RECONSTRUCTIONS
from rlvr_dynamics.extrapolation.forecast import forecast_errors
from rlvr_dynamics.measurement import AccuracySeries, MeasureSettings, measure
from rlvr_dynamics.measurement.collect import collect_part, collect_to_file
from rlvr_dynamics.measurement.first_pass import spans_of
from rlvr_dynamics.measurement.statistics import file_of, load_updates
from rlvr_dynamics.results.frames import on_clock
from rlvr_dynamics.schema.tables import MEASURED
from rlvr_dynamics.system.sealed import seal
from rlvr_dynamics.system.threads import Memory

NORM = "model.norm.weight"
UP = "model.layers.1.mlp.up_proj.weight"
SHAPES = {
    "model.embed_tokens.weight": (9, 6),
    "model.layers.1.self_attn.q_proj.weight": (6, 6),
    "model.layers.1.self_attn.q_proj.bias": (6,),
    UP: (10, 6),
    NORM: (6,),
}
STEPS = (1, 2, 3, 4, 5, 6)
FEW = MeasureSettings(draws=20, top_k=4)


def random_weights(seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return {name: scale * torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def wandering(steps=STEPS):
    weights = {0: random_weights(0)}
    line = random_weights(1, 0.1)
    for step in steps:
        noise = random_weights(10 + step, 0.05)
        weights[step] = {
            name: weights[0][name] + step * line[name] + noise[name] for name in SHAPES
        }
    return weights


def build(root, weights):
    for step, tensors in weights.items():
        folder = root / ("base" if step == 0 else f"checkpoints/step_{step}")
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"tie_word_embeddings": True}))
        save_file(tensors, folder / "model.safetensors")
        write_manifest(folder, step, "test")
    return Trajectory.open(root / "base", root / "checkpoints", allow_gaps=True)


def tables_of(folder):
    return {name: pd.read_parquet(folder / f"{name}.parquet") for name in MEASURED}


def directions_of(folder):
    files = sorted((folder / "directions").iterdir())
    return {file.stem: load_file(file)["trajectory_v1"] for file in files}


def stack(weights, name):
    steps = sorted(set(weights) - {0})
    rows = [(weights[step][name] - weights[0][name]).reshape(-1) for step in steps]
    return torch.stack(rows).double().numpy()


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    root = tmp_path_factory.mktemp("measured")
    weights = wandering()
    measure(build(root, weights), FEW, root / "measure", progress=False)
    return weights, tables_of(root / "measure"), directions_of(root / "measure")


def test_every_table_has_its_columns(measured):
    for name, table in measured[1].items():
        assert list(table.columns) == MEASURED[name].names, name
        assert (len(table) > 0) == (name != "pls"), name
        numbers = table.select_dtypes("number")
        assert not np.isinf(numbers.to_numpy(dtype=float)).any(), name
    assert set(measured[1]["trajectory_svd"].tensor) == set(SHAPES)
    embedding = measured[1]["norms"].query("module == 'embed_tokens'")
    assert embedding.layer.isna().all()


def test_trajectory_table(measured):
    weights, tables, directions = measured
    for name, rows in tables["trajectory_svd"].groupby("tensor"):
        _, sigma, vt = np.linalg.svd(stack(weights, name), full_matrices=False)
        rows = rows.sort_values("index")
        assert list(rows["index"]) == [1, 2, 3, 4]
        assert rows.sigma.to_numpy() == pytest.approx(sigma[:4], rel=1e-6)
        share = np.cumsum(sigma**2)[:4] / (sigma**2).sum()
        assert rows.explained_variance.to_numpy() == pytest.approx(share, rel=1e-6)
        assert rows.null_mean.notna().tolist() == [True, False, False, False]
        assert directions[name].shape == SHAPES[name] and directions[name].dtype == torch.float32
        assert abs(directions[name].reshape(-1).double().numpy() @ vt[0]) == pytest.approx(1)


def test_coefficients_and_linearity(measured):
    weights, tables, directions = measured
    for name, rows in tables["coefficients"].groupby("tensor"):
        first = rows[rows["index"] == 1]
        values = first.sort_values("step").coefficient.to_numpy()
        v = directions[name].reshape(-1).double().numpy()
        assert values == pytest.approx(stack(weights, name) @ v, rel=1e-4, abs=1e-6)
        assert values[-1] > values[0]
        assert sorted(rows["index"].unique()) == [1, 2, 3]
        line = on_clock(tables["linearity"]).set_index("tensor").loc[name]
        expected = linearity(np.array(STEPS), values)
        for column in ("slope", "intercept", "r2", "heldout_r2"):
            assert line[column] == pytest.approx(float(getattr(expected, column)))


def test_the_null_uses_the_observed_step_norms(measured):
    _, tables, _ = measured
    norms = tables["norms"].query("tensor == @UP").sort_values("step").step_norm.to_numpy()
    null = random_walk_null(np.array(STEPS), norms, 60, 20, [0, zlib.crc32(UP.encode())])
    row = on_clock(tables["linearity"]).set_index("tensor").loc[UP]
    assert row.r2_null_mean == pytest.approx(null.r2.mean())
    assert row.heldout_r2_null_low == pytest.approx(np.quantile(null.heldout_r2, 0.025))


def test_norms(measured):
    weights, tables, _ = measured
    for row in tables["norms"].itertuples():
        now, before = weights[row.step][row.tensor], weights[row.step - 1][row.tensor]
        base = weights[0][row.tensor]
        assert row.update_norm == pytest.approx(float((now - base).norm()), rel=1e-5)
        assert row.step_norm == pytest.approx(float((now - before).norm()), rel=1e-5)
        assert row.base_norm == pytest.approx(float(base.norm()), rel=1e-5)
        assert row.relative_update == pytest.approx(row.update_norm / row.base_norm)


def test_update_table(measured):
    weights, tables, _ = measured
    table = tables["update_svd"]
    assert set(table.module) == {"q_proj", "up_proj"} and set(table.step) == set(STEPS)
    for (step, name), rows in table.groupby(["step", "tensor"]):
        update = (weights[step][name] - weights[0][name]).double()
        sigma = torch.linalg.svdvals(update)[:4].numpy()
        assert rows.sigma.to_numpy() == pytest.approx(sigma, rel=1e-5)
        assert rows.norm_share.to_numpy() == pytest.approx(sigma / float(update.norm()), rel=1e-5)
        assert rows.energy_share.to_numpy() == pytest.approx(rows.norm_share.to_numpy() ** 2)
    assert sorted(table[["m", "n"]].drop_duplicates().values.tolist()) == [[6, 6], [10, 6]]


@pytest.mark.parametrize("changes", [{"threads": 1}, {"budget_bytes": 400}, {"threads": 4}])
def test_threads_and_memory_change_nothing(measured, tmp_path, changes):
    weights, tables, directions = measured
    settings = MeasureSettings(draws=20, top_k=4, **changes)
    measure(build(tmp_path, weights), settings, tmp_path / "measure", progress=False)
    for name, table in tables_of(tmp_path / "measure").items():
        pd.testing.assert_frame_equal(table, tables[name], rtol=1e-6)
    for name, direction in directions_of(tmp_path / "measure").items():
        assert torch.allclose(direction, directions[name], atol=1e-6)


def test_chosen_update_steps(tmp_path):
    trajectory = build(tmp_path, wandering())
    settings = MeasureSettings(draws=5, update_steps=(6, 2))
    measure(trajectory, settings, tmp_path / "measure", progress=False)
    assert set(tables_of(tmp_path / "measure")["update_svd"].step) == {2, 6}
    with pytest.raises(UserError, match="step 9"):
        measure(trajectory, MeasureSettings(update_steps=(9,)), tmp_path / "x", progress=False)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_short_trajectories(tmp_path, count):
    trajectory = build(tmp_path, wandering(STEPS[:count]))
    measure(trajectory, FEW, tmp_path / "measure", progress=False)
    tables = tables_of(tmp_path / "measure")
    assert set(tables["trajectory_svd"]["index"]) == set(range(1, count + 1))
    line = on_clock(tables["linearity"])
    assert line.heldout_r2.isna().all() and line.heldout_r2_null_mean.isna().all()
    assert line.r2.isna().all() == (count == 1)


def test_a_model_that_never_moved(tmp_path):
    trajectory = build(tmp_path, dict.fromkeys(range(5), random_weights(0)))
    measure(trajectory, FEW, tmp_path / "measure", progress=False)
    tables = tables_of(tmp_path / "measure")
    for column in ("explained_variance", "null_mean"):
        assert tables["trajectory_svd"][column].isna().all()
    assert tables["linearity"][["r2", "heldout_r2", "r2_null_mean"]].isna().all(axis=None)
    assert not tables["update_svd"].sigma.any() and tables["update_svd"].norm_share.isna().all()
    assert not tables["norms"].step_norm.any() and not tables["coefficients"].coefficient.any()


def test_uneven_steps_are_used_by_number(tmp_path):
    base, line = random_weights(0), random_weights(1, 0.1)
    weights = {
        step: {name: base[name] + step * line[name] for name in SHAPES} for step in (0, 1, 2, 5, 9)
    }
    measure(build(tmp_path, weights), FEW, tmp_path / "measure", progress=False)
    table = on_clock(tables_of(tmp_path / "measure")["linearity"]).set_index("tensor")
    assert table.r2.to_numpy() == pytest.approx(1.0, abs=1e-9)
    assert table.heldout_r2.to_numpy() == pytest.approx(1.0, abs=1e-6)
    for name in SHAPES:
        assert table.slope[name] == pytest.approx(float(line[name].norm()), rel=1e-5)
        assert table.intercept[name] == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("step", [0, 4])
def test_a_weight_that_is_no_number_names_tensor_and_step(tmp_path, value, step):
    weights = wandering()
    weights[step][UP][2, 1] = value
    with pytest.raises(UserError) as caught:
        measure(build(tmp_path, weights), FEW, tmp_path / "measure", progress=False)
    place = f"step {step}" if step else "the base (step 0)"
    for word in (UP, place, "element 13", str(value)):
        assert word in str(caught.value)
    assert not list((tmp_path / "measure").glob("*.parquet"))
    assert not (tmp_path / "measure" / "statistics" / f"{UP}.safetensors").exists()


def test_a_flipped_bit_is_found_before_anything_is_measured(tmp_path):
    trajectory = build(tmp_path, wandering())
    path = trajectory.folder(3) / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-2] ^= 4
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged shard"):
        measure(trajectory, FEW, tmp_path / "measure", progress=False)


# What is new in the tables


def test_changed_shares_count_what_is_stored(tmp_path):
    weights = dict.fromkeys(range(3), random_weights(0))
    weights = {
        step: {k: v.clone() for k, v in tensors.items()} for step, tensors in weights.items()
    }
    weights[1][NORM][:2] += 1.0
    weights[2][NORM][1:3] += 1.0  # back to the base in element 0, as before in element 1
    measure(build(tmp_path, weights), FEW, tmp_path / "measure", progress=False)
    rows = tables_of(tmp_path / "measure")["norms"].query("tensor == @NORM").sort_values("step")
    assert rows.changed_share.tolist() == pytest.approx([2 / 6, 2 / 6])
    assert rows.step_changed_share.tolist() == pytest.approx([2 / 6, 2 / 6])


def test_ranks_of_an_exact_rank_one_update(tmp_path):
    base = random_weights(0)
    moved = dict(base)
    u, v = torch.linspace(1, 2, 10), torch.linspace(-1, 1, 6)
    moved[UP] = base[UP] + torch.outer(u, v)
    measure(build(tmp_path, {0: base, 1: moved}), FEW, tmp_path / "measure", progress=False)
    tables = tables_of(tmp_path / "measure")
    rank = tables["update_rank"].set_index("tensor").loc[UP]
    assert rank.stable_rank == pytest.approx(1.0, abs=1e-6) and rank.numerical_rank == 1
    assert rank.effective_rank == pytest.approx(1.0, abs=1e-4) and rank.full_rank == 6
    assert rank.stable_rank < rank.stable_rank_null and rank.effective_rank_null < 6
    left = torch.linalg.svd(base[UP].double()).U[:, :4]
    expected = float((left.T @ (u / u.norm()).double()).norm())
    assert rank.base_cosine_left >= expected - 1e-5  # the other directions of ΔW are arbitrary
    shares = tables["rank_shares"].query("tensor == @UP")
    assert shares.norm_share.to_numpy() == pytest.approx(1.0, abs=1e-6)
    assert shares.norm_share_null.is_monotonic_increasing and shares.norm_share_null.min() < 0.7
    assert shares["rank"].tolist()[:3] == ["1", "1%", "5%"]


def test_partial_least_squares_stands_beside_its_nulls(tmp_path):
    weights, steps = {0: random_weights(0)}, range(1, 13)
    start, end = random_weights(1), random_weights(2)
    for step in steps:
        share = step / 12
        weights[step] = {
            name: weights[0][name] + (1 - share) * start[name] + share * end[name]
            for name in SHAPES
        }
    accuracy = AccuracySeries({step: 0.2 + 0.05 * step for step in steps}, "planted")
    settings = MeasureSettings(draws=50, top_k=4)
    trajectory = build(tmp_path, weights)
    measure(trajectory, settings, tmp_path / "measure", accuracy=accuracy, progress=False)
    table = tables_of(tmp_path / "measure")["pls"]
    assert set(table.module) == {"q_proj", "up_proj"} and set(table.accuracy) == {"planted"}
    assert (table.r2 > 0.9).all() and (table.r2 > table.r2_null_high).all()
    assert table.p_value.tolist() == pytest.approx([1 / 51] * 2) and (table["T"] == 12).all()
    # Whatever drifts is explained by u1(t) as well: the reason for the second null.
    assert (table.r2_walk_mean > table.r2_null_mean).all()
    short = AccuracySeries({1: 0.1, 2: 0.2, 3: 0.3}, "three are too few")
    measure(trajectory, settings, tmp_path / "measure", accuracy=short, progress=False)
    assert len(tables_of(tmp_path / "measure")["pls"]) == 0


def test_oracle_drift_and_summary(measured):
    weights, tables, directions = measured
    for name in SHAPES:
        rows = tables["oracle"].query("tensor == @name and rank == 1").sort_values("step")
        v = directions[name].reshape(-1).double().numpy()
        updates = stack(weights, name)
        expected = np.abs(updates @ v) / np.linalg.norm(updates, axis=1)
        assert rows.cosine.to_numpy() == pytest.approx(expected, rel=1e-5)
        drift = tables["drift"].query("tensor == @name").sort_values("share")
        half = updates[:3]
        early = np.linalg.svd(half, full_matrices=False)[2][0]
        at_half = drift[drift.share == 0.5].iloc[0]
        assert at_half.stop == 3 and at_half.cosine == pytest.approx(abs(early @ v), rel=1e-5)
    summary = tables["explained_variance"].set_index("rank")
    first = tables["trajectory_svd"].query("index == 1").explained_variance
    assert summary.loc[1, "mean"] == pytest.approx(first.mean())
    assert summary.loc[1, "above_90"] == (first >= 0.9).sum() and summary.loc[5, "tensors"] == 5


# Going on: killed, longer, elsewhere


def reads_of(trajectory, monkeypatch):
    names = []
    original = Trajectory.read_elements

    def counted(self, step, name, start, out):
        names.append((step, name))
        return original(self, step, name, start, out)

    monkeypatch.setattr(Trajectory, "read_elements", counted)
    return names


def test_a_killed_measurement_reads_only_what_is_missing(tmp_path, monkeypatch):
    trajectory = build(tmp_path, wandering())
    measure(trajectory, FEW, tmp_path / "measure", progress=False)
    before = tables_of(tmp_path / "measure")
    (tmp_path / "measure" / "statistics" / f"{UP}.safetensors").unlink()
    (tmp_path / "measure" / "statistics" / f"{NORM}.safetensors").write_bytes(b"half a file")
    names = reads_of(trajectory, monkeypatch)
    measure(trajectory, FEW, tmp_path / "measure", progress=False)
    assert {name for _, name in names} == {UP, NORM}
    for name, table in tables_of(tmp_path / "measure").items():
        pd.testing.assert_frame_equal(table, before[name])


def test_a_longer_trajectory_starts_from_the_shorter_one(tmp_path):
    weights = wandering()
    whole = build(tmp_path, weights)
    measure(whole.until(4), FEW, tmp_path / "grown", progress=False)
    path = tmp_path / "grown" / "statistics" / f"{UP}.safetensors"
    marked = load_file(path)
    marked["gram"][0, 0] += 1.0  # to see that the old part is not computed again
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(marked, path, metadata)
    seal(path)
    measure(whole, FEW, tmp_path / "grown", progress=False)
    measure(whole, FEW, tmp_path / "fresh", progress=False)
    grown, fresh = (load_file(tmp_path / f / "statistics" / path.name) for f in ("grown", "fresh"))
    difference = grown["gram"] - fresh["gram"]
    assert float(difference[0, 0]) == pytest.approx(1.0)
    difference[0, 0] = 0.0
    assert float(difference.abs().max()) <= 1e-12 * float(fresh["gram"].max())
    for name in fresh.keys() - {"gram"}:
        assert torch.allclose(grown[name].double().abs(), fresh[name].double().abs(), atol=1e-6), (
            name
        )


def test_statistics_of_an_older_version_are_read_and_collected_anew(tmp_path):
    trajectory, folder = build(tmp_path, wandering()), tmp_path / "measure"
    measure(trajectory, FEW, folder, progress=False)
    fresh = tables_of(folder)
    for path in (folder / "statistics").iterdir():
        with safe_open(path, framework="pt") as file:
            words = file.metadata() | {"version": "2"}
        older = load_file(path)
        del older["power_squares"], older["bits"]
        save_file(older, path, words)
        seal(path)
    updates = load_updates(folder / "statistics", UP)
    assert updates is not None and tuple(updates.steps) == trajectory.steps
    measure(trajectory, FEW, folder, progress=False)
    for name, table in tables_of(folder).items():
        pd.testing.assert_frame_equal(table, fresh[name])


def test_other_weights_are_measured_anew(tmp_path):
    measure(build(tmp_path / "a", wandering()), FEW, tmp_path / "measure", progress=False)
    other = {step: random_weights(50 + step) for step in range(4)}
    measure(build(tmp_path / "b", other), FEW, tmp_path / "measure", progress=False)
    measure(build(tmp_path / "c", other), FEW, tmp_path / "fresh", progress=False)
    fresh = tables_of(tmp_path / "fresh")
    for name, table in tables_of(tmp_path / "measure").items():
        pd.testing.assert_frame_equal(table, fresh[name])


def test_repeated_checkpoints_are_reported(tmp_path):
    weights = wandering()
    weights[6] = weights[5]
    measure(build(tmp_path, weights), FEW, tmp_path / "measure", progress=False)
    table = tables_of(tmp_path / "measure")["checkpoints"].set_index("step")
    assert table.repeats.dropna().to_dict() == {6: 5.0} and len(table) == 7


def test_a_tensor_name_cannot_leave_the_folder(tmp_path):
    names = ("../../outside", "a b/ü", NORM)
    weights = {step: {name: torch.ones(3) * step for name in names} for step in range(3)}
    measure(build(tmp_path / "run", weights), FEW, tmp_path / "run" / "measure", progress=False)
    assert set(tables_of(tmp_path / "run" / "measure")["norms"].tensor) == set(names)
    outside = [path for path in tmp_path.rglob("*outside*") if path.is_file()]
    assert {path.parent.name for path in outside} == {"statistics", "directions"}


def test_a_step_back_to_the_base_has_no_direction(tmp_path):
    weights = wandering(tuple(range(1, 13)))
    weights[6] = weights[0]
    accuracy = AccuracySeries({step: 0.3 + 0.04 * step for step in range(1, 13)}, "planted")
    measure(build(tmp_path, weights), FEW, tmp_path / "m", accuracy=accuracy, progress=False)
    rows = tables_of(tmp_path / "m")["u1_alignment"].query("tensor == @UP").set_index("step")
    assert rows.cosine_next[[5, 6]].isna().all() and np.isnan(rows.cosine_last[6])
    others = rows.index[rows.index != 6]
    signs = {}
    for step in others:
        u = torch.linalg.svd((weights[step][UP] - weights[0][UP]).double()).U[:, 0]
        signs[step] = u
    for earlier, later in reversed(list(zip(others[:-1], others[1:], strict=True))):
        if float(signs[earlier] @ signs[later]) < 0:
            signs[earlier] = -signs[earlier]
    expected = [float(signs[step] @ signs[12]) for step in others]
    assert rows.cosine_last[others].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert set(tables_of(tmp_path / "m")["pls"]["T"]) == {11}


def test_what_cannot_be_measured_is_left_out_and_nothing_else(tmp_path):
    empty = {"empty.weight": torch.zeros(0, 4)}
    weights = {step: {**tensors, **empty} for step, tensors in wandering(STEPS[:4]).items()}
    accuracy = AccuracySeries({step: 0.1 * step for step in STEPS}, "planted")
    measure(build(tmp_path, weights), FEW, tmp_path / "m", accuracy=accuracy, progress=False)
    tables = tables_of(tmp_path / "m")
    assert set(tables["norms"].tensor) == set(SHAPES) and len(tables["pls"]) == 2
    still = build(tmp_path / "still", dict.fromkeys(range(6), random_weights(0)))
    measure(still, FEW, tmp_path / "s", accuracy=accuracy, progress=False)
    tables = tables_of(tmp_path / "s")
    assert len(tables["pls"]) == 0
    assert tables["update_rank"][["base_cosine_left", "base_cosine_right"]].isna().all(axis=None)


def test_directions_are_those_of_the_measured_steps(tmp_path):
    whole = build(tmp_path, wandering())
    without = MeasureSettings(draws=20, top_k=4, directions=False)
    measure(whole.until(3), FEW, tmp_path / "m", progress=False)
    measure(whole, without, tmp_path / "m", progress=False)
    assert not list((tmp_path / "m" / "directions").iterdir())
    measure(whole, FEW, tmp_path / "m", progress=False)
    measure(whole, FEW, tmp_path / "fresh", progress=False)
    fresh = directions_of(tmp_path / "fresh")
    for name, direction in directions_of(tmp_path / "m").items():
        assert torch.equal(direction, fresh[name])


@pytest.mark.parametrize("total", [10, 25, 100])
def test_tasks_are_admitted_by_what_they_hold(total):
    memory, lock, held, most = Memory(total), threading.Lock(), 0, 0

    def work(size):
        nonlocal held, most
        with memory.hold(size):
            with lock:
                held += size
                most = max(most, held)
            time.sleep(0.002)
            with lock:
                held -= size

    sizes = [10, 7, 20, 3, 9, 12, 1, 8] * 3
    with ThreadPoolExecutor(max_workers=6) as pool:
        list(pool.map(work, sizes))
    assert held == 0 and most <= max(total, max(sizes))


def test_a_dead_ray_address_is_said_at_once(tmp_path):
    settings = MeasureSettings(draws=20, engine="ray", ray_address="127.0.0.1:9")
    with pytest.raises(UserError, match="no Ray cluster answers"):
        measure(build(tmp_path, wandering()), settings, tmp_path / "m", progress=False)


@pytest.mark.parametrize("known", [0, 2])
def test_spans_of_a_tensor_are_added_up(tmp_path, monkeypatch, known):
    trajectory = build(tmp_path, wandering())
    for name, span in (("whole", 1 << 26), ("spans", 7)):
        monkeypatch.setattr("rlvr_dynamics.measurement.first_pass.SPAN", span)
        if known:
            measure(trajectory.until(known), FEW, tmp_path / name, progress=False)
        measure(trajectory, FEW, tmp_path / name, progress=False)
    whole, spans = (tables_of(tmp_path / name) for name in ("whole", "spans"))
    for name, table in whole.items():
        pd.testing.assert_frame_equal(spans[name], table, rtol=1e-9, atol=1e-12)
    assert not whole["norms"].equals(spans["norms"])  # sums of other terms


def test_spans_that_were_added_up_elsewhere_are_verified(tmp_path, monkeypatch):
    """As on a cluster: other processes read the spans, and one publishes the tensor."""
    monkeypatch.setattr("rlvr_dynamics.measurement.first_pass.SPAN", 7)
    trajectory = build(tmp_path, wandering())
    measure(trajectory, FEW, tmp_path / "local", progress=False)

    def collect(name, where):
        spans, here = spans_of(trajectory.numel(name)), build_again()
        parts = [collect_part(here, name, FEW, where, each) for each in spans]
        again = build_again()
        again.prove_on_reading()
        collect_to_file(again, name, FEW, where, parts=parts)
        assert all(collect_part(again, name, FEW, where, each) is None for each in spans)
        return load_file(file_of(where / "statistics", name))

    def build_again():
        return Trajectory.open(tmp_path / "base", tmp_path / "checkpoints", allow_gaps=True)

    for name in trajectory.names:
        found = collect(name, tmp_path / "spans")
        local = load_file(file_of(tmp_path / "local" / "statistics", name))
        torch.testing.assert_close(found, local, rtol=0.0, atol=0.0, equal_nan=True)
    path = trajectory.folder(3) / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-2] ^= 4
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged shard"):
        for name in trajectory.names:
            collect(name, tmp_path / "damaged")


@pytest.mark.slow
@pytest.mark.parametrize("span", [1 << 26, 7], ids=["by tensor", "by elements"])
def test_ray_gives_what_threads_give(tmp_path, monkeypatch, span):
    monkeypatch.setattr("rlvr_dynamics.measurement.first_pass.SPAN", span)
    trajectory = build(tmp_path, wandering())
    measure(trajectory, FEW, tmp_path / "local", progress=False)
    remote = MeasureSettings(draws=20, top_k=4, engine="ray")
    measure(trajectory, remote, tmp_path / "ray", progress=False)
    local = tables_of(tmp_path / "local")
    for name, table in tables_of(tmp_path / "ray").items():
        pd.testing.assert_frame_equal(table, local[name], check_exact=True)
    weights = wandering()
    weights[4][UP][2, 1] = float("nan")
    with pytest.raises(UserError, match="element 13"):
        measure(build(tmp_path / "nan", weights), remote, tmp_path / "nowhere", progress=False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_gives_what_the_processor_gives(tmp_path):
    trajectory = build(tmp_path, wandering())
    for device in ("cpu", "cuda"):
        settings = MeasureSettings(draws=20, top_k=4, device=device)
        measure(trajectory, settings, tmp_path / device, progress=False)
    expected = tables_of(tmp_path / "cpu")
    for name, table in tables_of(tmp_path / "cuda").items():
        # The sign that a singular vector comes with, and so which are turned, is the solver's own.
        left, right = (
            each.drop(columns="flipped", errors="ignore") for each in (table, expected[name])
        )
        pd.testing.assert_frame_equal(left, right, rtol=1e-5)


# Forecasts


def test_forecasts_are_compared_with_the_real_checkpoint(tmp_path):
    weights = wandering()
    trajectory = build(tmp_path, weights)
    predictions = [
        (made.method, made.observe, made.step, made.folder)
        for method in ("relex", "hold_last")
        for made in EXTRAPOLATORS[method].run(trajectory, 3, [5, 50], tmp_path / "out")
    ]
    (recovered,) = RECONSTRUCTIONS["rank1_recovery"].run(trajectory, [6], tmp_path / "out")
    predictions.append(("rank1_recovery", 0, 6, recovered.folder))
    table = forecast_errors(trajectory, predictions)
    assert len(table) == 3 * len(SHAPES)  # step 50 was never saved
    for row in table.itertuples():
        folder = tmp_path / "out" / row.method / f"observe_{row.observe}" / f"step_{row.step}"
        guess = load_file(folder / "model.safetensors")[row.tensor].double()
        base, held, true = (
            weights[step][row.tensor].double() for step in (0, row.observe, row.step)
        )
        assert row.sse == pytest.approx(float((guess - true).square().sum()))
        assert row.sse_hold == pytest.approx(float((held - true).square().sum()))
        assert row.skill == pytest.approx(1 - row.sse / row.sse_hold)
        one, two = (guess - base).reshape(-1), (true - base).reshape(-1)
        if float(one.norm()) > 0:
            assert row.cosine == pytest.approx(float(torch.cosine_similarity(one, two, dim=0)))
        else:
            assert math.isnan(row.cosine)
        assert row.magnitude_ratio == pytest.approx(float(one.norm() / two.norm()))
    held = table[table.method == "hold_last"]
    assert held.skill.to_numpy() == pytest.approx(0.0, abs=1e-12)
    assert (table[table.method == "relex"].skill > 0).all()


def test_no_forecast_is_an_empty_table_with_its_columns(tmp_path):
    trajectory = build(tmp_path, wandering())
    table = forecast_errors(trajectory, [("relex", 3, 99, tmp_path / "nowhere")])
    assert len(table) == 0 and "skill" in table.columns


def test_a_perfect_forecast_of_rest_has_no_skill(tmp_path):
    trajectory = build(tmp_path, dict.fromkeys(range(4), random_weights(0)))
    (made,) = EXTRAPOLATORS["hold_last"].run(trajectory, 2, [3], tmp_path / "out")
    table = forecast_errors(trajectory, [("hold_last", 2, 3, made.folder)])
    assert (table.sse == 0).all()
    assert table[["skill", "cosine", "magnitude_ratio"]].isna().all(axis=None)


def test_a_foreign_or_damaged_prediction_is_refused(tmp_path):
    trajectory = build(tmp_path, wandering())
    (made,) = EXTRAPOLATORS["relex"].run(trajectory, 3, [5], tmp_path / "out")
    with pytest.raises(UserError, match="last observed step 7"):
        forecast_errors(trajectory, [("relex", 7, 5, made.folder)])
    save_file(random_weights(3), made.folder / "model.safetensors")
    with pytest.raises(UserError, match="damaged shard"):
        forecast_errors(trajectory, [("relex", 3, 5, made.folder)])
    save_file({NORM: torch.zeros(6)}, made.folder / "model.safetensors")
    with pytest.raises(UserError, match="does not match step 5"):
        forecast_errors(trajectory, [("relex", 3, 5, made.folder)])
