"""Parameters, memory, disk and time from shapes, against transformers and closed forms."""

import pytest

from rlvr_dynamics import config
from rlvr_dynamics.estimates.disk import DELTA_SHARE, disk, prediction_count, save
from rlvr_dynamics.estimates.hours import work_of
from rlvr_dynamics.estimates.memory import memory, misfits
from rlvr_dynamics.estimates.shapes import adapter_count, critic_count, pinned_share, shape_of
from rlvr_dynamics.schema import Architecture, Critic, Lora, RunConfig
from rlvr_dynamics.schema.model_id import REAL
from rlvr_dynamics.scoring.sizes import planned_models

# Published totals of the models' safetensors.
PUBLISHED = {
    "qwen2_5_math_1_5b": 1_543_714_304,
    "qwen3_4b": 4_022_468_096,
    "qwen2_5_7b": 7_615_616_512,
    "qwen2_5_math_7b": 7_615_616_512,
    "r1_distill_qwen_7b": 7_615_616_512,
    "qwen3_8b": 8_190_735_360,
    "qwen3_14b": 14_768_307_200,
    "qwen2_5_32b": 32_763_876_352,
    "llama3_1_8b": 8_030_261_248,
    "glm4_9b": 9_400_279_040,
}


def shape_named(model: str) -> Architecture:
    loaded = config.load([f"model={model}", "data=math"])
    return shape_of(loaded.model)


def on_meta(shape: Architecture, automatic: str, **more: int) -> int:
    import torch
    import transformers

    settings = transformers.AutoConfig.for_model(
        shape.family,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.intermediate,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
        **({"attention_bias": True} if shape.family == "glm4" else {}),
        pad_token_id=None,
        **more,
    )
    with torch.device("meta"):
        model = getattr(transformers, automatic).from_config(settings)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("model", "total"), PUBLISHED.items())
def test_parameters_are_the_published_ones_and_those_of_transformers(model, total):
    shape = shape_named(model)
    assert shape.parameters == total
    assert on_meta(shape, "AutoModelForCausalLM") == total


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama", "glm4"])
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_of_every_family_tied_and_untied(family, tied):
    shape = Architecture(
        family=family,
        hidden=48,
        layers=3,
        heads=6,
        kv_heads=2,
        head_dim=16,
        intermediate=80,
        vocabulary=100,
        context=64,
        tied=tied,
    )
    assert on_meta(shape, "AutoModelForCausalLM") == shape.parameters


@pytest.mark.parametrize("model", ["qwen2_5_math_1_5b", "qwen3_8b"])
def test_the_critic_is_the_decoder_with_one_output(model):
    critic = config.load(["+exp=ppo_qwen3_4b"]).algorithm
    shape = shape_named(model)
    counted = on_meta(shape, "AutoModelForTokenClassification", num_labels=1)
    assert counted == critic_count(shape, critic)
    assert critic_count(shape, config.load(["+exp=grpo_qwen3_4b"]).algorithm) == 0


def small(**trainer: object) -> RunConfig:
    """A configuration whose estimates can be written down by hand."""
    loaded = config.load(["+exp=dr_grpo_qwen3_8b"])
    shape = Architecture(
        family="llama",
        hidden=8,
        layers=2,
        heads=2,
        kv_heads=1,
        head_dim=4,
        intermediate=16,
        vocabulary=32,
        context=10**6,
        tied=False,
    )
    values = {
        "nodes": 1,
        "gpus_per_node": 4,
        "shard": 4,
        "offload": False,
        "tensor_parallel": 2,
        "gpu_memory_gib": 10,
        "rollout_memory_share": 0.5,
        "max_prompt_tokens": 100,
        "max_response_tokens": 900,
        "steps": 50,
        "checkpoint_dtype": "bfloat16",
        "prompts_per_step": 4,
        "keep_optimizer_states": 2,
        "micro_batch_tokens": None,
        "save_state_every": 1,
        "keep": "folders",
    }
    return loaded.model_copy(
        update={
            "model": loaded.model.model_copy(update={"architecture": shape}),
            "trainer": loaded.trainer.model_copy(update=values | trainer),
        }
    )


# By hand: q and o 8 x 8, k and v 8 x 4, three matrices 8 x 16, two norms.
LAYER = 2 * 64 + 2 * 32 + 3 * 128 + 2 * 8
TOTAL = 2 * LAYER + 2 * 32 * 8 + 8
CRITIC = TOTAL - 32 * 8 + 8 + 1
# Every matrix over 1, 2, 4 or 8 GPUs has a power of two of elements.
PINNED = 1.0


