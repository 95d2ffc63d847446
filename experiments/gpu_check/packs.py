"""Step 5: micro-batches packed to their token budget, at the longest samples of the cells."""

import shutil

from rlvr_dynamics.config import load
from rlvr_dynamics.estimates.memory import misfits
from rlvr_dynamics.schema import RunConfig

from .bench import Bench, Command, Commands, batch, random_model
from .finding import (
    FAILED,
    Finding,
    above,
    holds,
    needs_gpu,
    noted,
    verdict_of,
)
from .product import mean_of, run, table
from .shapes import NO_STATE, architecture, cell, within_estimate
from .times import beside_estimates

NAME = "packs"
CELLS = {"1_5b": "grpo_qwen2_5_math_1_5b", "7b": "grpo_qwen2_5_7b"}
STEPS = 2
PROMPT = 64  # the demo's prompts are short; the answer takes the rest of the longest sample
MOST_LAYERS = {"1_5b": 28, "7b": 8}
GROUP = {"1_5b": 8, "7b": 4}
# Every answer is as long as it may be.
TO_THE_END = "trainer.verl_overrides=['actor_rollout_ref.rollout.ignore_eos=true']"


def commands(bench: Bench) -> Commands:
    """Return a run at the longest sample of each cell; the rehearsal plans them for a GPU."""
    if not bench.rehearses:
        return {name: _command(bench, name, bench) for name in CELLS}
    card = Bench(bench.out, "cuda", 1, 80)
    planned = {name: _command(card, name, bench) for name in CELLS}
    return {
        name: Command(command.folder, (*command.overrides, "dry_run=true"))
        for name, command in planned.items()
    }


def work(bench: Bench) -> list[Finding]:
    """Train on the longest samples, and compare the memory with the estimate."""
    chosen = commands(bench)
    for command in chosen.values():
        run(command)
    if bench.rehearses:
        return [
            needs_gpu(f"{name}: a pack at the longest sample", "within the estimated memory")
            for name in chosen
        ]
    found: list[Finding] = []
    for name, command in chosen.items():
        config, metrics = load(command.arguments), table(command, "metrics")
        longest = mean_of(metrics, "response_length/max") or float("nan")
        wanted = config.trainer.max_response_tokens
        mine = [
            holds("steps trained", len(metrics), len(metrics) == STEPS, str(STEPS)),
            holds("tokens of an answer", longest, longest == wanted, str(wanted)),
            *within_estimate(bench, command),
            noted("decoder layers", architecture_layers(command)),
            *beside_estimates(bench, command, metrics),
            above("tokens a step", mean_of(metrics, "perf/total_num_tokens") or 0.0, 0.0),
        ]
        found += [
            Finding(f"{name}: {each.what}", each.value, each.unit, each.wanted, each.verdict)
            for each in mine
        ]
    if verdict_of(found) != FAILED:  # nothing reads these weights
        for command in chosen.values():
            shutil.rmtree(command.folder / "train" / "checkpoints", ignore_errors=True)
    return found


def architecture_layers(command: Command) -> int:
    """Return the decoder layers of a run's random model."""
    model = load(command.arguments).model
    return model.layers if model.kind == "tiny" else model.architecture.layers


def _command(card: Bench, name: str, bench: Bench) -> Command:
    """Return the run of a cell's shapes; what layers add is told by a few of the largest."""
    layers = min(architecture(CELLS[name]).layers, MOST_LAYERS[name])
    config = load(list(_overrides(card, name, layers)))
    while layers > 1 and not _fits(config, layers):
        layers -= 1
    return Command(bench.folder(NAME) / name, _overrides(card, name, layers))


def _overrides(card: Bench, name: str, layers: int) -> tuple[str, ...]:
    trainer = cell(CELLS[name]).trainer
    return (
        *random_model(card, architecture(CELLS[name]), f"random_{name}", layers),
        "algorithm=grpo",
        "algorithm.kl_loss_coef=0.0",
        "algorithm.warmup_steps=0",
        *batch(card, prompts=2 * card.gpus, updates=1, group=GROUP[name]),
        f"trainer.max_prompt_tokens={PROMPT}",
        f"trainer.max_response_tokens={trainer.longest_sample - PROMPT}",
        f"trainer.micro_batch_tokens={trainer.tokens_per_pass}",
        f"trainer.offload={str(trainer.offload).lower()}",
        f"trainer.steps={STEPS}",
        NO_STATE,
        "trainer.checkpoint_dtype=bfloat16",
        TO_THE_END,
        "stages=[prepare,train]",
    )


def _fits(config: RunConfig, layers: int) -> bool:
    model = config.model.model_copy(update={"layers": layers})
    return not misfits(config.model_copy(update={"model": model}))
