"""The stored answers: raw from the engine, then graded and published per benchmark.

`.raw/<model>/<hash>.parquet` is one complete batch of the engine and is kept until its answers are
graded. `samples/<model>/<benchmark>.parquet` is what all other code reads. Both store the keys of
their contents (`rlvr_dynamics.system.keyed`).
"""

from collections import Counter
from pathlib import Path

import pandas as pd

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.grading.grade import KINDS, grade_finished
from rlvr_dynamics.system.sealed import read_parquet

ANSWER_COLUMNS = [
    *("question_id", "protocol", "sample", "prompt", "response"),
    *("finish_reason", "tokens", "seed"),
]
RAW_COLUMNS = ["benchmark", *ANSWER_COLUMNS]
SAMPLE_COLUMNS = [
    *("question_id", "protocol", "sample", "prompt", "response", "gold"),
    *("answer", "status", "score", "copied", "finish_reason", "tokens", "seed"),
]
BENCHMARK_COLUMNS = ["question_id", "prompt", "gold", "kind", "split", "title"]


def read_benchmark(path: Path) -> pd.DataFrame:
    """Read one benchmark.

    Raises:
        UserError: The file is missing, unreadable or empty, has other columns, repeats a question
            or mixes kinds of answer.
    """
    if not path.is_file():
        raise UserError("benchmark file is missing", where=str(path))
    try:
        table = read_parquet(path)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=str(path)) from error
    missing = [name for name in BENCHMARK_COLUMNS if name not in table.columns]
    if missing:
        raise UserError(f"benchmark lacks the columns {', '.join(missing)}", where=str(path))
    questions, kinds = table["question_id"].tolist(), table["kind"].tolist()
    problem = None
    if not questions:
        problem = "benchmark has no questions"
    elif len(set(questions)) < len(questions):
        problem = f"question_id {Counter(questions).most_common(1)[0][0]!r} is there twice"
    elif len(set(kinds)) != 1 or kinds[0] not in KINDS:
        problem = f"column kind must hold one of {', '.join(KINDS)}, the same in every row"
    if problem:
        raise UserError(problem, where=str(path))
    return table


def graded(raw: pd.DataFrame, benchmark: pd.DataFrame) -> pd.DataFrame:
    """Grade raw answers of one benchmark.

    Args:
        raw: Rows with question_id, protocol, sample, prompt, response, finish_reason, tokens, seed.
        benchmark: From `read_benchmark`.

    Returns:
        The columns `SAMPLE_COLUMNS`, ordered as in the benchmark, then by protocol and sample.
    """
    questions = benchmark["question_id"].tolist()
    gold = dict(zip(questions, benchmark["gold"].astype(str), strict=True))
    place = {question: i for i, question in enumerate(questions)}
    asked = raw["question_id"].tolist()
    pairs = [(gold[q], response) for q, response in zip(asked, raw["response"], strict=True)]
    kind = str(benchmark["kind"].tolist()[0])
    prompts = dict(zip(questions, benchmark["prompt"].astype(str), strict=True))
    grades = grade_finished(
        pairs, raw["finish_reason"].tolist(), kind, [prompts[question] for question in asked]
    )
    table = raw.assign(
        gold=[right for right, _ in pairs],
        answer=pd.array([grade.answer for grade in grades], dtype="str"),
        status=[grade.status for grade in grades],
        score=[grade.score for grade in grades],
        copied=[grade.copied for grade in grades],
        place=[place[question] for question in asked],
    ).sort_values(["place", "protocol", "sample"], kind="stable")
    return table.reindex(columns=SAMPLE_COLUMNS).reset_index(drop=True)
