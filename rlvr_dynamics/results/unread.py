"""Ungraded responses, reported next to every accuracy."""

from collections.abc import Sequence

from rlvr_dynamics.results.cached import once_per_run
from rlvr_dynamics.results.formatting import number
from rlvr_dynamics.results.run import Results

STATUSES = ["correct", "incorrect", "no_answer", "truncated", "limit", "timeout", "crash"]
NAMES = {
    "cut off": ("truncated",),
    "no answer": ("no_answer",),
    "grader gave up": ("limit", "timeout", "crash"),
}


def unread_note(results: Results, model: str, benchmarks: Sequence[str], protocol: str) -> str:
    """Return the shares of responses that were cut off, had no answer or stopped the grader.

    Args:
        results: The run.
        model: Model id.
        benchmarks: Benchmarks shown as one accuracy, weighted by their responses.
        protocol: `sampled` or `greedy`.

    Returns:
        Text such as `cut off 2.1 %, no answer 0.4 %`; empty if there are none, or no counts.
    """
    found = [_counts(results).get((model, name, protocol), {}) for name in benchmarks]
    counts = {status: sum(each.get(status, 0) for each in found) for status in STATUSES}
    whole = sum(counts.values())
    shares = {name: sum(counts[each] for each in parts) for name, parts in NAMES.items()}
    return ", ".join(f"{name} {_share(count, whole)}" for name, count in shares.items() if count)


def in_brackets(note: str) -> str:
    """Return the note as shown after an accuracy."""
    return f" ({note})" if note else ""


@once_per_run
def _counts(results: Results) -> dict[tuple[str, str, str], dict[str, int]]:
    scores = results.tables["scores"]
    if scores is None:
        return {}
    known = [status for status in STATUSES if status in scores]
    keys = zip(scores["model"], scores["benchmark"], scores["protocol"], strict=True)
    counts = scores.filter(items=known).fillna(0).astype(int).to_dict("records")
    return {
        key: {str(k): int(v) for k, v in row.items()} for key, row in zip(keys, counts, strict=True)
    }


def _share(count: int, whole: int) -> str:
    share = 100 * count / whole
    return "< 0.1 %" if share < 0.1 else f"{number(share, 1)} %"
