"""Counts every rollout that is graded, also those that verl drops before its own averages.

verl's mean score is of the groups that are learned from and has penalties in it; under dynamic
sampling it says little about how often the model is right. The reward managers see every answer.
Each of their processes appends one line an answer to its own file, so nothing has to be locked.
"""

import json
import math
import os
import socket
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
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
    grader), ``paid_only`` and ``exact_only`` (right for one of the two only), ``truncated``, and
    ``acc_exact_se``, the standard error of acc_exact (`_standard_error`), where there is one.
    """
    problems: dict[tuple[int, str], dict[str, list[int]]] = defaultdict(dict)
    sums: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0] * 6)
    for step, split, problem, paid, exact, cut in _lines(folder):
        group = problems[step, split].setdefault(problem, [0, 0])
        group[0] += 1
        group[1] += exact
        found = sums[step, split]
        for place, value in enumerate((1, paid, exact, paid > exact, exact > paid, cut)):
            found[place] += value
    columns: dict[int, dict[str, float]] = defaultdict(dict)
    for (step, split), (answers, *others) in sums.items():
        names = ("acc", "acc_exact", "paid_only", "exact_only", "truncated")
        shares = {name: value / answers for name, value in zip(names, others, strict=True)}
        held = {"problems": len(problems[step, split]), "answers": answers} | shares
        error = _standard_error(split, problems[step, split].values())
        held |= {} if math.isnan(error) else {"acc_exact_se": error}
        columns[step] |= {f"{PREFIX[split]}/{name}": value for name, value in held.items()}
    return dict(columns)


def accuracy_so_far(verl_folder: Path) -> dict[int, float]:
    """Return the share of right rollouts of each step's weights, from all attempts of a training.

    The rollouts of step t + 1 are drawn from the weights of step t. The last attempt counts.
    """
    attempts = sorted(verl_folder.glob("rollouts_*"), key=lambda each: int(each.name[9:]))
    found: dict[int, float] = {}
    for attempt in attempts:
        for step, columns in counts(attempt).items():
            if "rollouts/acc_exact" in columns:
                found[step - 1] = columns["rollouts/acc_exact"]
    return found


def _standard_error(split: str, groups: Iterable[list[int]]) -> float:
    """Return the standard error of the share of right answers p = Σ r_g / N, N = Σ n_g.

    With r_g right of n_g answers to each of G problems:

    - training, where every step has other problems, which differ in difficulty: over the problems,
      sqrt(G / (G - 1) Σ (r_g - p n_g)²) / N (Cochran 1977, section 6.3, for a ratio).
    - validation, whose problems are always the same: over the answers to each, with
      p_g = r_g / n_g, sqrt(Σ n_g² p_g (1 - p_g) / (n_g - 1)) / N.

    NaN for a single problem in training, or a problem of the validation with a single answer.
    """
    held = list(groups)
    answers = sum(n for n, _ in held)
    if split == "train":
        share = sum(r for _, r in held) / answers
        squares = sum((r - share * n) ** 2 for n, r in held)
        count = len(held)
        return math.sqrt(squares * count / (count - 1)) / answers if count > 1 else math.nan
    if any(n < 2 for n, _ in held):
        return math.nan
    return math.sqrt(sum(r * (n - r) / (n - 1) for n, r in held)) / answers


def _lines(folder: Path) -> Iterator[list[Any]]:
    for file in sorted(folder.glob("*.jsonl")):
        with file.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):  # a killed writer can leave an incomplete last line
                    yield json.loads(line)
