import numpy as np
import pytest
import torch

from rlvr_dynamics.checkpoints import identity_of, read_manifest
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation import EXTRAPOLATORS, RECONSTRUCTIONS
from rlvr_dynamics.extrapolation.fits import polynomial_smoother
from tests.support.extrapolation_fixture import (
    NORM,
    UP,
    block_matrices,
    build,
    gaussian,
    load,
    on_a_line,
    run,
    stack,
    wandering,
)


def test_the_registry_names_its_methods():
    assert set(EXTRAPOLATORS) == {
        *("relex", "relex_raw", "shrunk_relex", "neural", "alpharl", "weight_extrapolation"),
        *("expo", "hold_last", "momentum", "first_update", "average", "reduced_rank"),
        "next",
    }
    assert set(RECONSTRUCTIONS) == {
        *("rank1_recovery", "rank_recovery", "random_update", "borrowed_direction"),
        "trajectory_oracle",
    }
    for name, method in (EXTRAPOLATORS | RECONSTRUCTIONS).items():
        assert method.name == name and method.paper.startswith("https://") and method.summary


@pytest.mark.parametrize("steps", [(1, 2, 3, 4), (2, 3, 7, 12)])
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("relex", {}),
        ("relex", {"rank": 3}),
        ("relex", {"rank": 1, "fit": "polynomial", "degree": 2}),
        ("relex_raw", {}),
    ],
)
def test_an_exact_line_is_continued_without_error(tmp_path, steps, method, settings):
    targets = [steps[-1] + 1, 50, 400]
    weights = on_a_line([*steps, *targets])
    trajectory = build(tmp_path, {step: weights[step] for step in (0, *steps)})
    made = EXTRAPOLATORS[method].run(trajectory, steps[-1], targets, tmp_path / "out", **settings)
    assert [prediction.step for prediction in made] == targets
    for prediction in made:
        for name, tensor in load(prediction).items():
            exact = weights[prediction.step][name]
            assert torch.allclose(tensor.double(), exact, rtol=1e-7, atol=1e-7)


def test_relex_is_its_definition(tmp_path):
    steps, target = (1, 2, 3, 5, 8), 13
    weights = wandering(steps)
    trajectory = build(tmp_path, weights)
    (made,) = EXTRAPOLATORS["relex"].run(trajectory, 8, [target], tmp_path / "out", rank=2)
    for name, tensor in load(made).items():
        updates = stack(weights, name, steps).numpy()
        u, sigma, vt = np.linalg.svd(updates, full_matrices=False)
        expected = np.zeros(updates.shape[1])
        for i in range(2):
            fit = np.polyfit(steps, sigma[i] * u[:, i], 1)
            expected += np.polyval(fit, target) * vt[i]
        expected += weights[0][name].reshape(-1).numpy()
        assert tensor.reshape(-1).numpy() == pytest.approx(expected, abs=2e-6)


