"""Folders of checkpoints as other people's tools leave them: read, or one line with the way out."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rlvr_dynamics.checkpoints import Trajectory
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema.source import check_pattern
from tests.support.small_models import QUERY, SHAPES, random_tensors, save_model


@pytest.fixture
def base(tmp_path):
    return save_model(tmp_path / "base", random_tensors(0))


def opened(base, **options):
    return Trajectory.open(base, base.parent / "run", **options)


def refused(base, *words, **options):
    with pytest.raises(UserError) as caught:
        opened(base, **options)
    text = str(caught.value)
    assert caught.value.way_out and "\n" not in text
    for word in words:
        assert word in text
    return text


def lay(base, *places):
    """Save step N at the N-th place."""
    for step, place in enumerate(places, 1):
        save_model(base.parent / "run" / place, random_tensors(step))


LAYOUTS = {
    "ours": ("step_{}", ""),
    "relex": ("global_step_{}", ""),
    "verl": ("global_step_{}", "actor/huggingface"),
    "alpha rl": ("DAPO-step-{}", ""),
    "rlvr linearity": ("global_step_{}", "hf_model"),
    "trl": ("checkpoint-{}", ""),
    "dashes": ("step-{}", ""),
    "nothing between": ("step{}", ""),
    "padded": ("step_{:06d}", ""),
    "slime": ("iter_{:07d}", "hf"),
    "openrlhf": ("global_step{}_hf", ""),
    "prefix": ("Qwen3-8B_grpo-step-{}", "model"),
    "areal": ("epoch0epochstep{0}globalstep{0}", ""),
    "lightning": ("epoch=1-step={}", ""),
    "skyrl": ("global_step_{}", "policy"),
    "nemo": ("step_{}", "policy/weights/model"),
    "ckpt": ("ckpt_{}", ""),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layouts_of_the_trainers(base, layout):
    name, below = LAYOUTS[layout]
    lay(base, *(Path(name.format(step), below) for step in range(1, 12)))
    for other in ("critic/huggingface", "optimizer"):
        place = base.parent / "run" / name.format(3) / other
        save_model(place, {"value.weight": torch.zeros(2)})
    (base.parent / "run" / "runs").mkdir()
    (base.parent / "run" / "latest").write_text("11")
    trajectory = opened(base)
    assert trajectory.steps == tuple(range(1, 12))
    for step in (2, 11):
        assert torch.equal(trajectory.tensor(step, QUERY), random_tensors(step)[QUERY])


def test_epochs_in_a_name_may_differ(base):
    lay(
        base,
        "epoch0epochstep0globalstep1",
        "epoch0epochstep1globalstep2",
        "epoch1epochstep0globalstep3",
    )
    assert opened(base).steps == (1, 2, 3)


def test_a_pattern_names_what_no_convention_does(base):
    lay(base, "a-1-x/weights/hf", "b-2-x/weights/hf", "c-3-x/weights/hf")
    assert opened(base, pattern="*-{step}-x/weights/hf").steps == (1, 2, 3)
    assert opened(base, pattern="*-{step}-x").steps == (1, 2, 3)
    refused(base, "no folder with a model matches", "a-1-x", pattern="z{step}")
    refused(base, "no checkpoints here", "source.pattern")


def test_a_pattern_chooses_between_conventions(base):
    lay(base, "step_1", "step_2", "checkpoint-1")
    refused(base, "step_{step} (2)", "checkpoint-{step} (1)", "source.pattern='checkpoint-{step}'")
    trajectory = opened(base, pattern="step_{step}")
    assert trajectory.steps == (1, 2) and trajectory.folder(1).name == "step_1"


def test_folders_by_step_that_hold_no_model_are_no_convention(base):
    lay(base, "step_1", "step_2")
    (base.parent / "run" / "rollouts-step-1").mkdir()
    assert opened(base).steps == (1, 2)


def test_two_models_in_one_step(base):
    lay(base, "global_step_1/a", "global_step_2/a")
    save_model(base.parent / "run" / "global_step_2" / "b", random_tensors(3))
    refused(
        base, "global_step_2 holds several models: a, b", "source.pattern='global_step_{step}/a'"
    )
    assert opened(base, pattern="global_step_{step}/a").steps == (1, 2)


@pytest.mark.parametrize(
    "pattern",
    ["", "step", "{step}/{step}", "{step}{x}", "../{step}", "/{step}", "*/{step}", "a//{step}"],
)
def test_a_pattern_that_cannot_name_steps(pattern):
    with pytest.raises(ValueError, match=r"step|path|\*"):
        check_pattern(pattern)


def test_epochs_and_bare_numbers_are_not_taken_for_steps(base):
    lay(base, "epoch_1", "epoch_2")
    refused(base, "an epoch is not a step", "source.pattern='epoch_{step}'")
    assert opened(base, pattern="epoch_{step}").steps == (1, 2)
    shutil.rmtree(base.parent / "run")
    lay(base, "1", "2")
    refused(base, "source.pattern='{step}'")
    assert opened(base, pattern="{step}").steps == (1, 2)


@pytest.mark.parametrize("name", ["final", "best", "last"])
def test_a_state_without_a_number_is_no_step(base, name):
    lay(base, "checkpoint-1", "checkpoint-2", f"checkpoint-{name}")
    assert opened(base).steps == (1, 2)


def test_one_step_given_as_the_folder_of_steps(base):
    lay(base, "step_1")
    with pytest.raises(UserError) as caught:
        Trajectory.open(base, base.parent / "run" / "step_1")
    assert f"source.checkpoints={base.parent / 'run'}" in str(caught.value)
    with pytest.raises(UserError) as caught:
        Trajectory.open(base, base.parent)
    assert f"source.checkpoints={base.parent / 'run'}" in str(caught.value)


# Which files hold the weights


def shards(folder, tensors, name, count, first=1):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    for number in range(count):
        part = dict(list(tensors.items())[number::count])
        save_file(part, folder / name.format(number + first, count))


SHARD_NAMES = [
    "model-{:05d}-of-{:05d}",
    "model-{}-of-{}",
    "model-{:05d}-of-{:06d}",
    "shard_{}-of-{}",
]


@pytest.mark.parametrize("name", SHARD_NAMES)
def test_shards_without_an_index(base, name):
    for step in (1, 2):
        place = base.parent / "run" / f"step_{step}"
        shards(place, random_tensors(step), name + ".safetensors", 3, first=step % 2)
    trajectory = opened(base)
    assert trajectory.names == tuple(sorted(SHAPES))
    assert torch.equal(trajectory.tensor(2, QUERY), random_tensors(2)[QUERY])
    missing = place / (name.format(1, 3) + ".safetensors")
    missing.unlink()
    refused(base, f"shards are missing: {missing.name}")


def test_two_sets_of_shards(base):
    place = base.parent / "run" / "step_1"
    shards(place, random_tensors(1), "model-{}-of-{}.safetensors", 2)
    save_file(random_tensors(1), place / "model.safetensors")
    refused(base, "model.safetensors and model-1-of-2.safetensors are both present")
    (place / "model.safetensors").rename(place / "model-1-of-1.safetensors")
    refused(base, "are both present")


def test_a_manifest_of_another_tool_is_left_alone(base):
    lay(base, "step_1")
    for text in ("[]", "not json", '{"files": [], "version": 2, "shards": 1}'):
        (base.parent / "run" / "step_1" / "manifest.json").write_text(text)
        assert opened(base).identities[1]


OTHERS = {
    "actor/model_world_size_8_rank_0.pt": ["verl.model_merger merge --backend fsdp", "bfloat16"],
    "actor/dist_ckpt/__0_0.distcp": ["verl.model_merger merge --backend megatron"],
    "policy/weights/__0_0.distcp": ["accelerate merge-weights", "convert_dcp_to_hf"],
    "global_step5/zero_pp_rank_0_mp_rank_00_model_states.pt": ["zero_to_fp32.py"],
    "global_step5/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt": ["zero_to_fp32.py"],
    "mp_rank_00/model_optim_rng.pt": ["Megatron"],
    "model.gguf": ["GGUF", "unquantised"],
    "consolidated.safetensors": ["Mistral"],
    "pytorch_model.bin": ["only safetensors is read", "save_pretrained"],
}


@pytest.mark.parametrize("file", OTHERS)
def test_what_cannot_be_read_is_named_with_the_way_out(base, file):
    lay(base, "global_step_1")
    path = base.parent / "run" / "global_step_2" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    refused(base, path.name, *OTHERS[file])


def test_one_file_may_have_an_index(base):
    lay(base, "step_1")
    for place in (base, base.parent / "run" / "step_1"):
        listed = {"weight_map": dict.fromkeys(SHAPES, "model.safetensors")}
        (place / "model.safetensors.index.json").write_text(json.dumps(listed))
    assert torch.equal(opened(base).tensor(1, QUERY), random_tensors(1)[QUERY])
    listed["weight_map"][QUERY] = "other.safetensors"
    (place / "model.safetensors.index.json").write_text(json.dumps(listed))
    refused(base, "other.safetensors is in the weight index but not in the folder")


def test_weights_under_another_name_and_links_to_nowhere(base):
    lay(base, "step_1")
    place = base.parent / "run" / "step_1" / "model.safetensors"
    place.rename(place.parent / "policy.safetensors")
    refused(base, "policy.safetensors", "rename it to model.safetensors")
    (place.parent / "policy.safetensors").unlink()
    place.symlink_to("../blobs/1")
    refused(base, "model.safetensors is a link to ../blobs/1, which is not there", "cp -rL")


def test_a_number_in_the_middle_of_a_name_is_offered_as_the_step(base):
    lay(base, "step_1_checkpoint", "step_2_checkpoint")
    refused(base, "source.pattern='step_{step}_checkpoint'")
    assert opened(base, pattern="step_{step}_checkpoint").steps == (1, 2)


def test_a_base_that_is_no_folder(base):
    lay(base, "step_1")
    with pytest.raises(UserError) as caught:
        Trajectory.open(base / "model.safetensors", base.parent / "run")
    assert f"give the folder that it lies in: {base}" in str(caught.value)
    with pytest.raises(UserError) as caught:
        Trajectory.open(base, base / "model.safetensors")
    assert "source.checkpoints is a file" in str(caught.value)


def test_a_pointer_of_git_lfs(base):
    lay(base, "step_1")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"
    (base.parent / "run" / "step_1" / "model.safetensors").write_text(pointer)
    refused(base, "Git LFS", "git lfs pull", "step_1")


def test_a_step_of_verl_or_a_name_of_the_hub_given_as_a_folder(base):
    lay(base, "global_step_1/actor/huggingface")
    with pytest.raises(UserError) as caught:
        Trajectory.open(base, base.parent / "run" / "global_step_1")
    assert f"source.checkpoints={base.parent / 'run'}" in str(caught.value)
    with pytest.raises(UserError, match="of the hub is given as the folder"):
        Trajectory.open("Qwen/Qwen3-4B", base.parent / "run")


def test_base_and_checkpoints_swapped(base):
    lay(base, "step_1", "step_2")
    with pytest.raises(UserError) as caught:
        Trajectory.open(base.parent / "run", base)
    assert "look swapped" in str(caught.value)


# A base among the steps


@pytest.mark.parametrize("name", ["step_{}", "global_step_{}", "checkpoint-{}"])
def test_a_base_among_the_steps(base, name):
    lay(base, *(name.format(step) for step in (1, 2)))
    zero = save_model(base.parent / "run" / name.format(0), random_tensors(0), shards=2)
    assert opened(base).steps == (1, 2)
    assert "is the base and no step" in opened(base).notes[0]
    assert Trajectory.open(zero, base.parent / "run").notes == ()
    shutil.rmtree(zero)
    save_model(zero, random_tensors(7))
    refused(base, "step 0 among the checkpoints is not the base", f"source.base={zero}")
    shutil.rmtree(zero)
    zero.mkdir()
    assert opened(base).steps == (1, 2)


@pytest.mark.parametrize("name", ["model.safetensors", "model.safetensors.index.json"])
def test_a_folder_where_a_file_belongs(base, name):
    lay(base, "step_1")
    (base.parent / "run" / "step_2" / name).mkdir(parents=True)
    refused(base, "step_2", name)


def test_links_in_circles_are_not_followed(base):
    lay(base, "global_step_1/a")
    step = base.parent / "run" / "global_step_1"
    (step / "loop").symlink_to(step)
    assert opened(base).folder(1) == step / "a"
