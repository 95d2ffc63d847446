"""The typed, frozen configuration, and the only code that knows Hydra.

`load` composes `configs/` with the command line's overrides and returns a `RunConfig`; below this
nobody sees a DictConfig. Imports neither torch, verl nor vllm.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rlvr_dynamics.errors import UserError

CONFIG_FOLDER = Path(__file__).resolve().parent.parent / "configs"
STAGES = ("prepare", "train", "measure", "extrapolate", "score", "report")
StageName = Literal["prepare", "train", "measure", "extrapolate", "score", "report"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Frozen(BaseModel):
    """Unknown keys and wrong types are errors; nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


def _sequence(item: Any, **constraints: Any) -> Any:
    # YAML has lists, a frozen object wants tuples: the only place where types are converted.
    return Annotated[tuple[item, ...], Field(strict=False, **constraints)]


class TinyModel(Frozen):
    """A small Qwen3 model, pretrained on the spot by supervised learning."""

    kind: Literal["tiny"]
    name: Name
    hidden: Count
    layers: Count
    heads: Count
    kv_heads: Count
    intermediate: Count
    steps_clean: Annotated[int, Field(ge=0)]
    steps_noisy: Annotated[int, Field(ge=0)]
    batch_size: Count
    learning_rate: Positive
    muon_learning_rate: Positive
    careful: Share
    sloppy: Share
    step_error: Share


class HubModel(Frozen):
    """A published model: a hub id, or the path of a local Hugging Face folder."""

    kind: Literal["hub"]
    name: Name
    repo: str
    revision: str | None
    parameters: Count


class ArithmeticData(Frozen):
    """Generated step-by-step arithmetic, with in-domain and out-of-domain benchmarks."""

    kind: Literal["arithmetic"]
    train_problems: Count
    validation_problems: Count
    test_problems: Count
    ood_problems: Count


class HubTable(Frozen):
    """A table of problems: a hub id, or the path of a local parquet or jsonl file."""

    repo: str
    subset: str | None = None
    revision: str | None = None
    split: str
    question: str
    answer: str
    rows: Count


class HubData(Frozen):
    """Training problems from a published table."""

    kind: Literal["hub"]
    train: HubTable
    instruction: str
    validation_problems: Count


class Benchmark(HubTable):
    """A published benchmark; `instruction` follows the question in the user turn."""

    title: str
    split_kind: Literal["in_domain", "out_of_domain"]
    instruction: str


class Algorithm(Frozen):
    """What distinguishes one policy-gradient method from another, in verl's terms."""

    name: Name
    adv_estimator: Literal["grpo"]
    group_size: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    warmup_steps: Annotated[int, Field(ge=0)]
    grad_clip: Positive
    clip_ratio_low: Positive
    clip_ratio_high: Positive
    kl_loss_coef: Annotated[float, Field(ge=0)]
    normalize_by_std: bool
    loss_agg_mode: Literal[
        "token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"
    ]


class Trainer(Frozen):
    """How verl runs: hardware, batch sizes, lengths, precision, and when it counts as stuck."""

    device: Literal["cpu", "cuda"]
    nodes: Count
    gpus_per_node: Annotated[int, Field(ge=0)]
    gpu_memory_gib: Annotated[int, Field(ge=0)]
    steps: Count
    prompts_per_step: Count
    mini_batch_prompts: Count
    micro_batch_samples: Count
    max_prompt_tokens: Count
    max_response_tokens: Count
    temperature: Positive
    precision: Literal["fp32", "bf16"]
    tensor_parallel: Count
    rollout_memory_share: Share
    offload: bool
    rollout_sequences: Count
    start_timeout_seconds: Positive
    stall_timeout_seconds: Positive
    keep_optimizer_states: Count
    wandb: Literal["disabled", "offline", "online"]
    verl_overrides: _sequence(str)  # pyright: ignore[reportInvalidTypeForm]

    @model_validator(mode="after")
    def _consistent(self) -> "Trainer":
        if self.prompts_per_step % self.mini_batch_prompts:
            raise ValueError("mini_batch_prompts must divide prompts_per_step")
        if self.device == "cuda" and self.gpus_per_node == 0:
            raise ValueError("device=cuda needs gpus_per_node of at least 1")
        return self


