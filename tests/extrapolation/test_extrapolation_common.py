"""What holds for every extrapolator: heads, targets, short windows, resuming."""

import subprocess
import sys

import pytest
import torch

from rlvr_dynamics.checkpoints import read_manifest
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation import EXTRAPOLATORS, one_tensor
from tests.support.extrapolation_fixture import (
    SHAPES,
    UP,
    build,
    gaussian,
    load,
    run,
    wandering,
)

RELEX = EXTRAPOLATORS["relex"]


def test_the_registries_need_no_heavy_imports():
    heavy = ("torch", "scipy", "sklearn", "pandas", "threadpoolctl")
    code = (
        f"import sys, rlvr_dynamics.extrapolation; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("method", list(EXTRAPOLATORS))
def test_one_or_two_steps_work_or_are_refused(tmp_path, method, count):
    fewest = {
        **dict.fromkeys(("relex", "relex_raw", "momentum"), 2),
        **dict.fromkeys(("neural", "alpharl", "reduced_rank"), 3),
        "next": 4,
    }.get(method, 1)
    trajectory = build(tmp_path, wandering(range(1, 3)))
    if count >= fewest:
        (made,) = run(EXTRAPOLATORS[method], trajectory, count, [4], tmp_path / "out")
        assert all(bool(torch.isfinite(tensor).all()) for tensor in load(made).values())
    else:
        with pytest.raises(UserError, match=f"at least {fewest} observed steps"):
            run(EXTRAPOLATORS[method], trajectory, count, [4], tmp_path / "out")


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("method", list(EXTRAPOLATORS))
def test_heads_tied_and_untied(tmp_path, method, tied):
    head = "lm_head.weight"
    weights = wandering(range(1, 6))
    if not tied:
        for step, tensors in weights.items():
            tensors[head] = gaussian(step + 7)["model.embed_tokens.weight"]
    trajectory = build(tmp_path, weights, tied=tied)
    assert trajectory.tied is tied and (head in trajectory.names) is not tied
    (made,) = run(EXTRAPOLATORS[method], trajectory, 5, [9], tmp_path / "out")
    found = load(made)
    assert set(found) == set(SHAPES) | (set() if tied else {head})
    if not tied and method not in ("alpharl", "next"):
        assert not torch.equal(found[head], weights[0][head].float())


def test_the_order_and_number_of_targets_do_not_matter(tmp_path):
    trajectory = build(tmp_path, wandering(range(1, 6)), torch.bfloat16)
    for name, method in EXTRAPOLATORS.items():
        together = run(method, trajectory, 5, [30, 9, 9], tmp_path / "one")
        assert [made.step for made in together] == [9, 30], name
        (alone,) = run(method, trajectory, 5, [30], tmp_path / "two")
        assert alone.identity == together[1].identity, name


def test_what_is_inside_the_window_is_marked_as_seen(tmp_path):
    trajectory = build(tmp_path, wandering(range(1, 6)))
    inside, outside = RELEX.run(trajectory, 4, [3, 5], tmp_path / "out", reconstruct=True)
    assert inside.uses_future and not outside.uses_future


def test_a_finished_prediction_is_not_made_again(tmp_path, monkeypatch):
    trajectory = build(tmp_path, wandering(range(1, 6)))
    out = tmp_path / "out"
    (first,) = RELEX.run(trajectory, 4, [6], out)
    written = (first.folder / "manifest.json").stat()
    both = RELEX.run(trajectory, 4, [6, 7], out)
    assert both[0] == first and (first.folder / "manifest.json").stat() == written

    def refuse(*_arguments, **_settings):
        raise AssertionError("read again")

    with monkeypatch.context() as patch:
        patch.setattr(one_tensor, "Differences", refuse)
        assert RELEX.run(trajectory, 4, [7, 6], out) == both
        with pytest.raises(AssertionError, match="read again"):
            RELEX.run(trajectory, 4, [6], out, rank=2)
    assert RELEX.run(trajectory, 4, [6], out) == [first]  # the failed attempt left it alone
    (other,) = RELEX.run(trajectory, 4, [6], out, rank=2)
    assert other.folder == first.folder and other.identity != first.identity


def test_other_weights_are_predicted_anew(tmp_path):
    out = tmp_path / "out"
    weights = wandering(range(1, 4))
    (first,) = RELEX.run(build(tmp_path / "one", weights), 3, [6], out)
    weights[2][UP] = weights[2][UP] + 1.0
    (second,) = RELEX.run(build(tmp_path / "two", weights), 3, [6], out)
    assert second.folder == first.folder and second.identity != first.identity


def test_a_torn_prediction_is_made_again(tmp_path):
    trajectory = build(tmp_path, wandering(range(1, 4)))
    (made,) = RELEX.run(trajectory, 3, [6], tmp_path / "out")
    (made.folder / "manifest.json").unlink()
    assert RELEX.run(trajectory, 3, [6], tmp_path / "out") == [made]
    assert read_manifest(made.folder) is not None
