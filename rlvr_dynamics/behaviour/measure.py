"""Computes the tables of a job."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr_dynamics.behaviour.function_tables import function_tables
from rlvr_dynamics.behaviour.job import BASE, TRAINED, Job, prefix_lengths
from rlvr_dynamics.behaviour.subjects import Subjects, subjects_of
from rlvr_dynamics.behaviour.tables import (
    prefix_row,
    reading_summary,
    token_rows,
    unguided,
    writer_summary,
)
from rlvr_dynamics.behaviour.work import Work
from rlvr_dynamics.schema.tables import BEHAVIOUR
from rlvr_dynamics.system.keyed import write_table


def table_path(folder: Path, name: str) -> Path:
    """Return the file of one of the tables `NAMES`."""
    return folder / f"{name}.parquet"


def measure(job: Job, say: Callable[[str], None]) -> None:
    """Write the tables of a job into `job.out`.

    tokens, summary, embeddings and prefix, and with checkpoints (`Job.course`) also function,
    log_probs and token_lines. Existing answers and readings are kept if they would be the same.

    Args:
        job: The job.
        say: Called with a line of progress.

    Raises:
        UserError: The models or questions are unsuitable.
    """
    subjects = subjects_of(job)
    facts = _facts(subjects)
    for name, table in _tables(subjects, Work(subjects, say)).items():
        write_table(table_path(job.out, name), table, facts)


def _facts(subjects: Subjects) -> dict[str, Any]:
    """Return what all tables were computed from, for the metadata of their files."""
    job = subjects.job
    return {
        "identities": dict(subjects.identities),
        "benchmark": job.questions.stem,
        "asked": subjects.asked,
        "device": subjects.device,
        "seed": job.seed,
        "draws": job.draws,
    }


def readings(roles: list[str]) -> list[tuple[str, str]]:
    """Return (reader, writer) pairs: the base reads all answers, the others the trained ones."""
    others = [role for role in roles if role not in (BASE, TRAINED)]
    # This order loads every model once, or twice if it both answers and reads.
    return [(role, TRAINED) for role in others] + [(BASE, role) for role in roles]


def _tables(subjects: Subjects, work: Work) -> dict[str, pd.DataFrame]:
    roles, job = subjects.roles, subjects.job
    drawn = {"draws": job.draws, "seed": job.seed}
    common = {
        "benchmark": job.questions.stem,
        "dtype": subjects.dtype,
        "device": subjects.device,
        **drawn,
    }
    who = subjects.identities
    others = [role for role in roles if role != BASE]
    # Get each model's own answers and its reading of the trained model's in one load.
    answers = {TRAINED: work.answers(TRAINED)}
    for role in [*others[1:], BASE]:
        answers[role] = work.answers(role)
        if role != BASE:
            work.reading(role, TRAINED)
    tokens, summary = [], []
    texts = _texts(subjects, answers)
    for reader, writer in readings(roles):
        found = work.reading(reader, writer)
        names = {"writer": writer, "reader": reader}
        identities = {"writer_identity": who[writer], "reader_identity": who[reader]}
        rows = token_rows(answers[writer], found, texts)
        tokens.append(rows.assign(**names, **identities, dtype=subjects.dtype))
        summary.append(
            reading_summary(answers[writer], found, **drawn).assign(**names, **identities)
        )
    for writer in roles:
        own = writer_summary(answers[writer])
        summary.append(own.assign(writer=writer, writer_identity=who[writer]))
    longest = max(map(len, answers[TRAINED]["tokens"]))
    prefixes = []
    for guide in others:
        for k in prefix_lengths(job.guide_tokens, longest):
            guided = work.guided(guide, k) if k else unguided(answers[BASE])
            row = prefix_row(guided, answers[BASE], answers[guide], **drawn)
            names = {"guide": guide, "guide_tokens": k}
            identities = {"guide_identity": who[guide], "base_identity": who[BASE]}
            prefixes.append(names | row | identities)
    shifts = []
    for role in others:
        found = work.shifts(role)
        found["text"] = [texts.get(int(token), "") for token in found["token"]]
        identities = {"model_identity": who[role], "base_identity": who[BASE]}
        shifts.append(found.assign(model=role, **identities))
    common["max_new_tokens"] = job.max_new_tokens
    written = {
        "tokens": _compact(pd.concat(tokens, ignore_index=True)),
        "summary": pd.concat(summary, ignore_index=True).assign(**common),
        "embeddings": pd.concat(shifts, ignore_index=True).assign(**common),
        "prefix": pd.DataFrame(prefixes).assign(**common),
    }
    if job.course.folders:
        made = function_tables(job.course, work.on_course, answers, texts, **drawn)
        written |= {name: table.assign(**common) for name, table in made.items()}
    return {name: table.reindex(columns=BEHAVIOUR[name].names) for name, table in written.items()}


def _texts(subjects: Subjects, answers: dict[str, pd.DataFrame]) -> dict[int, str]:
    used = {int(token) for table in answers.values() for each in table["tokens"] for token in each}
    return {token: subjects.tokenizer.decode([token]) for token in sorted(used)}


def _compact(tokens: pd.DataFrame) -> pd.DataFrame:
    """Store strings that repeat a million times only once."""
    words = ["writer", "reader", "question_id", "text"]
    words += ["writer_identity", "reader_identity", "dtype"]
    return tokens.astype(dict.fromkeys(words, "category"))
