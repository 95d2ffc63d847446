"""One rank of a policy with adapters, sharded as verl shards it: what it sends, saves and loads.

`torchrun -m tests.support.lora_ranks FOLDER`, with the variables of `verl_environment.environment`.
"""

import copy
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist
from safetensors.torch import load_file

from rlvr_dynamics.training import adapters

SAVED = ["model", "optimizer", "extra", "hf_model"]


def model(seed):
    """A base that is always the same, and adapters that follow a seed."""
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    sizes = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, vocab_size=50)
    heads = dict(num_attention_heads=2, num_key_value_heads=1, head_dim=32)
    base = Qwen3ForCausalLM(Qwen3Config(**sizes, **heads, tie_word_embeddings=True))
    torch.manual_seed(seed)
    settings = dict(r=3, lora_alpha=6, target_modules="all-linear", task_type="CAUSAL_LM")
    made = get_peft_model(base, LoraConfig(**settings))
    for name, values in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(values, std=0.1)
    return made


def sharded(policy):
    """Shard it as verl does, and return it with its optimizer."""
    from torch.distributed.device_mesh import init_device_mesh
    from verl.utils.fsdp_utils import MixedPrecisionPolicy, apply_fsdp2

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    precision = MixedPrecisionPolicy(param_dtype=torch.float32, reduce_dtype=torch.float32)
    apply_fsdp2(policy, dict(mesh=mesh, mp_policy=precision), {})
    return policy, torch.optim.AdamW(policy.parameters(), lr=1e-2)


def manager(policy, optimizer):
    from verl.trainer.config import CheckpointConfig
    from verl.utils.checkpoint.fsdp_checkpoint_manager import FSDPCheckpointManager

    settings = CheckpointConfig(
        save_contents=SAVED, load_contents=SAVED[:3], save_lora_only=True, async_save=False
    )
    tokenizer = SimpleNamespace(save_pretrained=lambda folder: None)
    return FSDPCheckpointManager(
        policy, optimizer, processing_class=tokenizer, checkpoint_config=settings
    )


def whole(policy):
    return {name: values.full_tensor() for name, values in policy.named_parameters()}


def check_sent(policy, exact, before):
    """What goes to vLLM is the merged model in float32, and the base is as it was."""
    from verl.workers.engine.fsdp import transformer_impl

    engine = SimpleNamespace(module=policy, _is_offload_param=False)
    sent = dict(transformer_impl.FSDPEngine._merged_lora_per_tensor_param(engine))
    assert sent.keys() == exact.keys()
    for name, values in sent.items():
        assert values.dtype == torch.float32
        assert torch.allclose(values.double(), exact[name], rtol=1e-6, atol=1e-7), name
    after = whole(policy)
    assert all(torch.equal(after[name], before[name]) for name in before)


def train_once(policy, optimizer):
    policy(input_ids=torch.arange(12).view(2, 6)).logits.square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def check_loaded(folder, policy, optimizer):
    """Another model goes on from a saved state as the one that was saved does."""
    other, its = sharded(model(2))
    manager(other, its).load_checkpoint(str(folder))
    assert all(torch.equal(values, whole(policy)[name]) for name, values in whole(other).items())
    train_once(policy, optimizer)
    train_once(other, its)
    assert all(torch.equal(values, whole(policy)[name]) for name, values in whole(other).items())


def main(folder: Path) -> None:
    dist.init_process_group("gloo")
    made = model(1)
    exact = copy.deepcopy(made).double().merge_and_unload().state_dict()
    policy, optimizer = sharded(made)
    check_sent(policy, exact, whole(policy))
    train_once(policy, optimizer)
    trained = whole(policy)
    for step in (1, 2):  # trainer.save_state_every=2: the first has no state
        place = folder / f"step_{step}"
        manager(policy, optimizer).save_checkpoint(str(place), global_step=step)
        for name, values in load_file(place / "huggingface" / adapters.ADAPTER).items():
            assert torch.equal(values, trained[name.replace(".weight", ".default.weight")]), name
        assert bool(list(place.glob("*_rank_*.pt"))) == (step == 2)
    check_loaded(folder / "step_2", policy, optimizer)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
