"""One rank of a policy with adapters, sharded as verl shards it: what it sends, what it saves.

`torchrun -m tests.support.lora_ranks FOLDER`, with the variables of `verl_command.environment`.
"""

import copy
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist
from safetensors.torch import load_file

from rlvr_dynamics.training import adapters


def model():
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    sizes = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, vocab_size=50)
    heads = dict(num_attention_heads=2, num_key_value_heads=1, head_dim=32)
    base = Qwen3ForCausalLM(Qwen3Config(**sizes, **heads, tie_word_embeddings=True))
    settings = dict(r=3, lora_alpha=6, target_modules="all-linear", task_type="CAUSAL_LM")
    made = get_peft_model(base, LoraConfig(**settings))
    for name, values in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(values, std=0.1)
    return made


def main(folder: Path) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from verl.utils.fsdp_utils import MixedPrecisionPolicy, apply_fsdp2
    from verl.workers.engine.fsdp import transformer_impl

    dist.init_process_group("gloo")
    policy = model()
    exact = copy.deepcopy(policy).double().merge_and_unload().state_dict()
    whole = {name: values.clone() for name, values in policy.state_dict().items()}
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    precision = MixedPrecisionPolicy(param_dtype=torch.float32, reduce_dtype=torch.float32)
    apply_fsdp2(policy, dict(mesh=mesh, mp_policy=precision), {})
    engine = SimpleNamespace(module=policy, _is_offload_param=False)
    sent = dict(transformer_impl.FSDPEngine._merged_lora_per_tensor_param(engine))
    assert sent.keys() == exact.keys()
    for name, values in sent.items():
        assert values.dtype == torch.float32
        assert torch.allclose(values.double(), exact[name], rtol=1e-6, atol=1e-7), name
    for name, values in policy.named_parameters():  # the base is as it was
        assert torch.equal(values.full_tensor(), whole[name]), name
    adapters._write(policy, folder, dist.get_rank())
    for name, values in load_file(folder / adapters.ADAPTER).items():
        assert torch.equal(values, whole[name.replace(".weight", ".default.weight")]), name


if __name__ == "__main__":
    main(Path(sys.argv[1]))
