"""The dry run: stages and what is cached, verl's exact command, disk and GPUs, as text."""

import shlex

from rlvr_dynamics.checkpoints.step_names import shortened
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.estimates.disk import WAIT_SECONDS, Save, disk, prediction_count, save
from rlvr_dynamics.estimates.hours import response_tokens, steps_of, training_hours, work_of
from rlvr_dynamics.estimates.memory import ENGINE_BYTES, RESERVED_BYTES, memory, misfits
from rlvr_dynamics.estimates.ranges import Range
from rlvr_dynamics.estimates.scoring import scoring
from rlvr_dynamics.estimates.shapes import GIB, adapter_count, shape_of
from rlvr_dynamics.fidelity import OPEN, differences, rows_of
from rlvr_dynamics.flow import stages
from rlvr_dynamics.flow.acceleration import acceleration_in_words, check_acceleration
from rlvr_dynamics.flow.checks import check_machine, gpus_needed
from rlvr_dynamics.flow.pipeline import Known, plan
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.run_directory.trajectory import external_identities
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.schema.clips import clips_of, in_words
from rlvr_dynamics.system.hardware import free_bytes, gpus_found
from rlvr_dynamics.training.jump_plan import answers_a_step, most_answers
from rlvr_dynamics.training.verl_command import verl_command
from rlvr_dynamics.training.verl_environment import environment
from rlvr_dynamics.training.verl_schema import check

SHOWN_VARIABLES = ("RLVR_", "VERL_", "VLLM_", "OMP_", "HF_")


def describe(run: Run) -> str:
    """Return the plan of a run. Nothing is created, downloaded or started.

    Raises:
        UserError: What the run itself would raise for its configuration and folder.
    """
    config = run.config
    check_acceleration(config)
    found = gpus_found()
    count = shape_of(config.model).parameters
    lines = [
        f"plan of {config.name}, run_dir {run.folder}",
        f"model     {config.model.name}: {count:,} parameters",
    ]
    published = config.source.published
    if published is not None and "train" in config.stages:
        lines += [
            f"fetching  {len(published.steps)} steps of {published.repo} at {published.revision}: "
            f"{shortened(published.steps)}"
            + (f" ({published.final_revision} for the last)" if published.final_revision else "")
        ]
    if config.trains:
        lines += [
            f"training  {config.algorithm.name}, {config.trainer.steps} steps of "
            f"{config.trainer.prompts_per_step} prompts x {config.algorithm.group_size} samples, "
            f"learning rate {config.algorithm.learning_rate:g}",
            *_adapters(config),
            *_updates(config),
            *acceleration_in_words(config),
        ]
    lines += _fidelity(config)
    lines += _disk(config, free_bytes(run.folder))
    if config.trains and config.trainer.device == "cuda":
        lines += _training_on_gpus(config)
    if "score" in config.stages and config.benchmark:
        lines += [_scoring(config)]
    lines += [
        f"GPUs      {gpus_needed(config)} needed"
        + (f" of {config.trainer.gpu_memory_gib} GiB" if gpus_needed(config) else "")
        + f", {len(found)} found"
        + (f" ({', '.join(found)})" if found else ""),
        "",
        "stages",
    ]
    for item in plan(run, stages.ALL, Known(external_identities(run))):
        lines.append(f"  {item.stage.name:<12} {item.state:<7} {item.why}")
    if config.trains:
        command = verl_command(config, prepare=run.of("prepare"), output=run.of("train") / "verl")
        variables = environment(config, run.of("train") / "verl" / "metrics_1.jsonl")
        shown = [
            f"{name}={shlex.quote(value)}"
            for name, value in sorted(variables.items())
            if name.startswith(SHOWN_VARIABLES)
        ]
        lines += ["", "verl's command", "  " + " \\\n    ".join([*shown, shlex.join(command[:3])])]
        lines[-1] += " \\\n    " + " \\\n    ".join(shlex.quote(item) for item in command[3:])
        lines += ["", check(command[3:])]
    try:
        check_machine(run)
    except UserError as error:
        lines += ["", f"would not start: {error}"]
    return "\n".join(lines)


def _adapters(config: RunConfig) -> list[str]:
    """How much LoRA trains, of what."""
    shape, lora = shape_of(config.model), config.algorithm.lora
    if lora is None:
        return []
    count = adapter_count(shape, config.algorithm)
    return [
        f"adapters  {lora.in_words}: {count:,} parameters are trained, {shape.parameters:,} are "
        "not; every step is saved whole, with the adapters merged"
    ]


def _updates(config: RunConfig) -> list[str]:
    """How many updates a step makes, and which clips can therefore act."""
    trainer, critic = config.trainer, config.algorithm.critic
    count = f"updates   {trainer.updates_per_rollout} of the policy a step"
    if critic is not None:
        count += f", {trainer.critic_updates_per_rollout} of the value model"
    prompts = f"{count} (trainer.mini_batch_prompts={trainer.mini_batch_prompts})"
    return [
        prompts,
        *(f"          {text}" for text in in_words(clips_of(config.algorithm, trainer))),
    ]


