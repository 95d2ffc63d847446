"""What is resumed is what would be made afresh: one changed input at a time.

A result is made, one input is changed, and it is made again in the same place. It has to be what an
empty place gives, and to differ from before.
"""

import shutil

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from rlvr_dynamics.extrapolation import EXTRAPOLATORS, RECONSTRUCTIONS
from rlvr_dynamics.measurement import AccuracySeries, MeasureSettings, measure
from rlvr_dynamics.schema.tables import MEASURED
from tests.support.extrapolation_fixture import build, gaussian

STEPS = (10, 20, 50, 70, 140)
SETTINGS = {"top_k": 3, "update_steps": (20, 70), "spectrum_steps": 2, "draws": 7, "seed": 3}
ACCURACY = {10: 0.3, 20: 0.5, 50: 0.4, 70: 0.6, 140: 0.55}


def planted(steps=STEPS):
    base, direction = gaussian(0), gaussian(1)
    return {0: base} | {
        step: {
            name: base[name] + 0.002 * step * direction[name] + 0.05 * gaussian(500 + step)[name]
            for name in base
        }
        for step in steps
    }


def with_noise(weights, step):
    """One step's weights are others; its neighbours' are not."""
    noise = gaussian(77)
    other = {name: tensor + 0.03 * noise[name] for name, tensor in weights[step].items()}
    return weights | {step: other}


def renumbered(weights):
    return {30 if step == 20 else step: tensors for step, tensors in weights.items()}


def measured(weights, root, folder, accuracy=ACCURACY, **changes):
    shutil.rmtree(root, ignore_errors=True)
    settings = MeasureSettings(**{**SETTINGS, "update_steps": "all", **changes})
    series = AccuracySeries(accuracy, "planted")
    measure(build(root, weights), settings, folder, accuracy=series, progress=False)


def contents(folder):
    found = {name: pd.read_parquet(folder / f"{name}.parquet") for name in MEASURED}
    directions = {
        path.name: load_file(path)["trajectory_v1"] for path in (folder / "directions").iterdir()
    }
    return found, directions


def same(one, other):
    """Equal up to the order of sums; a direction is of float32."""
    try:
        for name, table in one[0].items():
            pd.testing.assert_frame_equal(table, other[0][name], rtol=1e-6, atol=1e-7)
        for name, values in one[1].items():
            np.testing.assert_allclose(values, other[1][name], atol=1e-6)
    except AssertionError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    root = tmp_path_factory.mktemp("before")
    measured(planted(), root / "weights", root / "m")
    return root / "m"


