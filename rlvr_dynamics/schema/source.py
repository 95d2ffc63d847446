"""External checkpoints: on this disk, or published on the hub."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, model_validator

from rlvr_dynamics.schema.types import Count, Frozen, Name, Positive, sequence

PLACE = "{step}"  # placeholder for the step number


def check_pattern(pattern: str) -> str:
    """Check that a pattern can name step folders, and return it.

    Raises:
        ValueError: It does not have exactly one `{step}`, has other braces, or leaves its folder.
    """
    parts = pattern.split("/")
    if pattern.count(PLACE) != 1 or "{" in pattern.replace(PLACE, "").replace("}", "{"):
        raise ValueError("must contain {step} once, and no other braces")
    if any(part in ("", ".", "..") for part in parts) or "\\" in pattern or "\0" in pattern:
        raise ValueError("must be a path below source.checkpoints, such as run-{step}/hf")
    if any("*" in part and PLACE not in part for part in parts):
        raise ValueError("* may stand beside {step} only, in the same folder name")
    return pattern


def _ranges(value: Any) -> Any:
    """Expand ranges of steps such as `1-75`."""
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
    """A trajectory on the hub, fetched instead of training; the base is the run's model.

    `{step}` in `repo`, `revision` or `folder` stands for the step number: one repository with a
    branch (or folder) per step, or one repository per step. `steps` lists the steps to fetch, with
    ranges as `1-75`; they may be uneven. The last step may have a different revision,
    `final_revision`. Every revision is resolved to its commit once and recorded in
    published.lock.json. With `stream`, at most `stream_gib` of the steps' weights is on disk at a
    time: they are measured in groups and deleted. `method` names how they were trained (sft, dist,
    dpo) if not by the run's algorithm.
    """

    repo: str
    revision: str = "main"
    final_revision: str | None = None
    folder: str = ""
    steps: Annotated[sequence(Count, min_length=1), BeforeValidator(_ranges)]  # pyright: ignore[reportInvalidTypeForm]
    stream: bool = False
    stream_gib: Positive = 100.0
    method: Name | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Published":
        if list(self.steps) != sorted(set(self.steps)):
            raise ValueError("steps must rise and not repeat")
        places = (self.repo, self.revision, self.folder)
        fixed = self.steps[:-1] if self.final_revision is not None else self.steps
        if len(fixed) > 1 and not any(PLACE in place for place in places):
            raise ValueError("several steps need {step} in repo, revision or folder")
        return self


class Source(Frozen):
    """External checkpoints, measured without training: on this disk, or on the hub.

    `pattern` names a step's folder below `checkpoints`, with `{step}` for the number, if it does
    not follow a known convention: `run-{step}/hf`. `learning_rate` is that of the trainer that made
    them, taken as constant; it lets the report estimate how many updates a step made.
    """

    base: str | None
    checkpoints: str | None
    published: Published | None
    pattern: Annotated[str, AfterValidator(check_pattern)] | None
    accuracy: str | None
    learning_rate: Positive | None
    allow_gaps: bool

    @property
    def is_given(self) -> bool:
        """Whether the checkpoints are external."""
        return self.base is not None or self.published is not None

    @model_validator(mode="after")
    def _both(self) -> "Source":
        if (self.base is None) != (self.checkpoints is None):
            raise ValueError("base and checkpoints go together: give both or neither")
        if self.pattern is not None and self.checkpoints is None:
            raise ValueError("pattern names the folders below checkpoints: give checkpoints too")
        if self.published is not None and self.base is not None:
            raise ValueError("published and base are two sources: give one of them")
        return self
