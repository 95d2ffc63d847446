"""Acceleration: jumps of the weights while they are trained, and the gate that they must pass."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rlvr_dynamics.schema.types import Count, Frozen, Name, sequence

ANCHORED = (
    "anchor",
    "random",
    "none",
)  # methods that need no checkpoints; others are extrapolators
Factor = Annotated[float, Field(gt=1, le=1000)]


class When(Frozen):
    """After which steps a jump is tried, never after the last: one of the three."""

    steps: sequence(Count, min_length=1) | None  # pyright: ignore[reportInvalidTypeForm]
    every: Count | None
    powers_of_two: bool

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = {"steps": self.steps, "every": self.every, "powers_of_two": self.powers_of_two}
        _one_of("when", given)
        if self.steps is not None and list(self.steps) != sorted(set(self.steps)):
            raise ValueError("when.steps must rise")
        return self


class HowFar(Frozen):
    """How far a jump goes: one of the four.

    Attributes:
        factor: f, with the candidate at A + f (W - A), A the anchor and W the present weights.
        horizon: Steps ahead, on the plan's clock.
        search: Factors tried in this order until one is not accepted; the last accepted stands.
        to_end: As `horizon`, for all steps that are left.
    """

    factor: Factor | None
    horizon: Count | None
    search: sequence(Factor, min_length=1) | None  # pyright: ignore[reportInvalidTypeForm]
    to_end: bool

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = {"factor": self.factor, "horizon": self.horizon, "search": self.search}
        _one_of("how_far", given | {"to_end": self.to_end})
        if self.search is not None and list(self.search) != sorted(set(self.search)):
            raise ValueError("how_far.search must rise")
        return self

    @property
    def ahead(self) -> bool:
        """Whether the jump aims at a step, so that a clock is read."""
        return self.horizon is not None or self.to_end


class Gate(Frozen):
    """What a jump must pass; a rejected one is undone bit for bit.

    Attributes:
        kind: `backtest` asks the window's own steps whether the two-point form would have come
            closer than holding, without rollouts; `validation` compares answers to held-out
            problems before and after; `both` validates only what the backtest lets through.
        problems: Most validation problems asked; null for as many as `detect` needs, or else all.
        samples: Answers to each of them, with the same seeds before and after.
        level: Of the one-sided interval of the gain, divided by the candidates tried (Bonferroni)
            and among the looks at a part of the problems and at all.
        rule: `lower_bound` accepts if the interval's lower end is above 0, `better` if the mean
            over all problems is strictly higher (EffOPD, arXiv 2605.11739).
        detect: Gain in points that is to be accepted with a power of 80 %.
        validations: Most firings that may spend answers; null for no limit.
        back_off: Whether the n-th rejection in a row lets the next 2^(n - 1) firings pass without
            answers; a candidate that is surely worse counts as three.
    """

    kind: Literal["none", "backtest", "validation", "both"]
    problems: Count | None
    samples: Annotated[int, Field(ge=1, le=10_000)]
    level: Annotated[float, Field(ge=1e-9, lt=0.5)]
    rule: Literal["lower_bound", "better"]
    detect: Annotated[float, Field(gt=0, le=100)] | None
    validations: Count | None
    back_off: bool

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.problems is not None and self.detect is not None:
            raise ValueError(
                "gate.problems and gate.detect both say how many problems: one of them"
            )
        asking = ("problems", "detect", "validations")
        given = [key for key in asking if getattr(self, key) is not None]
        if given and not self.validates:
            raise ValueError(
                f"gate.{given[0]} is read where the gate asks: gate.kind=validation or both, "
                f"and not {self.kind}"
            )
        if self.detect is not None and self.rule == "better":
            raise ValueError("gate.detect is of gate.rule=lower_bound: any higher mean is better")
        return self

    @property
    def validates(self) -> bool:
        """Whether it spends rollouts."""
        return self.kind in ("validation", "both")

    @property
    def backtests(self) -> bool:
        """Whether it asks the window's own steps."""
        return self.kind in ("backtest", "both")


class EarlyStop(Frozen):
    """When the predicted gain that is left is too small.

    Attributes:
        below: Points of training accuracy; compared with the upper end of the predicted gain over
            the steps that are left.
        act: Whether the training ends there; otherwise the record says so and it goes on.
    """

    below: Annotated[float, Field(gt=0, lt=100)]
    act: bool = False


class Acceleration(Frozen):
    """When and how far the weights jump while they are trained, and what decides.

    Attributes:
        method: `anchor` moves along the change since the last firing (at first, since the base),
            `random` as far in a random direction, tensor by tensor, `none` not at all; or an
            extrapolator of `rlvr_dynamics.extrapolation`, which reads the run's own checkpoints.
        parameters: The extrapolator's settings.
        when: After which steps.
        how_far: Not read with method=none.
        clock: What `how_far.horizon`, `to_end` and the backtest count: the step number, or the
            length of the path walked.
        tensors: What moves: `all`, the layers' `matrices`, or all but layers of normalisation.
        optimizer: AdamW's state after an accepted jump: `keep`, `zero` (both moments, the count of
            updates kept) or `restart` (the count too).
        gate: What a jump must pass.
        roll_back: `rejected` jumps, or `always`: a control that pays for jumps and keeps none.
        stop: Whether to watch for the end of what training can gain; null does not.
    """

    method: Name
    parameters: dict[Name, bool | int | float | str]
    when: When
    how_far: HowFar
    clock: Literal["step", "path"]
    tensors: Literal["all", "matrices", "not_norms"]
    optimizer: Literal["keep", "zero", "restart"]
    gate: Gate
    roll_back: Literal["rejected", "always"]
    stop: EarlyStop | None

    @property
    def from_checkpoints(self) -> bool:
        """Whether the method is an extrapolator, which needs the run's own checkpoints."""
        return self.method not in ANCHORED

    @property
    def reads_clock(self) -> bool:
        """Whether anything depends on the clock."""
        return self.gate.backtests or (self.method != "none" and self.how_far.ahead)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        far, name = self.how_far, self.method
        if self.parameters and not self.from_checkpoints:
            raise ValueError(f"parameters are an extrapolator's, and method={name} has none")
        if self.from_checkpoints and not far.ahead:
            raise ValueError(
                f"method={name} is none of {', '.join(ANCHORED)}, and a method that predicts "
                "weights needs how_far.horizon or how_far.to_end"
            )
        if far.search is not None and name != "none" and not self.gate.validates:
            raise ValueError("how_far.search needs gate.kind=validation or both to choose")
        if self.gate.backtests and name != "anchor":
            raise ValueError(f"gate.kind={self.gate.kind} tests method=anchor, and not {name}")
        if self.clock == "path" and not self.reads_clock:
            raise ValueError(
                "clock=path changes nothing here: it is read by how_far.horizon, how_far.to_end "
                "and the backtest of a gate"
            )
        return self


def _one_of(name: str, given: Mapping[str, object]) -> None:
    """Check that exactly one of some keys is set."""
    chosen = [key for key, value in given.items() if value is not None and value is not False]
    if len(chosen) != 1:
        names = [f"{name}.{key}" for key in given]
        what = " and ".join(f"{name}.{key}" for key in chosen) or "none"
        raise ValueError(f"one of {', '.join(names[:-1])} or {names[-1]}; given: {what}")
