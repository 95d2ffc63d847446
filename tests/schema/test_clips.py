"""Which clips a loss has, when each can act, and where verl counts it."""

import pytest

from rlvr_dynamics.config import load
from rlvr_dynamics.schema.clips import clips_of, in_words


def found(*overrides: str):
    loaded = load(["trainer.micro_batch_samples=8", *overrides])
    return clips_of(loaded.algorithm, loaded.trainer)


@pytest.mark.parametrize(
    ("algorithm", "names"),
    [
        ("grpo", ["ratio_low", "ratio_high", "dual"]),
        ("dapo", ["ratio_low", "ratio_high", "dual"]),
        ("gspo", ["sequence_low", "sequence_high"]),
        ("cispo", ["weight_low", "weight_high"]),
        ("ppo", ["ratio_low", "ratio_high", "dual", "value"]),
    ],
)
def test_a_clip_can_act_from_the_second_update_of_a_step_on(algorithm, names):
    once = found(f"algorithm={algorithm}")
    assert [clip.name for clip in once] == names
    assert not any(clip.acts for clip in once)
    twice = found(f"algorithm={algorithm}", "trainer.mini_batch_prompts=6")
    # CISPO's lower bound is below 0, where no weight is.
    assert [clip.name for clip in twice if not clip.acts] == names[: algorithm == "cispo"]
    assert found(f"algorithm={algorithm}", "trainer.passes=2") == twice


def test_the_value_model_has_updates_of_its_own():
    one_and_three = found("algorithm=ppo", "trainer.critic_mini_batch_prompts=4")
    assert [clip.name for clip in one_and_three if clip.acts] == ["value"]
    three_and_one = found(
        "algorithm=ppo", "trainer.mini_batch_prompts=4", "trainer.critic_mini_batch_prompts=12"
    )
    assert [clip.name for clip in three_and_one if not clip.acts] == ["value"]


def test_clips_are_said_with_their_bounds_and_their_reasons():
    assert in_words(found("algorithm=cispo", "trainer.mini_batch_prompts=4")) == [
        "clips that can act: a token's weight above 1.2",
        "clips that cannot act (no ratio is below 0): a token's weight below -9",
    ]
    assert in_words(found("algorithm=gspo")) == [
        "clips that cannot act (one update a rollout): an answer's ratio below 0.9997; "
        "an answer's ratio above 1.0004"
    ]


def test_the_clip_of_values_is_the_one_that_verl_is_given():
    given = "trainer.verl_overrides=['critic.cliprange_value=0.2']"
    assert [found("algorithm=ppo", *more)[-1].bound for more in ([], [given])] == [
        "a value that moved by more than 0.5",
        "a value that moved by more than 0.2",
    ]