WEIGHTS = planted()
CHANGES = {
    "the base": (with_noise(WEIGHTS, 0), {}),
    "the first step": (with_noise(WEIGHTS, 10), {}),
    "a step in the middle": (with_noise(WEIGHTS, 50), {}),
    "the last step": (with_noise(WEIGHTS, 140), {}),
    "the number of a step": (renumbered(WEIGHTS), {}),
    "without the first step": ({k: v for k, v in WEIGHTS.items() if k != 10}, {}),
    "without a step in the middle": ({k: v for k, v in WEIGHTS.items() if k != 50}, {}),
    "without the last step": ({k: v for k, v in WEIGHTS.items() if k != 140}, {}),
    "one more in the middle": (planted((10, 20, 50, 60, 70, 140)), {}),
    "two more at the end": (planted((*STEPS, 150, 190)), {}),
    "one more, and others before": (with_noise(planted((*STEPS, 150)), 20), {}),
    "one more, and another base": (with_noise(planted((*STEPS, 150)), 0), {}),
    "one more, and more triples": (planted((*STEPS, 150)), {"top_k": 4}),
    "triples": (WEIGHTS, {"top_k": 2}),
    "decomposed steps": (WEIGHTS, {"update_steps": (10, 50, 140)}),
    "how many are decomposed": (WEIGHTS, {"update_steps": 2}),
    "full spectra": (WEIGHTS, {"spectrum_steps": 3}),
    "draws": (WEIGHTS, {"draws": 8}),
    "the seed": (WEIGHTS, {"seed": 4}),
    "an accuracy": (WEIGHTS, {"accuracy": {**ACCURACY, 50: 0.45}}),
    "the step of an accuracy": (WEIGHTS, {"accuracy": {**ACCURACY, 50: 0.6, 70: 0.4}}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_measurement_of_something_else_is_measured_anew(before, tmp_path, change):
    weights, settings = CHANGES[change]
    shutil.copytree(before, tmp_path / "m")
    measured(weights, tmp_path / "weights", tmp_path / "m", **settings)
    measured(weights, tmp_path / "weights", tmp_path / "fresh", **settings)
    again, fresh = contents(tmp_path / "m"), contents(tmp_path / "fresh")
    assert not same(again, fresh)
    assert same(contents(before), again)


def test_a_longer_trajectory_keeps_chosen_triples_at_their_steps(tmp_path):
    """The triples of the shorter one are of other steps than the first of the longer one."""
    for steps, folder, chosen in (
        (STEPS, "m", (50, 140)),
        ((*STEPS, 150), "m", (20, 140, 150)),
        ((*STEPS, 150), "fresh", (20, 140, 150)),
    ):
        measured(planted(steps), tmp_path / "w", tmp_path / folder, update_steps=chosen)
    assert not same(contents(tmp_path / "m"), contents(tmp_path / "fresh"))


# Predictions


def predict(kind, weights, root, out, **settings):
    """Make one prediction; the weights lie in a folder of the same name each time."""
    shutil.rmtree(root, ignore_errors=True)
    trajectory = build(root, weights)
    config = settings.pop("config", None)
    if config:
        (trajectory.folder(0) / "generation_config.json").write_text(config)
    if kind in RECONSTRUCTIONS:
        (made,) = RECONSTRUCTIONS[kind].run(trajectory, [70], out, accuracy=ACCURACY, **settings)
    else:
        (made,) = EXTRAPOLATORS[kind].run(
            trajectory, 70, [190], out, **({"accuracy": ACCURACY} | settings)
        )
    return made


def state(made):
    beside = made.folder / "generation_config.json"
    return made.identity, beside.read_text() if beside.is_file() else None


PREDICTED = {
    "another base": ("relex", with_noise(WEIGHTS, 0), {}),
    "another first step": ("relex", with_noise(WEIGHTS, 10), {}),
    "another step in the middle": ("relex", with_noise(WEIGHTS, 50), {}),
    "the number of a step": ("relex", renumbered(WEIGHTS), {}),
    "the rank": ("relex", WEIGHTS, {"rank": 2}),
    "the last steps alone": ("relex", WEIGHTS, {"window": 3}),
    "the files beside the base": ("relex", WEIGHTS, {"config": '{"eos_token_id": 7}'}),
    "an accuracy": ("alpharl", WEIGHTS, {"accuracy": {**ACCURACY, 50: 0.45}}),
    "the wanted accuracy": ("alpharl", WEIGHTS, {"y_star": 0.9}),
    "another rebuilt step": ("rank_recovery", with_noise(WEIGHTS, 70), {}),
    "another base of a rebuilt step": ("rank_recovery", with_noise(WEIGHTS, 0), {}),
    "the scale": ("rank_recovery", WEIGHTS, {"scale": 0.5}),
    "the files beside a rebuilt step": ("rank_recovery", WEIGHTS, {"config": "{}"}),
    "the seed of the noise": ("random_update", WEIGHTS, {"seed": 5}),
    "a later step of the oracle": ("trajectory_oracle", with_noise(WEIGHTS, 140), {}),
}


@pytest.mark.parametrize("change", PREDICTED)
def test_a_prediction_from_something_else_is_made_anew(tmp_path, change):
    kind, weights, settings = PREDICTED[change]
    place, out = tmp_path / "weights", tmp_path / "out"
    first = state(predict(kind, WEIGHTS, place, out))
    again = predict(kind, weights, place, out, **settings)
    assert state(again) != first
    assert state(again) == state(predict(kind, weights, place, tmp_path / "fresh", **settings))
    stamp = (again.folder / "manifest.json").stat().st_mtime_ns
    same_again = predict(kind, weights, place, out, **settings)
    assert state(same_again) == state(again)
    assert (same_again.folder / "manifest.json").stat().st_mtime_ns == stamp


def test_a_step_after_the_window_remakes_no_prediction(tmp_path):
    place, out = tmp_path / "weights", tmp_path / "out"
    first = predict("relex", WEIGHTS, place, out)
    stamp = (first.folder / "manifest.json").stat().st_mtime_ns
    assert predict("relex", with_noise(WEIGHTS, 140), place, out) == first
    assert (first.folder / "manifest.json").stat().st_mtime_ns == stamp


def test_other_accuracies_choose_other_matrices(tmp_path):
    """The settings are the same; the matrices that R² ranks first are not."""
    trajectory = build(tmp_path / "weights", WEIGHTS)
    recovery, settings = RECONSTRUCTIONS["rank_recovery"], {"r2_window": 1}
    found = set()
    for order in ((0.3, 0.5, 0.4, 0.6, 0.55), (0.6, 0.3, 0.5, 0.4, 0.7), (0.1, 0.9, 0.2, 0.8, 0.3)):
        accuracy = dict(zip(STEPS, order, strict=True))
        (again,) = recovery.run(trajectory, [70], tmp_path / "out", accuracy=accuracy, **settings)
        (fresh,) = recovery.run(
            trajectory, [70], tmp_path / str(order[0]), accuracy=accuracy, **settings
        )
        assert again.identity == fresh.identity
        found.add(again.identity)
    assert len(found) > 1
