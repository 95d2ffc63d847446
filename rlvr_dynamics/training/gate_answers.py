"""The gate's answers: held-out problems asked of the running rollout engine, and graded.

Every answer has a seed of its own, the same for the weights before and after, so that both draw
the same random numbers. Sampling is the training's. Nothing of verl's batches or its data order is
touched.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlvr_dynamics.training.jump_trainer import Answers
from rlvr_dynamics.training.reward import compute_score
from rlvr_dynamics.training.reward_managers import CUT, QUESTION, is_cut


@dataclass(frozen=True)
class Question:
    """One problem as the engine is asked.

    Attributes:
        tokens: Its prompt.
        row: verl's row: data_source, reward_model, extra_info and raw_prompt.
    """

    tokens: list[int]
    row: Mapping[str, Any]


@dataclass(frozen=True)
class GateAnswers:
    """Asks and grades the problems of a gate.

    Attributes:
        client: verl's `LLMServerClient`.
        tokenizer: The model's.
        questions: The problems.
        samples: Answers to each.
        sampling: Sampling parameters of the training.
        longest: Most tokens of an answer.
        ends: Tokens that end an answer.
        seed: The run's.
    """

    client: Any
    tokenizer: Any
    questions: Sequence[Question]
    samples: int
    sampling: Mapping[str, Any]
    longest: int
    ends: frozenset[int]
    seed: int

    def ask(self, step: int, places: Sequence[int]) -> Answers:
        """Return the grader's verdicts for the weights that the engine holds.

        Args:
            step: Seeds the answers.
            places: Which questions are asked, in this order.
        """
        # A thread of its own, as the caller may already run in an event loop.
        with ThreadPoolExecutor(max_workers=1) as pool:
            answers = pool.submit(asyncio.run, self._ask(step, places)).result()
        scores = np.array([self._score(*pair) for pair in answers])
        return Answers(scores.reshape(-1, self.samples), sum(len(tokens) for _, tokens in answers))

    async def _ask(self, step: int, places: Sequence[int]) -> list[tuple[Question, list[int]]]:
        pairs = [
            (self.questions[place], place * self.samples + number)
            for place in places
            for number in range(self.samples)
        ]
        found = await asyncio.gather(
            *(
                self.client.generate(
                    f"gate-{step}-{number}",
                    prompt_ids=list(question.tokens),
                    sampling_params={**self.sampling, "seed": seed_of(self.seed, step, number)},
                )
                for question, number in pairs
            )
        )
        return [
            (question, list(output.token_ids)[: self.longest])
            for (question, _), output in zip(pairs, found, strict=True)
        ]

    def _score(self, question: Question, tokens: list[int]) -> float:
        row = question.row
        known = dict(row.get("extra_info") or {})
        known[CUT] = is_cut(tokens, self.longest, self.ends)
        last = row["raw_prompt"][-1]["content"]
        if isinstance(last, str):
            known[QUESTION] = last
        verdict = compute_score(
            row["data_source"],
            self.tokenizer.decode(tokens, skip_special_tokens=True),
            row["reward_model"]["ground_truth"],
            known,
            rule="exact",
        )
        return verdict["acc_exact"]


def seed_of(seed: int, step: int, number: int) -> int:
    """Return the seed of one answer, below 2^31."""
    digest = hashlib.sha256(f"{seed}/{step}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
