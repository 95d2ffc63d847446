"""Which optimizer a run had, by its keys and by what its overrides of verl's make of them."""

import pytest

from rlvr_dynamics.run_directory.configuration import RecordedAlgorithm
from rlvr_dynamics.schema import Lora
from rlvr_dynamics.schema.optimizers import OPTIM, OptimizerKeys, optimizer_keys

USUAL = OptimizerKeys("adamw", (0.9, 0.999), 0.01, 1.0)


def found(*overrides, name="adamw", betas=(0.9, 0.999)):
    algorithm = RecordedAlgorithm(optimizer=name, betas=betas)
    return optimizer_keys(algorithm, [f"{OPTIM}.{each}" for each in overrides])


def test_the_keys_are_taken_as_they_stand():
    assert found() == USUAL
    assert found(betas=(0.0, 0.99)) == OptimizerKeys("adamw", (0.0, 0.99), 0.01, 1.0)
    assert found(name="sgd", betas=(0.8, 0.999)) == OptimizerKeys("sgd", (0.8,), 0.01, 1.0)
    assert found("lr=1e-4", "lr_warmup_steps=3") == USUAL
    assert USUAL.unusual == ""
    assert found(betas=(0.0, 0.999)).unusual == "betas 0, 0.999"
    assert found(name="sgd").unusual == "SGD, momentum 0.9"


def test_an_override_wins():
    changed = found("betas=[.8,0.95]", "weight_decay=0.1", "clip_grad=0.5")
    assert changed == OptimizerKeys("adamw", (0.8, 0.95), 0.1, 0.5)
    assert found("optimizer=SGD") == OptimizerKeys("sgd", (0.0,), 0.01, 1.0)


def test_of_adapters_no_optimizer_of_the_weights_is_known():
    assert optimizer_keys(RecordedAlgorithm(lora=Lora(rank=4)), []) is None


@pytest.mark.parametrize(
    "override",
    ["optimizer=AdamW8bit", "optimizer_impl=torchao.optim", "betas=${x}"]
    + ["override_optimizer_config={amsgrad:true}", "override_optimizer_config.nesterov=true"],
)
def test_what_is_not_known_here_is_not_guessed(override):
    assert found(override) is None
