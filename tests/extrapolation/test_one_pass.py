"""Several methods, windows and targets in one pass are what each of them is alone."""

import numpy as np
import pandas as pd
import pytest
import torch

from rlvr_dynamics.dynamics import trajectory_gram
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation import EXTRAPOLATORS, RECONSTRUCTIONS, streaming
from rlvr_dynamics.extrapolation.forecast import forecast_errors
from rlvr_dynamics.extrapolation.one_tensor import OneTensor
from rlvr_dynamics.extrapolation.streaming import stream_predictions
from rlvr_dynamics.measurement import MeasureSettings, measure
from rlvr_dynamics.measurement.statistics import measured_gram, measured_updates
from tests.support.extrapolation_fixture import (
    SHAPES,
    UP,
    accuracies,
    build,
    load,
    stack,
    wandering,
)

STEPS = range(1, 8)
PLAN = [
    ("relex", 4, [6, 7, 20], {}),
    ("relex", 6, [7], {"rank": 2}),
    ("hold_last", 4, [6, 7], {}),
    ("momentum", 5, [7, 9], {}),
    ("shrunk_relex", 6, [7, 12], {}),
    ("weight_extrapolation", 3, [7], {"clock": "path", "continuation": "constant"}),
]
HOW = {"budget_bytes": 1 << 20, "threads": 2, "show_progress": False}


def jobs(trajectory):
    found = [
        EXTRAPOLATORS[name].job(trajectory, observe, targets, label=f"{name}_{observe}", **chosen)
        for name, observe, targets, chosen in PLAN
    ]
    return [*found, RECONSTRUCTIONS["trajectory_oracle"].job(trajectory, [2, 7])]


def alone(trajectory, out):
    made = [
        EXTRAPOLATORS[name].run(
            trajectory, observe, targets, out, label=f"{name}_{observe}", **chosen
        )
        for name, observe, targets, chosen in PLAN
    ]
    return [*made, RECONSTRUCTIONS["trajectory_oracle"].run(trajectory, [2, 7], out)]


def saved(predictions):
    return [
        (each.method, each.observe, each.step, each.folder) for made in predictions for each in made
    ]


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=str)
def trajectory(request, tmp_path_factory):
    return build(tmp_path_factory.mktemp("run"), wandering(STEPS), request.param)


def test_predictions_and_forecast_errors_are_those_of_passes_of_their_own(trajectory, tmp_path):
    one = stream_predictions(jobs(trajectory), trajectory, tmp_path / "one", compared=True, **HOW)
    each = alone(trajectory, tmp_path / "each")
    for together, apart in zip(one.predictions, each, strict=True):
        assert [made.identity for made in together] == [made.identity for made in apart]
        assert [made.remarks for made in together] == [made.remarks for made in apart]
        assert [made.uses_future for made in together] == [made.uses_future for made in apart]
    read = forecast_errors(trajectory, saved(each))
    known = forecast_errors(trajectory, saved(one.predictions), known=one.errors)
    assert len(read) == len(SHAPES) * len(one.errors) and len(one.errors) == 10
    pd.testing.assert_frame_equal(known, read, rtol=1e-12, atol=1e-25)


def test_what_is_there_is_kept_and_only_the_rest_is_read(trajectory, tmp_path, monkeypatch):
    first = stream_predictions(jobs(trajectory)[:2], trajectory, tmp_path, **HOW)
    marks = [made.folder.stat().st_ino for made in first.predictions[0]]
    again = stream_predictions(jobs(trajectory), trajectory, tmp_path, compared=True, **HOW)
    assert again.predictions[:2] == first.predictions
    assert [made.folder.stat().st_ino for made in again.predictions[0]] == marks
    assert not {key for key in again.errors if key[0] in ("relex_4", "relex_6")}
    table = forecast_errors(trajectory, saved(again.predictions), known=again.errors)
    assert len(table) == 10 * len(SHAPES)  # the others were read

    monkeypatch.setattr(OneTensor, "run", lambda *_: pytest.fail("read again"))
    assert stream_predictions(jobs(trajectory), trajectory, tmp_path, **HOW).predictions == (
        again.predictions
    )


def test_few_files_at_a_time_give_the_same(trajectory, tmp_path, monkeypatch):
    one = stream_predictions(jobs(trajectory), trajectory, tmp_path / "one", compared=True, **HOW)
    batches = []
    original = streaming._write_all
    monkeypatch.setattr(streaming.resource, "getrlimit", lambda _: (8, 8))
    monkeypatch.setattr(
        streaming, "_write_all", lambda *given: batches.append(given[0]) or original(*given)
    )
    few = stream_predictions(jobs(trajectory), trajectory, tmp_path / "few", compared=True, **HOW)
    assert len(batches) > 2
    assert [made.identity for each in few.predictions for made in each] == [
        made.identity for each in one.predictions for made in each
    ]
    assert few.errors.keys() == one.errors.keys()


