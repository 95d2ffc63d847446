"""The parts that need a model: answers, readings, and answers that another model began."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rlvr_dynamics.behaviour.embeddings import matrices, rows_of, shift_table, some_unused
from rlvr_dynamics.behaviour.job import BASE, TRAINED
from rlvr_dynamics.behaviour.reading import Reading, read
from rlvr_dynamics.behaviour.subjects import Subjects, at
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.grading.grade import grade_finished
from rlvr_dynamics.scoring.decoding import LENGTH, Answer, decode
from rlvr_dynamics.scoring.local_model import OneAtATime, Runnable
from rlvr_dynamics.system.keyed import stored_or_made

PARTS = ".parts"


class Work:
    """Runs models and stores their results in parts, so an interrupted run can resume.

    Args:
        subjects: The checked job; parts are stored in a folder of its output.
        say: Called with a line whenever a part is computed.
    """

    def __init__(self, subjects: Subjects, say: Callable[[str], None]) -> None:
        """Prepare; models are loaded only when a part is missing."""
        self._subjects, self._say = subjects, say
        self._loaded, self._beside = (
            OneAtATime(subjects.folders, subjects.dtype, subjects.device, subjects.prompt)
            for _ in range(2)
        )

    def material(self, writer: str) -> dict[str, Any]:
        """Return everything that a writer's answers depend on."""
        return {**self._subjects.asked, "writer": self._subjects.answering(writer)}

    def answers(self, writer: str) -> pd.DataFrame:
        """Return greedy answers, one row per question: tokens, finish, text, status, score."""

        def make() -> pd.DataFrame:
            of = self._subjects
            found = decode(
                self._loaded(writer),
                of.prompts,
                of.room,
                batch=of.job.batch,
                label=f"answers of {writer}",
            )
            return self._graded(found)

        return self._part(f"answers__{writer}", self.material(writer), make)

    def reading(self, reader: str, writer: str) -> pd.DataFrame:
        """Return a reader's scores for a writer's answers: greedy, log_probs (lists)."""

        def make() -> pd.DataFrame:
            found = self._read(self._loaded(reader), reader, writer)
            return pd.DataFrame(
                {
                    "greedy": [each.greedy for each in found],
                    "log_probs": [each.log_probs for each in found],
                }
            )

        material = {**self.material(writer), "reader": self._subjects.answering(reader)}
        return self._part(f"reading__{reader}__{writer}", material, make)

    def on_course(self, step: int, writer: str) -> pd.DataFrame:
        """Return a checkpoint's scores for a writer's answers beside the base.

        Two models are in memory at once. One row per question: log_probs, entropies, divergences
        (lists).
        """
        reader = at(step)

        def make() -> pd.DataFrame:
            base = self._beside(BASE)
            runnable = self._loaded(reader) if step else base
            found = self._read(runnable, reader, writer, base)
            columns = ("log_probs", "entropies", "divergences")
            return pd.DataFrame({name: [getattr(each, name) for each in found] for name in columns})

        material = {
            **self.material(writer),
            "reader": self._subjects.answering(reader),
            "base": self._subjects.answering(BASE),
        }
        return self._part(f"course__{reader}__{writer}", material, make)

    def _read(
        self, runnable: Runnable, reader: str, writer: str, beside: Runnable | None = None
    ) -> list[Reading]:
        return read(
            runnable,
            self._subjects.prompts,
            [list(map(int, tokens)) for tokens in self.answers(writer)["tokens"]],
            label=f"{reader} reads {writer}",
            beside=beside,
        )

    def guided(self, guide: str, k: int) -> pd.DataFrame:
        """Return the base's continuations of the first k tokens of another model's answers.

        An answer of at most k tokens is kept unchanged; k must be at least 1. One row per question
        as in `answers`, plus continued (whether the base wrote anything) and prefix_score (the
        score of the prefix alone).
        """

        def make() -> pd.DataFrame:
            of, given = self._subjects, self.answers(guide)
            whole = [
                Answer(tuple(map(int, tokens)), str(finish))
                for tokens, finish in zip(given["tokens"], given["finish"], strict=True)
            ]
            open_rows = [row for row, answer in enumerate(whole) if len(answer.tokens) > k]
            begun = [[*of.prompts[row], *whole[row].tokens[:k]] for row in open_rows]
            more = decode(
                self._loaded(BASE),
                begun,
                [of.room[row] - k for row in open_rows],
                batch=of.job.batch,
                label=f"base after {k} tokens of {guide}",
            )
            final, prefixes = list(whole), list(whole)
            for row, continuation in zip(open_rows, more, strict=True):
                prefix = whole[row].tokens[:k]
                prefixes[row] = Answer(prefix, LENGTH)
                final[row] = Answer((*prefix, *continuation.tokens), continuation.finish)
            table = self._graded(final)
            table["prefix_score"] = self._graded(prefixes)["score"]
            continued = set(open_rows)
            table["continued"] = [row in continued for row in range(len(final))]
            return table

        material = {**self.material(guide), "base": self._subjects.answering(BASE), "k": k}
        return self._part(f"prefix__{guide}__{k}", material, make)

    def shifts(self, role: str) -> pd.DataFrame:
        """Return a model's embedding shifts from the base, one row per matrix and token."""

        def make() -> pd.DataFrame:
            answers = self.answers(TRAINED)["tokens"]
            tokens = sorted({int(token) for each in answers for token in each})
            models = self._subjects.job.models
            ours, tied = matrices(models[BASE])
            theirs, _ = matrices(models[role])
            tables = []
            for which in [name for name in ours if name in theirs]:
                one, other = ours[which], theirs[which]
                if one.d != other.d:
                    raise UserError(
                        f"embeddings of {one.d} and of {other.d} numbers cannot be compared",
                        where=f"{models[BASE]} and {models[role]}",
                        way_out="give a model that was trained from this base",
                    )
                rows = min(one.rows, other.rows)
                unused = some_unused(tokens, rows, self._subjects.job.seed)
                asked = [*tokens, *unused]
                used = np.arange(len(asked)) < len(tokens)
                table = shift_table(
                    rows_of(models[BASE], one, asked), rows_of(models[role], other, asked), used
                )
                table.insert(0, "matrix", which)
                table.insert(1, "tied", tied)
                table.insert(2, "token", asked)
                tables.append(table)
            return pd.concat(tables, ignore_index=True)

        material = {
            **self.material(TRAINED),
            "base": self._subjects.answering(BASE),
            "model": self._subjects.identities[role],
            "seed": self._subjects.job.seed,
        }
        return self._part(f"embeddings__{role}", material, make)

    def _part(self, name: str, material: Any, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        def told() -> pd.DataFrame:
            self._say(name.replace("__", " "))
            return make()

        return stored_or_made(self._subjects.job.out / PARTS / f"{name}.parquet", material, told)

    def _graded(self, answers: Sequence[Answer]) -> pd.DataFrame:
        of = self._subjects
        texts = of.tokenizer.batch_decode(
            [list(answer.tokens) for answer in answers], skip_special_tokens=True
        )
        golds = of.questions["gold"].astype(str)
        finishes = [answer.finish for answer in answers]
        questions = of.questions["prompt"].astype(str).tolist()
        grades = grade_finished(list(zip(golds, texts, strict=True)), finishes, of.kind, questions)
        return pd.DataFrame(
            {
                "question_id": of.questions["question_id"].astype(str).to_numpy(),
                "tokens": [np.asarray(answer.tokens, dtype=np.int64) for answer in answers],
                "finish": finishes,
                "text": texts,
                "status": [grade.status for grade in grades],
                "score": [grade.score for grade in grades],
            }
        )
