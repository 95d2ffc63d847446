"""How many answers the models of a run give: which models there are, and which answer in full."""

from collections.abc import Iterable
from typing import NamedTuple

from rlvr_dynamics.schema import RunConfig
from rlvr_dynamics.schema.model_id import BASE, LOGITS, REAL, ModelId
from rlvr_dynamics.schema.shares import observed_step, target_step
from rlvr_dynamics.scoring.jobs import Protocol


class Asked(NamedTuple):
    """Models that answer a benchmark equally often.

    Attributes:
        benchmark: Name of the benchmark.
        protocol: Name of the protocol.
        models: Number of models.
        questions: Number of questions.
        samples: Answers to each question.
    """

    benchmark: str
    protocol: str
    models: int
    questions: int
    samples: int

    @property
    def answers(self) -> int:
        """Answers of all these models together."""
        return self.models * self.questions * self.samples


def protocols_of(config: RunConfig) -> list[Protocol]:
    """Return the protocols of a run."""
    scoring = config.scoring
    return [
        Protocol(**each.model_dump(), max_tokens=scoring.max_tokens, half_width=scoring.half_width)
        for each in scoring.protocols
    ]


def whole_models(config: RunConfig, models: Iterable[ModelId]) -> set[ModelId]:
    """Return the models that get a protocol's `samples`, whatever `scoring.half_width` is.

    The base, the last checkpoint, predictions by the methods in `scoring.printed`, and the
    checkpoints that tables put beside these: at the end of their window, or at the rebuilt step.

    Args:
        config: The run's.
        models: All models that are scored.
    """
    models = list(models)
    chosen = [*config.extrapolation.methods, *config.extrapolation.reconstructions]
    printed = {each.title for each in chosen if each.name in config.scoring.printed}
    beside = {model.observe or model.step for model in models if model.method in printed}
    last = max((model.step for model in models if model.method == REAL), default=0)
    return {
        model
        for model in models
        if model.method in {BASE, *printed}
        or (model.method == REAL and model.step in {last, *beside})
    }


def of_two_models(config: RunConfig, steps: tuple[int, ...]) -> list[ModelId]:
    """Return the models whose answers come from the logits of two checkpoints.

    Args:
        config: The run's.
        steps: Saved steps.
    """
    found = {}
    for pair in config.scoring.extrapolated_logits:
        observe, target = observed_step(steps, pair.window), target_step(steps, pair.target)
        if target > observe:  # in a short trajectory both may be the same step
            found[ModelId(LOGITS, observe, target)] = None
    return list(found)


def planned_models(config: RunConfig) -> list[ModelId]:
    """Return the models that a run will score, without the candidates of grids.

    Methods that turn out to lack something, such as accuracies, are counted.
    """
    published = config.source.published
    steps = tuple(range(1, config.trainer.steps + 1)) if published is None else published.steps
    settings, found = config.extrapolation, dict.fromkeys([ModelId.base()])
    ladder = {observed_step(steps, share) for share in config.scoring.ladder}
    predicted = []
    for method in settings.methods:
        for share in method.windows or settings.windows:
            observe = observed_step(steps, share)
            targets = {target_step(steps, each) for each in method.targets or settings.targets}
            later = [ModelId(method.title, observe, step) for step in targets if step > observe]
            ladder |= {observe} if later else set()
            predicted += later
    for rebuilt in settings.reconstructions:
        targets = {target_step(steps, share) for share in rebuilt.targets}
        predicted += [ModelId(rebuilt.title, 0, step) for step in targets]
    mixed = of_two_models(config, steps)
    ladder |= {model.observe for model in mixed}
    predicted += mixed
    found |= dict.fromkeys(map(ModelId.checkpoint, sorted(ladder)))
    return list(found | dict.fromkeys(predicted))


def planned_answers(config: RunConfig) -> list[Asked]:
    """Return how many answers a run will ask for on its benchmarks, those of grids excluded."""
    models = planned_models(config)
    whole = len(whole_models(config, models))
    found = []
    for name, benchmark in config.benchmark.items():
        questions = benchmark.rows - len(benchmark.exceptions)
        for protocol in protocols_of(config):
            if not protocol.covers(benchmark.split_kind):
                continue
            for count, entire in ((whole, True), (len(models) - whole, False)):
                samples = protocol.sized(questions, entire).samples
                found.append(Asked(name, protocol.name, count, questions, samples))
    return [asked for asked in found if asked.models]
