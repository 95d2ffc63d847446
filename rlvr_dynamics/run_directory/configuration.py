"""Typed config.json of a run directory, for readers of finished runs.

`RunConfig` describes current runs and rejects anything else. A run directory may be older: these
types have the keys that readers use, ignore all others, and give a missing (or null) key the
meaning that its absence had.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.run_directory.records import read_our_json
from rlvr_dynamics.schema import Lora, RunConfig
from rlvr_dynamics.statistics.intervals import DRAWS

CONFIG_FILE = "config.json"
_WAY_OUT = "give the folder that python -m rlvr_dynamics.run wrote"


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: part for key, part in value.items() if part is not None}


class RecordedModel(_Part):
    """The model that was trained."""

    name: str | None = None
    kind: str | None = None
    repo: str | None = None


class RecordedAlgorithm(_Part):
    """What trained it."""

    name: str | None = None
    group_size: int | None = None
    learning_rate: float | None = None
    dynamic_sampling: bool = False
    overlong: dict[str, Any] | None = None
    warmup_steps: int = 0
    loss_mode: str | None = None
    clip_ratio_low: float = 0.0
    clip_ratio_high: float = 0.0
    clip_ratio_c: float = 0.0
    critic: dict[str, Any] | None = None
    optimizer: str = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    lora: Lora | None = None


class RecordedData(_Part):
    """What it was trained on."""

    kind: str | None = None
    shuffle_answers: bool = False
    reward: str = "exact"


class RecordedTrainer(_Part):
    """How long the model was trained, by how many updates a step, and verl's own keys."""

    steps: int = 0
    verl_overrides: tuple[str, ...] = ()
    prompts_per_step: int | None = None
    mini_batch_prompts: int | None = None
    critic_mini_batch_prompts: int | None = None
    passes: int = 1

    @property
    def updates_per_rollout(self) -> int | None:
        """Updates of the policy in a step; None in recordings that do not say."""
        if self.prompts_per_step is None or self.mini_batch_prompts is None:
            return None
        return self.passes * self.prompts_per_step // self.mini_batch_prompts

    @property
    def critic_updates_per_rollout(self) -> int | None:
        """Updates of PPO's value model in a step; None in recordings that do not say."""
        if self.prompts_per_step is None or self.critic_mini_batch_prompts is None:
            return self.updates_per_rollout
        return self.passes * self.prompts_per_step // self.critic_mini_batch_prompts


class RecordedPublished(_Part):
    """Checkpoints from the hub."""

    repo: str
    steps: tuple[int, ...] = ()
    method: str | None = None


class RecordedSource(_Part):
    """Where the checkpoints come from, if this run did not train them."""

    base: str | None = None
    checkpoints: str | None = None
    pattern: str | None = None
    allow_gaps: bool = False
    published: RecordedPublished | None = None
    learning_rate: float | None = None

    @property
    def is_given(self) -> bool:
        """Whether the checkpoints were not trained by the run."""
        return self.base is not None or self.published is not None


class RecordedScoring(_Part):
    """Which checkpoints were scored."""

    ladder: tuple[float, ...] = ()


class RecordedReport(_Part):
    """How intervals are computed."""

    bootstrap_draws: int = DRAWS


class RecordedWandb(_Part):
    """Whether the run is copied to Weights & Biases."""

    mode: str = "disabled"
    project: str = "rlvr_dynamics"
    entity: str | None = None


class RecordedConfig(_Part):
    """The part of a run's configuration that readers use; names are those of `RunConfig`."""

    name: str | None = None
    run_dir: str = "outputs/run"
    stages: tuple[str, ...] = ()
    seed: int | None = None
    base_seed: int | None = None
    model: RecordedModel = RecordedModel()
    algorithm: RecordedAlgorithm = RecordedAlgorithm()
    data: RecordedData = RecordedData()
    trainer: RecordedTrainer = RecordedTrainer()
    acceleration: dict[str, Any] = {}
    extrapolation: dict[str, Any] = {}
    scoring: RecordedScoring = RecordedScoring()
    report: RecordedReport = RecordedReport()
    source: RecordedSource = RecordedSource()
    wandb: RecordedWandb = RecordedWandb()
    tensorboard: bool = False


def check_has_config(run_dir: Path) -> None:
    """Check that a folder was written by a run.

    Raises:
        UserError: It has no config.json.
    """
    if not (run_dir / CONFIG_FILE).is_file():
        raise UserError(
            f"not a run directory: it has no {CONFIG_FILE}", where=str(run_dir), way_out=_WAY_OUT
        )


def read_config(run_dir: Path) -> RecordedConfig:
    """Read the configuration of a run.

    Raises:
        UserError: It is missing, damaged, or not the configuration of a run.
    """
    check_has_config(run_dir)
    path = run_dir / CONFIG_FILE
    found = read_our_json(path)
    if not found.keys() & RecordedConfig.model_fields.keys():
        raise UserError("not the configuration of a run", where=str(path), way_out=_WAY_OUT)
    try:
        return RecordedConfig.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(
            f"not the configuration of a run: {key}: {first['msg']}",
            where=str(path),
            way_out=_WAY_OUT,
        ) from error


def whole_config(run_dir: Path) -> RunConfig | None:
    """Return a run's whole configuration; None if there is none or an earlier version wrote it.

    Raises:
        UserError: It is damaged.
    """
    if not (run_dir / CONFIG_FILE).is_file():
        return None
    try:
        return RunConfig.model_validate(read_our_json(run_dir / CONFIG_FILE))
    except ValidationError:
        return None
