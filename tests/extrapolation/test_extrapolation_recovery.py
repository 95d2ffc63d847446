"""Reconstructions: which part of an update they keep, and where."""

import numpy as np
import pytest
import torch

from rlvr_dynamics.checkpoints import identity_of
from rlvr_dynamics.dynamics import fit_pls
from rlvr_dynamics.errors import TooLittle, UserError
from rlvr_dynamics.extrapolation import RECONSTRUCTIONS
from rlvr_dynamics.extrapolation.r2_windows import module_r2
from tests.support.extrapolation_fixture import (
    block_matrices,
    build,
    gaussian,
    load,
    stack,
    wandering,
)

RANK = RECONSTRUCTIONS["rank_recovery"]
ORACLE = RECONSTRUCTIONS["trajectory_oracle"]
OF_ONE_RUN = [name for name, each in RECONSTRUCTIONS.items() if "run" not in each.parameters]


def deep(steps, layers=3):
    """A model of several layers with attention and MLP matrices."""
    tensors = {}
    for step in (0, *steps):
        tensors[step] = {"model.embed_tokens.weight": gaussian(step)["model.embed_tokens.weight"]}
        for layer in range(layers):
            generator = torch.Generator().manual_seed(100 * step + layer)
            for module, shape in (
                ("self_attn.q_proj", (6, 6)),
                ("self_attn.v_proj", (4, 6)),
                ("mlp.up_proj", (10, 6)),
            ):
                name = f"model.layers.{layer}.{module}.weight"
                tensors[step][name] = torch.randn(shape, generator=generator, dtype=torch.float64)
    return tensors


def changed(made, weights):
    return {name for name, t in load(made).items() if not torch.equal(t, weights[0][name].float())}


def one(method, trajectory, step, out, **settings):
    (made,) = method.run(trajectory, [step], out, **settings)
    return made


@pytest.mark.parametrize("settings", [{}, {"rank": 3}])
def test_the_general_form_contains_rank_1_recovery(tmp_path, settings):
    trajectory = build(tmp_path, wandering(range(1, 4)))
    special = one(RECONSTRUCTIONS["rank1_recovery"], trajectory, 3, tmp_path / "out", **settings)
    general = one(RANK, trajectory, 3, tmp_path / "out", **settings)
    assert special.identity == general.identity and special.folder != general.folder
    assert (special.method, general.method) == ("rank1_recovery", "rank_recovery")
    assert special.uses_future and general.uses_future and special.observe == 0


@pytest.mark.parametrize(("percent", "rank_of_6"), [(1.0, 1), (34, 3), (100.0, 6)])
def test_a_share_of_the_rank_is_rounded_up(tmp_path, percent, rank_of_6):
    weights = wandering(range(1, 3))
    trajectory = build(tmp_path, weights)
    found = load(one(RANK, trajectory, 2, tmp_path / "out", percent=percent))
    for name in block_matrices(trajectory):
        sigma = torch.linalg.svdvals(found[name].double() - weights[0][name].float().double())
        assert int((sigma > 1e-5 * sigma[0]).sum()) == rank_of_6, name


def test_scale_and_subspace(tmp_path):
    weights = wandering(range(1, 3))
    trajectory = build(tmp_path, weights)
    found = load(one(RANK, trajectory, 2, tmp_path / "out", subspace=2, scale=0.25))
    for name in block_matrices(trajectory):
        full = weights[2][name] - weights[0][name]
        u, _, vt = torch.linalg.svd(full, full_matrices=False)
        expected = weights[0][name] + 0.25 * full.norm() * torch.outer(u[:, 1], vt[1])
        assert torch.allclose(found[name].double(), expected, atol=1e-5), name
    none = one(RANK, trajectory, 2, tmp_path / "none", scale=0)
    assert none.identity == identity_of(trajectory.folder(0))


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({}, ""),
        ({"modules": "attention"}, "self_attn"),
        ({"modules": "mlp"}, "mlp"),
        ({"modules": "q_proj"}, "q_proj"),
        ({"layers": "1-1"}, "layers.1."),
        ({"modules": "v_proj", "layers": "2-9"}, "layers.2.self_attn.v_proj"),
    ],
)
def test_modules_and_layers(tmp_path, settings, part):
    weights = deep([1])
    trajectory = build(tmp_path, weights)
    made = one(RANK, trajectory, 1, tmp_path / "out", label="some", **settings)
    expected = {name for name in block_matrices(trajectory) if part in name}
    assert changed(made, weights) == expected and made.method == "some" and expected


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"modules": "w_proj"}, ["modules=w_proj", "q_proj, up_proj, v_proj", "within 0-2"]),
        ({"layers": "3-5"}, ["layers=3-5", "within 0-2"]),
        ({"layers": "2"}, ["layers cannot be '2'", "3-7"]),
        ({"rank": 2, "percent": 10.0}, ["rank=2", "percent=10", "give one"]),
        ({"percent": 5.0, "subspace": 1}, ["exclude one another"]),
        ({"subspace": 5}, ["no singular triple 5", "v_proj", "4 x 6: at most 4"]),
        ({"percent": 101.0}, ["percent", "float of at least 0 and at most 100"]),
        ({"percent": float("nan")}, ["percent cannot be nan"]),
        ({"scale": "half"}, ["scale", "float"]),
        ({"rank": 0}, ["rank", "at least 1"]),
    ],
)
def test_settings_that_fit_no_matrix(tmp_path, settings, words):
    trajectory = build(tmp_path, deep([1]))
    with pytest.raises(UserError) as caught:
        RANK.run(trajectory, [1], tmp_path / "out", **settings)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not list((tmp_path / "out").rglob("*.safetensors"))


