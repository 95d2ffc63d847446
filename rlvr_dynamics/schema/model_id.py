"""The name of a scored model: the base, a training checkpoint, or a prediction."""

import re
from dataclasses import dataclass

from rlvr_dynamics.errors import UserError

BASE, REAL = "base", "real"
LOGITS = "logits_extrapolation"  # answers from two checkpoints, without weights of its own
_NAME = re.compile(
    r"(?:(?P<method>(?!observe_|step_)[a-z0-9]+(?:_[a-z0-9]+)*)__(?:observe_(?P<observe>[0-9]+)__)?)?"
    r"step_(?P<step>[0-9]+)"
)


@dataclass(frozen=True)
class ModelId:
    """The id of a model, as text in tables and file names.

    The text is `base`, `step_<N>`, `<method>__step_<N>` or `<method>__observe_<K>__step_<N>`.

    Attributes:
        method: `base`, `real` (a training checkpoint) or the label of a method.
        observe: Last observed step; 0 if the method has no window.
        step: Step of the checkpoint, or target step of the prediction; 0 for the base.
    """

    method: str
    observe: int
    step: int

    @classmethod
    def base(cls) -> "ModelId":
        """Return the id of the model before training."""
        return cls(BASE, 0, 0)

    @classmethod
    def checkpoint(cls, step: int) -> "ModelId":
        """Return the id of a training checkpoint."""
        return cls(REAL, 0, step)

    @classmethod
    def parse(cls, text: str) -> "ModelId":
        """Parse a name.

        Raises:
            UserError: It has another form.
        """
        if text == BASE:
            return cls.base()
        match = _NAME.fullmatch(text)
        if match is None or match["method"] in (BASE, REAL):
            raise UserError(
                f"model id {text!r} has an unknown form",
                way_out="base, step_<N>, <method>__step_<N> or <method>__observe_<K>__step_<N>",
            )
        return cls(match["method"] or REAL, int(match["observe"] or 0), int(match["step"]))

    def __str__(self) -> str:
        """Return the name."""
        if self.method == BASE:
            return BASE
        method = "" if self.method == REAL else f"{self.method}__"
        window = f"observe_{self.observe}__" if self.observe else ""
        return f"{method}{window}step_{self.step}"
