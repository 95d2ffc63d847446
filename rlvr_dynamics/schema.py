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


Family = Literal["qwen2", "qwen3", "llama", "glm4"]


class TinyModel(Frozen):
    """A small model of a family, pretrained on the spot by supervised learning.

    With no pretraining steps it stays random, which is enough to exercise an architecture.
    """

    kind: Literal["tiny"]
    name: Name
    family: Family
    tied: bool
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


class Architecture(Frozen):
    """The shapes of a decoder; parameters, memory and disk follow from them (`estimates`).

    The values are those of the model's config.json. `vocabulary` counts the rows of the embedding,
    padding included. `context` is its longest prompt and response together, in tokens. `tied`: the
    output head is the embedding. Biases and q/k norms follow from the family.
    """

    family: Family
    hidden: Count
    layers: Count
    heads: Count
    kv_heads: Count
    head_dim: Count
    intermediate: Count
    vocabulary: Count
    context: Count
    tied: bool


class Hardware(Frozen):
    """How a model is laid out on GPUs; trainer=gpu_node and scoring=gpu read it.

    `shard` is the number of GPUs that share one copy of the training state (FSDP size); the whole
    job when it equals nodes x gpus_per_node. `offload` moves that state to host memory between
    phases. `scoring_parallel` is vLLM's tensor parallelism when checkpoints are scored.
    """

    nodes: Count
    gpus_per_node: Count
    gpu_memory_gib: Count
    shard: Count
    tensor_parallel: Count
    offload: bool
    rollout_memory_share: Share
    scoring_parallel: Count


class GgufPackage(Frozen):
    """A package of the Python registry that carries a model's weights as one GGUF file.

    `sha256` is that file's, and checked where it is given.
    """

    name: str
    version: str
    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class HubModel(Frozen):
    """A published model: a hub id, or the path of a local Hugging Face folder.

    `revision` is a commit, branch or tag; without one the newest commit is taken, recorded in
    models.lock.json and kept to from then on. `package` is where the weights come from when the
    hub does not answer. `prompt` says how a problem is put to the model in training and scoring:
    by the tokenizer's own chat template, or as the bare text. `stop_tokens` end a response beside
    the model's own end token.
    """

    kind: Literal["hub"]
    name: Name
    repo: str
    revision: str | None
    architecture: Architecture
    hardware: Hardware
    package: GgufPackage | None = None
    prompt: Literal["chat", "plain"]
    stop_tokens: _sequence(str)  # pyright: ignore[reportInvalidTypeForm]


class TrainingData(Frozen):
    """What every kind of training data has.

    With `shuffle_answers` each training problem is given another one's answer, drawn by the seed:
    a control whose reward says nothing about the task. Validation and benchmarks stay as they are.
    """

    shuffle_answers: bool = False


class ArithmeticData(TrainingData):
    """Generated step-by-step arithmetic, with in-domain and out-of-domain benchmarks."""

    kind: Literal["arithmetic"]
    train_problems: Count
    validation_problems: Count
    test_problems: Count
    ood_problems: Count


class SumsData(TrainingData):
    """Generated sums for a language model to complete, with other forms as benchmarks."""

    kind: Literal["sums"]
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


class HubData(TrainingData):
    """Training problems from a published table.

    `instruction` follows the question, unless `{question}` stands in it: then it is the whole text.
    """

    kind: Literal["hub"]
    train: HubTable
    instruction: str
    validation_problems: Count

    def ask(self, question: str) -> str:
        """Return what the user says: a question with the instruction."""
        if "{question}" in self.instruction:
            return self.instruction.replace("{question}", question)
        return f"{question}\n{self.instruction}"


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


class Critic(Frozen):
    """PPO's value model: it starts from the base and has an optimizer of its own.

    `warmup_steps` are those of its learning rate; the policy learns from the first step on.
    """

    learning_rate: Positive
    warmup_steps: Annotated[int, Field(ge=0)]


class Overlong(Frozen):
    """DAPO's soft punishment of long responses.

    From `buffer_share` of the longest allowed response before its end, the reward falls linearly
    to minus `penalty` (arXiv 2503.14476, section 3.4).
    """

    buffer_share: Annotated[float, Field(gt=0, le=1)]
    penalty: Positive


