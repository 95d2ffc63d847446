"""Which tensors are matrices of the layers, in the names that transformers writes to disk."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from rlvr_dynamics.checkpoints import Trajectory
from rlvr_dynamics.checkpoints.names import part_of
from rlvr_dynamics.checkpoints.structure import Structure
from rlvr_dynamics.extrapolation import EXTRAPOLATORS, RECONSTRUCTIONS
from rlvr_dynamics.measurement import MeasureSettings, measure
from rlvr_dynamics.measurement.statistics import load_updates

V, H = 97, 32
SMALL = {"vocab_size": V, "pad_token_id": 2, "bos_token_id": 0, "eos_token_id": 1}
WIDE = SMALL | {"hidden_size": H, "num_hidden_layers": 2, "num_attention_heads": 4}
DENSE = WIDE | {"num_key_value_heads": 2, "intermediate_size": 48}
EXPERTS = DENSE | {"head_dim": 8, "num_experts": 6, "num_experts_per_tok": 2}
MOE = EXPERTS | {"moe_intermediate_size": 24}
LOCAL = DENSE | {"num_local_experts": 6, "num_experts_per_tok": 2}
QKVO = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
GATED = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
EACH = [f"mlp.experts.#.{name}" for name in ("gate_proj", "up_proj", "down_proj")]
ONE_OF = ["block_sparse_moe.experts.#.w1", "block_sparse_moe.experts.#.w2"]
# The model, its settings, the matrices of its layers, and what of two or more dimensions in them
# is none.
CASES = {
    "llama": (DENSE, QKVO + GATED, []),
    "qwen3": (DENSE | {"head_dim": 8}, QKVO + GATED, []),
    "gemma3_text": (DENSE | {"head_dim": 8}, QKVO + GATED, []),
    "glm4": (DENSE | {"head_dim": 8}, [*QKVO, "mlp.gate_up_proj", "mlp.down_proj"], []),
    "phi3": (
        DENSE,
        ["self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"],
        [],
    ),
    "gpt2": (
        SMALL | {"n_embd": H, "n_layer": 2, "n_head": 4, "n_positions": 64},
        ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"],
        [],
    ),
    "opt": (
        WIDE | {"ffn_dim": 48, "word_embed_proj_dim": H, "max_position_embeddings": 64},
        [*QKVO[:3], "self_attn.out_proj", "fc1", "fc2"],
        [],
    ),
    "falcon": (
        WIDE,
        ["self_attention.query_key_value", "self_attention.dense"]
        + ["mlp.dense_h_to_4h", "mlp.dense_4h_to_h"],
        [],
    ),
    "bloom": (
        SMALL | {"hidden_size": H, "n_layer": 2, "n_head": 4},
        ["self_attention.query_key_value", "self_attention.dense"]
        + ["mlp.dense_h_to_4h", "mlp.dense_4h_to_h"],
        [],
    ),
    "gpt_neox": (
        DENSE,
        ["attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"],
        [],
    ),
    "mixtral": (
        LOCAL,
        [*QKVO, *ONE_OF, "block_sparse_moe.experts.#.w3"],
        ["block_sparse_moe.gate"],
    ),
    "qwen3_moe": (MOE, QKVO + EACH, ["mlp.gate"]),
    "gpt_oss": (
        LOCAL | {"head_dim": 8},
        [*QKVO, "mlp.experts.gate_up_proj[#]", "mlp.experts.down_proj[#]"],
        ["mlp.router", "mlp.experts.gate_up_proj_bias", "mlp.experts.down_proj_bias"],
    ),
    "llama4_text": (
        LOCAL | {"head_dim": 8, "intermediate_size_mlp": 40, "interleave_moe_layer_step": 2},
        [*QKVO, "feed_forward.experts.gate_up_proj[#]", "feed_forward.experts.down_proj[#]"]
        + [f"feed_forward.{name[4:]}" for name in GATED]
        + [f"feed_forward.shared_expert.{name[4:]}" for name in GATED],
        ["feed_forward.router"],
    ),
    "granitemoe": (
        LOCAL,
        [
            *QKVO,
            "block_sparse_moe.input_linear.weight[#]",
            "block_sparse_moe.output_linear.weight[#]",
        ],
        ["block_sparse_moe.router.layer"],
    ),
    "deepseek_v3": (
        DENSE
        | {"n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1}
        | {"moe_intermediate_size": 24, "q_lora_rank": 16, "kv_lora_rank": 16, "v_head_dim": 8}
        | {"qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "first_k_dense_replace": 1},
        ["self_attn.q_a_proj", "self_attn.q_b_proj", "self_attn.kv_a_proj_with_mqa"]
        + ["self_attn.kv_b_proj", "self_attn.o_proj", *GATED, *EACH]
        + [f"mlp.shared_experts.{name[4:]}" for name in GATED],
        ["mlp.gate"],
    ),
    "qwen3_next": (
        MOE
        | {"shared_expert_intermediate_size": 24, "linear_num_value_heads": 4}
        | {"linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
        | {"layer_types": ["linear_attention", "full_attention"]},
        ["linear_attn.in_proj_qkvz", "linear_attn.in_proj_ba", "linear_attn.out_proj"]
        + QKVO
        + EACH
        + [f"mlp.shared_expert.{name[4:]}" for name in GATED],
        ["mlp.gate", "mlp.shared_expert_gate", "linear_attn.conv1d"],
    ),
    "lfm2": (
        DENSE | {"layer_types": ["conv", "full_attention"], "block_multiple_of": 8},
        ["conv.in_proj", "conv.out_proj", *QKVO[:3], "self_attn.out_proj"]
        + ["feed_forward.w1", "feed_forward.w2", "feed_forward.w3"],
        ["conv.conv"],
    ),
    "mamba": (
        SMALL | {"hidden_size": H, "num_hidden_layers": 2, "state_size": 8},
        ["mixer.in_proj", "mixer.x_proj", "mixer.dt_proj", "mixer.out_proj"],
        ["mixer.conv1d", "mixer.A_log"],
    ),
    "nemotron_h": (
        DENSE
        | {"hybrid_override_pattern": "M-*E", "num_hidden_layers": 4, "mamba_num_heads": 8}
        | {"mamba_head_dim": 8, "ssm_state_size": 8, "n_groups": 2, "head_dim": 8}
        | {"n_routed_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
        | {"moe_shared_expert_intermediate_size": 24},
        ["mixer.in_proj", "mixer.out_proj", "mixer.up_proj", "mixer.down_proj"]
        + [f"mixer.{name[10:]}" for name in QKVO]
        + ["mixer.experts.#.up_proj", "mixer.experts.#.down_proj"]
        + ["mixer.shared_experts.up_proj", "mixer.shared_experts.down_proj"],
        ["mixer.gate", "mixer.conv1d"],
    ),
}


def save_model(folder, kind):
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **CASES[kind][0])
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def in_layer(label):
    """The place of a matrix in its layer, numbers of experts as #."""
    found = re.search(r"\.(?:layers|h)\.\d+\.(.+)$", label)
    return found and re.sub(r"(?<=[.\[])\d+", "#", found[1].removesuffix(".weight"))