def _fidelity(config: RunConfig) -> list[str]:
    """Where the run differs from the paper that it follows."""
    rows = rows_of(config)
    if not rows:
        return []
    found = differences(config)
    left_open = sum(row.state == OPEN for row in rows)
    return [
        f"protocol  {config.protocol}: {len(found)} of {len(rows)} settings differ, {left_open} "
        "are not printed and as the grid chose them (docs/fidelity.md)",
        *(
            f"          {row.setting}: {row.paper} -> {row.ours} here; {row.reason} ({row.key})"
            for row in found
        ),
    ]


def _disk(config: RunConfig, free: int) -> list[str]:
    """What each kind of weights takes; only what is asked for has a line."""
    need, trainer = disk(config), config.trainer
    lines = []
    if need.training:
        lines.append(
            f"disk      {need.training:,} bytes for checkpoints (one per step, "
            + ("as deltas, " if config.trains and trainer.keep == "deltas" else "")
            + (
                f"{trainer.checkpoint_dtype}) and the newest {trainer.keep_optimizer_states} "
                "optimizer states"
                if config.source.published is None
                else "if stored as trainer.checkpoint_dtype; the hub says exactly before fetching)"
            )
            + f", {free:,} bytes free"
            + (": not enough" if need.training > free else "")
        )
        if config.source.published is None and trainer.checkpoint_dtype == "bfloat16":
            lines.append(
                "          bfloat16 hides changes below its rounding (1/256 of a weight); "
                "trainer.checkpoint_dtype=float32 keeps them in twice the disk"
            )
    others = {
        "the base": need.base,
        "scored steps as a whole": need.unpacked,
        f"{prediction_count(config)} predictions": need.predictions,
        "leading directions": need.directions,
    }
    listed = [f"{size:,} for {what}" for what, size in others.items() if size]
    if listed:
        lines.append(f"{'disk' if not lines else '':<10}" + ", ".join(listed) + " (bytes)")
    return lines


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.0f} GB" if size >= 1e10 else f"{size / 1e9:.2g} GB"


def _saving(each: Save) -> list[str]:
    return [
        f"saving    {_gigabytes(each.weights)} of weights at every step, and for a resume "
        f"{_gigabytes(each.state)} at every {each.every}",
        f"          one process writes the weights while the others wait, {WAIT_SECONDS:,} s at "
        f"most: the disk must take {each.least_rate / 1e6:.0f} MB/s from it",
    ]


def _training_on_gpus(config: RunConfig) -> list[str]:
    need, trainer = memory(config), config.trainer
    problems = misfits(config)
    verdict = "does not fit" if problems else "fits"
    tied = shape_of(config.model).tied
    return [
        f"memory    per GPU: training {need.training / GIB:.1f} GiB (state "
        f"{(need.state + need.critic) / GIB:.1f}, gathered {need.gathered / GIB:.1f}, activations "
        f"{need.activations / GIB:.1f}, logits {need.logits / GIB:.1f}, reserve "
        f"and vLLM asleep {(RESERVED_BYTES + ENGINE_BYTES) / GIB:.0f}), "
        f"generating {need.generating / GIB:.1f} GiB "
        f"(vLLM {need.rollout / GIB:.1f}, cache of {need.cache_tokens:,} tokens): {verdict} in "
        f"{trainer.gpu_memory_gib} GiB (estimate)",
        *(f"          {problem}" for problem in problems),
        f"          host: {need.host / GIB:.0f} GiB on each node"
        + (", where every process loads the tied model whole" if tied else ""),
        *_saving(save(config)),
        *_training_time(config),
    ]


def _training_time(config: RunConfig) -> list[str]:
    trainer, hours = config.trainer, training_hours(config)
    gpus = trainer.nodes * trainer.gpus_per_node
    fast, slow = steps_of(config)
    steps = most_answers(config) / answers_a_step(config)
    gate = f"; without the gate's answers, as many as {steps:.1f} steps draw at each firing"
    phases = {
        "rollout": Range(fast.generating, slow.generating),
        "log-probabilities": Range(fast.scoring, slow.scoring),
        "training": Range(fast.training, slow.training),
        "saving": Range(fast.saving, slow.saving),
        "validation": Range(fast.validating, slow.validating),
    }
    return [
        f"time      training {hours} hours on {gpus} GPUs, {hours.times(gpus)} GPU-hours "
        f"(estimate on {work_of(config).card.name}s: mean response "
        f"{response_tokens(config)} tokens{gate if steps else ''})",
        f"          a step {Range(fast.total, slow.total)} seconds: "
        + ", ".join(f"{name} {seconds}" for name, seconds in phases.items() if seconds.high),
    ]


def _scoring(config: RunConfig) -> str:
    need = scoring(config)
    line = f"scoring   {need.models} models, {need.answers:,} answers"
    if need.hours is None:
        return line
    return (
        f"{line}, {need.hours} hours on {need.gpus} GPUs, {need.hours.times(need.gpus)} GPU-hours "
        "(estimate)"
    )
