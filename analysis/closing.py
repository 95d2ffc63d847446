"""What to type next, once the page is there."""

from collections.abc import Sequence
from importlib.util import find_spec

from analysis.build import Built
from rlvr_dynamics.reporting.page import next_command as of_run
from rlvr_dynamics.results.study import Study


def next_command(study: Study, built: Sequence[Built]) -> tuple[str, str]:
    """A command and why: finish a run, else run what the empty tables ask for, else another seed.

    Args:
        study: The runs.
        built: What came out.
    """
    for cell in study.cells:
        if cell.results.missing_stages:
            typed, why = of_run(cell.results)
            return typed, f"{cell.name} {_lacks(cell.results.missing_stages)}; this {why}"
    empty = [item for item in built if not item.there and not item.error]
    questions = list(dict.fromkeys(item.artefact.question for item in empty))
    if questions and find_spec("experiments.questions"):
        names = ", ".join(item.artefact.name for item in empty[:4])
        more = f" and {len(empty) - 4} more" if len(empty) > 4 else ""
        return (
            f"python -m experiments.questions {questions[0]}",
            f"says what to run for {names}{more}",
        )
    lonely = next((cell for cell in study.trained if _alone(study, cell.name)), None)
    chosen = lonely or study.cells[-1]
    typed, why = of_run(chosen.results)
    return typed, why


def _lacks(stages: Sequence[str]) -> str:
    return f"lacks {', '.join(stages)}"


def _alone(study: Study, name: str) -> bool:
    """Whether a run has no sister of another seed."""
    cell = study.where(name=name)[0]
    sisters = study.where(
        model=cell.model,
        algorithm=cell.algorithm,
        learning_rate=cell.learning_rate,
        control=cell.control,
    )
    return len({sister.seed for sister in sisters}) == 1
