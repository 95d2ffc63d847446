"""What the papers make of the answers that verl trains on, computed from its own dump of them."""

from pathlib import Path

import numpy as np
import pandas as pd

from tests.support.grid_fixture import rollouts


def answers_of(folder: Path, longest: int) -> dict[int, pd.DataFrame]:
    """Return answers by step with their group and length in tokens (characters and an end token).

    Args:
        folder: A run directory whose training dumped its rollouts.
        longest: `trainer.max_response_tokens`.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "prepare" / "base")
    table = pd.DataFrame(rollouts(folder))
    counts = [len(ids) for ids in tokenizer(table["output"].tolist()).input_ids]
    table["tokens"] = np.minimum(np.array(counts) + 1, longest)
    table["group"] = table["uid"].str.rsplit("_", n=2).str[0]
    return dict(iter(table.groupby("step")))


def advantages(name: str, answers: pd.DataFrame) -> np.ndarray:
    """Return the method's advantage of every answer from its group's rewards."""
    found = np.zeros(len(answers))
    for _, rows in answers.reset_index(drop=True).groupby("group"):
        rewards = rows["score"].to_numpy()
        if name == "rloo":  # arXiv 2402.14740: against the mean of the others
            value = [reward - np.mean(np.delete(rewards, i)) for i, reward in enumerate(rewards)]
        else:  # arXiv 2402.03300; without the deviation in arXiv 2503.20783
            deviation = 1.0 if name == "dr_grpo" else rewards.std(ddof=1) + 1e-6
            value = (rewards - rewards.mean()) / deviation
        found[rows.index] = value
    return found


def unseen(answers: pd.DataFrame, row: pd.Series) -> float:
    """Return tokens that verl counts and the dumped text hides: special ones in mid-answer."""
    return round(row["response_length/mean"] * len(answers) - answers["tokens"].sum(), 3)


def slack(value: np.ndarray, answers: pd.DataFrame, row: pd.Series) -> float:
    """Return how far unseen tokens can move a mean over tokens of `value`."""
    return 1e-4 + 2 * np.abs(value).max() * unseen(answers, row) / answers["tokens"].sum()
