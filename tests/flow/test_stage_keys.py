"""Which stages are done again when one value of the configuration changes: every value, singly.

A value that no line of `TOUCHES` knows fails, as does one that touches other stages than it should.
"""

import warnings
from dataclasses import replace

import pytest
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from rlvr_dynamics.config import load
from rlvr_dynamics.flow import stages
from rlvr_dynamics.flow.stage import NEUTRAL, Stage, without_neutral
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema import Algorithm, Scoring, Trainer
from tests.support.stages import do_all

EVERY = "prepare train measure extrapolate score behaviour report"
# The longest beginning counts.
TOUCHES = {
    "seed": EVERY,
    "base_seed": "prepare",
    "name": "report",
    "run_dir": "",
    "stages": "",
    "dry_run": "",
    "reuse": "",
    "protocol": "report",
    "wandb": "",
    "tensorboard": "",
    "model": "prepare",
    "model.hardware": "",
    "data": "prepare",
    "data.reward": "train",
    "benchmark": "prepare",
    "algorithm": "train report",
    "algorithm.warmup_steps": "train measure report",
    "trainer": "train report",
    "acceleration": "train report",
    "trainer.checkpoint_dtype": "prepare train report",
    "trainer.start_timeout_seconds": "report",
    "trainer.stall_timeout_seconds": "report",
    "trainer.validation_samples": "report",  # as long as nothing is validated
    "trainer.save_state_every": "report",
    "trainer.keep": "report",
    "measure": "measure",
    "measure.round_to": "measure extrapolate",
    **dict.fromkeys(
        [f"measure.{key}" for key in ("memory_gib", "threads", "device", "engine", "ray_address")],
        "",
    ),
    "extrapolation": "extrapolate",
    "scoring": "score",
    **dict.fromkeys(
        [
            f"scoring.{key}"
            for key in ("dtype", "max_model_len", "max_tokens")
            + ("system_prompt", "template", "thinking")
        ],
        "score behaviour",
    ),
    "behaviour": "behaviour",
    "behaviour.device": "",
    "behaviour.batch": "",
    "report": "behaviour report",
}


def other(value):
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return f"{value}x"


def leaves(value, path=()):
    """Every single value below a configuration, and the way to it."""
    if isinstance(value, BaseModel):
        parts = [(key, getattr(value, key)) for key in type(value).model_fields]
    elif isinstance(value, dict):
        parts = list(value.items())
    elif isinstance(value, (list, tuple)) and value:
        parts = list(enumerate(value))
    else:
        parts = []
        if path[-1] != "kind":  # says which class it is
            yield path, value
    for key, part in parts:
        yield from leaves(part, (*path, key))


def with_other(value, path):
    """A copy of a configuration in which one value is another; it is not validated."""
    if not path:
        return other(value)
    key, *rest = path
    if isinstance(value, BaseModel):
        return value.model_copy(update={key: with_other(getattr(value, key), rest)})
    if isinstance(value, dict):
        return value | {key: with_other(value[key], rest)}
    return tuple(with_other(part, rest) if at == key else part for at, part in enumerate(value))


def settings(config):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's, of what was not validated
        return {stage.name: stage.settings(config) for stage in stages.ALL}


def expected(path):
    shown = ".".join(map(str, path))
    known = [key for key in TOUCHES if shown == key or shown.startswith(f"{key}.")]
    assert known, f"no line knows which stages {shown} touches"
    return set(TOUCHES[max(known, key=len)].split())


@pytest.mark.parametrize(
    "given",
    [[], ["+exp=ppo_qwen3_4b"], ["acceleration=gated"]],
    ids=["demo", "cell", "accelerated"],
)
def test_a_changed_value_redoes_the_stages_that_it_touches(tmp_path, given):
    config = load([f"run_dir={tmp_path}", *given])
    before, count = settings(config), 0
    for path, _ in leaves(config):
        if path[0] == "source":  # what it names has an identity of its own
            continue
        after = settings(with_other(config, path))
        touched = {name for name in before if after[name] != before[name]}
        assert touched == expected(path), path
        count += 1
    assert count > 100


def test_runs_of_one_base_differ_in_their_seed_in_every_stage_but_the_preparation(tmp_path):
    alone, first, second = (
        settings(load([f"run_dir={tmp_path}", *given]))
        for given in (["seed=3"], ["seed=3", "base_seed=3"], ["seed=4", "base_seed=3"])
    )
    assert first == alone
    changed = {name for name in first if first[name] != second[name]}
    assert changed == set(EVERY.split()) - {"prepare"}


def test_the_users_accuracies_count_by_their_content(tmp_path):
    def of(name, text):
        (tmp_path / name).write_text(text)
        return settings(load([f"run_dir={tmp_path}", f"source.accuracy={tmp_path / name}"]))

    first = of("a.csv", "step,accuracy\n10,0.3\n")
    moved = of("b.csv", "step,accuracy\n10,0.3\n")
    changed = of("a.csv", "step,accuracy\n10,0.4\n")
    none = settings(load([f"run_dir={tmp_path}"]))
    assert moved == first
    for one in (changed, none):
        assert {name for name in one if one[name] != first[name]} == {"measure", "extrapolate"}


@pytest.mark.parametrize("change", ["nothing", "version", "package", "input"])
def test_a_stage_is_done_again_for_its_version_its_packages_and_its_inputs(
    tmp_path, monkeypatch, change
):
    ran = []
    stage = Stage(
        name="measure",
        version=1,
        needs=("train",),
        required=(),
        packages=("numpy",),
        settings=lambda config: {"seed": config.seed},
        work=lambda run, folder: ran.append(folder),
    )

    def go(stage, identity):
        run = Run(load([f"run_dir={tmp_path}", "stages=[measure]"]), tmp_path)
        do_all(run, [stage], {"train": identity})

    go(stage, "weights")
    if change == "version":
        stage = replace(stage, version=2)
    if change == "package":
        monkeypatch.setattr("rlvr_dynamics.flow.stage.package_version", lambda name: "99")
    go(stage, "other weights" if change == "input" else "weights")
    assert len(ran) == (1 if change == "nothing" else 2)


def test_a_default_for_configurations_without_a_key_is_neutral():
    for section, kind in (("trainer", Trainer), ("algorithm", Algorithm), ("scoring", Scoring)):
        for name, field in kind.model_fields.items():
            if not field.is_required():
                default = to_jsonable_python(field.default)
                assert NEUTRAL.get(f"{section}.{name}", "absent") == default, name


def test_a_neutral_value_is_left_out_of_the_key_and_every_other_counts():
    dumped = [load([exp]).model_dump(mode="json") for exp in ("+exp=grpo_qwen3_4b", "+exp=demo")]
    for key, neutral in NEUTRAL.items():
        section, name = key.split(".")
        sections = next(each for each in dumped if name in each[section])
        default = sections[section] | {name: neutral}
        kept = without_neutral({section: default, "seed": 0})
        assert name not in kept[section], key
        assert name in without_neutral({section: default | {name: "another"}})[section], key