class Algorithm(Frozen):
    """What distinguishes one policy-gradient method from another, in verl's terms.

    `kl_loss_coef` weighs a KL term in the loss, `kl_reward_coef` one in the reward; 0 leaves the
    reference model out. `dynamic_sampling` draws until every group has both right and wrong
    answers.
    """

    name: Name
    adv_estimator: Literal["gae", "grpo", "rloo", "reinforce_plus_plus", "opo"]
    group_size: Count
    learning_rate: Positive
    warmup_steps: Annotated[int, Field(ge=0)]
    grad_clip: Positive
    loss_mode: Literal["vanilla", "gspo", "cispo"]
    loss_agg_mode: Literal[
        "token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"
    ]
    clip_ratio_low: Positive
    clip_ratio_high: Positive
    clip_ratio_c: Annotated[float, Field(gt=1)]
    kl_loss_coef: Annotated[float, Field(ge=0)]
    kl_loss_type: Literal["kl", "abs", "mse", "low_var_kl"]
    kl_reward_coef: Annotated[float, Field(ge=0)]
    entropy_coef: Annotated[float, Field(ge=0)]
    normalize_by_std: bool
    gamma: Share
    lam: Share
    reward_manager: Literal["naive", "dapo"]
    dynamic_sampling: bool
    critic: Critic | None
    overlong: Overlong | None

    @model_validator(mode="after")
    def _consistent(self) -> "Algorithm":
        if (self.adv_estimator == "gae") != (self.critic is not None):
            raise ValueError("adv_estimator=gae and a critic go together")
        if self.group_size < 2 and self.adv_estimator in ("grpo", "rloo", "opo"):
            raise ValueError(f"{self.adv_estimator} compares answers: group_size of at least 2")
        if self.overlong is not None and self.reward_manager != "dapo":
            raise ValueError("overlong punishment is part of reward_manager=dapo")
        return self