def with_critic(made: RunConfig) -> RunConfig:
    critic = Critic(learning_rate=1e-6, warmup_steps=0)
    return made.model_copy(
        update={"algorithm": made.algorithm.model_copy(update={"critic": critic})}
    )


def with_reference(made: RunConfig, **coefficients: float) -> RunConfig:
    return made.model_copy(update={"algorithm": made.algorithm.model_copy(update=coefficients)})


def with_sgd(made: RunConfig, momentum: float, *overrides: str) -> RunConfig:
    chosen = {"optimizer": "sgd", "betas": (momentum, 0.999)}
    trainer = made.trainer.model_copy(update={"verl_overrides": overrides})
    algorithm = made.algorithm.model_copy(update=chosen)
    return made.model_copy(update={"algorithm": algorithm, "trainer": trainer})


@pytest.mark.parametrize(("momentum", "buffers"), [(0.9, 1), (0.0, 0)])
def test_sgd_keeps_one_buffer_of_momentum_or_none_and_the_critic_both_moments(momentum, buffers):
    kept = 4 * (1 + buffers)
    for offload in (False, True):
        made = with_sgd(with_critic(small(offload=offload)), momentum)
        need = memory(made)
        assert need.state == (kept + 4) * TOTAL // 4
        assert save(made).state == kept * TOTAL + 12 * CRITIC
        if offload:
            assert need.host == int((kept * TOTAL + 12 * CRITIC) * PINNED) + 4 * TOTAL
        else:
            assert need.between == (kept * TOTAL + 12 * CRITIC) // 4
            assert need.critic == 12 * CRITIC // 4
    assert work_of(with_sgd(small(), momentum)).update_bytes == 8 * (1 + buffers) + 4
    assert work_of(small()).update_bytes == 28
    # What verl is told in its own words counts: here that it is AdamW after all.
    key = "actor_rollout_ref.actor.optim.optimizer"
    assert memory(with_sgd(small(), momentum, f"{key}=AdamW")).state == 16 * TOTAL // 4


# Rank 2, on every matrix: r (m + n) each, two layers.
ADAPTERS = 2 * 2 * (2 * (8 + 8) + 2 * (8 + 4) + 3 * (8 + 16))


def with_adapters(made: RunConfig, **lora: object) -> RunConfig:
    settings = Lora.model_validate({"rank": 2} | lora)
    return made.model_copy(
        update={"algorithm": made.algorithm.model_copy(update={"lora": settings})}
    )


def test_adapters_are_counted_as_peft_makes_them():
    import peft
    import torch
    import transformers

    for family in ("llama", "glm4"):
        made = small()
        shape = made.model.architecture.model_copy(update={"family": family})
        settings = transformers.AutoConfig.for_model(
            family,
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            intermediate_size=shape.intermediate,
            vocab_size=shape.vocabulary,
            pad_token_id=None,
        )
        for targets, lora in (("all-linear", {}), (["q_proj", "down_proj"],) * 2):
            chosen = {"target_modules": targets} if lora else {}
            with torch.device("meta"):
                model = transformers.AutoModelForCausalLM.from_config(settings)
                wanted = peft.LoraConfig(r=2, target_modules=targets, task_type="CAUSAL_LM")
                adapted = peft.get_peft_model(model, wanted)
            trained = sum(each.numel() for each in adapted.parameters() if each.requires_grad)
            assert adapter_count(shape, with_adapters(made, **chosen).algorithm) == trained
    assert adapter_count(small().model.architecture, small().algorithm) == 0
    assert adapter_count(small().model.architecture, with_adapters(small()).algorithm) == ADAPTERS


def test_only_adapters_have_gradients_and_moments():
    whole, need = memory(small()), memory(with_adapters(small()))
    assert need.state == (4 * TOTAL + 16 * ADAPTERS) // 4
    assert need.between == (4 * TOTAL + 12 * ADAPTERS) // 4
    assert whole.gathered - need.gathered == 6 * LAYER - 6 * ADAPTERS // 2
    assert (need.logits, need.activations) == (whole.logits, whole.activations)
    moved = memory(with_adapters(small(offload=True)))
    assert moved.host == int((4 * TOTAL + 12 * ADAPTERS) * PINNED) + 4 * TOTAL
    # The policy without its adapters is the reference; PPO's value model is trained whole.
    assert memory(with_reference(with_adapters(small()), kl_loss_coef=0.1)) == need
    assert memory(with_critic(with_adapters(small()))).critic == 12 * CRITIC // 4


def test_adapters_are_saved_alone_and_every_step_is_stored_whole():
    need = disk(with_adapters(small(checkpoint_dtype="float32")))
    assert need.checkpoints == 50 * 4 * TOTAL
    assert need.states == 3 * 12 * ADAPTERS + 4 * ADAPTERS
    each = save(with_critic(with_adapters(small(shard=2))))
    assert (each.weights, each.state) == (4 * ADAPTERS, 2 * 12 * (ADAPTERS + CRITIC))


