"""Stages after training: measure, predict and rebuild, score, report, sinks."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from rlvr_dynamics.schema.types import Count, Frozen, Label, Name, Positive, Share, sequence


class Measure(Frozen):
    """What the analysis of a trajectory computes, and with which resources.

    `round_to` rounds the weights that are measured or extrapolated as they are read: the base, and
    the steps as if the run had begun at the rounded base. So one training shows what narrower
    files would have kept of it. Null reads what the files hold. Real checkpoints are scored as
    stored.
    """

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
    round_to: Literal["bfloat16", "float16"] | None = None


Shares = sequence(Annotated[float, Field(gt=0, lt=1)], min_length=1)
Targets = sequence(Annotated[float, Field(gt=0, le=1000)], min_length=1)
Setting = bool | int | float | str


class Method(Frozen):
    """One way of predicting weights; windows and targets are shares of all training steps.

    `label` names a variant in tables; `grid` lists values of one parameter, to be selected on the
    validation problems.
    """

    name: Name
    label: Label | None = None
    windows: Shares | None = None  # pyright: ignore[reportInvalidTypeForm]
    targets: Targets | None = None  # pyright: ignore[reportInvalidTypeForm]
    parameters: dict[Name, Setting] = {}
    grid: dict[Name, sequence(Setting, min_length=2)] = Field(default={}, max_length=1)  # pyright: ignore[reportInvalidTypeForm]

    @property
    def title(self) -> str:
        """Name in tables."""
        return self.label or self.name

    @property
    def variants(self) -> dict[str, dict[str, Any]]:
        """Map labels to parameters: the method itself, or one variant per value of its grid."""
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
    label: Label | None = None
    targets: sequence(Annotated[float, Field(gt=0, le=1)], min_length=1) = (1.0,)  # pyright: ignore[reportInvalidTypeForm]
    parameters: dict[Name, Setting] = {}

    @property
    def title(self) -> str:
        """Name in tables."""
        return self.label or self.name


class Extrapolation(Frozen):
    """Which methods predict which step from which window (shares of all steps).

    `donor` is the run directory whose direction `borrowed_direction` takes where it names none.
    """

    windows: Shares  # pyright: ignore[reportInvalidTypeForm]
    targets: Targets  # pyright: ignore[reportInvalidTypeForm]
    methods: sequence(Method)  # pyright: ignore[reportInvalidTypeForm]
    reconstructions: sequence(Rebuilt)  # pyright: ignore[reportInvalidTypeForm]
    donor: str | None = None

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
            # Only pairs with the target after the window are predicted.
            if max(targets) <= max(windows):
                raise ValueError(
                    f"targets of {method.title} must lie after every observed window: "
                    f"{max(targets)} is not after {max(windows)}"
                )
        return self


Splits = sequence(Literal["in_domain", "out_of_domain"], min_length=1)


class Protocol(Frozen):
    """One way of sampling answers, for the benchmarks of some splits."""

    name: Name
    temperature: Annotated[float, Field(ge=0)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    samples: Count
    splits: Splits = ("in_domain", "out_of_domain")  # pyright: ignore[reportInvalidTypeForm]


class Extrapolated(Frozen):
    """Logits extrapolated from the base and the last observed checkpoint; shares of all steps."""

    window: Annotated[float, Field(gt=0, le=1)]
    target: Annotated[float, Field(gt=0, le=1000)] = 1.0

    @model_validator(mode="after")
    def _later(self) -> "Extrapolated":
        if self.target <= self.window:
            raise ValueError(f"target {self.target} is not after the window {self.window}")
        return self


class Scoring(Frozen):
    """Which checkpoints vLLM scores, and how.

    `template` formats a question: the model's chat template (``model``; the bare question if it has
    none) or a named text. `system_prompt` precedes it, null for the template's own; `thinking` sets
    the chat template's ``enable_thinking``, null to leave it unset.

    The base, the last checkpoint, predictions by the methods in `printed` and the checkpoints that
    stand beside them give a protocol's `samples` answers to a question. All other models give as
    many as a comparison with those needs for `half_width` (`statistics.sample_size`); null asks all
    alike.
    With `validate_windows` the last observed checkpoint of every window answers the validation
    problems as well: by them a run is chosen among others at other learning rates.
    `extrapolated_logits` lists windows whose last checkpoint answers together with the base, by
    logits extrapolated to a target (`scoring.two_models`); for small models.
    `seeding` is one seed for each ``request``, or for each ``batch`` of an engine
    (`scoring.seeding`). `engines` run side by side, null for as many as the node's GPUs can hold.
    """

    ladder: sequence(Annotated[float, Field(gt=0, le=1)], min_length=1)  # pyright: ignore[reportInvalidTypeForm]
    protocols: sequence(Protocol, min_length=1)  # pyright: ignore[reportInvalidTypeForm]
    half_width: Annotated[float, Field(gt=0, lt=1)] | None
    printed: sequence(Name)  # pyright: ignore[reportInvalidTypeForm]
    validate_windows: bool = False
    extrapolated_logits: sequence(Extrapolated) = ()  # pyright: ignore[reportInvalidTypeForm]
    seeding: Literal["request", "batch"]
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
    engines: Count | None
    stall_timeout_seconds: Positive

    def engines_on(self, gpus: int) -> int:
        """Return how many engines run side by side on a node with so many GPUs, at least one."""
        fitting = gpus // self.tensor_parallel if self.device == "cuda" else 1
        return self.engines or max(1, fitting)


class Behaviour(Frozen):
    """What the base, the trained model and its rank-1 part say, token by token.

    Questions are formatted as in `Scoring` and answered greedily.

    Attributes:
        benchmark: One of the run's benchmarks; None for the first in-domain one.
        limit: Number of questions, from the first on; None for all. AlphaRL's code uses 10 of
            MATH-500.
        max_new_tokens: Longest answer in tokens; None for that of the scoring.
        guide_tokens: Lengths of the prefixes that a model gives the base; None for 0, 1, 2, 5, 10,
            20, 40, ... up to the longest answer of the trained model.
        dtype: Precision in which the models run; None for that of the scoring.
        device: ``auto`` uses a GPU if there is one.
        batch: Answers generated at once.
        checkpoints: At most so many checkpoints, evenly spaced, read the answers of the base and of
            the trained model, each with the base beside it in memory; 0 for none.
    """

    benchmark: Name | None = None
    limit: Count | None = None
    max_new_tokens: Count | None = None
    guide_tokens: sequence(Annotated[int, Field(ge=0)], min_length=1) | None = None  # pyright: ignore[reportInvalidTypeForm]
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    batch: Count = 64
    checkpoints: Annotated[int, Field(ge=0)] = 15

    @field_validator("guide_tokens")
    @classmethod
    def _rising_from_none(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and list(value) != sorted({0, *value}):
            raise ValueError("rising numbers of tokens from 0 on, such as [0,5,10,20]")
        return value


class Wandb(Frozen):
    """A copy of the run on Weights & Biases (`sinks`); the files are authoritative.

    `offline` writes to run_dir/wandb, which `wandb sync` uploads; `online` uploads whenever a stage
    is finished.
    """

    mode: Literal["disabled", "offline", "online"]
    project: Annotated[str, Field(min_length=1)]
    entity: str | None


class Reporting(Frozen):
    """How intervals in the report are computed."""

    bootstrap_draws: Annotated[int, Field(ge=100)]
