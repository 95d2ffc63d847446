"""What the parts of the configuration have in common."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

STAGES = ("prepare", "train", "measure", "extrapolate", "score", "report")
StageName = Literal["prepare", "train", "measure", "extrapolate", "score", "report"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$")]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Frozen(BaseModel):
    """Unknown keys and wrong types are errors; nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


def sequence(item: Any, **constraints: Any) -> Any:
    """A tuple of items, also from a YAML list: the only place where a type is converted."""
    return Annotated[tuple[item, ...], Field(strict=False, **constraints)]
