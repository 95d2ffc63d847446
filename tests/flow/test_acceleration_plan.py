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
BETTER = ["acceleration=effopd", "acceleration.gate.problems=null"]


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
        ([TEN, "acceleration.method=relex"], "method=relex is none of anchor, random, none"),
        ([GATED, "acceleration.gate.detect=0.02"], "acceleration.gate.detect: no number of"),
        ([GATED, "acceleration.gate.level=1e-16"], "acceleration.gate.level"),
        ([GATED, f"acceleration.gate.samples=1{400 * '0'}"], "acceleration.gate.samples"),
        ([GATED, "acceleration.gate.samples=80"], "no factor goes as far as training on"),
        ([GATED, "acceleration.how_far.search=[1.01,1.1]"], "how_far.search: no factor goes"),
        ([TEN, "acceleration.gate.problems=9"], "gate.problems is read where the gate asks"),
        ([TEN, "acceleration.gate.validations=9"], "gate.validations is read where the gate"),
        ([*BETTER, "acceleration.gate.detect=40"], "gate.detect is of gate.rule"),
        ([ONCE, "acceleration.when.steps=[9,60]"], "no jump follows step 60"),
        ([TEN, "+acceleration.stop.below=100"], "acceleration.stop.below"),
        (["acceleration=null"], "chosen by a name"),
        (["acceleration=1"], "chosen by a name"),
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


def said_of(*overrides):
    return "\n".join(acceleration_in_words(load([*overrides])))


def test_the_dry_run_says_what_is_unusual():
    assert "; every jump is undone" in said_of(GATED, "acceleration.roll_back=always")
    matrices = said_of(TEN, "acceleration.tensors=matrices")
    assert "only the layers' matrices" in matrices and "undone" not in matrices
    ends = said_of(TEN, "+acceleration.stop={below: 5, act: true}")
    assert "less than 5 points are left to gain, the training ends" in ends
    assert "the record says so" in said_of(TEN, "+acceleration.stop={below: 5}")
    assert "adapters' two factors" in said_of(TEN, "algorithm.lora.rank=4")


def test_the_dry_run_counts_the_candidates_that_can_pay_for_their_answers():
    """64 problems x 4 answers, twice, of 4 x 8 a step are 16 steps: 4 and 8 times 10 steps pay."""
    few = [f"trainer.{key}=4" for key in ("prompts_per_step", "mini_batch_prompts")]
    said = said_of(GATED, *few, "trainer.micro_batch_samples=32")
    assert "to 4 or 8 times the way" in said
    assert "(2 times would go less far than training on the gate's answers)" in said
    assert "at most 768 a firing" in said