@pytest.mark.parametrize("kind", CASES)
def test_the_matrices_of_the_layers(tmp_path, kind):
    tensors = save_model(tmp_path, kind)
    found = Structure({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    _, matrices, others = CASES[kind]
    assert {in_layer(matrix.label) for matrix in found.matrices} == set(matrices)
    rest = {
        in_layer(name)
        for name, tensor in tensors.items()
        if tensor.ndim > 1 and in_layer(name) and not found.matrices_of(name)
    }
    assert rest == set(others)
    covered = sum(matrix.m * matrix.n for matrix in found.matrices)
    assert covered == sum(tensors[name].numel() for name in tensors if found.kind(name) == "matrix")
    outside = {found.kind(name) for name in tensors if not in_layer(name)}
    assert outside <= {"embedding", "head", "norm", "bias"}


def test_parts_of_a_layer_under_the_names_of_families():
    assert part_of("transformer.h.0.attn.c_proj.weight") == "attention"
    assert part_of("transformer.h.0.mlp.c_proj.weight") == "mlp"
    assert part_of("model.decoder.layers.0.fc1.weight") == "mlp"
    assert part_of("model.layers.0.block_sparse_moe.experts.3.w2.weight") == "mlp"
    assert part_of("model.layers.0.mlp.experts.down_proj[3]") == "mlp"
    assert part_of("backbone.layers.0.mixer.q_proj.weight") == "attention"
    assert part_of("backbone.layers.0.mixer.in_proj.weight") == "mixer"


FUSED = "model.layers.0.mlp.experts.down_proj"


def fused_and_apart(root):
    """The same gpt-oss run twice: experts in one tensor, and experts one by one."""
    start = save_model(root / "model", "gpt_oss")
    for step in range(5):
        generator = torch.Generator().manual_seed(step)
        moved = {
            name: start[name] + 1e-2 * step * torch.randn(start[name].shape, generator=generator)
            for name in sorted(start)
        }
        apart = {}
        for name, tensor in moved.items():
            if tensor.ndim == 3:
                stem, _, last = name.rpartition(".")
                each = {f"{stem}.{e}.{last}.weight": part for e, part in enumerate(tensor.unbind())}
                apart |= {key: part.clone() for key, part in each.items()}
            else:
                apart[name] = tensor
        for way, tensors in (("fused", moved), ("apart", apart)):
            folder = root / way / ("base" if step == 0 else f"steps/step_{step}")
            folder.mkdir(parents=True)
            save_file(tensors, folder / "model.safetensors")
    return [
        Trajectory.open(root / way / "base", root / way / "steps") for way in ("fused", "apart")
    ]


def test_fused_experts_are_a_stack_of_matrices(tmp_path):
    fused, apart = fused_and_apart(tmp_path)
    tables = []
    for way, trajectory in (("fused", fused), ("apart", apart)):
        measure(trajectory, MeasureSettings(draws=5), tmp_path / way / "m", progress=False)
        table = pd.read_parquet(tmp_path / way / "m" / "update_svd.parquet")
        experts = table[table["tensor"].str.contains("experts")]
        tables.append(experts.sort_values(["step", "sigma"])["sigma"].to_numpy())
        kept = load_updates(tmp_path / way / "m" / "statistics", last := experts["tensor"].max())
        shown = experts[experts["tensor"] == last]["sigma"].to_numpy()
        assert np.array_equal(kept.sigma.reshape(-1), shown)
    assert len(tables[0]) == 2 * 2 * 6 * 4 * 8  # layers, tensors, experts, steps, triples
    assert np.allclose(*tables, rtol=1e-6)
    accuracy = {step: 0.2 + 0.1 * step for step in range(5)}
    for at, trajectory in enumerate((fused, apart)):
        out = tmp_path / f"out_{at}"
        RECONSTRUCTIONS["rank1_recovery"].run(trajectory, [4], out)
        EXTRAPOLATORS["alpharl"].run(trajectory, 4, [9], out, accuracy=accuracy, y_star=0.9)
    for place in ("rank1_recovery/observe_0/step_4", "alpharl/observe_4/step_9"):
        whole, parts = (
            load_file(tmp_path / f"out_{at}" / place / "model.safetensors") for at in (0, 1)
        )
        base = fused.tensor(0, FUSED)
        for expert in range(6):
            alone = parts[f"model.layers.0.mlp.experts.{expert}.down_proj.weight"]
            assert torch.equal(whole[FUSED][expert], alone)
            sigma = torch.linalg.svdvals((whole[FUSED][expert] - base[expert]).double())
            assert sigma[0] > 0 and sigma[1] < 1e-4 * sigma[0]
        assert torch.equal(
            whole["model.layers.0.mlp.router.weight"],
            fused.tensor(0, "model.layers.0.mlp.router.weight"),
        )
