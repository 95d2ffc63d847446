"""Where the weights jumped while they were trained, what decided, and what it cost."""

import numpy as np
import pandas as pd

from rlvr_dynamics.reporting.tables import Table, absent
from rlvr_dynamics.results.formatting import integer, number, percent
from rlvr_dynamics.results.frames import has, known, numbers, values
from rlvr_dynamics.results.run import Results

NAME, TITLE = "jumps", "Jumps of the weights while they were trained"
PREFIX, DRAWN = "acceleration/", "rollouts/answers"
SHOWN = ("factor", "length", "walked", "candidates", "gain", "gain_lower", "backtest_skill")
COSTS = ("rollouts", "tokens", "total_seconds")


def jump_table(results: Results) -> Table:
    """Build one row for each step after which a jump was tried."""
    metrics = results.tables["metrics"]
    if metrics is None:
        return absent(NAME, TITLE, "metrics")
    if not has(metrics, f"{PREFIX}accepted"):
        return Table(NAME, TITLE, "", None, missing="Not made: this run had no acceleration.")
    tried = known(metrics, f"{PREFIX}accepted").sort_values(["step"])
    kept, counted = values(tried, f"{PREFIX}accepted"), values(tried, f"{PREFIX}candidates")
    frame = pd.DataFrame({"after step": values(tried, "step")})
    frame["decision"] = [_decision(*pair) for pair in zip(kept, counted, strict=True)]
    for name in (*SHOWN, *COSTS):
        column = f"{PREFIX}{name}"
        frame[name] = values(tried, column) if column in tried else np.nan
    spent, drawn = sum(numbers(tried, f"{PREFIX}rollouts")), sum(numbers(metrics, DRAWN))
    share = f", {percent(spent / drawn)} of the {drawn:,.0f} of the training" if drawn else ""
    return Table(
        NAME,
        TITLE,
        f"{sum(kept):.0f} of {len(frame)} firings jumped, and the gate drew {spent:,.0f} answers"
        f"{share}. A gain and the lower end of its one-sided interval are of the last candidate "
        "kept, or else of the last tried, over the weights before it, which in a search are those "
        "of the factor before, on the same held-out problems with the same seeds. A gain that was "
        "accepted on a part of the problems is too large on average. The checkpoint of a step has "
        "the weights before the jump; train/acceleration/ has every candidate.",
        frame,
        {
            **dict.fromkeys(["after step", "candidates", "rollouts", "tokens"], integer),
            **dict.fromkeys(["gain", "gain_lower"], percent),
            **dict.fromkeys(
                ["factor", "length", "walked", "backtest_skill", "total_seconds"], number
            ),
        },
        {
            "walked": "walked since the last",
            "gain_lower": "gain, at least",
            "backtest_skill": "skill of the backtest",
            "rollouts": "answers of the gate",
            "total_seconds": "seconds",
        },
    )


def _decision(kept: float, candidates: float) -> str:
    if kept:
        return "jumped"
    return "taken back" if candidates else "not tried"