def test_memory_of_a_training_pass():
    need = memory(small())
    assert need.state == 16 * TOTAL // 4
    assert need.critic == 0
    # Two layers, embedding and head; a layer is larger than the head (32 x 8).
    assert need.gathered == 2 * (2 * LAYER + 2 * 32 * 8) + 6 * LAYER
    inner = 6 * 8 + 2 * (2 + 1) * 4 + 4 * 16
    assert need.activations == 2 * 1000 * (8 * 2 + inner)
    assert need.logits == 4 * 1000 * 32
    parts = need.state + need.gathered + need.activations + need.logits
    assert need.training == parts + 8 * 2**30


def test_a_pass_holds_its_token_budget_but_never_less_than_the_longest_sample():
    packed, one = memory(small(micro_batch_tokens=3000)), memory(small())
    assert (packed.logits, packed.activations) == (3 * one.logits, 3 * one.activations)
    assert memory(small(micro_batch_tokens=500)) == one


def test_logits_are_held_more_often_without_flash_attention_or_with_an_entropy_bonus():
    sdpa = ["+actor_rollout_ref.model.override_config.attn_implementation=sdpa"]
    flash = ["+actor_rollout_ref.model.override_config.attn_implementation=flash_attention_2"]
    assert memory(small(verl_overrides=sdpa)).logits == 8 * 1000 * 32
    assert memory(small(verl_overrides=flash)).logits == 4 * 1000 * 32
    assert memory(small(temperature=0.6)).logits == 6 * 1000 * 32
    assert memory(with_reference(small(), entropy_coef=0.1)).logits == 8 * 1000 * 32


