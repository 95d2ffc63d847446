"""Values computed from a run's tables once and kept as long as the run is loaded."""

from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

Run = TypeVar("Run", bound=Hashable)
P = ParamSpec("P")
T = TypeVar("T")


def once_per_run(
    function: Callable[Concatenate[Run, P], T],
) -> Callable[Concatenate[Run, P], T]:
    """Cache a function of a run (`Results` or `Cell`) and further hashable arguments.

    Unlike `functools.cache`, it does not keep the run itself alive.
    """
    found: WeakKeyDictionary[Run, dict[Any, T]] = WeakKeyDictionary()

    @wraps(function)
    def kept(run: Run, *args: P.args, **kwargs: P.kwargs) -> T:
        of_run = found.setdefault(run, {})
        key = args, tuple(sorted(kwargs.items()))
        if key not in of_run:
            of_run[key] = function(run, *args, **kwargs)
        return of_run[key]

    return kept
