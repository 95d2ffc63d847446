"""Another run's direction at this run's length: exact numbers, and whose runs are refused."""

import json

import pandas as pd
import pytest
import torch

from rlvr_dynamics.config import load as load_config
from rlvr_dynamics.errors import TooLittle, UserError
from rlvr_dynamics.extrapolation import RECONSTRUCTIONS
from rlvr_dynamics.flow.extrapolate import STAGE, extrapolate
from rlvr_dynamics.run_directory.run import Run
from tests.support.extrapolation_fixture import NORM, build, gaussian, load

BORROWED = RECONSTRUCTIONS["borrowed_direction"]


def moved(base, seed, size):
    step = gaussian(seed)
    return {name: base[name] + size * step[name] for name in base}


@pytest.fixture
def weights():
    """A base, this run's last step, and another run's last step."""
    base = gaussian(0)
    return base, moved(base, 1, 0.01), moved(base, 2, 0.3)


def test_every_tensor_moves_along_the_other_run_as_far_as_this_one(tmp_path, weights):
    base, own, other = weights
    other[NORM] = base[NORM]  # the other run did not move it
    ours = build(tmp_path / "ours", {0: base, 3: moved(base, 5, 1.0), 7: own})
    donor = build(tmp_path / "theirs", {0: base, 2: moved(base, 6, 1.0), 4: other})
    (made,) = BORROWED.run(ours, [7], tmp_path / "out", donor=donor, run="theirs")
    assert (made.observe, made.step, made.uses_future) == (0, 7, True)
    assert made.moved == made.parameters == ours.parameters
    for name, found in load(made).items():
        update, length = other[name] - base[name], (own[name] - base[name]).norm()
        scaled = length * update / update.norm() if name != NORM else 0.0
        assert torch.allclose(found.double(), base[name] + scaled, rtol=0, atol=1e-6), name


def test_a_prediction_follows_the_other_runs_weights(tmp_path, weights):
    base, own, other = weights
    ours = build(tmp_path / "ours", {0: base, 7: own})
    first = build(tmp_path / "first", {0: base, 7: other})
    second = build(tmp_path / "second", {0: base, 7: moved(base, 3, 0.3)})
    made = [
        BORROWED.run(ours, [7], tmp_path / "out", donor=donor, run="same name")[0].identity
        for donor in (first, first, second)
    ]
    assert made[0] == made[1] != made[2]


def test_a_run_from_another_base_or_the_run_itself_lends_nothing(tmp_path, weights):
    base, own, other = weights
    ours = build(tmp_path / "ours", {0: base, 7: own})
    elsewhere = build(tmp_path / "elsewhere", {0: gaussian(9), 7: other})
    with pytest.raises(UserError, match="started from another base"):
        BORROWED.run(ours, [7], tmp_path / "out", donor=elsewhere, run="x")
    with pytest.raises(UserError, match="last step is the one to rebuild"):
        BORROWED.run(ours, [7], tmp_path / "out", donor=ours, run="x")
    with pytest.raises(TooLittle, match="no run lends its direction"):
        BORROWED.run(ours, [7], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def given(folder, run_dir, donor):
    """A run of foreign checkpoints that borrows from another run directory, if it is named."""
    return load_config(
        [
            "+exp=trajectory",
            f"run_dir={run_dir}",
            f"source.base={folder / 'base'}",
            f"source.checkpoints={folder / 'checkpoints'}",
            "source.allow_gaps=true",
            "extrapolation.methods=[]",
            "extrapolation.reconstructions=[random_update,borrowed_direction]",
            *([f"extrapolation.donor={donor}"] if donor else []),
        ]
    )


def test_the_stage_reads_the_named_run_and_its_weights_are_in_the_key(tmp_path, weights):
    base, own, other = weights
    build(tmp_path / "ours", {0: base, 7: own})
    build(tmp_path / "theirs", {0: base, 7: other})
    donor = tmp_path / "donor"
    donor.mkdir()
    source = {name: str(tmp_path / "theirs" / name) for name in ("base", "checkpoints")}
    (donor / "config.json").write_text(json.dumps({"name": "donor", "source": source}))
    run = Run(given(tmp_path / "ours", tmp_path / "run", donor), tmp_path / "run")
    before = STAGE.settings(run.config)
    extrapolate(run, run.of("extrapolate"))
    index = pd.read_parquet(run.of("extrapolate") / "index.parquet")
    assert list(index["method"]) == ["random_update", "borrowed_direction"]
    assert set(index["uses_future"]) == {True}
    forecast = pd.read_parquet(run.of("extrapolate") / "forecast.parquet")
    borrowed = forecast[forecast["method"] == "borrowed_direction"]
    assert list(borrowed["magnitude_ratio"]) == pytest.approx([1.0] * len(borrowed), abs=1e-4)
    (tmp_path / "theirs" / "checkpoints").rename(tmp_path / "before")
    build(tmp_path / "again", {0: base, 7: moved(base, 3, 0.3)})
    (tmp_path / "again" / "checkpoints").rename(tmp_path / "theirs" / "checkpoints")
    assert STAGE.settings(run.config) != before


def test_without_a_donor_it_is_left_out_and_named(tmp_path, weights, capsys):
    base, own, _ = weights
    build(tmp_path / "ours", {0: base, 7: own})
    run = Run(given(tmp_path / "ours", tmp_path / "run", None), tmp_path / "run")
    extrapolate(run, run.of("extrapolate"))
    index = pd.read_parquet(run.of("extrapolate") / "index.parquet")
    assert list(index["method"]) == ["random_update"]
    assert "borrowed_direction left out" in capsys.readouterr().out


def test_a_run_that_has_not_finished_its_training_is_named(tmp_path):
    (tmp_path / "donor").mkdir()
    (tmp_path / "donor" / "config.json").write_text('{"name": "donor"}')
    with pytest.raises(UserError, match="has not finished its training"):
        STAGE.settings(given(tmp_path, tmp_path / "run", tmp_path / "donor"))
