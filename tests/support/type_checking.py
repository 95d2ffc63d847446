"""Checks annotations of the numerical code in all tests: shapes (jaxtyping), types (beartype)."""

import ast
import sys
from pathlib import Path
from typing import Any

from beartype import BeartypeConf, beartype

ROOMS = (
    "rlvr_dynamics.acceleration",
    "rlvr_dynamics.dynamics",
    "rlvr_dynamics.extrapolation",
    "rlvr_dynamics.measurement",
)

_check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for pyright
_completed: set[str] = set()


def checked(annotated: Any) -> Any:
    """Check the annotations of a function at every call."""
    _complete(annotated.__module__)
    return _check(annotated)


def _complete(module: str) -> None:
    """Import what a light module imports only for type checkers, so that names resolve."""
    if module in _completed:
        return
    _completed.add(module)
    namespace = vars(sys.modules[module])
    tree = ast.parse(Path(namespace["__file__"]).read_text(encoding="utf-8"))
    for each in tree.body:
        if isinstance(each, ast.If) and ast.unparse(each.test) == "TYPE_CHECKING":
            code = compile(ast.Module(each.body, type_ignores=[]), namespace["__file__"], "exec")
            exec(code, namespace)
