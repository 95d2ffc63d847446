"""The typed, frozen configuration: every key, its type and what is allowed."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

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


Columns = Annotated[
    _sequence(str, min_length=1),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
]


class HubTable(Frozen):
    """A table of problems: a hub id, or the path of a local parquet, jsonl, json or csv file.

    `question` and `answer` name a column, or several of which the first that exists is taken.
    `extract` lists the rules that turn a cell into the answer, and `exceptions` the ids of
    questions that are left out. `revision` is a commit, branch or tag; without one the newest
    commit is taken, recorded in benchmarks.lock.json and kept to from then on.
    """

    repo: str
    subset: str | None = None
    revision: str | None = None
    split: str = "test"
    fallback_split: str | None = None
    id: str | None = None
    question: Columns = ("question",)
    answer: Columns = ("answer",)
    extract: _sequence(Literal["first", "after_hashes", "boxed", "dollars", "integer"]) = ()  # pyright: ignore[reportInvalidTypeForm]
    rows: Count
    exceptions: _sequence(str) = ()  # pyright: ignore[reportInvalidTypeForm]


class HubData(Frozen):
    """Training problems from a published table."""

    kind: Literal["hub"]
    train: HubTable
    instruction: str
    validation_problems: Count


class Benchmark(HubTable):
    """A published or generated benchmark; `instruction` follows the question in the user turn.

    Multiple choice (kind letter) names the columns of the `wrong` choices; `seed` shuffles. The
    puzzles of kind reasoning_gym have a family as `subset`, and `parameters` and `seed` for its
    generator; `revision` is the version of the package.
    """

    title: str
    kind: Literal["math", "integer", "letter", "reasoning_gym"]
    split_kind: Literal["in_domain", "out_of_domain"]
    licence: str
    instruction: str
    wrong: _sequence(str) = ()  # pyright: ignore[reportInvalidTypeForm]
    parameters: dict[Name, bool | int | float | str] = {}
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @model_validator(mode="after")
    def _consistent(self) -> "Benchmark":
        if (self.kind == "letter") != bool(self.wrong):
            raise ValueError("kind=letter and the columns of the wrong choices go together")
        if self.kind == "reasoning_gym" and self.subset is None:
            raise ValueError("kind=reasoning_gym needs a family as subset")
        if self.kind != "reasoning_gym" and self.parameters:
            raise ValueError("parameters are for kind=reasoning_gym")
        return self


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
    """What the analysis of a trajectory computes, and with how much of which machine."""

    top_k: Count
    update_steps: Literal["all"] | Count
    spectrum_steps: Count
    null_draws: Annotated[int, Field(ge=20)]
    directions: bool
    memory_gib: Positive
    threads: Count
    device: Literal["auto", "cpu", "cuda"]
    engine: Literal["local", "ray"]
    ray_address: str | None


Shares = _sequence(Annotated[float, Field(gt=0, lt=1)], min_length=1)
Targets = _sequence(Annotated[float, Field(gt=0, le=1000)], min_length=1)
Setting = bool | int | float | str


class Method(Frozen):
    """One way of predicting weights; windows and targets are shares of all training steps.

    `label` names a variant in tables; `grid` lists values of one parameter from which the
    validation problems choose.
    """

    name: Name
    label: Name | None = None
    windows: Shares | None = None  # pyright: ignore[reportInvalidTypeForm]
    targets: Targets | None = None  # pyright: ignore[reportInvalidTypeForm]
    parameters: dict[Name, Setting] = {}
    grid: dict[Name, _sequence(Setting, min_length=2)] = Field({}, max_length=1)  # pyright: ignore[reportInvalidTypeForm]

    @property
    def title(self) -> str:
        """Name in tables."""
        return self.label or self.name

    @property
    def variants(self) -> dict[str, dict[str, Any]]:
        """Label to parameters: the method itself, or one variant per value of its grid."""
        if not self.grid:
            return {self.title: dict(self.parameters)}
        return {
            f"{self.title}_{parameter}_{_spelled(value)}": {**self.parameters, parameter: value}
            for parameter, values in self.grid.items()
            for value in values
        }


def _spelled(value: bool | int | float | str) -> str:
    return str(value).replace(".", "_").replace("-", "minus_").lower()


class Rebuilt(Frozen):
    """One way of rebuilding real checkpoints from part of their updates."""

    name: Name
    label: Name | None = None
    targets: _sequence(Annotated[float, Field(gt=0, le=1)], min_length=1) = (1.0,)  # pyright: ignore[reportInvalidTypeForm]
    parameters: dict[Name, Setting] = {}

    @property
    def title(self) -> str:
        """Name in tables."""
        return self.label or self.name


class Extrapolation(Frozen):
    """Which methods predict which step from which window (shares of all steps)."""

    windows: Shares  # pyright: ignore[reportInvalidTypeForm]
    targets: Targets  # pyright: ignore[reportInvalidTypeForm]
    methods: _sequence(Method)  # pyright: ignore[reportInvalidTypeForm]
    reconstructions: _sequence(Rebuilt)  # pyright: ignore[reportInvalidTypeForm]

    @field_validator("methods", "reconstructions", mode="before")
    @classmethod
    def _names_alone(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return value
        return [{"name": item} if isinstance(item, str) else item for item in value]

    @model_validator(mode="after")
    def _consistent(self) -> "Extrapolation":
        titles = [label for method in self.methods for label in {method.title, *method.variants}]
        titles += [each.title for each in self.reconstructions]
        twice = sorted({title for title in titles if titles.count(title) > 1})
        if twice:
            raise ValueError(f"{twice[0]} is listed twice: give one of them another label")
        for method in self.methods:
            windows, targets = method.windows or self.windows, method.targets or self.targets
            if min(targets) <= max(windows):
                raise ValueError(
                    f"targets of {method.title} must lie after every observed window: "
                    f"{min(targets)} is not after {max(windows)}"
                )
        return self


Splits = _sequence(Literal["in_domain", "out_of_domain"], min_length=1)


class Protocol(Frozen):
    """One way of sampling answers, for the benchmarks of some splits."""

    name: Name
    temperature: Annotated[float, Field(ge=0)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    samples: Count
    splits: Splits = ("in_domain", "out_of_domain")  # pyright: ignore[reportInvalidTypeForm]


class Scoring(Frozen):
    """Which checkpoints vLLM scores, and how.

    `template` says how a question is put: by the model's own chat template (``model``; the bare
    question where it has none) or by a named text. `system_prompt` stands before it, null for the
    template's own; `thinking` is the chat template's ``enable_thinking``, null to leave it alone.
    """

    ladder: _sequence(Annotated[float, Field(gt=0, le=1)], min_length=1)  # pyright: ignore[reportInvalidTypeForm]
    protocols: _sequence(Protocol, min_length=1)  # pyright: ignore[reportInvalidTypeForm]
    device: Literal["cpu", "cuda"]
    dtype: Literal["float32", "bfloat16", "float16"]
    template: Literal["model", "plain", "qwen_math"]
    system_prompt: str | None
    thinking: bool | None
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
    accuracy: str | None
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
        if self.scoring.max_model_len < self.scoring.max_tokens:
            raise ValueError("scoring.max_model_len must be at least scoring.max_tokens")
        return self
