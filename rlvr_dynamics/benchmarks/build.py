"""Builds a benchmark from a table: prompts, checked gold answers and recorded facts."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlvr_dynamics.benchmarks.choices import shuffled_choices
from rlvr_dynamics.benchmarks.content import content_sha256
from rlvr_dynamics.benchmarks.generated import generate
from rlvr_dynamics.benchmarks.golds import bad_golds, cell_text, check, gold_answer
from rlvr_dynamics.benchmarks.tables import load_table
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.schema import Benchmark, HubTable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Question:
    """A question with its gold answer in the grader's form."""

    id: str
    text: str
    gold: str


@dataclass(frozen=True)
class Built:
    """Questions that were loaded and checked.

    Attributes:
        questions: In the order of the table, without the exceptions.
        facts: Facts about the table for the report and the lock file: repo, revision, split, rows
            (including exceptions), left_out (ids), compared_as_text (ids whose answer algebra
            cannot read).
    """

    questions: list[Question]
    facts: dict[str, Any]


def build_benchmark(
    name: str, benchmark: Benchmark, revision: str | None = None
) -> tuple["pd.DataFrame", dict[str, Any]]:
    """Load or generate a benchmark and check it.

    Args:
        name: Its name; question ids begin with it.
        benchmark: Its configuration.
        revision: Required revision; None takes the configuration's, else the newest.

    Returns:
        A table with the columns question_id, prompt, gold, kind, split, title; and the facts of
        `Built` plus licence, kind, questions and content_sha256.

    Raises:
        UserError: The table is unavailable or not as configured, or an answer cannot be graded.
    """
    import pandas as pd

    revision = revision or benchmark.revision
    built = build_questions(f"benchmark.{name}", name, benchmark, benchmark.kind, revision)
    table = pd.DataFrame(
        {
            "question_id": [question.id for question in built.questions],
            "prompt": [f"{q.text}\n{benchmark.instruction}" for q in built.questions],
            "gold": [question.gold for question in built.questions],
            "kind": benchmark.kind,
            "split": benchmark.split_kind,
            "title": benchmark.title,
        }
    )
    return table, built.facts | {
        "licence": benchmark.licence,
        "kind": benchmark.kind,
        "questions": len(table),
        "content_sha256": content_sha256(table),
    }


def build_questions(key: str, name: str, table: HubTable, kind: str, revision: str | None) -> Built:
    """Load a table's questions and check their gold answers.

    Args:
        key: Key of the table in the configuration, for messages.
        name: Question ids are ``name-`` plus the table's own id or the row number.
        table: The table; a `Benchmark` may also be generated or have choices.
        kind: Kind of answer.
        revision: Required revision, None for the newest.

    Raises:
        UserError: See `build_benchmark`.
    """
    cells, source = _cells(table, revision)
    ids = [f"{name}-{own}" for own, _, _ in cells]
    _check_ids(key, table, ids)
    questions, problems = [], {}
    for question_id, (_, text, value) in zip(ids, cells, strict=True):
        if question_id in table.exceptions:
            continue
        try:
            questions.append(_question(question_id, text, value, table))
        except ValueError as problem:
            problems[question_id] = str(problem)
    golds = {question.id: question.gold for question in questions}
    checked = check(list(golds.items()), kind)
    for question_id in checked.unusable:
        problems[question_id] = f"{golds[question_id][:60]!r}"
    if problems:
        raise bad_golds(key, kind, problems)
    left_out = [question_id for question_id in ids if question_id in table.exceptions]
    facts = {"rows": len(cells), "left_out": left_out, "compared_as_text": checked.as_text}
    return Built(questions, source | facts)


def _cells(
    table: HubTable, revision: str | None
) -> tuple[list[tuple[str, Any, Any]], dict[str, str]]:
    """Return (id, question, answer or choices) per row, and repo, revision and split."""
    if isinstance(table, Benchmark) and table.kind == "reasoning_gym":
        entries, found = generate(table, revision)
        cells = [(str(row), entry["question"], entry["gold"]) for row, entry in enumerate(entries)]
        return cells, {"repo": table.repo, "revision": found, "split": "generated"}
    wanted: dict[str, Iterable[str]] = {"question": table.question, "answer": table.answer}
    if table.id is not None:
        wanted["id"] = (table.id,)
    wrong = table.wrong if isinstance(table, Benchmark) else ()
    wanted |= {column: (column,) for column in wrong}
    loaded = load_table(table, revision, wanted)
    columns, cells = loaded.columns, []
    for number, row in enumerate(loaded.rows):
        own = str(number) if table.id is None else _own_id(table, row[columns["id"]], number)
        answer = row[columns["answer"]]
        value = [answer, *(row[column] for column in wrong)] if wrong else answer
        cells.append((own, row[columns["question"]], value))
    return cells, {"repo": table.repo, "revision": loaded.revision, "split": loaded.split}


def _question(question_id: str, asked: Any, value: Any, table: HubTable) -> Question:
    try:
        text = cell_text(asked)
    except ValueError as problem:
        raise ValueError(f"belongs to a question that {problem}") from problem
    if not isinstance(table, Benchmark) or table.kind in ("math", "integer"):
        return Question(question_id, text, gold_answer(value, table.extract))
    if table.kind == "letter":
        right, *wrong = (gold_answer(one, table.extract) for one in value)
        lines, letter = shuffled_choices(right, wrong, table.seed, question_id)
        return Question(question_id, f"{text}\n\n{lines}\n", letter)
    return Question(question_id, text, value)


def _own_id(table: HubTable, cell: Any, number: int) -> str:
    try:
        return cell_text(cell)
    except ValueError as problem:
        raise UserError(
            f"the id of row {number + 1} of {table.repo} {problem}",
            way_out="repair the table, or id=null counts the rows instead",
        ) from problem


def _check_ids(key: str, table: HubTable, ids: list[str]) -> None:
    (most, times), *_ = Counter(ids).most_common(1)
    if times > 1:
        raise UserError(
            f"{key}: the id {most} occurs {times} times in {table.repo}",
            way_out=f"{key}.id=null counts the rows instead",
        )
    unknown = sorted(set(table.exceptions) - set(ids))
    if unknown:
        raise UserError(
            f"{key}.exceptions names {', '.join(unknown)}, which {table.repo} does not have",
            way_out=f"its ids look like {ids[0]}",
        )