def test_relex_of_full_rank_is_the_line_of_every_weight(tmp_path):
    trajectory = build(tmp_path, wandering(range(1, 7)))
    (full,) = EXTRAPOLATORS["relex"].run(trajectory, 6, [20], tmp_path / "out", rank=99)
    (raw,) = EXTRAPOLATORS["relex_raw"].run(trajectory, 6, [20], tmp_path / "out")
    for name, tensor in load(full).items():
        assert torch.allclose(tensor, load(raw)[name], atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_hold_last_repeats_the_last_checkpoint_bit_for_bit(tmp_path, dtype):
    trajectory = build(tmp_path, wandering(range(1, 5)), dtype)
    made = EXTRAPOLATORS["hold_last"].run(trajectory, 3, [4, 9], tmp_path / "out")
    for prediction in made:
        assert prediction.identity == identity_of(trajectory.folder(3))
        assert identity_of(prediction.folder) == prediction.identity


@pytest.mark.parametrize("method", list(EXTRAPOLATORS))
def test_later_steps_are_not_looked_at(tmp_path, method):
    weights = wandering(range(1, 7))
    whole = build(tmp_path / "whole", weights)
    cut = build(tmp_path / "cut", {step: weights[step] for step in range(5)})
    made = [
        run(EXTRAPOLATORS[method], trajectory, 4, [6], tmp_path / "out" / str(number))[0]
        for number, trajectory in enumerate((whole, cut))
    ]
    assert made[0].identity == made[1].identity and not made[0].uses_future


@pytest.mark.parametrize("method", list(EXTRAPOLATORS))
def test_the_memory_budget_changes_nothing(tmp_path, method):
    trajectory = build(tmp_path, wandering(range(1, 6)))
    made = [
        run(
            EXTRAPOLATORS[method],
            trajectory,
            5,
            [9, 30],
            tmp_path / str(budget),
            budget_bytes=budget,
            threads=threads,
        )
        for budget, threads in ((1 << 30, 1), (400, 2))
    ]
    for whole, pieces in zip(*made, strict=True):
        for name, tensor in load(whole).items():
            assert torch.allclose(tensor, load(pieces)[name], rtol=1e-6, atol=1e-7)


def test_a_prediction_is_a_whole_folder_with_manifest(tmp_path):
    trajectory = build(tmp_path, wandering(range(1, 4)), torch.bfloat16)
    (made,) = EXTRAPOLATORS["relex"].run(trajectory, 3, [5], tmp_path / "out", label="mine")
    assert made.folder == tmp_path / "out" / "mine" / "observe_3" / "step_5"
    assert (made.method, made.observe, made.step) == ("mine", 3, 5)
    manifest = read_manifest(made.folder) or {}
    assert manifest["identity"] == made.identity and manifest["dtype"] == "bfloat16"
    assert "relex" in manifest["source"] and "rank=1" in manifest["source"]
    assert (made.folder / "config.json").exists()


# Inside the window


def test_reconstruction_projects_an_observed_step(tmp_path):
    weights = wandering(range(1, 6))
    trajectory = build(tmp_path, weights)
    (made,) = EXTRAPOLATORS["relex"].run(
        trajectory, 5, [2], tmp_path / "out", reconstruct=True, rank=2
    )
    for name, tensor in load(made).items():
        updates = stack(weights, name, range(1, 6))
        u, sigma, vt = torch.linalg.svd(updates, full_matrices=False)
        projected = (u[1, :2] * sigma[:2]) @ vt[:2] + weights[0][name].reshape(-1)
        assert torch.allclose(tensor.reshape(-1).double(), projected, atol=2e-6)


def test_reconstruction_of_full_rank_is_the_checkpoint(tmp_path):
    weights = wandering(range(1, 5))
    trajectory = build(tmp_path, weights)
    (made,) = EXTRAPOLATORS["relex"].run(
        trajectory, 4, [3], tmp_path / "out", reconstruct=True, rank=4
    )
    for name, tensor in load(made).items():
        assert torch.allclose(tensor.double(), weights[3][name], atol=1e-6)


# Refusals


@pytest.mark.parametrize(
    ("observe", "targets", "words"),
    [
        (3, [3], ["target step 3", "steps 1 to 3"]),
        (3, [9, 2], ["target step 2", "steps 1 to 3"]),
        (3, [0], ["target step 0"]),
        (3, [], ["no target"]),
        (9, [10], ["step 9", "nearest that exist: 4"]),
    ],
)
def test_targets_outside_what_can_be_predicted(tmp_path, observe, targets, words):
    trajectory = build(tmp_path, wandering(range(1, 5)))
    for method in EXTRAPOLATORS.values():
        with pytest.raises(UserError) as caught:
            method.run(trajectory, observe, targets, tmp_path / "out")
        assert all(word in str(caught.value) for word in words) and caught.value.way_out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rank": 0}, ["relex", "rank", "0", "at least 1"]),
        ({"rank": 1.5}, ["rank", "1.5", "int"]),
        ({"rank": True}, ["rank", "True"]),
        ({"fit": "spline"}, ["fit", "'spline'", "linear or polynomial"]),
        ({"order": 3}, ["no parameter 'order'", "rank, fit, degree"]),
    ],
)
def test_settings_are_checked(tmp_path, settings, words):
    trajectory = build(tmp_path, wandering(range(1, 4)))
    with pytest.raises(UserError) as caught:
        EXTRAPOLATORS["relex"].run(trajectory, 3, [9], tmp_path / "out", **settings)
    assert all(word in str(caught.value) for word in words)


def test_a_window_too_short_for_the_curve(tmp_path):
    trajectory = build(tmp_path, wandering(range(1, 4)))
    with pytest.raises(UserError, match="at least 2 observed steps"):
        EXTRAPOLATORS["relex_raw"].run(trajectory, 1, [9], tmp_path / "out")
    with pytest.raises(UserError, match="at least 3 observed steps"):
        EXTRAPOLATORS["relex"].run(trajectory, 2, [9], tmp_path / "out", fit="polynomial")


