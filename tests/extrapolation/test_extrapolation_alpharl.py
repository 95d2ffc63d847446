"""AlphaRL against a brute-force implementation with scikit-learn, and its accuracies."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_dynamics.checkpoints import identity_of, read_manifest
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation import EXTRAPOLATORS
from rlvr_dynamics.extrapolation.accuracy import (
    accuracy_line,
    saturating_curve,
    wanted_accuracies,
)
from tests.support.extrapolation_fixture import (
    accuracies,
    block_matrices,
    build,
    gaussian,
    load,
    wandering,
)

ALPHARL = EXTRAPOLATORS["alpharl"]
ACCURACY = {1: 0.2, 2: 0.35, 3: 0.3, 4: 0.5, 5: 0.55, 6: 0.7}


def brute_force(weights, name, steps, accuracy, wanted, variant):
    """The definition: full SVDs, signs from last to first, scikit-learn, x* v1ᵀ."""
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.linear_model import LinearRegression

    triples = [
        np.linalg.svd((weights[step][name] - weights[0][name]).numpy(), full_matrices=False)
        for step in steps
    ]
    v = triples[-1][2][0]
    after, rows = None, []
    for u, sigma, _ in reversed(triples):
        first = u[:, 0] if after is None or u[:, 0] @ after >= 0 else -u[:, 0]
        after = first
        size = np.linalg.norm(sigma) if variant == "paper" else sigma[0]
        rows.insert(0, size * first)
    kept = [at for at, step in enumerate(steps) if step in accuracy]
    features = np.stack([rows[at] for at in kept])
    y = np.array([accuracy[steps[at]] for at in kept])
    if variant == "paper" and 0 in accuracy:
        features = np.concatenate([np.zeros((1, features.shape[1])), features])
        y = np.concatenate([[accuracy[0]], y])
    pls = PLSRegression(n_components=1).fit(features, y)
    line = LinearRegression().fit(pls.transform(features), y)
    z = (wanted - line.intercept_) / line.coef_[0]
    x = pls.inverse_transform(np.array([[z]]))[0]
    origin = weights[0][name] if variant == "paper" else weights[steps[-1]][name]
    return origin.numpy() + np.outer(x, v)


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize(
    "given_accuracy", [ACCURACY, {0: 0.1} | ACCURACY, {1: 0.2, 3: 0.4, 4: 0.6}]
)
def test_it_is_its_definition(tmp_path, variant, given_accuracy):
    steps = range(1, 6)
    weights = wandering(range(1, 7))
    trajectory = build(tmp_path, weights)
    observed = {step: value for step, value in given_accuracy.items() if step <= 5}
    (made,) = ALPHARL.run(
        trajectory, 5, [6], tmp_path / "out", accuracy=given_accuracy, variant=variant, y_star=0.8
    )
    assert not made.uses_future
    for name, tensor in load(made).items():
        if name in block_matrices(trajectory):
            expected = brute_force(weights, name, list(steps), observed, 0.8, variant)
            assert tensor.numpy() == pytest.approx(expected, abs=2e-5), name
        else:
            untouched = weights[0 if variant == "paper" else 5][name]
            assert torch.equal(tensor, untouched.float()), name


def growing(steps):
    """Every matrix moves along one rank-1 direction, by its accuracy."""
    base, left, right = gaussian(0), gaussian(1), gaussian(2)
    weights = {0: base}
    for step in steps:
        weights[step] = {
            name: tensor + accuracies([step])[step] * torch.outer(left[name][:, 0], right[name][0])
            if tensor.ndim == 2
            else tensor
            for name, tensor in base.items()
        }
    return weights


@pytest.mark.parametrize("target", ["curve", "final"])
def test_updates_that_follow_the_accuracy_are_continued(tmp_path, target):
    weights = growing([*range(1, 9), 20])
    trajectory = build(tmp_path, {step: weights[step] for step in range(9)})
    (made,) = ALPHARL.run(
        trajectory,
        8,
        [20],
        tmp_path / "out",
        accuracy=accuracies([*range(1, 9), 20]),
        target=target,
    )
    assert made.uses_future is (target == "final")
    for name, tensor in load(made).items():
        # The embedding moved as well, and stays at the base.
        step = 20 if name in block_matrices(trajectory) else 0
        assert torch.allclose(tensor.double(), weights[step][name], atol=1e-4), name


def test_accuracies_after_the_window_are_kept_from_it(tmp_path):
    trajectory = build(tmp_path, wandering(range(1, 7)))
    (one,) = ALPHARL.run(trajectory, 5, [6], tmp_path / "one", accuracy=ACCURACY)
    (two,) = ALPHARL.run(trajectory, 5, [6], tmp_path / "two", accuracy=ACCURACY | {6: 0.01})
    assert one.identity == two.identity
    (three,) = ALPHARL.run(
        trajectory, 5, [6], tmp_path / "three", accuracy=ACCURACY, target="final"
    )
    (four,) = ALPHARL.run(
        trajectory, 5, [6], tmp_path / "four", accuracy=ACCURACY | {6: 0.01}, target="final"
    )
    assert three.uses_future and three.identity != four.identity
    (fixed,) = ALPHARL.run(
        trajectory, 5, [6], tmp_path / "five", accuracy=ACCURACY, target="final", y_star=0.7
    )
    assert not fixed.uses_future and fixed.identity == three.identity


def test_other_accuracies_are_predicted_anew(tmp_path):
    trajectory = build(tmp_path, wandering(range(1, 7)))
    (one,) = ALPHARL.run(trajectory, 5, [6], tmp_path, accuracy=ACCURACY)
    (two,) = ALPHARL.run(trajectory, 5, [6], tmp_path, accuracy=ACCURACY | {2: 0.9})
    assert one.folder == two.folder and one.identity != two.identity


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        (None, ["at least 3 observed steps and has 0", "source.accuracy=FILE", "step, accuracy"]),
        ({1: 0.1, 2: 0.2}, ["has 2", "source.accuracy=FILE"]),
        ({0: 0.1, 1: 0.1, 2: 0.2, 6: 0.3}, ["has 2"]),
        ({1: 0.4, 2: 0.4, 3: 0.4, 6: 0.9}, ["same accuracy, 0.4"]),
        ({1: 10.0, 2: 20.0, 3: 30.0}, ["step 1 is 10.0", "between 0 and 1"]),
        ({1: 0.1, 2: math.nan, 3: 0.3}, ["step 2 is nan"]),
    ],
)
def test_accuracies_that_cannot_be_used(tmp_path, accuracy, words):
    trajectory = build(tmp_path, wandering(range(1, 7)))
    with pytest.raises(UserError) as caught:
        ALPHARL.run(trajectory, 5, [6], tmp_path / "out", accuracy=accuracy)
    assert all(word in str(caught.value) for word in words)
    assert not (tmp_path / "out").exists()


def test_two_steps_are_too_few(tmp_path):
    trajectory = build(tmp_path, wandering(range(1, 3)))
    with pytest.raises(UserError, match="at least 3 observed steps"):
        ALPHARL.run(trajectory, 2, [6], tmp_path / "out", accuracy=ACCURACY)


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_matrices_that_never_moved_stay(tmp_path, variant):
    trajectory = build(tmp_path, dict.fromkeys(range(5), gaussian(0)))
    (made,) = ALPHARL.run(trajectory, 4, [6], tmp_path / "out", accuracy=ACCURACY, variant=variant)
    assert made.identity == identity_of(trajectory.folder(0))
    assert "never changed" in (read_manifest(made.folder) or {})["source"]


# The accuracy curve


@settings(max_examples=60)
@given(
    start=st.floats(0.0, 0.5),
    end=st.floats(0.55, 1.0),
    tau=st.floats(3.0, 60.0),
    spacing=st.integers(1, 10),
)
def test_a_saturating_accuracy_is_continued(start, end, tau, spacing):
    def curve(t):
        return end - (end - start) * np.exp(-np.asarray(t) / (tau * spacing))

    steps = [spacing * step for step in range(21)]
    targets = [spacing * step for step in (21, 25, 60)]
    found = saturating_curve(steps, curve(steps).tolist(), targets)
    assert found is not None and found == pytest.approx(curve(targets), abs=2e-3)


@settings(max_examples=60)
@given(values=st.lists(st.floats(0.0, 1.0), min_size=3, max_size=10))
def test_no_accuracy_is_expected_outside_its_range(values):
    accuracy = dict(enumerate(values, start=1))
    found = wanted_accuracies(accuracy, len(values), [len(values) + 1, 10**4], [])
    assert all(-1e-9 <= value <= 1.0 + 1e-9 for value in found)


def test_a_line_stands_in_for_a_curve_that_fails(monkeypatch):
    from rlvr_dynamics.extrapolation import accuracy

    monkeypatch.setattr(accuracy, "saturating_curve", lambda *_: None)
    remarks: list[str] = []
    found = wanted_accuracies({1: 0.1, 2: 0.2, 3: 0.3, 9: 0.0}, 3, [4, 90], remarks)
    assert found == pytest.approx([0.4, 1.0]) and "a line instead" in remarks[0]
    assert accuracy_line([1, 2], [0.5, 0.2], [9]) == pytest.approx([0.0])
