"""A job's models and questions, checked for consistency before anything runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr_dynamics.behaviour.job import BASE, ROLES, TRAINED, Job
from rlvr_dynamics.benchmarks.content import content_sha256
from rlvr_dynamics.checkpoints.identity import identity_of
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.grading.grade import grader_version
from rlvr_dynamics.schema.model_id import ModelId
from rlvr_dynamics.scoring.keys import frame_of
from rlvr_dynamics.scoring.local_model import chosen_device, load_tokenizer, stored_dtype
from rlvr_dynamics.scoring.prompts import prompt_facts, render
from rlvr_dynamics.scoring.samples import read_benchmark
from rlvr_dynamics.system.files import read_object
from rlvr_dynamics.system.versions import package_version

VERSION = 1  # raise when a change to this package changes a model's input
PACKAGES = ("torch", "transformers")


@dataclass(frozen=True)
class Subjects:
    """The checked inputs of a job.

    Attributes:
        job: The job.
        identities: Role, or name of a checkpoint (`at`), to hash of the weights.
        questions: The benchmark rows used.
        prompt: Their prompt form.
        dtype: Precision in which the models run.
        device: ``cpu`` or ``cuda``.
        context: Maximum length of prompt and answer together, in tokens; None if unknown.
    """

    job: Job
    identities: Mapping[str, str]
    questions: pd.DataFrame
    prompt: Mapping[str, Any]
    dtype: str
    device: str
    context: int | None

    @property
    def roles(self) -> list[str]:
        """The roles that have a model, in the order of `ROLES`."""
        return [role for role in ROLES if role in self.job.models]

    @property
    def kind(self) -> str:
        """Kind of answer."""
        return str(self.questions["kind"].iloc[0])

    @cached_property
    def folders(self) -> dict[str, Path]:
        """Role, or name of a checkpoint (`at`), to its model folder."""
        return folders_of(self.job)

    @cached_property
    def frames(self) -> dict[str, str]:
        """Role, or name of a checkpoint -> hash of everything except weights in its folder."""
        return {role: frame_of(folder) for role, folder in self.folders.items()}

    def answering(self, role: str) -> dict[str, str]:
        """Return everything about a model that its answers depend on."""
        return {"weights": self.identities[role], "frame": self.frames[role]}

    @cached_property
    def asked(self) -> dict[str, Any]:
        """Everything that an answer depends on except the answering model."""
        return {
            "version": VERSION,
            "questions": content_sha256(self.questions),
            "frame": self.frames[BASE],
            "prompt": dict(self.prompt),
            "max_new_tokens": self.job.max_new_tokens,
            "context": self.context,
            "dtype": self.dtype,
            "grader": grader_version(self.kind),
            "packages": {name: package_version(name) for name in PACKAGES},
        }

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer, the same for all models.

        Raises:
            UserError: The models' tokenizers differ.
        """
        own = load_tokenizer(self.job.models[BASE])
        for role in self.roles:
            if load_tokenizer(self.job.models[role]).get_vocab() != own.get_vocab():
                raise UserError(
                    f"the base and the {role} model have different tokens",
                    where=str(self.job.models[role]),
                    way_out="give a model that was trained from this base",
                )
        return own

    @cached_property
    def prompts(self) -> list[list[int]]:
        """Token ids of every question's prompt.

        Raises:
            UserError: A prompt leaves no room for an answer.
        """
        found = [
            render(self.tokenizer, self.prompt, str(question))[1]
            for question in self.questions["prompt"]
        ]
        longest = max(map(len, found))
        if self.context is not None and longest >= self.context:
            raise UserError(
                f"a prompt of {longest} tokens fills the context of {self.context}",
                where=str(self.job.questions),
                way_out="a larger scoring.max_model_len, or leave the question out",
            )
        return found

    @cached_property
    def room(self) -> list[int]:
        """Maximum answer length for each question, in tokens."""
        most = self.job.max_new_tokens
        if self.context is None:
            return [most] * len(self.prompts)
        return [min(most, self.context - len(prompt)) for prompt in self.prompts]


def subjects_of(job: Job) -> Subjects:
    """Read and check the folders and questions without loading a model.

    Raises:
        UserError: A folder is not a model, the questions cannot be read, or two models would get
            different prompts.
    """
    for role in (BASE, TRAINED):
        if role not in job.models:
            raise UserError(f"no {role} model was given", way_out=f"{role}=DIR")
    for folder in folders_of(job).values():
        frame_of(folder)
    questions = read_benchmark(job.questions)
    if job.limit is not None:
        questions = questions.head(job.limit)
    cache = job.out / "identities.json"
    identities = {role: identity_of(folder, cache) for role, folder in folders_of(job).items()}
    base = job.models[BASE]
    prompt = prompt_facts(base, job.put())
    for role, folder in job.models.items():
        if prompt_facts(folder, job.put()) != prompt:
            raise UserError(
                f"the base and the {role} model have different chat templates",
                where=str(folder),
                way_out="template=plain or template=qwen_math gives both the same prompts",
            )
    return Subjects(
        job=job,
        identities=identities,
        questions=questions,
        prompt=prompt,
        dtype=job.dtype or stored_dtype(base),
        device=chosen_device(job.device),
        context=job.context or _context(base),
    )


def at(step: int) -> str:
    """Return the name of a checkpoint among the folders; step 0 is the base."""
    return str(ModelId.checkpoint(step)) if step else BASE


def folders_of(job: Job) -> dict[str, Path]:
    """Return the folders of a job's models by role, and of its checkpoints by name."""
    return job.models | {at(step): job.course.folders[step] for step in job.course.steps}


def _context(folder: Path) -> int | None:
    """Return the number of positions in a model's config.json."""
    config = read_object(folder / "config.json", way_out="fetch or save this model again")
    found = config.get("max_position_embeddings")
    return int(found) if found else None
