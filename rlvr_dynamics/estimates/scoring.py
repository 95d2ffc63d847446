"""How many answers the stage `score` asks for, and how long vLLM takes for them."""

from dataclasses import dataclass

from rlvr_dynamics.estimates.decoding import WIDTH, Engine, card_of, token_bytes
from rlvr_dynamics.estimates.hours import FAST, SLOW, Speed
from rlvr_dynamics.estimates.lengths import (
    PROMPT_TOKENS,
    Length,
    long_answers,
    mean_tokens,
    short_answers,
)
from rlvr_dynamics.estimates.memory import ENGINE_BYTES
from rlvr_dynamics.estimates.ranges import Range
from rlvr_dynamics.estimates.shapes import GIB, shape_of
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.scoring.sizes import planned_answers, planned_models


@dataclass(frozen=True)
class Scoring:
    """What scoring a run takes.

    Attributes:
        models: Base, checkpoints and predictions.
        answers: Answers of all of them to the benchmarks; the choice between a grid's candidates
            on validation problems is not counted, nor are benchmarks that the task generates.
        gpus: GPUs of all engines; 0 on the CPU.
        hours: Time on these GPUs; None on the CPU, for which there is no estimate.
    """

    models: int
    answers: int
    gpus: int
    hours: Range | None


def engines_of(config: RunConfig) -> int:
    """Return the engines that run side by side, on a node like that of the training."""
    gpus = config.model.hardware.gpus_per_node if config.model.kind == "hub" else 1
    return config.scoring.engines_on(gpus)


def scoring(config: RunConfig) -> Scoring:
    """Estimate the scoring of a run.

    The engines share the work evenly. An engine loads every model once (2 N bytes from the disk)
    and answers each benchmark as a batch of its own (`Engine.seconds`), which counts one tail for
    each. Left out: the engines' start. A prediction whose weights are broken often answers up to
    the limit, which may exceed the slow estimate.
    """
    asked, engines = planned_answers(config), engines_of(config)
    answers, models = sum(each.answers for each in asked), len(planned_models(config))
    if config.scoring.device != "cuda":
        return Scoring(models, answers, 0, None)
    ends = [_seconds(config, models, speed) / engines / 3600 for speed in (FAST, SLOW)]
    gpus = engines * config.scoring.tensor_parallel
    return Scoring(models, answers, gpus, Range(*ends))


def _seconds(config: RunConfig, models: int, speed: Speed) -> float:
    """Seconds of all engines together."""
    settings, shape = config.scoring, shape_of(config.model)
    weights = WIDTH * shape.parameters
    card_gib = config.trainer.gpu_memory_gib
    held = settings.gpu_memory_share * card_gib * GIB - ENGINE_BYTES
    engine = Engine(
        shape=shape,
        gpus=settings.tensor_parallel,
        card=card_of(card_gib),
        sequences=settings.max_num_seqs,
        cache_tokens=(held * settings.tensor_parallel - weights) / token_bytes(shape),
        efficiency=speed.decoding,
    )
    limit = min(settings.max_tokens, settings.max_model_len - PROMPT_TOKENS)
    seconds = models * weights / speed.disk
    for each in planned_answers(config):
        length = _length(config.model.name, each.benchmark, limit, speed)
        batch = engine.seconds(each.questions * each.samples, PROMPT_TOKENS, length)
        seconds += each.models * batch
    return seconds


def _length(model: str, benchmark: str, limit: int, speed: Speed) -> Length:
    tokens = mean_tokens(model, benchmark)
    return short_answers(tokens, limit) if speed is FAST else long_answers(tokens, limit)
