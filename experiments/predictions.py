"""Sets of predictions: their union, their difference, and their Hydra overrides."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema import Extrapolation, Method, Rebuilt

Triple = tuple[str, float, float]


@dataclass(frozen=True)
class Predictions:
    """Methods and reconstructions of a run.

    Attributes:
        methods: Methods, each with its own windows and targets.
        reconstructions: As in the configuration.
    """

    methods: tuple[Method, ...] = ()
    reconstructions: tuple[Rebuilt, ...] = ()

    @classmethod
    def of(
        cls,
        methods: Iterable[Method],
        reconstructions: Iterable[Rebuilt],
        windows: tuple[float, ...],
        targets: tuple[float, ...],
    ) -> "Predictions":
        """Fill in the common windows and targets for methods that have none."""
        own = [
            method.model_copy(
                update={
                    "windows": method.windows or windows,
                    "targets": method.targets or targets,
                }
            )
            for method in methods
        ]
        return cls(tuple(own), tuple(reconstructions))

    @classmethod
    def configured(cls, extrapolation: Any) -> "Predictions":
        """Read predictions from a configuration's section given as a mapping (json or yaml)."""
        made = Extrapolation.model_validate(extrapolation)
        return cls.of(made.methods, made.reconstructions, made.windows, made.targets)

    def triples(self) -> set[Triple]:
        """Return label, window and target as shares of the training; reconstructions have window 0.

        Pairs whose target is not after the window are left out.
        """
        found = {
            (method.title, window, target)
            for method in self.methods
            for window in method.windows or ()
            for target in method.targets or ()
            if target > window
        }
        return found | {
            (each.title, 0.0, target) for each in self.reconstructions for target in each.targets
        }


def merged(several: Sequence[Predictions]) -> Predictions:
    """Merge predictions: each label once, with the union of its windows, targets and grids.

    Raises:
        UserError: One label stands for two different methods.
    """
    methods: dict[str, Method] = {}
    rebuilt: dict[str, Rebuilt] = {}
    for predictions in several:
        for method in predictions.methods:
            methods[method.title] = _joined_method(methods.get(method.title), method)
        for each in predictions.reconstructions:
            rebuilt[each.title] = _joined_rebuilt(rebuilt.get(each.title), each)
    return Predictions(tuple(methods.values()), tuple(rebuilt.values()))


def _joined_method(one: Method | None, other: Method) -> Method:
    if one is None:
        return other
    _check_same(one, other)
    if one.grid.keys() != other.grid.keys():
        raise _clash(one, one.grid, other.grid)
    return one.model_copy(
        update={
            "windows": _union(one.windows or (), other.windows or ()),
            "targets": _union(one.targets or (), other.targets or ()),
            "grid": {key: _union(one.grid[key], other.grid[key]) for key in one.grid},
        }
    )


def _joined_rebuilt(one: Rebuilt | None, other: Rebuilt) -> Rebuilt:
    if one is None:
        return other
    _check_same(one, other)
    return one.model_copy(update={"targets": _union(one.targets, other.targets)})


def _check_same(one: Method | Rebuilt, other: Method | Rebuilt) -> None:
    if one.name != other.name or one.parameters != other.parameters:
        raise _clash(one, f"{one.name} {one.parameters}", f"{other.name} {other.parameters}")


def _clash(one: Method | Rebuilt, first: object, second: object) -> UserError:
    return UserError(
        f"the label {one.title} stands for {first} and for {second}",
        way_out="give one of them another label",
    )


def _union(one: Iterable[Any], other: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted({*one, *other}))


def entries(predictions: Predictions) -> dict[str, Any]:
    """Return the `extrapolation` section for these predictions, with common parts factored out.

    Windows and targets are omitted if there is no method.
    """
    windows = _union((), (w for each in predictions.methods for w in each.windows or ()))
    targets = _union((), (t for each in predictions.methods for t in each.targets or ()))
    common = {"windows": windows, "targets": targets} if predictions.methods else {}
    return common | {
        "methods": [_entry(each, windows, targets) for each in predictions.methods],
        "reconstructions": [_entry(each, None, (1.0,)) for each in predictions.reconstructions],
    }


def overrides_of(predictions: Predictions, ladder: Sequence[float] = ()) -> list[str]:
    """Return overrides that make a run compute these predictions and score real checkpoints.

    Args:
        predictions: What to predict; if empty, the section stays unchanged.
        ladder: Shares of the training; if empty, `scoring.ladder` stays unchanged.
    """
    found = []
    if predictions.methods or predictions.reconstructions:
        section = entries(predictions)
        found += [f"extrapolation.{key}={_spelled(value)}" for key, value in section.items()]
    if ladder:
        found.append(f"scoring.ladder={_spelled(ladder)}")
    return found


def _entry(
    each: Method | Rebuilt, windows: tuple[float, ...] | None, targets: tuple[float, ...]
) -> Any:
    """Return a method's configuration without common parts; only its name if that suffices."""
    values: dict[str, Any] = {"name": each.name}
    if each.label is not None:
        values["label"] = each.label
    if isinstance(each, Method):
        if each.windows != windows:
            values["windows"] = each.windows
        if each.grid:
            values["grid"] = each.grid
    if each.targets != targets:
        values["targets"] = each.targets
    if each.parameters:
        values["parameters"] = each.parameters
    return each.name if len(values) == 1 else values


def _spelled(value: Any) -> str:
    """Format a value in Hydra's grammar; names and numbers need no quotes."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_spelled(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_spelled(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
