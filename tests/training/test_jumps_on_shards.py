"""The worker's mathematics on a model under FSDP2: one process and two give the same weights."""

import numpy as np
import pytest
import torch

from rlvr_dynamics.acceleration.sketch import Sketch
from rlvr_dynamics.checkpoints import Trajectory
from rlvr_dynamics.checkpoints.names import is_norm
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation import EXTRAPOLATORS
from rlvr_dynamics.training.anchored import Anchored
from tests.support.extrapolation_fixture import build
from tests.support.extrapolation_fixture import load as load_prediction
from tests.support.sharded import ACCURACY, METHODS, STEPS, TARGET, in_processes, tiny_model

FORMS = ("now", "anchor", "random", "exchanged", "further", "came_back", "accepted")
FORMS += ("restored", "reread")


def trajectory_weights():
    """A bent line with noise, so that every method has something to fit."""
    base = {
        name: value.detach().double()
        for name, value in tiny_model().state_dict().items()
        if name != "lm_head.weight"
    }
    generator = torch.Generator().manual_seed(1)

    def noise():
        return {
            name: torch.randn(value.shape, generator=generator, dtype=torch.float64)
            for name, value in base.items()
        }

    direction, weights = noise(), {0: base}
    for step in STEPS:
        around = noise()
        weights[step] = {
            name: value + 1e-3 * step**0.8 * direction[name] + 1e-4 * around[name]
            for name, value in base.items()
        }
    return weights


@pytest.fixture(scope="module")
def weights():
    """Every step's weights as float32."""
    exact = trajectory_weights()
    return {
        step: {name: value.float() for name, value in each.items()} for step, each in exact.items()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("sharded")
    build(place, trajectory_weights())
    return place


@pytest.fixture(scope="module")
def forms(folder):
    """Name of a form to the whole weights and numbers, for one process and for two."""
    return {world: in_processes(world, folder) for world in (1, 2)}


def weights_in(shown):
    return {key: value for key, value in shown.items() if key.startswith("model.")}


def distance(one, other, chosen=lambda name: True):
    return (
        float(
            sum(
                (one[name].double() - other[name].double()).square().sum()
                for name in one
                if chosen(name)
            )
        )
        ** 0.5
    )


def moves(name):
    return not is_norm(name)


@pytest.mark.parametrize("form", FORMS)
def test_one_process_and_two_move_to_the_same_weights(forms, form):
    one, two = (weights_in(forms[world][form]) for world in (1, 2))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


@pytest.mark.parametrize("label", METHODS)
def test_one_process_and_two_predict_the_same_weights_as_the_offline_method(
    forms, weights, folder, label
):
    """Sums over shards differ from a whole tensor's in float64's last digits."""
    method = EXTRAPOLATORS[label.partition("_")[0]]
    known = {"accuracy": ACCURACY} if method.needs_accuracy else {}
    trajectory = Trajectory.open(folder / "base", folder / "checkpoints")
    (offline,) = method.run(
        trajectory, STEPS[-1], [TARGET], folder / label, **METHODS[label], **known
    )
    expected = load_prediction(offline)
    moved = distance(expected, weights[STEPS[-1]])
    assert moved > 1e-3
    for world in (1, 2):
        found = weights_in(forms[world][label])
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-8)


def test_a_jump_goes_from_the_anchor_through_the_weights(forms, weights):
    base, now = weights[0], weights[STEPS[-1]]
    found = weights_in(forms[2]["anchor"])
    for name, value in found.items():
        line = base[name].double() + 3.0 * (now[name].double() - base[name].double())
        assert torch.equal(value, line.float() if moves(name) else now[name]), name
    length = float(forms[2]["anchor"]["length"])
    assert length == pytest.approx(2.0 * distance(base, now, moves), rel=1e-5)
    assert float(forms[2]["now"]["walked"]) == pytest.approx(distance(base, now, moves), rel=1e-6)


def test_a_random_move_is_as_long_as_the_jump_tensor_by_tensor_and_points_elsewhere(forms, weights):
    base, now = weights[0], weights[STEPS[-1]]
    found = weights_in(forms[2]["random"])
    for name in filter(moves, found):
        step, line = (found[name] - now[name]).double(), (now[name] - base[name]).double()
        assert float(step.norm()) == pytest.approx(2.0 * float(line.norm()), rel=1e-3)
        cosine = float((step * line).sum() / (step.norm() * line.norm()))
        assert abs(cosine) < 6.0 / line.numel() ** 0.5, name


