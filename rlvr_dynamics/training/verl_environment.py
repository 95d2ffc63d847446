"""The variables with which verl's command runs, in its own Ray cluster or in one that it joins."""

import os
import re
from pathlib import Path

from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.scoring.environment import CPU_VARIABLES, VLLM_VARIABLES
from rlvr_dynamics.system.processes import folder_prefix
from rlvr_dynamics.training import accelerate, adapters, own_sockets, saved_states
from rlvr_dynamics.training.jump_plan import VARIABLE, plan_of
from rlvr_dynamics.training.rollout_counts import FOLDER_VARIABLE, folder_of


def environment(config: RunConfig, metrics_file: Path) -> dict[str, str]:
    """Return verl's environment: this process's own plus switches for verl, vLLM and Ray."""
    variables = dict(os.environ)
    variables |= VLLM_VARIABLES | {
        "VERL_FILE_LOGGER_PATH": str(metrics_file),
        FOLDER_VARIABLE: str(folder_of(metrics_file)),
        "HYDRA_FULL_ERROR": "1",
        "PYTHONUNBUFFERED": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "1",
    }
    if config.trainer.device == "cpu":
        # verl knows its FSDP engine only as "cuda"; the code itself is device-neutral.
        variables |= {
            "VERL_PLATFORM": "cpu",
            "VERL_ENGINE_DEVICE": "cuda",
            "OMP_NUM_THREADS": "1",
            **CPU_VARIABLES,
            "VLLM_CPU_KVCACHE_SPACE": "1",
        }
        variables.pop("CUDA_VISIBLE_DEVICES", None)  # if set but empty, verl finds no slot
    modules = [own_sockets.__name__]
    variables[own_sockets.OWNER] = folder_prefix(str(metrics_file.parent.resolve()))
    if config.trainer.save_state_every > 1:
        modules.append(saved_states.__name__)
        variables[saved_states.EVERY] = str(config.trainer.save_state_every)
    if config.algorithm.lora is not None:
        modules.append(adapters.__name__)
        variables[adapters.ACTIVE] = "1"
    plan = plan_of(config, metrics_file.parent.parent)
    if plan is not None:
        modules.append(accelerate.__name__)
        variables[VARIABLE] = plan.model_dump_json()
    others = variables.get("VERL_USE_EXTERNAL_MODULES")
    variables["VERL_USE_EXTERNAL_MODULES"] = ",".join([*([others] if others else []), *modules])
    return variables


def joining_overrides(variables: dict[str, str]) -> list[str]:
    """Return the extra overrides verl needs to join the Ray cluster named by RAY_ADDRESS.

    Its workers are children of that cluster's daemons and inherit nothing from verl's process, so
    every variable that differs from this process's own goes into Ray's runtime environment.
    """
    if "RAY_ADDRESS" not in os.environ:
        return []
    own = {key: value for key, value in variables.items() if os.environ.get(key) != value}
    own.pop("TMPDIR", None)  # exists on this node only
    given = ",".join(f'{key}:"{_escaped(value)}"' for key, value in sorted(own.items()))
    return [f"+ray_kwargs.ray_init.runtime_env.env_vars={{{given}}}"]


def _escaped(text: str) -> str:
    return re.sub(r'(\\*)"', r'\1\1\\"', text)
