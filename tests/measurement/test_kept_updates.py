"""Updates that are kept from the pass over a tensor are those that its files have."""

import pytest
import torch

from rlvr_dynamics.checkpoints.differences import Differences
from rlvr_dynamics.measurement.kept_updates import KeptUpdates
from tests.support.extrapolation_fixture import UP, build
from tests.support.rare_changes import rarely_changed

WANTED, OTHERS = (2, 3, 5), (1, 4)


@pytest.fixture(params=[torch.bfloat16, torch.float32], ids=["bfloat16", "float32"])
def trajectory(tmp_path, request):
    return build(tmp_path, rarely_changed(request.param), request.param)


def passed(trajectory, budget, *, wanted=WANTED, others=(), memory=1, whole=True):
    """A tensor that was read once in pieces, as `collect` does, with a budget for what is kept."""
    tensor = Differences(trajectory, UP, memory)
    kept = KeptUpdates(tensor, wanted, budget, others, whole=whole)
    for piece in tensor.active_pieces():
        kept.add(piece, trajectory.steps)
    return tensor, kept


@pytest.mark.parametrize("budget", [0, 3000, 1 << 30], ids=["one step", "some", "all"])
@pytest.mark.parametrize("memory", [1, 1 << 30], ids=["in pieces", "whole"])
@pytest.mark.parametrize("whole", [True, False], ids=["one matrix", "many"])
def test_an_update_and_the_base_are_those_of_the_files(trajectory, budget, memory, whole):
    _, kept = passed(trajectory, budget, memory=memory, whole=whole)
    d = trajectory.numel(UP)
    for start, stop in ((0, d), (3, d - 5), (d // 2, d // 2 + 1)):
        whole = trajectory.elements(0, UP, start, stop).float()
        assert torch.equal(kept.base(start, stop), whole)
        for step in WANTED:
            update = trajectory.elements(step, UP, start, stop).float() - whole
            assert torch.equal(kept.update(step, start, stop), update)


def test_what_was_not_kept_is_read_in_as_few_passes_as_memory_allows(trajectory, monkeypatch):
    passes, original = [], Differences.active_pieces

    def counted(differences):
        passes.append(differences.trajectory.steps)
        return original(differences)

    monkeypatch.setattr(Differences, "active_pieces", counted)
    for budget, wanted in ((1 << 30, [trajectory.steps]), (0, [trajectory.steps, (3,), (5,)])):
        passes.clear()
        _, kept = passed(trajectory, budget)
        for step in WANTED:
            kept.update(step, 0, 4)
            kept.update(step, 4, 8)
        assert passes == wanted


def test_the_pass_can_be_repeated_where_every_step_is_kept(trajectory):
    tensor, kept = passed(trajectory, 1 << 30, others=OTHERS)
    again = kept.pieces()
    assert again is not None
    for one, two in zip(tensor.active_pieces(), again, strict=True):
        assert (one.start, one.stop) == (two.start, two.stop)
        assert (one.columns is None) == (two.columns is None)
        if one.columns is not None and two.columns is not None:
            assert torch.equal(one.columns, two.columns)
        for field in ("stored", "updates", "base"):
            assert torch.equal(getattr(one, field), getattr(two, field))
    assert passed(trajectory, 1 << 30)[1].pieces() is None
    assert passed(trajectory, 0, others=OTHERS)[1].pieces() is None


def held_by(kept):
    return sum(each.nbytes for each in kept._pieces)


def test_no_more_is_kept_than_the_budget_allows_and_nothing_that_nobody_asks_for(trajectory):
    everything = held_by(passed(trajectory, 1 << 30, others=OTHERS)[1])
    for budget in (everything, everything - 1, everything // 2, 2000):
        for wanted, others in ((WANTED, OTHERS), (WANTED, ()), ((), (1, 2, 3, 4, 5))):
            many = passed(trajectory, budget, wanted=wanted, others=others, whole=False)[1]
            assert held_by(many) <= budget
    for whole in (True, False):
        unasked = {"wanted": (), "others": trajectory.steps, "whole": whole}
        assert held_by(passed(trajectory, everything, **unasked)[1]) == everything
        assert held_by(passed(trajectory, everything - 1, **unasked)[1]) == 0
    alone = held_by(passed(trajectory, 1 << 30, wanted=(2,))[1])
    assert held_by(passed(trajectory, 0, others=OTHERS)[1]) == alone