@pytest.mark.parametrize("how", ["restored", "exchanged"])
def test_a_rejected_jump_is_undone_bit_for_bit(forms, weights, how):
    for world in (1, 2):
        for name, value in weights_in(forms[world][how]).items():
            assert torch.equal(value, weights[STEPS[-1]][name]), name


def test_a_search_goes_on_from_a_candidate_and_comes_back_to_it_bit_for_bit(forms, weights):
    base, now = weights[0], weights[STEPS[-1]]
    shown = forms[2]
    for name in filter(moves, weights_in(shown["further"])):
        change = now[name].double() - base[name].double()
        torch.testing.assert_close(
            shown["further"][name].double(), base[name] + 4.0 * change, rtol=1e-6, atol=1e-8
        )
        first = (base[name].double() + 2.0 * change).float()
        assert torch.equal(shown["came_back"][name], first), name


def test_the_anchor_is_one_float32_copy_of_the_shard_and_survives_on_disk(forms, weights):
    total = 4 * sum(value.numel() for value in weights[0].values())
    assert int(forms[1]["reread"]["copied"]) == total
    assert total / 2 <= int(forms[2]["reread"]["copied"]) < 0.6 * total
    assert float(forms[1]["accepted"]["walked"]) == 0.0
    # What was read from disk is the accepted candidate.
    for name, value in weights_in(forms[1]["reread"]).items():
        assert torch.equal(value, forms[1]["accepted"][name]), name


def test_sketches_of_shards_add_up_to_the_sketch_of_the_whole(forms, weights):
    now = weights[STEPS[-1]]
    model = tiny_model()
    whole = Sketch(64).of(
        (name, 0, now[name].reshape(-1)) for name, _ in model.named_parameters() if moves(name)
    )
    for world in (1, 2):
        np.testing.assert_allclose(forms[world]["now"]["sketch"], whole, rtol=1e-12)


def test_the_optimizers_averages_are_kept_zeroed_or_start_again(forms, weights):
    for world in (1, 2):
        kept, zeroed, anew = (forms[world][how] for how in ("keep", "zero", "restart"))
        assert float(kept["moment"]) > 0.0
        assert float(zeroed["moment"]) == float(anew["moment"]) == 0.0
        assert [int(each["counter"]) for each in (kept, zeroed, anew)] == [3, 3, 0]
        anew, zeroed = (weights_in(each) for each in (anew, zeroed))
        step, unbiased = distance(anew, weights[2]), distance(zeroed, weights[2])
        # Adam's first update moves every weight by the rate; without the counter's correction it is
        # sqrt(1 - 0.999^4) / (1 - 0.9^4) x 0.1 / sqrt(0.001) of that.
        share = (1 - 0.999**4) ** 0.5 / (1 - 0.9**4) * 0.1 / 0.001**0.5
        assert unbiased / step == pytest.approx(share, rel=0.02)


def test_an_anchor_of_other_shards_is_refused(tmp_path):
    def holding(rows):
        parameter = torch.nn.Parameter(torch.ones(rows, 3))
        return Anchored(lambda: [("weight", parameter)])

    one = holding(4)
    one.hold()
    one.write_copy(tmp_path / "anchor.pieces")
    with pytest.raises(UserError, match="another number of devices"):
        holding(5).read_copy(tmp_path / "anchor.pieces")
    with pytest.raises(UserError, match="missing"):
        one.read_copy(tmp_path / "no.pieces")
    (tmp_path / "broken.pieces").write_bytes(b"\0" * 40)
    with pytest.raises(UserError, match="cannot be read"):
        one.read_copy(tmp_path / "broken.pieces")


def test_a_candidate_that_is_not_finite_is_seen():
    parameter = torch.nn.Parameter(torch.full((3,), 1e30))
    anchored = Anchored(lambda: [("weight", parameter)])
    anchored.hold()
    parameter.data *= 2
    assert anchored.along_anchor(3.0).finite
    anchored.restore()
    anchored.hold()
    parameter.data *= 1e5
    moved = anchored.along_anchor(1e6)
    assert not moved.finite
    anchored.restore()
    assert torch.equal(parameter.data, torch.full((3,), 2e30) * 1e5)
