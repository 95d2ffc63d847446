"""Closed forms of the single extrapolators."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_dynamics.checkpoints import identity_of, read_manifest
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation import EXTRAPOLATORS, Window
from rlvr_dynamics.extrapolation.fits import polynomial_continuation, sinusoid
from rlvr_dynamics.extrapolation.shrunk_relex import shrinkage
from rlvr_dynamics.extrapolation.stored import Prediction
from tests.support.extrapolation_fixture import (
    NORM,
    build,
    gaussian,
    load,
    on_a_line,
    stack,
    wandering,
)

RELEX = EXTRAPOLATORS["relex"]


def only(method, trajectory, observe, target, out, **settings) -> Prediction:
    """Return the one prediction of one target."""
    (made,) = EXTRAPOLATORS[method].run(trajectory, observe, [target], out, **settings)
    return made


def predicted(method, trajectory, observe, target, out, **settings):
    return load(only(method, trajectory, observe, target, out, **settings))


def coefficients_on(curve, steps):
    """Every weight of every tensor follows one curve of the step number in one direction."""
    base, direction = gaussian(0), gaussian(1)
    return {0: base} | {
        step: {name: base[name] + curve(step) * direction[name] for name in base} for step in steps
    }


@pytest.mark.parametrize("steps", [(1, 2, 3, 4), (2, 3, 7, 12)])
@pytest.mark.parametrize(
    "method", ["weight_extrapolation", "momentum", "first_update", "shrunk_relex"]
)
def test_an_exact_line_is_continued_without_error(tmp_path, steps, method):
    targets = [steps[-1] + 1, 50, 400]
    weights = on_a_line([*steps, *targets])
    trajectory = build(tmp_path, {step: weights[step] for step in (0, *steps)})
    for made in EXTRAPOLATORS[method].run(trajectory, steps[-1], targets, tmp_path / "out"):
        for name, tensor in load(made).items():
            if method == "weight_extrapolation" and name == NORM:
                assert torch.equal(tensor, weights[steps[-1]][name].float())
                continue
            exact = weights[made.step][name]
            assert torch.allclose(tensor.double(), exact, rtol=1e-7, atol=1e-7)
        assert not made.uses_future
        held = weights[0][NORM].numel() if method == "weight_extrapolation" else 0
        assert made.moved == made.parameters - held


def test_a_network_continues_an_exact_line_about(tmp_path):
    steps = range(1, 11)
    weights = on_a_line([*steps, 15])
    trajectory = build(tmp_path, {step: weights[step] for step in (0, *steps)})
    (made,) = EXTRAPOLATORS["neural"].run(trajectory, 10, [15], tmp_path / "out")
    again = only("neural", trajectory, 10, 15, tmp_path / "again")
    other = only("neural", trajectory, 10, 15, tmp_path / "other", seed=1)
    assert made.identity == again.identity != other.identity
    for name, tensor in load(made).items():
        exact = weights[15][name] - weights[0][name]
        error = float((tensor - weights[15][name]).norm() / exact.norm())
        assert 1e-6 < error < 0.15, name


def test_weight_extrapolation_copies_norms_and_magnifies_the_rest(tmp_path):
    weights = wandering(range(2, 6))
    trajectory = build(tmp_path, weights)
    found = predicted("weight_extrapolation", trajectory, 4, 10, tmp_path / "out")
    for name, tensor in found.items():
        if name == NORM:
            assert torch.equal(tensor, weights[4][name].float())
        else:
            expected = weights[0][name] + 2.5 * (weights[4][name] - weights[0][name])
            assert torch.allclose(tensor.double(), expected, atol=1e-6)


def test_momentum_uses_the_last_two_steps_only(tmp_path):
    weights = wandering((1, 2, 5))
    trajectory = build(tmp_path, weights)
    found = predicted("momentum", trajectory, 5, 11, tmp_path / "out")
    for name, tensor in found.items():
        expected = weights[5][name] + 2.0 * (weights[5][name] - weights[2][name])
        assert torch.allclose(tensor.double(), expected, atol=1e-6)
    with pytest.raises(UserError, match="at least 2 observed steps"):
        EXTRAPOLATORS["momentum"].run(trajectory, 1, [9], tmp_path / "out")


@pytest.mark.parametrize(("scale", "factor"), [(0.0, 9 / 2), (3.0, 3.0)])
def test_the_first_update_is_magnified(tmp_path, scale, factor):
    weights = wandering((2, 4, 6))
    trajectory = build(tmp_path, weights)
    found = predicted("first_update", trajectory, 6, 9, tmp_path / "out", scale=scale)
    for name, tensor in found.items():
        expected = weights[0][name] + factor * (weights[2][name] - weights[0][name])
        assert torch.allclose(tensor.double(), expected, atol=1e-6)


def test_expo_amplifies_the_last_update_whatever_the_target(tmp_path):
    weights = wandering(range(1, 4))
    trajectory = build(tmp_path, weights)
    expo = EXTRAPOLATORS["expo"]
    label = "expo_0_3"
    near, far = expo.run(trajectory, 3, [4, 100], tmp_path / "out", label=label, alpha=0.3)
    assert near.method == label and near.identity == far.identity
    for name, tensor in load(near).items():
        expected = weights[3][name] + 0.3 * (weights[3][name] - weights[0][name])
        assert torch.allclose(tensor.double(), expected, atol=1e-6)
    held = only("expo", trajectory, 3, 4, tmp_path / "held", alpha=0)
    assert held.identity == identity_of(trajectory.folder(3))


# RELEX: window, autoregressive refit, sinusoid, rank


def test_a_window_is_the_trajectory_without_its_first_steps(tmp_path):
    weights = wandering(range(1, 9))
    whole = build(tmp_path / "whole", weights)
    late = build(tmp_path / "late", {step: weights[step] for step in (0, 5, 6, 7, 8)})
    windowed = only("relex", whole, 8, 20, tmp_path / "one", rank=2, window=4)
    expected = only("relex", late, 8, 20, tmp_path / "two", rank=2)
    full = only("relex", whole, 8, 20, tmp_path / "three", rank=2)
    assert windowed.identity == expected.identity != full.identity
    with pytest.raises(UserError, match="at least 2 observed steps.* has 1"):
        RELEX.run(whole, 8, [9], tmp_path / "out", window=1)


def test_refitting_does_not_move_a_line_that_fits(tmp_path):
    steps = np.array([1, 2, 3, 4, 5])
    for refit_after in (1, 2, 7):
        smoother = polynomial_continuation((1, 2, 3, 4, 5), (6, 9, 40), 1, refit_after)
        assert smoother @ (3.0 * steps - 1.0) == pytest.approx([17.0, 26.0, 119.0])


def test_refitting_slides_over_its_own_predictions():
    values = np.array([0.0, 1.0, 5.0])
    series, at = list(values), [1.0, 2.0, 3.0]
    for step in range(4, 9):
        line = np.polyfit(at[-3:], series[-3:], 1)
        series.append(float(np.polyval(line, step)))
        at.append(float(step))
    found = polynomial_continuation((1, 2, 3), (4, 6, 8), 1, 1) @ values
    assert found == pytest.approx([series[3], series[5], series[7]])
    straight = polynomial_continuation((1, 2, 3), (4, 6, 8), 1) @ values
    assert found[0] == pytest.approx(straight[0]) and abs(found[2] - straight[2]) > 0.1


def test_predicted_steps_are_spaced_like_the_observed_ones():
    sparse = polynomial_continuation((10, 20, 30), (40, 60, 80), 1, 1)
    dense = polynomial_continuation((1, 2, 3), (4, 6, 8), 1, 1)
    assert sparse == pytest.approx(dense)


def test_autoregressive_relex(tmp_path):
    trajectory = build(tmp_path, wandering(range(1, 6)))
    once = only("relex", trajectory, 5, 12, tmp_path / "one")
    again = only("relex", trajectory, 5, 12, tmp_path / "two", autoregressive=2)
    near = only("relex", trajectory, 5, 7, tmp_path / "one")
    near_again = only("relex", trajectory, 5, 7, tmp_path / "two", autoregressive=2)
    assert once.identity != again.identity and near.identity == near_again.identity


@settings(max_examples=40)
@given(
    frequency=st.floats(0.04, 0.4),
    phase=st.floats(-3.0, 3.0),
    size=st.floats(1e-6, 1e6),
    level=st.floats(-3.0, 3.0),
)
def test_a_sinusoid_is_continued(frequency, phase, size, level):
    steps, targets = np.arange(1.0, 41.0), np.array([41.0, 47.0])
    curve = lambda t: size * (np.sin(2 * np.pi * frequency * t + phase) + level)  # noqa: E731
    remarks: list[str] = []
    found = sinusoid(steps, curve(steps)[:, None], targets, remarks)[:, 0]
    assert np.abs(found - curve(targets)).max() < 1e-4 * size and not remarks


def test_relex_on_a_sinusoid(tmp_path):
    steps = range(10, 250, 10)
    weights = coefficients_on(lambda t: 2.0 + np.sin(0.03 * t), [*steps, 300])
    trajectory = build(tmp_path, {step: weights[step] for step in (0, *steps)})
    found = predicted("relex", trajectory, 240, 300, tmp_path / "out", fit="sinusoid")
    for name, tensor in found.items():
        assert torch.allclose(tensor.double(), weights[300][name], atol=1e-4)
    with pytest.raises(UserError, match="at least 4 observed steps"):
        RELEX.run(trajectory, 30, [40], tmp_path / "out", fit="sinusoid")


def test_a_fit_that_fails_is_on_record(tmp_path, monkeypatch):
    from rlvr_dynamics.extrapolation import fits

    monkeypatch.setattr(fits, "_EVALUATIONS", 1)
    trajectory = build(tmp_path, wandering(range(1, 8)))
    made = only("relex", trajectory, 7, 9, tmp_path / "out", fit="sinusoid")
    source = (read_manifest(made.folder) or {})["source"]
    assert "start values stand (5 of 5 tensors)" in source
    again = only("relex", trajectory, 7, 9, tmp_path / "out", fit="sinusoid")
    assert again.identity == made.identity


def test_a_rank_above_the_number_of_steps_is_all_of_them(tmp_path):
    trajectory = build(tmp_path, wandering(range(1, 5)))
    assert (
        only("relex", trajectory, 4, 9, tmp_path / "one", rank=4).identity
        == only("relex", trajectory, 4, 9, tmp_path / "two", rank=99).identity
    )


def test_orthogonal_updates(tmp_path):
    # The leading direction is the longest update, and its coefficient is zero at other steps.
    base = gaussian(0)
    weights = {0: base}
    for step, size in ((1, 0.1), (2, 0.4), (3, 0.2)):
        weights[step] = {name: tensor.clone() for name, tensor in base.items()}
        for tensor in weights[step].values():
            tensor.reshape(-1)[step] += size
    trajectory = build(tmp_path, weights)
    line = np.polyfit([1, 2, 3], [0.0, 0.4, 0.0], 1)
    found = predicted("relex", trajectory, 3, 7, tmp_path / "out")
    for name, tensor in found.items():
        expected = base[name].clone()
        expected.reshape(-1)[2] += float(np.polyval(line, 7))
        assert torch.allclose(tensor.double(), expected, atol=1e-6)


# Shrunk RELEX


def shrinkage_of_a_tensor(weights, name, steps, target):
    """Brute force: s from the definition, with whole vectors and a full SVD."""
    rows = stack(weights, name, steps).numpy()
    product = square = 0.0
    for last in range(max(-(-len(steps) // 3), 2) - 1, len(steps) - 1):
        alike = steps[last] * target / steps[-1]
        later = min(range(last + 1, len(steps)), key=lambda at: abs(steps[at] - alike))
        _, _, vt = np.linalg.svd(rows[: last + 1], full_matrices=False)
        line = np.polyfit(steps[: last + 1], rows[: last + 1] @ vt[0], 1)
        move = np.polyval(line, steps[later]) * vt[0] - rows[last]
        product += move @ (rows[later] - rows[last])
        square += move @ move
    return min(1.0, max(0.0, product / square))


@pytest.mark.parametrize("steps", [(1, 2, 3, 4, 5, 6, 7), (2, 3, 7, 12, 13)])
def test_shrunk_relex_is_its_definition(tmp_path, steps):
    weights = wandering(steps)
    trajectory = build(tmp_path, weights)
    observe, target = steps[-1], 2 * steps[-1]
    far = predicted("relex", trajectory, observe, target, tmp_path / "out")
    shrunk = predicted("shrunk_relex", trajectory, observe, target, tmp_path / "out")
    seen = set()
    for name, tensor in shrunk.items():
        s = shrinkage_of_a_tensor(weights, name, steps, target)
        expected = weights[observe][name] + s * (far[name] - weights[observe][name])
        assert torch.allclose(tensor.double(), expected, atol=1e-5), name
        seen.add(round(s, 3))
    assert len(seen) > 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_too_few_steps_to_hold_out_means_the_last_checkpoint(tmp_path, count):
    trajectory = build(tmp_path, on_a_line(range(1, count + 1)))
    made = only("shrunk_relex", trajectory, count, 9, tmp_path / "out")
    assert made.identity == identity_of(trajectory.folder(count))
    assert "last checkpoint stands" in (read_manifest(made.folder) or {})["source"]


def test_a_line_is_believed_and_a_walk_is_not():
    steps, targets = np.arange(1, 9), np.array([9, 12, 100])
    parameters = {"rank": 1, "fit": "linear"}
    line = np.outer(steps, steps).astype(float)
    walk = np.minimum.outer(steps, steps).astype(float)  # orthogonal increments of length 1
    back = np.where(steps > 4, 9 - steps, steps).astype(float)
    turn = np.outer(back, back)
    for gram, expected in ((line, 1.0), (walk, 0.0), (turn, 0.0), (np.zeros((8, 8)), 0.0)):
        s = shrinkage(Window(steps, gram), targets, parameters)
        assert s == pytest.approx([expected] * 3, abs=1e-9)


def test_updates_without_a_common_direction_fall_back_to_the_base_nearby():
    # Mutually orthogonal updates of one length: the base is nearer to the next than the last is.
    steps = np.arange(1, 9)
    near = shrinkage(Window(steps, np.eye(8)), np.array([9]), {"rank": 1, "fit": "linear"})
    assert near == pytest.approx([1.0])


@settings(max_examples=50)
@given(seed=st.integers(0, 10**6), count=st.integers(4, 12), scale=st.floats(1e-8, 1e8))
def test_the_shrinkage_is_a_share_and_free_of_scale(seed, count, scale):
    rows = np.random.default_rng(seed).standard_normal((count, 30)).cumsum(axis=0)
    steps, targets = np.arange(1, count + 1), np.array([count + 1, 3 * count])
    parameters = {"rank": 1, "fit": "linear"}
    plain = shrinkage(Window(steps, rows @ rows.T), targets, parameters)
    scaled = shrinkage(Window(steps, scale * (rows @ rows.T)), targets, parameters)
    assert np.all((plain >= 0.0) & (plain <= 1.0))
    assert scaled == pytest.approx(plain, abs=1e-9)
