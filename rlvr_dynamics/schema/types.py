"""Shared types of the configuration."""

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from rlvr_dynamics.schema.model_id import BASE, REAL

StageName = Literal["prepare", "train", "measure", "extrapolate", "score", "behaviour", "report"]
STAGES: tuple[StageName, ...] = get_args(StageName)
USUAL_STAGES = tuple(stage for stage in STAGES if stage != "behaviour")
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]


def _tells_apart(label: str) -> str:
    """Check that a label is unambiguous in a model's name, METHOD__observe_K__step_N."""
    if label in (BASE, REAL):
        raise ValueError(f"{label} is the name of other models: give another label")
    if "__" in label or label.endswith("_") or label.startswith(("observe_", "step_")):
        raise ValueError("a label has no double or last underscore, and no observe_ or step_ first")
    return label


Label = Annotated[Name, AfterValidator(_tells_apart)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Frozen(BaseModel):
    """Base of all settings: unknown keys and wrong types are errors; values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


def sequence(item: Any, **constraints: Any) -> Any:
    """Return the type of a tuple that also accepts a YAML list: the only type conversion."""
    return Annotated[tuple[item, ...], Field(strict=False, **constraints)]
