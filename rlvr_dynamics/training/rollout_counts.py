"""Counts every rollout that is graded, also those that verl drops before its own averages.

verl's mean score is of the groups that are learned from and has penalties in it; under dynamic
sampling it says little about how often the model is right. The reward managers see every answer.
Each of their processes appends one line an answer to its own file, so nothing has to be locked.
"""

import json
import os
import socket
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER_VARIABLE = "RLVR_DYNAMICS_ROLLOUTS"
VERDICT = ("acc", "acc_exact", "truncated")  # the parts of a verdict that are counted
# The split that the training tables name in extra_info, and the prefix of its columns.
PREFIX = {"train": "rollouts", "val": "validation"}


def folder_of(metrics_file: Path) -> Path:
    """Return the folder of counts beside verl's metrics of one attempt."""
    return metrics_file.with_name(metrics_file.stem.replace("metrics", "rollouts", 1))


class Recorder:
    """Appends graded rollouts to this process's file."""

    def __init__(self, folder: Path) -> None:
        """Open the file, in a folder that is made if missing."""
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{socket.gethostname()}-{os.getpid()}.jsonl"
        self._file = (folder / name).open("a", encoding="utf-8", buffering=1)

    def add(self, rollout: Mapping[str, Any], verdict: Mapping[str, float]) -> None:
        """Append one rollout.

        Args:
            rollout: verl's columns: global_steps (1 for the first step, whose rollouts are the
                base's; a validation has the step after which it is made), uid of the problem, and
                extra_info with the split.
            verdict: From `reward.compute_score`; that of another reward function, which has no
                such parts, is not counted.
        """
        if not verdict.keys() >= set(VERDICT):
            return
        split = (rollout.get("extra_info") or {}).get("split")
        if split in PREFIX and rollout.get("global_steps") is not None:
            line = [int(rollout["global_steps"]), split, str(rollout["uid"])]
            line += [int(verdict[name]) for name in VERDICT]
            self._file.write(json.dumps(line, separators=(",", ":")) + "\n")


def counts(folder: Path) -> dict[int, dict[str, float]]:
    """Return columns by step: how many problems and answers, and which shares of them were what.

    Under `rollouts/` those drawn for training, under `validation/` those of verl's validation:
    ``problems``, ``answers``, ``acc`` (right by the rule that pays), ``acc_exact`` (right for the
    grader), ``paid_only`` and ``exact_only`` (right for one of the two only), ``truncated``.
    """
    problems: dict[tuple[int, str], set[str]] = defaultdict(set)
    sums: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0] * 6)
    for step, split, problem, paid, exact, cut in _lines(folder):
        problems[step, split].add(problem)
        found = sums[step, split]
        for place, value in enumerate((1, paid, exact, paid > exact, exact > paid, cut)):
            found[place] += value
    columns: dict[int, dict[str, float]] = defaultdict(dict)
    for (step, split), (answers, *others) in sums.items():
        names = ("acc", "acc_exact", "paid_only", "exact_only", "truncated")
        shares = {name: value / answers for name, value in zip(names, others, strict=True)}
        held = {"problems": len(problems[step, split]), "answers": answers} | shares
        columns[step] |= {f"{PREFIX[split]}/{name}": value for name, value in held.items()}
    return dict(columns)


def _lines(folder: Path) -> Iterator[list[Any]]:
    for file in sorted(folder.glob("*.jsonl")):
        with file.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):  # a killed writer can leave an incomplete last line
                    yield json.loads(line)
