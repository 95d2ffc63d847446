"""LoRA adapters against peft's own merge: files as peft saves them, numbers as it forms them."""

import numpy as np
import pytest
import torch

from rlvr_dynamics.checkpoints import Differences, Trajectory
from rlvr_dynamics.checkpoints.merge import write_merged
from rlvr_dynamics.checkpoints.shards import read_layout

pytestmark = [
    pytest.mark.slow,  # importing peft and transformers takes longer than the tests
    # peft warns of the embeddings and of the adapter with a bias that are tried here.
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
]
STEPS = 3


def llama(**changes):
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, vocab_size=32)
    heads = dict(num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=False)
    return LlamaForCausalLM(LlamaConfig(**{**sizes, **heads, **changes}))


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=32, n_positions=16)
    return GPT2LMHeadModel(sizes)


KINDS = {
    "plain": (llama, {"target_modules": ["q_proj", "down_proj"], "r": 4, "lora_alpha": 8}),
    "stabilised": (llama, {"target_modules": "all-linear", "r": 4, "use_rslora": True}),
    "patterns": (
        llama,
        {
            "target_modules": ["q_proj", "v_proj", "up_proj"],
            "rank_pattern": {"q_proj": 2, r"^model.layers.1.self_attn.v_proj": 3},
            "alpha_pattern": {r"layers\.0\.mlp\.up_proj": 32, "q_proj": 5},
        },
    ),
    "bias and modules": (
        lambda: llama(attention_bias=True),
        {"target_modules": ["q_proj"], "bias": "all", "modules_to_save": ["lm_head", "norm"]},
    ),
    "bias of the adapter": (
        lambda: llama(attention_bias=True),
        {"target_modules": ["q_proj", "o_proj"], "lora_bias": True},
    ),
    "embeddings": (llama, {"target_modules": ["embed_tokens", "lm_head", "q_proj"]}),
    "conv1d": (gpt2, {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True}),
}


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, values in model.named_parameters():
        if values.requires_grad:
            noise = torch.randn(values.shape, generator=generator)
            values.data = (values.data + 0.1 * noise if "lora" not in name else 0.2 * noise).to(
                values.dtype
            )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adapters_are_read_as_peft_merges_them(tmp_path, kind, dtype):
    from peft import LoraConfig, get_peft_model

    make, settings = KINDS[kind]
    torch.manual_seed(0)
    base = make().to(dtype)
    base.save_pretrained(tmp_path / "base")
    merged = []
    for step in range(1, STEPS + 1):
        torch.manual_seed(0)
        model = get_peft_model(make().to(dtype), LoraConfig(task_type="CAUSAL_LM", **settings))
        randomise(model, step)
        model.save_pretrained(tmp_path / "run" / f"checkpoint-{step}")
        merged.append(model.double().merge_and_unload().state_dict())
    trajectory = Trajectory.open(tmp_path / "base", tmp_path / "run")
    assert "W_0 + scale B A" in trajectory.notes[0]
    start = base.double().state_dict()
    changed = 0
    for name in trajectory.names:
        expected = torch.stack([(each[name] - start[name]).reshape(-1) for each in merged])
        changed += bool(expected.any())
        found = torch.cat([piece.updates for piece in Differences(trajectory, name).pieces()], 1)
        scale = float(expected.abs().max())
        assert np.allclose(found, expected, rtol=1e-6, atol=1e-6 * scale), name
        row = Differences(trajectory, name, 1).row(1)
        assert np.allclose(row, expected[1], rtol=1e-6, atol=1e-6 * scale)
        whole = trajectory.tensor(2, name)
        assert np.allclose(whole.double(), merged[1][name], rtol=2e-7, atol=1e-7)
        assert whole.dtype == (torch.float32 if expected.any() else dtype)
        d = trajectory.numel(name)
        part = trajectory.elements(2, name, d // 3, d // 2)
        assert torch.equal(part, whole.reshape(-1)[d // 3 : d // 2])
    assert changed >= 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_merged_step_is_pefts_merge_in_the_bases_dtype(tmp_path, dtype):
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file

    settings = {"target_modules": ["q_proj", "down_proj"], "r": 4, "lora_alpha": 8}
    torch.manual_seed(0)
    make = llama()
    make.to(dtype).save_pretrained(tmp_path / "base")
    start = load_file(tmp_path / "base" / "model.safetensors")
    model = get_peft_model(make, LoraConfig(task_type="CAUSAL_LM", **settings))
    model = model.float()  # as verl trains: float32 adapters on a base widened to float32
    randomise(model, 1)
    model.save_pretrained(tmp_path / "adapter")
    base = read_layout(tmp_path / "base")
    for step in (1, 2):  # an existing folder is replaced
        manifest = write_merged(
            base, tmp_path / "adapter", tmp_path / "merged", step=step, origin="a test"
        )
    assert (manifest["step"], manifest["source"]) == (2, "a test")
    found = load_file(tmp_path / "merged" / "model.safetensors")
    exact = model.double().merge_and_unload().state_dict()
    changed = 0
    for name, before in start.items():
        assert found[name].dtype == dtype
        if torch.equal(exact[name], before.double()):
            assert torch.equal(found[name], before)
            continue
        changed += 1
        assert name.endswith(("q_proj.weight", "down_proj.weight"))
        assert torch.equal(found[name], exact[name].float().to(dtype))
        if dtype == torch.float32:
            update = found[name].double() - before.double()
            sizes = torch.linalg.svdvals(update)
            assert sizes[4] < 1e-5 * sizes[0] and sizes[3] > 1e-3 * sizes[0]
    assert changed == 4
