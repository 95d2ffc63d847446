"""One record of a jump: its keys, and its numbers as columns of the training metrics.

Keys: ``step`` after which it was tried; ``anchor``, the step of A; ``method``; ``decision`` and
``reason``; ``accepted``; ``factor``, ``target`` and ``length`` of the accepted candidate;
``walked``, the length of W - A; what was done to the ``optimizer``; the ``backtest``; accuracy
``before``, on the problems that the present weights ``answered``; the candidates ``tried``, each
with factor, length, gain, lower end, the ``problems`` behind these, how many it ``answered`` in
all, whether it is surely ``worse``, and accuracy after; ``remaining`` gain; ``rollouts``,
``tokens`` and ``seconds`` spent; ``remarks``.
"""

import math
from collections.abc import Mapping
from typing import Any


def empty_record(method: str, step: int, anchor: int) -> dict[str, Any]:
    """Return a record of which nothing is known yet."""
    return {
        "step": step,
        "anchor": anchor,
        "method": method,
        "decision": "",
        "reason": "",
        "accepted": False,
        "factor": None,
        "target": None,
        "length": None,
        "optimizer": None,
        "backtest": None,
        "before": None,
        "tried": [],
        "remarks": [],
    }


def number(value: float) -> float | None:
    """Return a number as JSON holds it: None if it is not finite."""
    return value if math.isfinite(value) else None


def without_nan(value: Any) -> Any:
    """Return a nested value with `number` applied to every float in it."""
    if isinstance(value, Mapping):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(each) for each in value]
    return number(value) if isinstance(value, float) else value


def metrics_of(record: Mapping[str, Any]) -> dict[str, float]:
    """Return a record's numbers by column of train/metrics.parquet; what is missing has none."""
    kept = [tried for tried in record["tried"] if tried["accepted"]]
    last = (kept or record["tried"] or [{}])[-1]
    numbers: dict[str, Any] = {
        "accepted": float(record["accepted"]),
        "walked": record["walked"],
        "length": record["length"],
        "factor": record["factor"],
        "gain": last.get("gain"),
        "gain_lower": last.get("lower"),
        "candidates": len(record["tried"]),
        "backtest_skill": (record["backtest"] or {}).get("skill"),
        "rollouts": record["rollouts"],
        "tokens": record["tokens"],
        **{f"{name}_seconds": value for name, value in record["seconds"].items()},
    }
    return {
        f"acceleration/{name}": float(value) for name, value in numbers.items() if value is not None
    }
