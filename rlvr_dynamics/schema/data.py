"""Training data and benchmarks."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from rlvr_dynamics.schema.types import Count, Frozen, Name, sequence

NO_SIGNAL = ("random", "constant")  # rules of `reward` that say nothing about an answer


class TrainingData(Frozen):
    """Settings common to all kinds of training data.

    With `shuffle_answers` each training problem gets the answer of another one, drawn by the seed:
    a control whose reward is unrelated to the task. Validation and benchmarks are unchanged.

    `reward` is the rule that pays a rollout (`training.reward`): `exact` is the grader of the
    scores, `dapo` verl's scorer for DAPO-Math, and `dapo_2025` that scorer as it was when the
    papers trained. Two rules are controls without a signal. `random` tosses a fair coin for each
    rollout. `constant` pays all alike: advantages within a group are 0 and so is the gradient, and
    without a KL or entropy term weight decay alone moves the weights. Whatever is paid, the share
    of right answers that is counted is the grader's.
    """

    shuffle_answers: bool = False
    reward: Literal["exact", "dapo", "dapo_2025", "random", "constant"] = "exact"


class ArithmeticData(TrainingData):
    """Generated step-by-step arithmetic, with in-domain and out-of-domain benchmarks."""

    kind: Literal["arithmetic"]
    train_problems: Count
    validation_problems: Count
    test_problems: Count
    ood_problems: Count


class SumsData(TrainingData):
    """Generated sums for a language model to complete, with other formats as benchmarks."""

    kind: Literal["sums"]
    train_problems: Count
    validation_problems: Count
    test_problems: Count
    ood_problems: Count


Columns = Annotated[
    sequence(str, min_length=1),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
]


class HubTable(Frozen):
    """A table of problems: a hub id, or the path of a local parquet, jsonl, json or csv file.

    `question` and `answer` name a column, or several of which the first existing one is used.
    `extract` lists the rules that turn a cell into the answer, and `exceptions` the ids of
    questions to skip. `revision` is a commit, branch or tag; without one the newest commit is used
    and pinned in benchmarks.lock.json.
    """

    repo: str
    subset: str | None = None
    revision: str | None = None
    split: str = "test"
    fallback_split: str | None = None
    id: str | None = None
    question: Columns = ("question",)
    answer: Columns = ("answer",)
    extract: sequence(Literal["first", "after_hashes", "boxed", "dollars", "integer"]) = ()  # pyright: ignore[reportInvalidTypeForm]
    rows: Count
    exceptions: sequence(str) = ()  # pyright: ignore[reportInvalidTypeForm]


class HubData(TrainingData):
    """Training problems from a published table.

    `instruction` follows the question; if it contains `{question}`, it is the whole text.
    """

    kind: Literal["hub"]
    train: HubTable
    instruction: str
    validation_problems: Count

    def ask(self, question: str) -> str:
        """Return the user turn: a question with the instruction."""
        if "{question}" in self.instruction:
            return self.instruction.replace("{question}", question)
        return f"{question}\n{self.instruction}"


class Benchmark(HubTable):
    """A published or generated benchmark; `instruction` follows the question in the user turn.

    For multiple choice (kind letter), `wrong` names the columns of the wrong choices and `seed`
    shuffles. For kind reasoning_gym, `subset` is the puzzle family, `parameters` and `seed` go to
    its generator, and `revision` is the version of the package.
    """

    title: str
    kind: Literal["math", "integer", "letter", "reasoning_gym"]
    split_kind: Literal["in_domain", "out_of_domain"]
    licence: str
    instruction: str
    wrong: sequence(str) = ()  # pyright: ignore[reportInvalidTypeForm]
    parameters: dict[Name, bool | int | float | str] = {}
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @model_validator(mode="after")
    def _consistent(self) -> "Benchmark":
        if (self.kind == "letter") != bool(self.wrong):
            raise ValueError("kind=letter and the columns of the wrong choices go together")
        if self.kind == "reasoning_gym" and self.subset is None:
            raise ValueError("kind=reasoning_gym needs a family as subset")
        if self.kind != "reasoning_gym" and self.parameters:
            raise ValueError("parameters are for kind=reasoning_gym")
        return self
