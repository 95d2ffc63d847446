"""Module name patterns in an adapter's settings, matched as peft does, within limits.

The patterns are regular expressions from an untrusted file. Patterns that could take exponential
time, with a repeated group or many repetitions, are rejected.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr_dynamics.errors import UserError

_LONGEST = 200
_MOST_REPETITIONS = 3
_REPEATED_GROUP = re.compile(r"\)[*+?{]|\(\?|\\[1-9]")


def first_match(patterns: Mapping[str, Any], module: str, otherwise: Any, where: Path) -> Any:
    """Return the value of the first pattern that matches a module's name, or a suffix after a dot.

    Args:
        patterns: Regular expression to value, in order.
        module: Name of the module, without the adapter's prefix.
        otherwise: Returned when none matches.
        where: The file, for error messages.

    Raises:
        UserError: A pattern is not a regular expression, or is rejected as too expensive.
    """
    for pattern, value in patterns.items():
        repetitions = sum(pattern.count(sign) for sign in "*+?{")
        refused = max(len(pattern), len(module)) > _LONGEST or repetitions > _MOST_REPETITIONS
        try:
            found = not (refused or _REPEATED_GROUP.search(pattern)) and re.compile(
                rf"(?:.*\.)?(?:{pattern})$"
            )
        except (re.error, OverflowError, RecursionError):
            found = False
        if found is False:
            raise UserError(
                f"the pattern {ascii(pattern)[:80]} of the adapter's settings is not tried",
                where=str(where),
                way_out="write out the modules' names in rank_pattern and alpha_pattern",
            )
        if found.match(module):
            return value
    return otherwise