class Measure(Frozen):
    """What the analysis of a trajectory computes."""

    top_k: Count
    null_draws: Annotated[int, Field(ge=20)]
    memory_gib: Positive
    threads: Count


class Extrapolation(Frozen):
    """Which methods predict which step from which observed window (shares of all steps)."""

    methods: _sequence(Name)  # pyright: ignore[reportInvalidTypeForm]
    windows: _sequence(Annotated[float, Field(gt=0, lt=1)], min_length=1)  # pyright: ignore[reportInvalidTypeForm]
    targets: _sequence(Positive, min_length=1)  # pyright: ignore[reportInvalidTypeForm]
    recovery_rank: Count


class Protocol(Frozen):
    """One way of sampling answers."""

    name: Name
    temperature: Annotated[float, Field(ge=0)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    samples: Count


class Scoring(Frozen):
    """Which checkpoints vLLM scores, and how."""

    ladder: _sequence(Annotated[float, Field(gt=0, le=1)], min_length=1)  # pyright: ignore[reportInvalidTypeForm]
    protocols: _sequence(Protocol, min_length=1)  # pyright: ignore[reportInvalidTypeForm]
    device: Literal["cpu", "cuda"]
    dtype: Literal["float32", "bfloat16", "float16"]
    max_model_len: Count
    max_tokens: Count
    max_num_seqs: Count
    kv_cache_gib: Count
    gpu_memory_share: Share
    tensor_parallel: Count
    engines: Count
    stall_timeout_seconds: Positive


class Reporting(Frozen):
    """How intervals on the page are computed."""

    bootstrap_draws: Annotated[int, Field(ge=100)]


class Source(Frozen):
    """Somebody else's checkpoints, measured without training."""

    base: str | None
    checkpoints: str | None
    allow_gaps: bool

    @model_validator(mode="after")
    def _both(self) -> "Source":
        if (self.base is None) != (self.checkpoints is None):
            raise ValueError("base and checkpoints go together: give both or neither")
        return self


class RunConfig(Frozen):
    """One run: a cell of the grid, the demo, or somebody else's trajectory."""

    name: Name
    run_dir: Annotated[str, Field(min_length=1)]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    stages: _sequence(StageName, min_length=1)  # pyright: ignore[reportInvalidTypeForm]
    dry_run: bool
    model: Annotated[TinyModel | HubModel, Field(discriminator="kind")]
    data: Annotated[ArithmeticData | HubData, Field(discriminator="kind")]
    benchmark: dict[Name, Benchmark]
    algorithm: Algorithm
    trainer: Trainer
    measure: Measure
    extrapolation: Extrapolation
    scoring: Scoring
    report: Reporting
    source: Source

    @model_validator(mode="after")
    def _consistent(self) -> "RunConfig":
        if self.model.kind == "tiny" and self.data.kind != "arithmetic":
            raise ValueError("model=tiny is pretrained on arithmetic and needs data=arithmetic")
        devices = self.trainer.nodes * max(self.trainer.gpus_per_node, 1)
        samples = self.trainer.mini_batch_prompts * self.algorithm.group_size
        if samples % (devices * self.trainer.micro_batch_samples):
            raise ValueError(
                f"trainer.micro_batch_samples ({self.trainer.micro_batch_samples}) must divide "
                f"mini_batch_prompts x group_size / devices ({samples} / {devices})"
            )
        if min(self.extrapolation.targets) <= max(self.extrapolation.windows):
            raise ValueError(
                "extrapolation.targets must lie after every observed window: "
                f"{min(self.extrapolation.targets)} is not after {max(self.extrapolation.windows)}"
            )
        if self.scoring.max_model_len < self.scoring.max_tokens:
            raise ValueError("scoring.max_model_len must be at least scoring.max_tokens")
        return self


def experiments() -> list[str]:
    """Names that `+exp=` accepts."""
    return sorted(path.stem for path in (CONFIG_FOLDER / "exp").glob("*.yaml"))


def load(overrides: list[str]) -> RunConfig:
    """Compose the configuration and check it.

    Args:
        overrides: Hydra overrides such as ``+exp=demo`` or ``trainer.steps=20``. Without an
            ``exp`` the demo is taken.

    Raises:
        UserError: An unknown key, a wrong type or a value out of range; the message names the
            key, what was given and what is allowed.
    """
    if not CONFIG_FOLDER.is_dir():
        raise UserError(
            "the folder configs/ is missing",
            where=str(CONFIG_FOLDER),
            way_out="install from a checkout with `pip install -e .`",
        )
    if not any(item.lstrip("+").split("=")[0] == "exp" for item in overrides):
        overrides = ["+exp=demo", *overrides]
    overrides = ["+" + item if item.startswith("exp=") else item for item in overrides]
    return _validate(_compose(overrides))


def _compose(overrides: list[str]) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
            composed = compose("config", overrides=overrides)
            values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise _explain(error, overrides) from error
    if not isinstance(values, dict):
        raise TypeError("configs/config.yaml is not a mapping")
    return {str(key): value for key, value in values.items()}


def _explain(error: Exception, overrides: list[str]) -> UserError:
    """Hydra's several lines about an override, as one that says what is allowed."""
    text = str(error)
    for item in overrides:
        key = item.lstrip("+~").split("=")[0]
        group, _, given = item.lstrip("+").partition("=")
        if f"'{group}/{given}'" in text and (CONFIG_FOLDER / group).is_dir():
            choices = sorted(path.stem for path in (CONFIG_FOLDER / group).glob("*.yaml"))
            close = difflib.get_close_matches(given, choices, n=3) or choices
            return UserError(
                f"{group}={given}: no such choice", way_out=f"allowed: {', '.join(close)}"
            )
        if key in text and ("not in struct" in text or "Could not override" in text):
            return UserError(f"{key}: unknown key", where=item, way_out=_allowed(key))
    return UserError(" ".join(text.split()), where=" ".join(overrides))


def _fields(location: tuple[Any, ...]) -> list[str]:
    """Keys that exist below a location of the configuration (union members together)."""
    models: list[Any] = [RunConfig]
    for part in location:
        found: list[Any] = []
        for model in models:
            field = model.model_fields.get(str(part))
            if field is not None:
                found += _models_in(field.annotation)
            elif model.__name__ in ("TinyModel", "HubModel", "ArithmeticData", "HubData"):
                found.append(model)  # pydantic puts the union's tag into the location
        models = found or models
    return sorted({name for model in models for name in model.model_fields})


def _models_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]


def _allowed(key: str) -> str:
    *parents, last = key.split(".")
    fields = _fields(tuple(parents))
    close = difflib.get_close_matches(last, fields, n=1)
    hint = f"did you mean {'.'.join([*parents, close[0]])}? " if close else ""
    return f"{hint}allowed: {', '.join(fields)}"


def _validate(values: dict[str, Any]) -> RunConfig:
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        location = tuple(part for part in first["loc"] if part not in ("tiny", "hub", "arithmetic"))
        key = ".".join(str(part) for part in location) or "configuration"
        if first["type"] == "extra_forbidden":
            raise UserError(f"{key}: unknown key", way_out=_allowed(key)) from error
        wanted = str(first.get("ctx", {}).get("error", "")) or first["msg"]
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        if first["type"] == "value_error":
            raise UserError(f"{key}: {wanted}{more}") from error
        given = "" if isinstance(first["input"], dict) else f"given {first['input']!r}{more}"
        raise UserError(f"{key}: {given or wanted + more}", way_out=f"allowed: {wanted}") from error