def test_memory_while_generating():
    need = memory(small())
    assert need.between == 12 * TOTAL // 4
    assert need.rollout == 5 * 2**30
    assert need.generating == need.between + 11 * 2**30
    # A token: keys and values, 2 bytes, 2 layers, 1 head of 4, halved by tensor parallelism.
    assert need.cache_tokens == (3 * 2**30 - 2 * TOTAL // 2) // (2 * 2 * 2 * 4 // 2)


def test_offloading_moves_state_to_the_host_and_critic_and_actor_take_turns():
    kept, moved = (memory(with_critic(small(offload=offload))) for offload in (False, True))
    assert kept.critic == 12 * CRITIC // 4
    assert kept.between == 12 * (TOTAL + CRITIC) // 4
    assert (moved.critic, moved.between) == (0, 0)
    assert kept.state == moved.state
    assert kept.host == 4 * TOTAL
    assert moved.host == int(12 * (TOTAL + CRITIC) * PINNED) + 4 * TOTAL


@pytest.mark.parametrize("coefficient", ["kl_loss_coef", "kl_reward_coef"])
def test_a_reference_model_lies_on_the_host(coefficient):
    plain, other = small(), with_reference(small(), **{coefficient: 0.001})
    assert memory(other).host - memory(plain).host == int(4 * TOTAL * PINNED)
    assert memory(other).training == memory(plain).training


def test_the_host_of_one_of_several_nodes_and_of_several_copies():
    several = memory(small(nodes=2, shard=8, offload=True))
    assert several.host == int(12 * TOTAL / 2 * PINNED) + 4 * TOTAL
    copies = memory(small(shard=2, offload=True))  # each loads the model once
    assert copies.host == int(2 * 12 * TOTAL * PINNED) + 2 * 4 * TOTAL


def test_a_tied_model_is_loaded_whole_by_every_process():
    made = small()
    tied = made.model.architecture.model_copy(update={"tied": True})
    model = made.model.model_copy(update={"architecture": tied})
    need = memory(made.model_copy(update={"model": model}))
    assert need.host == 4 * 4 * (TOTAL - 32 * 8)
    cell = config.load(["+exp=dapo_qwen3_4b"])  # without a reference model
    assert memory(cell).host == 8 * 4 * PUBLISHED["qwen3_4b"]


def test_page_locked_blocks_are_powers_of_two():
    shape = small().model.architecture
    assert pinned_share(shape, 1) == pinned_share(shape, 8) == 1.0
    # 5 GPUs: 2 of 8 rows each, 1 of 4, 4 of 16 (512 / 5 bytes ...), 7 of 32.
    layer = [2 * 8, 8, 8, 2 * 8, 4 * 8, 4 * 8, 2 * 16]
    rows = 2 * layer + 2 * [7 * 8]
    rounded = 2 * layer + 2 * [8 * 8]
    assert pinned_share(shape, 5) == pytest.approx(sum(rounded) / sum(rows))


def test_float32_computation_takes_four_bytes():
    need, half = memory(small(precision="fp32")), memory(small())
    assert need.gathered == 2 * half.gathered - 4 * LAYER  # reduced in float32 by both
    assert need.logits == 2 * half.logits
    assert need.activations == 2 * half.activations


def test_what_does_not_fit_is_named_with_its_way_out():
    fine = small(gpu_memory_gib=14, rollout_memory_share=0.4)
    assert misfits(fine) == []
    # 8 GiB of reserve and 2 to spare are asked for beside the model's few bytes.
    assert "training pass" in " ".join(misfits(small(gpu_memory_gib=10, rollout_memory_share=0.2)))
    packed = small(gpu_memory_gib=14, rollout_memory_share=0.4, micro_batch_tokens=100_000_000)
    assert "a smaller trainer.micro_batch_tokens" in " ".join(misfits(packed))
    long = fine.model_copy(
        update={"trainer": fine.trainer.model_copy(update={"max_response_tokens": 100_000_000})}
    )
    assert "max_response_tokens" in " ".join(misfits(long))
    greedy = small(gpu_memory_gib=14, rollout_memory_share=0.9)
    assert "rollout_memory_share" in " ".join(misfits(greedy))
    starved = small(gpu_memory_gib=14, rollout_memory_share=0.1)
    assert "room for 0 tokens" in " ".join(misfits(starved))


def test_the_32b_needs_its_nodes():
    """Two nodes are too few: that is why the model's configuration says four."""
    cell = ["+exp=grpo_qwen2_5_32b"]
    assert misfits(config.load(cell)) == []
    fewer = config.load([*cell, "model.hardware.nodes=2", "model.hardware.shard=16"])
    assert "training pass" in misfits(fewer)[0]


def test_disk_of_a_run():
    made = small()
    need = disk(made)
    assert need.base == 2 * TOTAL
    assert need.checkpoints == 50 * 2 * TOTAL
    assert need.states == 3 * 12 * TOTAL + 4 * TOTAL
    # default.yaml: two windows; 3, 3, 1, 1, 2 targets; one of three others; two reconstructions of
    # the end, and one of the end of alpharl's window.
    assert prediction_count(made) == 2 * 3 + 2 * 3 + 2 * 1 + 2 * 1 + 1 + 2 * 2 + 2 + 3
    assert need.predictions == 26 * 2 * TOTAL
    assert need.directions == 0
    assert need.training == need.checkpoints + need.states
    assert need.total == need.base + need.training + need.predictions


def test_deltas_take_their_share_two_whole_steps_and_those_that_are_scored():
    need, folders = disk(small(keep="deltas")), disk(small())
    assert need.checkpoints == round((50 * DELTA_SHARE["bfloat16"] + 2) * 2 * TOTAL)
    scored = {each.step for each in planned_models(small()) if each.method == REAL}
    assert need.unpacked == len(scored) * 2 * TOTAL > 0 == folders.unpacked
    assert need.total == folders.total - folders.checkpoints + need.checkpoints + need.unpacked


def test_disk_in_float32_has_no_copy_beside_it_and_a_critic_is_kept_for_a_resume():
    need = disk(with_critic(small(checkpoint_dtype="float32")))
    assert need.checkpoints == 50 * 4 * TOTAL
    assert need.states == 3 * 12 * (TOTAL + CRITIC)


def test_every_copy_of_the_training_state_is_saved():
    assert disk(small(shard=2)).states == 2 * 3 * 12 * TOTAL + 4 * TOTAL


def test_a_run_too_short_for_all_states_keeps_those_it_saves():
    steps = small().trainer.steps
    for every, states in ((steps, 1), (steps + 1, 0), (1, 3)):
        need = disk(small(save_state_every=every))
        assert need.states == states * 12 * TOTAL + 4 * TOTAL


def test_a_save_is_the_gathered_model_and_every_copy_of_the_state():
    made = with_critic(small(shard=2))
    assert save(made).weights == 4 * TOTAL
    assert save(made).state == 2 * 12 * (TOTAL + CRITIC)
    assert save(made).seconds_per_step(100.0) == (save(made).weights + save(made).state) / 100
    fifth = with_critic(small(shard=2, save_state_every=5))
    assert save(fifth).bytes_per_step == save(made).weights + save(made).state / 5
    # Twice the rate at which 30 minutes would just do.
    assert save(made).least_rate == 2 * 4 * TOTAL / 1800


def test_disk_counts_only_the_stages_that_run():
    demo = config.load(["stages=[measure,report]"])
    need = disk(demo)
    assert need.total == need.directions == 4 * 604_224
    assert disk(config.load(["stages=[report]"])).total == 0
