"""One run: all parts, and the constraints between them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rlvr_dynamics.schema.acceleration import Acceleration
from rlvr_dynamics.schema.analyses import (
    Behaviour,
    Extrapolation,
    Measure,
    Reporting,
    Scoring,
    Wandb,
)
from rlvr_dynamics.schema.data import ArithmeticData, Benchmark, HubData, SumsData
from rlvr_dynamics.schema.models import HubModel, TinyModel
from rlvr_dynamics.schema.overrides import key_of
from rlvr_dynamics.schema.source import Source
from rlvr_dynamics.schema.training import Algorithm, Trainer
from rlvr_dynamics.schema.types import Frozen, Name, StageName, sequence


class RunConfig(Frozen):
    """One run: a cell of the grid, the demo, or an external trajectory."""

    name: Name
    run_dir: Annotated[str, Field(min_length=1)]
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    base_seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    stages: sequence(StageName, min_length=1)  # pyright: ignore[reportInvalidTypeForm]
    dry_run: bool
    model: Annotated[TinyModel | HubModel, Field(discriminator="kind")]
    data: Annotated[ArithmeticData | SumsData | HubData, Field(discriminator="kind")]
    benchmark: dict[Name, Benchmark]
    algorithm: Algorithm
    trainer: Trainer
    acceleration: Acceleration | None = None
    measure: Measure
    extrapolation: Extrapolation
    scoring: Scoring
    behaviour: Behaviour = Behaviour()
    report: Reporting
    source: Source
    wandb: Wandb
    tensorboard: bool = False  # copy finished stages to run_dir/tensorboard (`sinks`)
    protocol: Literal["alpharl", "relex"] | None = None  # the paper that a cell follows
    reuse: str | None  # a run directory whose `prepare` stage is reused if identical

    @property
    def prepare_seed(self) -> int:
        """The seed of a generated base, of generated problems and of shuffled answers."""
        return self.seed if self.base_seed is None else self.base_seed

    @property
    def trains(self) -> bool:
        """Whether the stage `train` trains; published steps are fetched instead."""
        return "train" in self.stages and self.source.published is None

    @model_validator(mode="after")
    def _consistent(self) -> "RunConfig":
        if self.model.kind == "tiny" and self.data.kind != "arithmetic":
            raise ValueError("model=tiny is pretrained on arithmetic and needs data=arithmetic")
        self._check_context()
        self._check_batches()
        self._check_acceleration()
        if self.trains and self.algorithm.lora is not None:
            model = self.model
            shapes = model if model.kind == "tiny" else model.architecture
            self.algorithm.lora.layers_of(shapes.family)
        if self.data.reward == "constant" and self.algorithm.dynamic_sampling:
            raise ValueError(
                "data.reward=constant makes every group alike, and algorithm.dynamic_sampling "
                "would draw for ever: one of the two"
            )
        if self.scoring.max_model_len < self.scoring.max_tokens:
            raise ValueError("scoring.max_model_len must be at least scoring.max_tokens")
        return self

    def _check_batches(self) -> None:
        """Check that every update's answers divide into equal parts, which verl assumes."""
        trainer, group = self.trainer, self.algorithm.group_size
        sizes = {"mini_batch_prompts": trainer.mini_batch_prompts}
        if self.algorithm.critic is not None and trainer.critic_mini_batch_prompts is not None:
            sizes["critic_mini_batch_prompts"] = trainer.critic_mini_batch_prompts
        for name, prompts in sizes.items():
            samples = prompts * group
            if samples % trainer.devices:
                raise ValueError(
                    f"trainer.{name} x algorithm.group_size ({prompts} x {group} answers) must "
                    f"divide by the number of GPUs ({trainer.devices})"
                )
            own = samples // trainer.devices
            if own % min(own, trainer.micro_batch_samples):
                raise ValueError(
                    f"trainer.micro_batch_samples ({trainer.micro_batch_samples}) must divide "
                    f"{name} x group_size / devices ({samples} / {trainer.devices})"
                )

    def _check_acceleration(self) -> None:
        """Check that a plan of jumps fits the training."""
        plan = self.acceleration
        if plan is None:
            return
        if self.source.is_given:
            raise ValueError(
                "acceleration jumps while a run trains, and this one takes others' checkpoints "
                "(source): acceleration=none"
            )
        if plan.from_checkpoints and self.algorithm.lora is not None:
            raise ValueError(
                f"acceleration.method={plan.method} needs whole matrices, and algorithm.lora "
                "trains adapters: acceleration.method=anchor"
            )
        first = min(plan.when.steps) if plan.when.steps else plan.when.every or 1
        if first >= self.trainer.steps:
            raise ValueError(
                f"acceleration.when never fires before the last of {self.trainer.steps} steps "
                f"(trainer.steps): the first jump would follow step {first}"
            )
        if plan.when.steps and max(plan.when.steps) >= self.trainer.steps:
            raise ValueError(
                f"acceleration.when.steps: no jump follows step {max(plan.when.steps)}, as the "
                f"training has {self.trainer.steps} steps (trainer.steps) and none after the last"
            )
        asked, held_out = plan.gate.problems, self.data.validation_problems
        if plan.gate.validates and asked is not None and asked > held_out:
            raise ValueError(
                f"acceleration.gate.problems={asked} is more than the held-out problems: "
                f"data.validation_problems={held_out}"
            )
        for override in self.trainer.verl_overrides:
            if key_of(override) == "trainer.v1.trainer_mode":
                raise ValueError(
                    "trainer.verl_overrides must not set trainer_mode: acceleration does"
                )

    def _check_context(self) -> None:
        """Check that the tokens of training and scoring fit a published model's context."""
        if self.model.kind != "hub":
            return
        context, name = self.model.architecture.context, self.model.name
        length = self.trainer.longest_sample
        if self.trains and length > context:
            raise ValueError(
                f"trainer.max_prompt_tokens + max_response_tokens ({length}) is more than the "
                f"context of {name} ({context})"
            )
        if "score" in self.stages and self.scoring.max_model_len > context:
            raise ValueError(
                f"scoring.max_model_len ({self.scoring.max_model_len}) is more than the context of "
                f"{name} ({context})"
            )