def test_nan_in_a_weight_names_tensor_and_step(tmp_path):
    weights = wandering(range(1, 4))
    weights[2][UP][0, 1] = float("nan")
    trajectory = build(tmp_path, weights)
    with pytest.raises(UserError, match=f"{UP}, step 2, element 1 is nan"):
        EXTRAPOLATORS["relex"].run(trajectory, 3, [9], tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.safetensors"))
    EXTRAPOLATORS["hold_last"].run(trajectory, 1, [9], tmp_path / "out")


def test_a_prediction_that_overflows_is_refused(tmp_path):
    weights = {
        step: {name: 300.0 * step * t for name, t in gaussian(1).items()} for step in range(4)
    }
    trajectory = build(tmp_path, weights, torch.float16)
    with pytest.raises(UserError, match="not finite in float16"):
        EXTRAPOLATORS["relex"].run(trajectory, 3, [4, 10**6], tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.safetensors"))


def test_an_unmoved_model_stays_where_it_is(tmp_path):
    trajectory = build(tmp_path, dict.fromkeys(range(5), gaussian(0)))
    assert trajectory.repeats == [(0, 1), (0, 2), (0, 3), (0, 4)]
    for method in EXTRAPOLATORS.values():
        (made,) = run(method, trajectory, 4, [9], tmp_path / "out")
        assert made.identity == identity_of(trajectory.folder(0)), method.name


# Reconstructions


def test_rank_1_recovery_changes_block_matrices_only(tmp_path):
    weights = wandering(range(1, 4))
    trajectory = build(tmp_path, weights)
    (made,) = RECONSTRUCTIONS["rank1_recovery"].run(trajectory, [3], tmp_path / "out")
    assert made.folder == tmp_path / "out" / "rank1_recovery" / "observe_0" / "step_3"
    assert made.uses_future and made.observe == 0
    sizes = {name: tensor.numel() for name, tensor in weights[0].items()}
    assert made.parameters == sum(sizes.values())
    assert made.moved == sum(sizes[name] for name in block_matrices(trajectory))
    for name, tensor in load(made).items():
        base = weights[0][name]
        if name in block_matrices(trajectory):
            update, full = tensor.double() - base, weights[3][name] - base
            sigma = torch.linalg.svdvals(update)
            assert sigma[1] < 1e-5 * sigma[0]
            assert float(update.norm()) == pytest.approx(float(full.norm()), rel=1e-5)
        else:
            assert torch.equal(tensor, base.float())


def test_recovery_at_full_rank_is_the_checkpoint(tmp_path):
    weights = wandering(range(1, 3))
    trajectory = build(tmp_path, weights)
    (made,) = RECONSTRUCTIONS["rank1_recovery"].run(trajectory, [2], tmp_path / "out", rank=6)
    assert torch.allclose(load(made)[UP].double(), weights[2][UP], atol=1e-6)


def test_random_update_has_the_norm_but_not_the_direction(tmp_path):
    weights = wandering(range(1, 3))
    trajectory = build(tmp_path, weights)
    control = RECONSTRUCTIONS["random_update"]
    (made,) = control.run(trajectory, [2], tmp_path / "out")
    (again,) = control.run(trajectory, [2], tmp_path / "again")
    (other,) = control.run(trajectory, [2], tmp_path / "other", seed=1)
    assert made.identity == again.identity != other.identity
    full = weights[2][UP] - weights[0][UP]
    update = load(made)[UP].double() - weights[0][UP]
    assert float(update.norm()) == pytest.approx(float(full.norm()), rel=1e-5)
    assert abs(float((update * full).sum() / full.norm() ** 2)) < 0.6
    assert torch.equal(load(made)[NORM], weights[0][NORM].float())


def test_only_saved_steps_are_rebuilt(tmp_path):
    trajectory = build(tmp_path, wandering(range(1, 3)))
    with pytest.raises(UserError, match="step 7 was not saved"):
        RECONSTRUCTIONS["rank1_recovery"].run(trajectory, [7], tmp_path / "out")


# Fits


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_the_smoother_is_the_polynomial_fit(degree):
    steps, targets = np.array([3, 4, 9, 11, 30]), np.array([31, 500])
    values = np.random.default_rng(0).standard_normal(5)
    expected = np.polyval(np.polyfit(steps, values, degree), targets)
    assert polynomial_smoother(steps, targets, degree) @ values == pytest.approx(expected, rel=1e-6)
