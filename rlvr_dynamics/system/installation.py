"""Where the code lies, and what its commands are called there: in a checkout, or in a wheel.

In a checkout `analysis`, `experiments`, `slurm` and `configs` lie beside the package; a wheel has
them inside it, so that it installs one name.
"""

import re
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
IN_WHEEL = (_PACKAGE / "configs").is_dir()
HOME = _PACKAGE if IN_WHEEL else _PACKAGE.parent
_COMMAND = re.compile(r"\bpython -m (?=(?:analysis|experiments|slurm)\b)")


def module(name: str) -> str:
    """Return the name that a module of a checkout, such as `experiments.grid`, has here."""
    inside = IN_WHEEL and name.partition(".")[0] != _PACKAGE.name
    return f"{_PACKAGE.name}.{name}" if inside else name


def as_typed_here(text: str) -> str:
    """Return a text whose `python -m analysis` and the like can be typed as they stand."""
    return _COMMAND.sub(f"python -m {_PACKAGE.name}.", text) if IN_WHEEL else text
