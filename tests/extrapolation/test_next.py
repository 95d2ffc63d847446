"""NExt: what it learns on straight lines, and the signs of its vectors."""

import pytest
import torch

import rlvr_dynamics.dynamics as dynamics
from rlvr_dynamics.extrapolation import EXTRAPOLATORS
from tests.support.extrapolation_fixture import NORM, UP, build, gaussian, load, run, wandering

NEXT = EXTRAPOLATORS["next"]
QUICK = {"learning_rate": 2e-3, "epochs": 250}


def on_rank_1_lines(steps, slope=0.01):
    """Every matrix moves by slope x step x u vᵀ, u and v of length 1; all else as it was."""
    base = gaussian(0)
    weights = {step: dict(base) for step in (0, *steps)}
    lines = {}
    for place, (name, tensor) in enumerate(base.items()):
        if tensor.ndim == 2 and "layers" in name:
            generator = torch.Generator().manual_seed(place)
            u, v = (torch.randn(n, generator=generator, dtype=torch.float64) for n in tensor.shape)
            lines[name] = torch.outer(u / u.norm(), v / v.norm())
            for step in steps:
                weights[step][name] = base[name] + slope * step * lines[name]
    return weights, lines


def moved(made, weights, last):
    """What was added to each tensor of the last observed step."""
    return {name: load(made)[name].double() - weights[last][name] for name in weights[0]}


def test_on_a_line_it_learns_direction_and_length(tmp_path):
    weights, lines = on_rank_1_lines(range(1, 13))
    trajectory = build(tmp_path, weights)
    (made,) = run(NEXT, trajectory, 12, [16], tmp_path / "out", alpha=1.0, **QUICK)
    found = moved(made, weights, 12)
    for name, line in lines.items():
        length = float(found[name].norm())
        assert float((found[name] * line).sum()) / length > 0.98, name
        assert length == pytest.approx(0.04, rel=0.2), name
        # Of rank one, up to the rounding of the stored float32.
        assert float(torch.linalg.matrix_norm(found[name], 2)) == pytest.approx(length, rel=1e-4)
    assert not bool(found[NORM].abs().max() > 1e-6)


def test_alpha_is_a_factor_and_a_farther_target_of_a_short_window_is_in_proportion(tmp_path):
    weights, _ = on_rank_1_lines(range(1, 6))
    trajectory = build(tmp_path, weights)
    one, two = (
        moved(
            run(NEXT, trajectory, 5, [7], tmp_path / str(alpha), alpha=alpha, epochs=5)[0],
            weights,
            5,
        )
        for alpha in (1.0, 2.0)
    )
    assert torch.allclose(two[UP], 2 * one[UP], atol=1e-6)
    # Five checkpoints have two pairs at most two apart: ten steps ahead is five times as far.
    (far,) = run(NEXT, trajectory, 5, [15], tmp_path / "far", alpha=1.0, epochs=5)
    assert torch.allclose(moved(far, weights, 5)[UP], 5 * one[UP], atol=1e-6)


def turning(monkeypatch, seed):
    """Let the decomposition turn its vectors at random, which it may."""
    generator = torch.Generator().manual_seed(seed)
    real = dynamics.update_svd

    def svd(delta, k, **settings):
        found = real(delta, k, **settings)
        if torch.rand(1, generator=generator) < 0.5:
            object.__setattr__(found, "u", -found.u)
            object.__setattr__(found, "v", -found.v)
        return found

    monkeypatch.setattr(dynamics, "update_svd", svd)


@pytest.mark.parametrize("align", [True, False])
def test_aligned_it_does_not_depend_on_signs_that_are_left_to_chance(tmp_path, monkeypatch, align):
    weights = wandering(range(1, 8))
    made = []
    for seed in (1, 2):
        with monkeypatch.context() as patch:
            turning(patch, seed)
            trajectory = build(tmp_path / str(seed), weights)
            made += run(NEXT, trajectory, 7, [9], tmp_path / f"out{seed}", align=align, epochs=20)
    same = all(torch.equal(load(made[0])[name], load(made[1])[name]) for name in weights[0])
    assert same == align


def test_it_leaves_the_random_numbers_of_the_training_alone(tmp_path):
    trajectory = build(tmp_path, wandering(range(1, 6)))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    (first,) = run(NEXT, trajectory, 5, [6], tmp_path / "a", epochs=5)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    (again,) = run(NEXT, trajectory, 5, [6], tmp_path / "b", epochs=5)
    assert first.identity == again.identity


def test_a_spacing_uses_fewer_checkpoints_and_needs_more_steps(tmp_path):
    trajectory = build(tmp_path, wandering(range(1, 8)))
    (made,) = run(NEXT, trajectory, 7, [9], tmp_path / "out", spacing=2, epochs=5)
    (other,) = run(NEXT, trajectory, 7, [9], tmp_path / "all", epochs=5)
    assert made.identity != other.identity
    with pytest.raises(Exception, match="at least 7 observed steps"):
        run(NEXT, trajectory, 6, [9], tmp_path / "few", spacing=2)
