"""The stored answers: raw from the engine, then graded and published per benchmark.

`.raw/<model>/<hash>.parquet` is one batch of the engine, whole or absent, and lives until its
answers are graded. `samples/<model>/<benchmark>.parquet` is what everybody reads. Both carry the
keys of what is inside in the metadata of the file.
"""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.grading.grade import KINDS, grade_finished
from rlvr_dynamics.system.atomic import atomic_path
from rlvr_dynamics.system.sealed import is_whole, read_parquet, write_sealed_parquet

METADATA = b"rlvr_dynamics"
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


def write_table(path: Path, table: pd.DataFrame, metadata: Mapping[str, Any]) -> None:
    """Publish a parquet file that carries `metadata`; equal content gives equal bytes."""
    with atomic_path(path) as temporary:
        write_sealed_parquet(temporary, table, {METADATA: json.dumps(metadata, sort_keys=True)})


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a file written by `write_table`; {} if absent, damaged or not ours.

    What is damaged counts as not there, so that it is asked for again; that is said.
    """
    if not path.is_file():
        return {}
    if not is_whole(path):
        print(f"damaged, made again: {path}")
        return {}
    try:
        stored = pq.read_schema(path).metadata or {}
    except (pa.ArrowInvalid, OSError):
        return {}
    return json.loads(stored.get(METADATA, b"{}"))


def read_benchmark(path: Path) -> pd.DataFrame:
    """Read one benchmark.

    Raises:
        UserError: The file is missing, unreadable, empty, has other columns, repeats a question
            or mixes kinds of answers.
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
        The columns `SAMPLE_COLUMNS`, in the order of the benchmark, then protocol and sample.
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
