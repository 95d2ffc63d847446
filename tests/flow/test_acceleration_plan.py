"""The plan of jumps: what is refused, by which key, and what the dry run says of it."""

import pytest

from rlvr_dynamics.config import CONFIG_FOLDER, load
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation import EXTRAPOLATORS
from rlvr_dynamics.flow.acceleration import acceleration_in_words, check_acceleration
from rlvr_dynamics.flow.train import STAGE
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.training.verl_command import verl_overrides
from rlvr_dynamics.training.verl_environment import environment

PLANS = sorted(path.stem for path in (CONFIG_FOLDER / "acceleration").glob("*.yaml"))
MODE = "trainer.v1.trainer_mode=accelerated"


@pytest.fixture(scope="module")
def loaded():
    """Every named plan with the demo, composed once."""
    return {name: load([f"acceleration={name}"]) for name in PLANS}


@pytest.mark.parametrize("name", PLANS)
def test_every_named_plan_fits_the_demo(loaded, tmp_path, name):
    config = loaded[name]
    check_acceleration(config)
    overrides = verl_overrides(config, prepare=tmp_path, output=tmp_path)
    variables = environment(config, tmp_path / "train/verl/metrics_1.jsonl")
    jumps = name != "none"
    assert (config.acceleration is not None) == jumps
    assert (MODE in overrides) == jumps
    assert ("RLVR_ACCELERATION" in variables) == jumps
    assert ("acceleration" in STAGE.settings(config)) == jumps
    assert len(acceleration_in_words(config)) >= 2 * jumps


def test_a_configuration_recorded_before_there_were_jumps_has_none(loaded):
    recorded = loaded["none"].model_dump(mode="json")
    del recorded["acceleration"]
    assert RunConfig.model_validate(recorded) == loaded["none"]


def test_plans_have_keys_of_their_own(loaded):
    settings = [STAGE.settings(config) for config in loaded.values()]
    assert len({str(each) for each in settings}) == len(PLANS)


GATED, ONCE = "acceleration=gated", "acceleration=relex_once"
TEN = "acceleration=regrounding_10_10"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([GATED, "acceleration.gate.problems=65"], "acceleration.gate.problems=65 is more than"),
        ([GATED, "acceleration.gate.detect=1.0"], "acceleration.gate.detect: the gate needs"),
        ([GATED, "acceleration.gate.problems=9", "acceleration.gate.detect=9.0"], "one of them"),
        ([GATED, "acceleration.gate.kind=backtest"], "how_far.search needs gate.kind"),
        ([TEN, "acceleration.gate.kind=both", "acceleration.method=random"], "method=anchor"),
        ([GATED, "trainer.steps=10"], "acceleration.when never fires"),
        ([TEN, "acceleration.when.steps=[5,9]"], "when.steps and when.every"),
        ([TEN, "acceleration.when.every=null"], "given: none"),
        ([TEN, "acceleration.how_far.horizon=9"], "how_far.factor and how_far.horizon"),
        ([TEN, "acceleration.clock=path"], "clock=path changes nothing"),
        ([TEN, "acceleration.method=relex"], "method=relex predicts a step"),
        ([TEN, "acceleration.parameters.rank=2"], "parameters are an extrapolator's"),
        ([ONCE, "acceleration.method=relexx"], "acceleration.method: no method 'relexx'"),
        ([ONCE, "acceleration.parameters.ranks=2"], "has no parameter 'ranks'"),
        ([ONCE, "acceleration.parameters.clock=path"], "acceleration.parameters.clock"),
        (["acceleration=momentum", "acceleration.clock=path"], "momentum knows no clock"),
        (
            ["acceleration=alpharl_once", "acceleration.parameters.target=final"],
            "alpharl would use what is measured after the jump",
        ),
        (
            [
                ONCE,
                "trainer.verl_overrides="
                "['actor_rollout_ref.actor.checkpoint.save_contents=[model,optimizer,extra]']",
            ],
            "needs the run's checkpoints, and none are kept",
        ),
        (
            [GATED, "trainer.verl_overrides=['actor_rollout_ref.actor.strategy=fsdp']"],
            "shards of fsdp2",
        ),
        ([GATED, "trainer.verl_overrides=['trainer.v1.trainer_mode=sync']"], "trainer_mode"),
        ([ONCE, "algorithm.lora.rank=4"], "needs whole matrices, and algorithm.lora"),
        ([GATED, "source.base=a", "source.checkpoints=b"], "takes others' checkpoints"),
        (["acceleration.optimizer=zero"], "choose acceleration=NAME first: alpharl_once"),
    ],
)
def test_wrong_use_is_refused_by_its_key(given, said):
    with pytest.raises(UserError) as refused:
        check_acceleration(load(given))
    assert said in str(refused.value)


@pytest.mark.parametrize("name", [name for name in EXTRAPOLATORS if name != "borrowed_direction"])
def test_every_extrapolator_is_a_method(name):
    check_acceleration(load([ONCE, f"acceleration.method={name}"]))


def test_the_dry_run_says_what_a_plan_takes_and_detects():
    config = load(["+exp=grpo_qwen3_4b", GATED])
    said = "\n".join(acceleration_in_words(config))
    assert "anchor, after 49 of 500 steps" in said
    assert "2 or 4 or 8 times the way" in said
    assert "128 validation problems x 4 answers" in said
    assert "if all problems gain alike) is accepted with a power of 80%" in said
    assert "1.87 GiB a process, 15.0 GiB a node" in said  # 4 bytes of 4.02e9 weights over 8 GPUs
    better = "\n".join(acceleration_in_words(load(["acceleration=effopd"])))
    assert "holds no level" in better
    sized = load([GATED, "acceleration.gate.detect=20.0", "data.validation_problems=1000"])
    said = "\n".join(acceleration_in_words(sized))
    points = float(said.split("a gain of ")[1].split(" points")[0])
    assert 19.0 < points <= 20.0
