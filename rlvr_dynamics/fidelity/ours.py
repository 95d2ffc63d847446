"""Values of ours that no single key holds."""

from collections.abc import Callable

from rlvr_dynamics.fidelity.setting import Value
from rlvr_dynamics.schema import HubData, RunConfig
from rlvr_dynamics.schema.overrides import value_at

# Of algorithms that another number would make another algorithm.
OWN_UPDATES = {"opo": 1, "gspo": 4, "cispo": 16}


def training_problems(config: RunConfig) -> Value:
    """Return the number of problems that are trained on; the kind of generated data."""
    data = config.data
    return data.train.rows - data.validation_problems if isinstance(data, HubData) else data.kind


def answers_to_problems(config: RunConfig) -> Value:
    """Return whose answers the training problems have, in words."""
    return "shuffled" if config.data.shuffle_answers else "their own"


def updates_a_step(config: RunConfig) -> Value:
    """Return the policy's optimizer updates in a step."""
    return config.trainer.updates_per_rollout


def own_updates(otherwise: int) -> Callable[[RunConfig], Value]:
    """Return a function that gives the grid's updates a step, by algorithm."""
    return lambda config: OWN_UPDATES.get(config.algorithm.name, otherwise)


def of_verl(key: str, default: str) -> Callable[[RunConfig], Value]:
    """Return a function that gives what verl has at a key: an override of the run, or a default."""

    def of(config: RunConfig) -> Value:
        given = value_at(config.trainer.verl_overrides, key)
        return default if given is None else given

    return of


def what_is_trained(config: RunConfig) -> Value:
    """Return which weights training changes, in words."""
    return "every weight" if config.algorithm.lora is None else config.algorithm.lora.in_words


def further_settings(config: RunConfig) -> Value:
    """Return the run's own overrides of verl's settings, in words."""
    return ", ".join(config.trainer.verl_overrides) or "none"


def ends_of_an_answer(config: RunConfig) -> Value:
    """Return which tokens end an answer, in words."""
    stop = config.model.stop_tokens if config.model.kind == "hub" else ()
    return " or ".join(["the model's own", *stop])


def scored(field: str, split: str | None = None) -> Callable[[RunConfig], Value]:
    """Return a function that gives a field of the scoring's protocols, for a split or for all."""

    def of(config: RunConfig) -> Value:
        found = {
            getattr(protocol, field)
            for protocol in config.scoring.protocols
            if split is None or split in protocol.splits
        }
        if len(found) == 1:
            return found.pop()
        return ", ".join(f"{value:g}" for value in sorted(found)) or None

    return of


def wanted_precision(config: RunConfig) -> Value:
    """Return how many answers predictions get that no table of a paper has, in words."""
    half_width = config.scoring.half_width
    return "as many" if half_width is None else f"enough for {half_width:g} either way"


def accuracy_of_steps(config: RunConfig) -> Value:
    """Return on which problems the accuracy y(t) of a step is measured, in words."""
    every = config.trainer.validate_every
    if every is None:
        return "those of the step's own rollouts"
    steps = "every step" if every == 1 else f"every {every} steps"
    return f"{config.data.validation_problems} held-out ones, {steps}"
