"""Patterns of module names in an adapter's settings, matched as peft does, within bounds.

The patterns are regular expressions out of a file that somebody else wrote. One that could take
for ever, which needs a repeated group or many repetitions, is refused.
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
    """Return the value of the first pattern that is a module's name, or its end behind a dot.

    Args:
        patterns: Regular expression to value, in their order.
        module: Name of the module, without the adapter's prefix.
        otherwise: What is returned when none matches.
        where: The file, for messages.

    Raises:
        UserError: A pattern is no regular expression, or one that is not tried.
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
