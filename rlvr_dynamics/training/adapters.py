"""LoRA in verl's processes: what verl 0.9.1 leaves open, or rounds.

verl imports this module in each of its processes when VERL_USE_EXTERNAL_MODULES names it
(`verl_environment.environment`). Adapters are saved as peft saves them, in safetensors, where verl
would write base and adapters under peft's names; `checkpoints/verl_run.py` merges them. Merged
weights go to vLLM in float32, where verl rounds them to bfloat16 whatever the precision of the
rollout. The first values of A follow the run's seed, where verl has none. PPO with a KL term
trains, where verl ends with an error.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from rlvr_dynamics.training.after_import import after_import
from rlvr_dynamics.training.saved_states import WEIGHTS, choose_contents

ACTIVE = "RLVR_LORA"
ADAPTER = "adapter_model.safetensors"  # peft's name


def _save_adapters(module: Any) -> None:
    """Save adapters in place of the whole model; the value model has none."""

    def choose(manager: Any, contents: list[str], _step: int) -> list[str]:
        return [part for part in contents if part != WEIGHTS or not manager._has_lora()]

    def then(manager: Any, folder: str) -> None:
        _write(manager.model, Path(folder) / "huggingface", manager.rank)

    choose_contents(module, choose, then)


def _write(model: Any, folder: Path, rank: int) -> None:
    """Gather the adapters on every rank, and write them on the first."""
    import torch
    from safetensors.torch import save_file
    from verl.utils.fsdp_utils import collect_lora_params

    tensors = collect_lora_params(model, layered_summon=False, base_sync_done=True)
    if rank == 0:
        getattr(model, "_fsdp_wrapped_module", model).peft_config["default"].save_pretrained(folder)
        save_file({name: each.contiguous() for name, each in tensors.items()}, folder / ADAPTER)
    torch.distributed.barrier()


def _send_unrounded(module: Any) -> None:
    """Send merged weights as they are trained; vLLM rounds to its own dtype."""

    def merged(self: Any) -> Iterator[tuple[str, Any]]:
        device = module.get_device_id()
        model = getattr(self.module, "_fsdp_wrapped_module", self.module)
        try:
            # The base's weights come back when the block ends: what is sent must be a copy.
            with module.merged_lora_context(self.module, backup_adapters=True):
                weights = module.normalize_peft_param_name(self.module.state_dict())
                for name, values in module.convert_weight_keys(weights, model).items():
                    whole = values.detach()
                    if isinstance(values, module.DTensor):
                        whole = whole.to(device, non_blocking=True).full_tensor()
                    yield name, whole.clone()
        finally:
            if self._is_offload_param:
                module.offload_fsdp_model_to_cpu(self.module)

    module.FSDPEngine._merged_lora_per_tensor_param = merged


def _draw_from_seed(module: Any) -> None:
    """Draw the first values of the adapters from the engine's seed."""
    import torch

    original = module.FSDPEngine._build_lora_module

    def build(self: Any, model: Any) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.engine_config.seed)
            return original(self, model)

    module.FSDPEngine._build_lora_module = build


def _leave_the_value_model(module: Any) -> None:
    """Let PPO's value model pass the request for a reference, which it gets and cannot answer.

    The trainer notes "without adapters" in the batch for the reference's log-probabilities, and
    the values are computed from the same batch after them.
    """
    original = module.FSDPEngine.disable_adapter

    def disable_adapter(self: Any) -> AbstractContextManager[None]:
        return original(self) if self._is_lora else nullcontext()

    module.FSDPEngine.disable_adapter = disable_adapter


if ACTIVE in os.environ:
    after_import("verl.utils.checkpoint.fsdp_checkpoint_manager", _save_adapters)
    after_import("verl.workers.engine.fsdp.transformer_impl", _send_unrounded)
    after_import("verl.workers.engine.fsdp.transformer_impl", _draw_from_seed)
    after_import("verl.workers.engine.fsdp.transformer_impl", _leave_the_value_model)
