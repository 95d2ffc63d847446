"""One stage of the flow, and what everything that it publishes was made from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.system.versions import package_version

# Keys that runs have been made without, and the value at which such a run did the same: it is left
# out of a stage's key, so that those runs stay valid.
NEUTRAL: dict[str, Any] = {
    "algorithm.weight_decay": 0.01,  # verl's default
    "algorithm.optimizer": "adamw",
    "algorithm.betas": [0.9, 0.999],
    "algorithm.lora": None,
    "data.reward": "exact",
    "extrapolation.donor": None,
    "scoring.half_width": None,
    "scoring.printed": [],
    "scoring.seeding": "request",
    "scoring.extrapolated_logits": [],
    "scoring.validate_windows": False,
    "measure.round_to": None,
    "model.context": None,
    "model.vocabulary": None,
    "trainer.critic_mini_batch_prompts": None,
    "trainer.validate_every": None,
    "trainer.validation_samples": 4,
    "trainer.micro_batch_tokens": None,
    "trainer.save_state_every": 1,
    "trainer.keep": "folders",
    "trainer.passes": 1,
}
_ABSENT = object()


@dataclass(frozen=True)
class Stage:
    """One step of the flow, which publishes one folder of the run directory.

    Attributes:
        name: Its name on the command line.
        version: Raised whenever a change of our code changes its numbers.
        needs: Stages whose identities it depends on; those that did not run are left out unless
            they are `required`.
        required: Stages that must be finished.
        packages: Distributions whose version changes its numbers.
        settings: The part of the configuration it depends on.
        work: Does it, writing into the folder it is given.
        identity: Content of the finished folder; None means that the key says it all.
        in_place: Works in the final folder and resumes there, instead of appearing at once.
        inputs_now: Identities of inputs that others may write to while it works; they must be the
            same when it is finished.
    """

    name: str
    version: int
    needs: tuple[str, ...]
    required: tuple[str, ...]
    packages: tuple[str, ...] | Callable[[RunConfig], tuple[str, ...]]
    settings: Callable[[RunConfig], dict[str, Any]]
    work: Callable[[Run, Path], None]
    identity: Callable[[Run, Path], str] | None = None
    in_place: bool = False
    inputs_now: Callable[[Run], dict[str, str]] | None = None

    def material(self, config: RunConfig, identities: dict[str, str]) -> dict[str, Any]:
        """Everything its numbers depend on; the digest of it is the key of what it publishes.

        Args:
            config: The run's.
            identities: Stage to identity of what it published.
        """
        packages = self.packages(config) if callable(self.packages) else self.packages
        return {
            "stage": self.name,
            "version": self.version,
            "settings": self.settings(config),
            "inputs": {need: identities[need] for need in self.needs if need in identities},
            "packages": {name: package_version(name) for name in packages},
        }


def sections(config: RunConfig, *names: str) -> dict[str, Any]:
    """Sections of a configuration as JSON values, without the keys at a value of `NEUTRAL`."""
    return without_neutral(config.model_dump(mode="json", include=set(names)))


def without_neutral(values: dict[str, Any]) -> dict[str, Any]:
    """Sections by name, without the keys at a value of `NEUTRAL`."""
    neutral = {key for key, value in NEUTRAL.items() if _at(values, key) == value}
    return {
        section: {k: v for k, v in held.items() if f"{section}.{k}" not in neutral}
        if isinstance(held, dict)
        else held
        for section, held in values.items()
    }


def _at(values: dict[str, Any], key: str) -> Any:
    section, name = key.split(".")
    held = values.get(section)
    return held.get(name, _ABSENT) if isinstance(held, dict) else _ABSENT
