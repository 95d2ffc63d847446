"""Step 4: the 1.5B model's shapes, four updates a step, beside the estimates.

The base is random, with the demo's tokenizer. It is never right, so its rewards come from DAPO's
length penalty over the whole answer: groups differ in length, advantages and ratios are real.
"""

from functools import cache

import pandas as pd

from rlvr_dynamics.config import load
from rlvr_dynamics.estimates.memory import ENGINE_BYTES, RESERVED_BYTES, SPARE_BYTES, memory
from rlvr_dynamics.estimates.shapes import GIB
from rlvr_dynamics.schema import Architecture, RunConfig

from .bench import Bench, Command, Commands, batch, random_model
from .finding import Finding, above, at_most, holds, needs_gpu, noted
from .product import largest_of, mean_of, run, table
from .times import beside_estimates

NAME, RUN = "shapes", "run"
CELL = "grpo_qwen2_5_math_1_5b"
STEPS, UPDATES = 8, 4
# A few minutes are as soon begun anew as resumed, and states are the larger part of the disk.
NO_STATE = "trainer.save_state_every=1000"
ALLOCATED, RESERVED = "actor/perf/max_memory_allocated_gb", "actor/perf/max_memory_reserved_gb"


def commands(bench: Bench) -> Commands:
    """Return the one run: 8 steps of 4 updates."""
    own = (*small_rollouts(bench), f"trainer.steps={STEPS}", NO_STATE)
    return {RUN: Command(bench.folder(NAME) / RUN, own)}


def small_rollouts(bench: Bench, layers: int | None = None) -> tuple[str, ...]:
    """Return a training of the random 1.5B model on short answers, several updates a step.

    Args:
        bench: Where it trains.
        layers: Decoder layers; None for all.
    """
    shape = architecture(CELL)
    prompts, answer, rate = (8, 48, 1e-3) if bench.rehearses else (32 * bench.gpus, 1024, 1e-5)
    tokens = 384 if bench.rehearses else cell(CELL).trainer.tokens_per_pass
    return (
        *random_model(bench, shape, "random_1_5b", layers),
        "algorithm=dapo",
        "algorithm.dynamic_sampling=false",
        "algorithm.overlong.buffer_share=1.0",
        "algorithm.warmup_steps=0",
        f"algorithm.learning_rate={rate}",
        *batch(bench, prompts, UPDATES),
        f"trainer.max_response_tokens={answer}",
        f"trainer.micro_batch_tokens={tokens}",
        *(() if bench.rehearses else ("trainer.checkpoint_dtype=bfloat16",)),
        "stages=[prepare,train]",
    )


@cache
def cell(name: str) -> RunConfig:
    """Return the configuration of a cell of the grid."""
    return load([f"+exp={name}"])


def architecture(name: str) -> Architecture:
    """Return the shapes of the model of a cell of the grid."""
    model = cell(name).model
    if model.kind != "hub":
        raise TypeError("a cell of the grid trains a published model")
    return model.architecture


def work(bench: Bench) -> list[Finding]:
    """Train, and compare clip fraction, memory and times with what was said before."""
    command = commands(bench)[RUN]
    run(command)
    metrics = table(command, "metrics")
    clipped = largest_of(metrics, "actor/pg_clipfrac")
    return [
        holds("steps trained", len(metrics), len(metrics) == STEPS, str(STEPS)),
        above(
            f"largest clip fraction, {UPDATES} updates a step",
            float("nan") if clipped is None else clipped,
            0.0,
        ),
        above("spread of the answers' lengths", _spread(metrics), 0.0, "tokens"),
        *within_estimate(bench, command),
        *beside_estimates(bench, command, metrics),
        noted("tokens a step", mean_of(metrics, "perf/total_num_tokens")),
        noted("model FLOP utilisation of the update", mean_of(metrics, "perf/mfu/actor")),
    ]


def within_estimate(bench: Bench, command: Command) -> list[Finding]:
    """Compare PyTorch's largest memory in a run of training with the estimate of its settings."""
    what = "largest memory that PyTorch allocated"
    if bench.rehearses:
        return [needs_gpu(what, "within the estimate")]
    need = memory(load(command.arguments))
    # The reserves stand for what the trainer's PyTorch does not allocate: contexts, NCCL, vLLM.
    own = need.training - RESERVED_BYTES - ENGINE_BYTES
    metrics = table(command, "metrics")
    found, held = (largest_of(metrics, name) for name in (ALLOCATED, RESERVED))
    return [
        at_most(what, float("nan") if found is None else found, (own + SPARE_BYTES) / GIB, "GiB"),
        noted(f"{what}, estimated", own / GIB, "GiB"),
        noted("largest memory that PyTorch held", held, "GiB"),
    ]


def _spread(metrics: pd.DataFrame) -> float:
    highest = largest_of(metrics, "response_length/max")
    lowest = mean_of(metrics, "response_length/min")
    return float("nan") if highest is None or lowest is None else highest - lowest