def test_a_measured_gram_matrix_is_used_if_it_is_of_the_same_weights(tmp_path, monkeypatch):
    weights = wandering(STEPS)
    trajectory = build(tmp_path / "run", weights)
    measure(trajectory, MeasureSettings(draws=5, top_k=2), tmp_path / "measure", progress=False)
    statistics = tmp_path / "measure" / "statistics"
    steps = [1, 2, 4, 5]
    found = measured_gram(statistics, trajectory, UP, steps)
    exact = trajectory_gram(stack(weights, UP, steps)).numpy()
    assert np.allclose(found, exact, rtol=1e-5)
    assert measured_gram(tmp_path / "nowhere", trajectory, UP, steps) is None
    weights[4][UP] = weights[4][UP] + 1.0
    other = build(tmp_path / "other", weights)
    assert measured_gram(statistics, other, UP, steps) is None
    assert measured_gram(statistics, other, UP, [1, 2, 3]) is not None

    asked = []

    def known(name, wanted):
        asked.append((name, tuple(wanted)))
        return measured_gram(statistics, trajectory, name, wanted)

    computed = stream_predictions(jobs(trajectory), trajectory, tmp_path / "one", **HOW)
    monkeypatch.setattr(
        "rlvr_dynamics.extrapolation.one_tensor.gram_of_stored", lambda *_: pytest.fail("computed")
    )
    recalled = stream_predictions(
        jobs(trajectory), trajectory, tmp_path / "two", known_gram=known, **HOW
    )
    assert sorted(asked) == sorted((name, tuple(STEPS)) for name in SHAPES)
    for one, two in zip(computed.predictions, recalled.predictions, strict=True):
        for made, again in zip(one, two, strict=True):
            left, right = (trajectory.beside(made.step, each.folder) for each in (made, again))
            for name in SHAPES:
                pair = (each.tensor(made.step, name) for each in (left, right))
                assert torch.allclose(*pair, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_measured_updates_are_not_decomposed_again(tmp_path, monkeypatch, variant):
    from rlvr_dynamics import dynamics

    weights = wandering(STEPS)
    trajectory = build(tmp_path / "run", weights)
    some = MeasureSettings(draws=5, top_k=2, update_steps=(1, 2, 3, 4, 5, 7))
    measure(trajectory, some, tmp_path / "measure", progress=False)
    statistics = tmp_path / "measure" / "statistics"
    u, sigma, frobenius = (measured_updates(statistics, trajectory, UP, [2, 5]) or [])[0]
    for row, step in enumerate([2, 5]):
        exact = torch.linalg.svd(weights[step][UP] - weights[0][UP])
        assert abs(u[row] @ exact.U[:, 0].numpy()) == pytest.approx(1.0, abs=1e-6)
        assert sigma[row] == pytest.approx(float(exact.S[0]), rel=1e-6)
        assert frobenius[row] == pytest.approx(float(exact.S.norm()), rel=1e-6)
    assert measured_updates(statistics, trajectory, UP, [5, 6]) is None  # not all of them
    assert measured_updates(tmp_path / "nowhere", trajectory, UP, [5]) is None
    weights[4][UP] = weights[4][UP] + 1.0
    assert measured_updates(statistics, build(tmp_path / "other", weights), UP, [4, 5]) is None

    decomposed, original = [], dynamics.update_svd

    def counted(*given, **how):
        decomposed.append(given)
        return original(*given, **how)

    def known(name, steps):
        return measured_updates(statistics, trajectory, name, steps)

    monkeypatch.setattr(dynamics, "update_svd", counted)

    def predicted(out, **known):
        decomposed.clear()
        job = EXTRAPOLATORS["alpharl"].job(
            trajectory, 5, [7, 9], accuracy=accuracies(STEPS), variant=variant
        )
        made = stream_predictions([job], trajectory, tmp_path / out, **known, **HOW)
        return [load(each) for each in made.predictions[0]], len(decomposed)

    computed, each = predicted("one")
    recalled, once = predicted("two", known_updates=known)
    assert (each, once) == (3 * 5, 3)  # matrices times steps, and the last step alone
    for one, two in zip(computed, recalled, strict=True):
        for name in SHAPES:
            assert torch.allclose(one[name], two[name], rtol=1e-6, atol=1e-6), name


def test_a_failure_publishes_nothing_and_names_the_weight(tmp_path):
    weights = wandering(STEPS)
    weights[7][UP][1, 2] = float("nan")
    trajectory = build(tmp_path / "run", weights)
    planned = [EXTRAPOLATORS["relex"].job(trajectory, 4, [7]), *jobs(trajectory)[2:3]]
    with pytest.raises(UserError, match="step 7, element 8"):
        stream_predictions(planned, trajectory, tmp_path / "out", compared=True, **HOW)
    assert not list((tmp_path / "out").rglob("manifest.json"))
    made = stream_predictions(planned, trajectory, tmp_path / "out", **HOW)
    assert len(made.predictions) == 2  # later steps are not read but for the comparison