@pytest.mark.parametrize("rank", [1, 3])
def test_the_oracle_projects_on_the_whole_run(tmp_path, rank):
    weights = wandering(range(1, 8))
    trajectory = build(tmp_path, weights)
    made = ORACLE.run(trajectory, [2, 7], tmp_path / "out", rank=rank)
    for prediction in made:
        step = prediction.step
        assert prediction.uses_future and prediction.observe == 0
        assert prediction.folder == tmp_path / "out/trajectory_oracle/observe_0" / f"step_{step}"
        for name, tensor in load(prediction).items():
            rows = stack(weights, name, range(1, 8)).numpy()
            _, _, vt = np.linalg.svd(rows, full_matrices=False)
            kept = vt[:rank].T @ (vt[:rank] @ rows[step - 1])
            expected = weights[0][name].reshape(-1).numpy() + kept
            assert tensor.reshape(-1).numpy() == pytest.approx(expected, abs=3e-6)


def test_the_oracle_of_full_rank_is_the_checkpoint(tmp_path):
    weights = wandering(range(1, 5))
    trajectory = build(tmp_path, weights)
    found = load(one(ORACLE, trajectory, 3, tmp_path / "out", rank=9))
    for name, tensor in found.items():
        assert torch.allclose(tensor.double(), weights[3][name], atol=1e-6)


@pytest.mark.parametrize("method", OF_ONE_RUN)
def test_reconstructions_are_not_made_twice(tmp_path, method):
    trajectory = build(tmp_path, wandering(range(1, 4)))
    reconstruction = RECONSTRUCTIONS[method]
    made = reconstruction.run(trajectory, [3, 2, 3], tmp_path / "out")
    assert [each.step for each in made] == [2, 3]
    before = [(each.folder / "manifest.json").stat().st_mtime_ns for each in made]
    assert reconstruction.run(trajectory, [2, 3], tmp_path / "out") == made
    assert [(each.folder / "manifest.json").stat().st_mtime_ns for each in made] == before


@pytest.mark.parametrize("method", OF_ONE_RUN)
def test_a_step_without_an_update_is_the_base(tmp_path, method):
    trajectory = build(tmp_path, dict.fromkeys(range(3), gaussian(0)))
    made = one(RECONSTRUCTIONS[method], trajectory, 2, tmp_path / "out")
    assert made.identity == identity_of(trajectory.folder(0))
    with pytest.raises(UserError, match="step 7 was not saved"):
        RECONSTRUCTIONS[method].run(trajectory, [7], tmp_path / "out")


def turning(steps, quality):
    """Every layer's q_proj turns with the accuracy, plus noise that differs from layer to layer."""
    base = {"model.embed_tokens.weight": gaussian(0)["model.embed_tokens.weight"]}
    names = [f"model.layers.{layer}.self_attn.q_proj.weight" for layer in range(len(quality))]
    generator = torch.Generator().manual_seed(5)
    weights = {0: base | {name: torch.zeros(6, 6, dtype=torch.float64) for name in names}}
    for step in steps:
        weights[step] = dict(base)
        for name, noise in zip(names, quality, strict=True):
            u = torch.linspace(1, 2, 6).double() + 0.1 * step * torch.linspace(2, -1, 6).double()
            u = u + noise * torch.randn(6, generator=generator, dtype=torch.float64)
            weights[step][name] = step * torch.outer(u, torch.ones(6).double())
    return weights, names


def test_windows_over_the_modules_follow_their_r2(tmp_path):
    quality = [3.0, 0.0, 1.0, 0.01, 0.3, 0.1]  # noise: layer 1 follows the accuracy best
    steps = range(1, 9)
    weights, names = turning(steps, quality)
    trajectory = build(tmp_path, weights)
    accuracy = {step: 0.2 + 0.05 * step for step in steps}
    scores = module_r2(trajectory, tuple(accuracy.items()))
    by_hand = {}
    for name in names:
        u = torch.stack(
            [torch.linalg.svd(weights[step][name].float().double())[0][:, 0] for step in steps]
        )
        for row in reversed(range(len(u) - 1)):  # from the last step to the first
            u[row] *= torch.sign(u[row] @ u[row + 1])
        by_hand[name] = fit_pls(u.numpy(), np.array(list(accuracy.values()))).r2
    assert scores == pytest.approx(by_hand, abs=1e-5)
    ranked = sorted(names, key=lambda name: -by_hand[name])
    assert ranked != names and by_hand[ranked[0]] > 0.9 > by_hand[ranked[-1]]
    out = tmp_path / "out"
    best = one(RANK, trajectory, 8, out, label="best", r2_window=1, accuracy=accuracy)
    worst = one(RANK, trajectory, 8, out, label="worst", r2_window=7, accuracy=accuracy)
    assert changed(best, weights) == set(ranked[:2])
    assert changed(worst, weights) == set(ranked[-2:])
    assert best.uses_future
    # Another accuracy makes another ranking, so it is another reconstruction.
    other = dict(zip(steps, [0.5, 0.1, 0.9, 0.2, 0.8, 0.3, 0.6, 0.4], strict=True))
    again = one(RANK, trajectory, 8, out, label="best", r2_window=1, accuracy=other)
    ranking = module_r2(trajectory, tuple(other.items()))
    assert changed(again, weights) == set(sorted(names, key=lambda name: -ranking[name])[:2])


@pytest.mark.parametrize("accuracy", [None, {1: 0.1, 2: 0.2}, {1: 0.5, 2: 0.5, 3: 0.5}])
def test_without_accuracies_there_is_no_ranking(tmp_path, accuracy):
    weights, _ = turning(range(1, 4), [0.0, 0.1])
    with pytest.raises(TooLittle):
        one(RANK, build(tmp_path, weights), 3, tmp_path / "out", r2_window=2, accuracy=accuracy)
