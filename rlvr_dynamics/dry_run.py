"""The plan in words: stages, what is cached, verl's exact command, disk and GPUs."""

import shlex

from rlvr_dynamics import pipeline, stages
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hardware import free_bytes, gpus_found
from rlvr_dynamics.training.verl_command import environment, verl_command

SHOWN_VARIABLES = ("VERL_", "VLLM_", "OMP_", "HF_", "WANDB_MODE")


def describe(run: pipeline.Run) -> str:
    """Return the plan of a run. Nothing is created, downloaded or started.

    Raises:
        UserError: What the run itself would raise for its configuration and folder.
    """
    config = run.config
    found = gpus_found()
    need, free = stages.checkpoint_bytes(config), free_bytes(run.folder)
    lines = [
        f"plan of {config.name}, run_dir {run.folder}",
        f"model     {config.model.name}: {stages.parameters(config):,} parameters",
    ]
    if "train" in config.stages:
        lines += [
            f"training  {config.algorithm.name}, {config.trainer.steps} steps of "
            f"{config.trainer.prompts_per_step} prompts x {config.algorithm.group_size} samples, "
            f"learning rate {config.algorithm.learning_rate:g}",
            f"disk      {need:,} bytes for checkpoints (one per step), {free:,} bytes free"
            + (": not enough" if need > free else ""),
        ]
    lines += [
        f"GPUs      {stages.gpus_needed(config)} needed"
        + (f" of {config.trainer.gpu_memory_gib} GiB" if stages.gpus_needed(config) else "")
        + f", {len(found)} found"
        + (f" ({', '.join(found)})" if found else ""),
        "",
        "stages",
    ]
    for item in pipeline.plan(run, stages.ALL, stages.external_identities):
        lines.append(f"  {item.stage.name:<12} {item.state:<7} {item.why}")
    if "train" in config.stages:
        command = verl_command(config, prepare=run.of("prepare"), output=run.of("train") / "verl")
        variables = environment(config, run.of("train") / "verl" / "metrics_1.jsonl")
        shown = [
            f"{name}={shlex.quote(value)}"
            for name, value in sorted(variables.items())
            if name.startswith(SHOWN_VARIABLES)
        ]
        lines += ["", "verl's command", "  " + " \\\n    ".join([*shown, shlex.join(command[:3])])]
        lines[-1] += " \\\n    " + " \\\n    ".join(shlex.quote(item) for item in command[3:])
    try:
        stages.check_machine(run)
    except UserError as error:
        lines += ["", f"would not start: {error}"]
    return "\n".join(lines)