class Trainer(Frozen):
    """How verl runs: hardware, batch sizes, lengths, precision, and when it counts as stuck.

    `checkpoint_dtype` is what is kept on disk of the float32 weights that verl gathers; bfloat16
    halves the disk and hides changes below its rounding. The base is kept in the same dtype.
    """

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
    checkpoint_dtype: Literal["float32", "bfloat16"]
    shard: Count
    tensor_parallel: Count
    rollout_memory_share: Share
    offload: bool
    rollout_sequences: Count
    start_timeout_seconds: Positive
    stall_timeout_seconds: Positive
    keep_optimizer_states: Count
    verl_overrides: _sequence(str)  # pyright: ignore[reportInvalidTypeForm]

    @model_validator(mode="after")
    def _consistent(self) -> "Trainer":
        if self.prompts_per_step % self.mini_batch_prompts:
            raise ValueError("mini_batch_prompts must divide prompts_per_step")
        devices = self.nodes * max(self.gpus_per_node, 1)
        if devices % self.shard:
            raise ValueError(f"shard must divide the number of GPUs ({devices})")
        if devices % self.tensor_parallel:
            raise ValueError(f"tensor_parallel must divide the number of GPUs ({devices})")
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
    grid: dict[Name, _sequence(Setting, min_length=2)] = Field(default={}, max_length=1)  # pyright: ignore[reportInvalidTypeForm]

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
            # Of a grid of windows and targets the pairs that look ahead are predicted.
            if max(targets) <= max(windows):
                raise ValueError(
                    f"targets of {method.title} must lie after every observed window: "
                    f"{max(targets)} is not after {max(windows)}"
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


class Wandb(Frozen):
    """A copy of the run on Weights & Biases (`rlvr_dynamics.mirror`); the files are the truth.

    `offline` copies into run_dir/wandb, from where `wandb sync` sends it; `online` sends it when a
    stage is finished.
    """

    mode: Literal["disabled", "offline", "online"]
    project: Annotated[str, Field(min_length=1)]
    entity: str | None


class Reporting(Frozen):
    """How intervals on the page are computed."""

    bootstrap_draws: Annotated[int, Field(ge=100)]


def _ranges(value: Any) -> Any:
    """Write out ranges of steps such as `1-75`."""
    if not isinstance(value, (list, tuple)):
        return value
    steps: list[Any] = []
    for item in value:
        first, dash, last = str(item).partition("-")
        if isinstance(item, str) and dash and first.isdigit() and last.isdigit():
            steps += range(int(first), int(last) + 1)
        else:
            steps.append(item)
    return steps


class Published(Frozen):
    """A trajectory on the hub, fetched in place of training; the base is the run's model.

    `{step}` in `repo`, `revision` or `folder` stands for the step number: one repository with a
    branch (or folder) per step, or one repository per step. `steps` lists the steps that are
    fetched, ranges as `1-75`; they may be uneven. The last of them may stand under a name of its
    own, `final_revision`. Every revision is resolved to its commit once and recorded in
    published.lock.json. With `stream` no more than `stream_gib` of the steps' weights is on disk
    at a time: they are measured group by group and deleted. `method` names what trained them (sft,
    dist, dpo) where the run's algorithm did not.
    """

    repo: str
    revision: str = "main"
    final_revision: str | None = None
    folder: str = ""
    steps: Annotated[_sequence(Count, min_length=1), BeforeValidator(_ranges)]  # pyright: ignore[reportInvalidTypeForm]
    stream: bool = False
    stream_gib: Positive = 100.0
    method: Name | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Published":
        if list(self.steps) != sorted(set(self.steps)):
            raise ValueError("steps must rise and not repeat")
        places = (self.repo, self.revision, self.folder)
        fixed = self.steps[:-1] if self.final_revision is not None else self.steps
        if len(fixed) > 1 and not any("{step}" in place for place in places):
            raise ValueError("several steps need {step} in repo, revision or folder")
        return self


class Source(Frozen):
    """Somebody else's checkpoints, measured without training: on this disk, or on the hub."""

    base: str | None
    checkpoints: str | None
    published: Published | None
    accuracy: str | None
    allow_gaps: bool

    @property
    def is_given(self) -> bool:
        """Whether the checkpoints are somebody else's."""
        return self.base is not None or self.published is not None

    @model_validator(mode="after")
    def _both(self) -> "Source":
        if (self.base is None) != (self.checkpoints is None):
            raise ValueError("base and checkpoints go together: give both or neither")
        if self.published is not None and self.base is not None:
            raise ValueError("published and base are two sources: give one of them")
        return self


class RunConfig(Frozen):
    """One run: a cell of the grid, the demo, or somebody else's trajectory."""

    name: Name
    run_dir: Annotated[str, Field(min_length=1)]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    stages: _sequence(StageName, min_length=1)  # pyright: ignore[reportInvalidTypeForm]
    dry_run: bool
    model: Annotated[TinyModel | HubModel, Field(discriminator="kind")]
    data: Annotated[ArithmeticData | SumsData | HubData, Field(discriminator="kind")]
    benchmark: dict[Name, Benchmark]
    algorithm: Algorithm
    trainer: Trainer
    measure: Measure
    extrapolation: Extrapolation
    scoring: Scoring
    report: Reporting
    source: Source
    wandb: Wandb
    reuse: str | None  # a run directory whose `prepare` is taken over where it is the same

    @model_validator(mode="after")
    def _consistent(self) -> "RunConfig":
        if self.model.kind == "tiny" and self.data.kind != "arithmetic":
            raise ValueError("model=tiny is pretrained on arithmetic and needs data=arithmetic")
        devices = self.trainer.nodes * max(self.trainer.gpus_per_node, 1)
        self._check_context()
        samples = self.trainer.mini_batch_prompts * self.algorithm.group_size
        if samples % (devices * self.trainer.micro_batch_samples):
            raise ValueError(
                f"trainer.micro_batch_samples ({self.trainer.micro_batch_samples}) must divide "
                f"mini_batch_prompts x group_size / devices ({samples} / {devices})"
            )
        if self.scoring.max_model_len < self.scoring.max_tokens:
            raise ValueError("scoring.max_model_len must be at least scoring.max_tokens")
        return self

    def _check_context(self) -> None:
        """The tokens of training and scoring fit into a published model's context."""
        if self.model.kind != "hub":
            return
        context, name = self.model.architecture.context, self.model.name
        length = self.trainer.max_prompt_tokens + self.trainer.max_response_tokens
        trains = "train" in self.stages and self.source.published is None
        if trains and length > context:
            raise ValueError(
                f"trainer.max_prompt_tokens + max_response_tokens ({length}) is more than the "
                f"context of {name} ({context})"
            )
        if "score" in self.stages and self.scoring.max_model_len > context:
            raise ValueError(
                f"scoring.max_model_len ({self.scoring.max_model_len}) is more than the context of "
                f"{name} ({context})"
            )
