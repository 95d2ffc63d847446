"""The nodes, GPUs, processors, memory and time of a cell's jobs, from its configuration."""

import math
from dataclasses import dataclass

from rlvr_dynamics.estimates.hours import training_hours
from rlvr_dynamics.estimates.memory import in_step_bytes, memory
from rlvr_dynamics.estimates.scoring import engines_of, scoring
from rlvr_dynamics.estimates.shapes import shape_of
from rlvr_dynamics.schema import STAGES, RunConfig

from .site import Site, minutes

GIB = 2**30
PROCESS_GIB = 4  # Python with torch, the analysis libraries and their buffers
WORKER_GIB = 10  # a process of verl or vLLM: CUDA's host memory, communication, weights in transit
ENGINE_CPUS = 2  # per GPU while vLLM scores: its own loop, and reading weights and grading
LOADED_BYTES = 2  # bfloat16 weights being loaded into vLLM
UPDATE_BYTES = 12  # bytes per element of the largest matrix while its update is decomposed
TIME_MARGIN = (
    2.0  # published runs of verl took 1.2 to 3.2 times the slow estimate (docs/performance.md)
)
LEAST_MINUTES = 60


@dataclass(frozen=True)
class Resources:
    """What sbatch is asked for; None leaves a value to the site's Slurm.

    Attributes:
        nodes: Number of nodes.
        gpus: GPUs per node.
        cpus: Processors per node.
        memory_gib: Memory per node; 0 for all of it.
        minutes: Time limit of one attempt.
    """

    nodes: int
    gpus: int
    cpus: int | None
    memory_gib: int | None
    minutes: int | None

    def flags(self, site: Site) -> list[str]:
        """The sbatch flags."""
        return [
            f"--nodes={self.nodes}",
            "--ntasks-per-node=1",
            *([f"--cpus-per-task={self.cpus}"] if self.cpus else []),
            *([site.gpu_flag.format(gpus=self.gpus)] if self.gpus else []),
            *([] if self.memory_gib is None else [f"--mem={self.memory_gib}G"]),
            *([f"--time={self.minutes}"] if self.minutes else []),
        ]


def jobs_of(config: RunConfig, site: Site) -> dict[str, tuple[str, ...]]:
    """Return a cell's jobs in order, with the stages each of them runs.

    The training job includes preparing, unless the site wants it separate or nothing is trained;
    fetching a published trajectory instead of training is part of preparing.
    """
    ordered = sorted(config.stages, key=STAGES.index)
    first = tuple(stage for stage in ordered if stage in ("prepare", "train"))
    if "train" in first and not config.trains:
        jobs = {"prepare": first}
    elif "train" in first and not site.prepare_apart:
        jobs = {"train": first}
    else:
        jobs = {stage: (stage,) for stage in first}
    return jobs | {stage: (stage,) for stage in ordered if stage not in first}


def resources(job: str, config: RunConfig, site: Site) -> Resources:
    """Return the needs of a cell's job; processors and memory in the site file take precedence.

    The site's time is the limit of an attempt; what takes less even by the slow estimate asks for
    less.
    """
    own = site.job(job)
    nodes, gpus, cpus = _machine(job, config)
    limit = None if own.time is None else minutes(own.time)
    hours = _slow_hours(job, config) if gpus else None
    if hours is not None:
        wanted = max(LEAST_MINUTES, 60 * math.ceil(TIME_MARGIN * hours))
        limit = wanted if limit is None else min(limit, wanted)
    return Resources(
        nodes=nodes,
        gpus=gpus,
        cpus=own.cpus or cpus,
        memory_gib=memory_gib(job, config) if own.memory_gib is None else own.memory_gib,
        minutes=limit,
    )


def _machine(job: str, config: RunConfig) -> tuple[int, int, int | None]:
    if job == "train":
        return config.trainer.nodes, config.trainer.gpus_per_node, None
    if job == "score" and config.scoring.device == "cuda":
        gpus = config.scoring.tensor_parallel * engines_of(config)
        return 1, gpus, ENGINE_CPUS * gpus
    if job == "behaviour":
        device = config.behaviour.device
        on_gpu = device == "cuda" or (device == "auto" and config.scoring.device == "cuda")
        return 1, int(on_gpu), None
    if job == "measure":
        on_gpu = config.measure.device == "cuda" and config.measure.engine == "local"
        return 1, int(on_gpu), config.measure.threads
    if job == "extrapolate":
        return 1, 0, config.measure.threads
    return 1, 0, 1 if job == "report" else None


def _slow_hours(job: str, config: RunConfig) -> float | None:
    """The slow estimate of a job's time; None without one."""
    if job == "train":
        return training_hours(config).high
    estimate = scoring(config).hours if job == "score" and config.benchmark else None
    return None if estimate is None else estimate.high


def memory_gib(job: str, config: RunConfig) -> int:
    """Return a node's host memory in GiB, rounded up: an upper estimate from the model's shapes."""
    shape = shape_of(config.model)
    count = shape.parameters
    if job == "train":
        trainer = config.trainer
        workers = max(trainer.gpus_per_node, 1)
        held = memory(config).host
        if trainer.device == "cpu":
            held += (LOADED_BYTES + 2 * in_step_bytes(config)) * count
        return math.ceil(held / GIB) + 2 * PROCESS_GIB + WORKER_GIB * workers
    if job == "score":
        settings, engines = config.scoring, engines_of(config)
        weights = LOADED_BYTES * count / GIB
        if settings.device == "cpu":
            return math.ceil((PROCESS_GIB + settings.kv_cache_gib + 2 * weights) * engines)
        workers = engines * settings.tensor_parallel
        return math.ceil((PROCESS_GIB + WORKER_GIB) * workers + weights * engines)
    if job == "behaviour":  # a checkpoint and the base beside it, at most in float32
        return math.ceil(2 * PROCESS_GIB + 8 * count / GIB)
    fetches = job == "prepare" and "train" in config.stages and not config.trains
    if job in ("measure", "extrapolate") or fetches:
        widest = max(shape.vocabulary, shape.intermediate, shape.heads * shape.head_dim)
        update = UPDATE_BYTES * shape.hidden * widest / GIB
        return math.ceil(PROCESS_GIB + config.measure.memory_gib + update)
    return 2 * PROCESS_GIB if job == "prepare" else PROCESS_GIB
