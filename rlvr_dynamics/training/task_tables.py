"""Writes the tables of a generated task: problems for verl and benchmarks, without overlap."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from rlvr_dynamics.system.atomic import write_parquet


def shuffle_answers(train: Path, seed: int) -> dict[str, Any]:
    """Give each training problem another problem's answer, as a control with random rewards.

    Args:
        train: verl's table of training problems; rewritten in place.
        seed: Determines the permutation.

    Returns:
        Facts for the report: the share of problems whose new answer happens to be right.
    """
    import numpy as np
    import pandas as pd

    table = pd.read_parquet(train)
    rewards = list(table["reward_model"])
    order = np.random.default_rng(seed).permutation(len(rewards))
    table["reward_model"] = [
        {**reward, "ground_truth": rewards[other]["ground_truth"]}
        for reward, other in zip(rewards, order, strict=True)
    ]
    write_parquet(train, table)
    same = sum(
        reward["ground_truth"] == rewards[other]["ground_truth"]
        for reward, other in zip(rewards, order, strict=True)
    )
    return {"shuffled_answers": {"still_right": same / len(rewards), "seed": seed}}


class Problem(Protocol):
    """A question with a single right answer."""

    @property
    def prompt(self) -> str: ...  # noqa: D102
    @property
    def answer(self) -> int: ...  # noqa: D102


def count_shared(sets: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """Count the items shared by each pair of sets, by "<one> & <other>"."""
    texts = {name: set(problems) for name, problems in sets.items()}
    return {
        f"{one} & {other}": len(texts[one] & texts[other])
        for one, other in itertools.combinations(texts, 2)
    }


def write_tables(
    folder: Path,
    source: str,
    kind: str,
    *,
    train: Sequence[Problem],
    validation: Sequence[Problem],
    benchmarks: Mapping[str, Sequence[Problem]],
    titles: Mapping[str, str],
    in_domain: str,
    shared: dict[str, int],
) -> dict[str, Any]:
    """Write train.parquet, val.parquet and benchmarks/*.parquet.

    Args:
        folder: Where the tables go.
        source: verl's data source, which determines the reward's grader.
        kind: How the benchmarks are graded.
        train: Problems to train on.
        validation: Problems held out from training.
        benchmarks: Test problems by benchmark.
        titles: Name of each benchmark in reports.
        in_domain: The benchmark with the same kind of problem as training.
        shared: Number of problems shared by each pair of sets (`count_shared`).

    Returns:
        Facts for the report: problems per table and how many any two sets share.

    Raises:
        ValueError: Two sets share a problem.
    """
    import pandas as pd

    if any(shared.values()):
        raise ValueError(f"sets that must be apart share problems: {shared}")
    for name, problems in (("train", train), ("val", validation)):
        write_parquet(folder / f"{name}.parquet", pd.DataFrame(_verl_rows(problems, source, name)))
    for name, problems in benchmarks.items():
        table = pd.DataFrame(
            {
                "question_id": f"{name}-{index:04d}",
                "prompt": problem.prompt,
                "gold": str(problem.answer),
                "kind": kind,
                "split": "in_domain" if name == in_domain else "out_of_domain",
                "title": titles[name],
            }
            for index, problem in enumerate(problems)
        )
        write_parquet(folder / "benchmarks" / f"{name}.parquet", table)
    return {
        "train_problems": len(train),
        "validation_problems": len(validation),
        "benchmarks": {name: len(problems) for name, problems in benchmarks.items()},
        "shared_problems": shared,
    }


def _verl_rows(problems: Sequence[Problem], source: str, split: str) -> list[dict[str, Any]]:
    return [
        {
            "data_source": source,
            "prompt": [{"role": "user", "content": problem.prompt}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": str(problem.answer)},
            "extra_info": {"split": split, "index": index},
        }
        for index, problem in enumerate(problems)
    ]
