"""What is missing: compares the keys that are wanted with the keys that are stored."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr_dynamics.benchmarks.content import content_sha256
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.grading.grade import grader_version
from rlvr_dynamics.scoring.jobs import EngineSettings, Protocol, ScoredModel
from rlvr_dynamics.scoring.keys import frame_of, generating_versions, template_hash, unit_key
from rlvr_dynamics.scoring.prompts import prompt_facts
from rlvr_dynamics.scoring.samples import ANSWER_COLUMNS, graded
from rlvr_dynamics.system.keyed import facts_of, write_table
from rlvr_dynamics.system.sealed import digest, read_parquet

RAW_FOLDER = ".raw"


@dataclass
class Benchmark:
    """One benchmark as read from its file.

    Attributes:
        path: The parquet file.
        sha256: Hash of its questions (`content_sha256`), whatever file holds them.
        table: Its questions (see `samples.read_benchmark`).
        golds_as_text: How many right answers algebra cannot read; known once they were checked.
    """

    path: Path
    sha256: str
    table: pd.DataFrame
    golds_as_text: int = 0

    @property
    def kind(self) -> str:
        """Kind of the answers, the same in every row."""
        return str(self.table["kind"].iloc[0])

    @property
    def split(self) -> str:
        """Split of its questions, the same in every row."""
        return str(self.table["split"].iloc[0])


@dataclass
class ModelPlan:
    """What one model still needs.

    Attributes:
        model: The model.
        frame: Hash of its architecture, tokenizer and template.
        keys: benchmark -> name of protocol -> key that is wanted.
        prompt: How questions are put to it (`prompts.prompt_facts`).
        stale: Benchmarks whose published file is absent, of other keys or of another grader.
        batches: name of protocol -> benchmark -> key that has to be generated; empty if none has
            to.
    """

    model: ScoredModel
    frame: str
    keys: dict[str, dict[str, str]]
    prompt: dict[str, Any] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    batches: dict[str, dict[str, str]] = field(default_factory=dict)


def raw_path(raw: Path, model: str, keys: Mapping[str, str]) -> Path:
    """Return the file of one batch under the folder `raw`.

    Args:
        raw: Folder of all raw batches.
        model: Model id.
        keys: benchmark -> key of what the batch holds; names the file.
    """
    return raw / model / f"{digest(dict(keys))[:16]}.parquet"


def raw_keys(raw: Path, model: str) -> dict[str, Path]:
    """Return which file holds the answers to which key."""
    return {
        key: path
        for path in sorted((raw / model).glob("*.parquet"))
        for key in facts_of(path).get("keys", {}).values()
    }


def published_path(out: Path, model: str, benchmark: str) -> Path:
    """Return the file of graded answers."""
    return out / model / f"{benchmark}.parquet"


def plan_model(
    model: ScoredModel,
    benchmarks: Mapping[str, Benchmark],
    protocols: Sequence[Protocol],
    settings: EngineSettings,
    seed: int,
    out: Path,
) -> ModelPlan:
    """Find out what of one model is stored and what is missing.

    Raises:
        UserError: The model folder is missing or broken, or cannot be asked in this way.
    """
    frame = frame_of(model.folder)
    prompt = prompt_facts(model.folder, settings)
    keys = {
        name: {
            protocol.name: unit_key(
                model, frame, benchmark.sha256, protocol, settings, prompt, seed
            )
            for protocol in protocols
            if protocol.covers(benchmark.split)
        }
        for name, benchmark in benchmarks.items()
    }
    plan = ModelPlan(model, frame, keys, prompt)
    raw = raw_keys(out / RAW_FOLDER, model.id)
    for name, wanted in keys.items():
        stored = facts_of(published_path(out, model.id, name))
        current = stored.get("keys", {}) == wanted
        if current and stored.get("grader") == grader_version(benchmarks[name].kind):
            continue
        plan.stale.append(name)
        for protocol, key in wanted.items():
            if stored.get("keys", {}).get(protocol) != key and key not in raw:
                plan.batches.setdefault(protocol, {})[name] = key
    return plan


def publish(
    plan: ModelPlan,
    benchmark_name: str,
    benchmark: Benchmark,
    settings: EngineSettings,
    seed: int,
    out: Path,
) -> int:
    """Grade one benchmark's answers, from the raw batches and the file they replace; publish.

    Returns:
        How many of the answers had been graded before, by another grader.

    Raises:
        RuntimeError: Answers that the plan counts on are not there.
    """
    wanted = plan.keys[benchmark_name]
    path = published_path(out, plan.model.id, benchmark_name)
    before = facts_of(path)
    stored = before.get("keys", {})
    raw = raw_keys(out / RAW_FOLDER, plan.model.id)
    grader = grader_version(benchmark.kind)
    regraded, parts = 0, []
    for protocol, key in wanted.items():
        if stored.get(protocol) == key:
            rows = read_parquet(path)
            parts.append(rows[rows["protocol"] == protocol])
            regraded += len(parts[-1]) * (before.get("grader") != grader)
        elif key in raw:
            rows = read_parquet(raw[key])
            parts.append(rows[rows["benchmark"] == benchmark_name])
        else:
            raise RuntimeError(
                f"no answers of {plan.model.id} on {benchmark_name} under {protocol}"
            )
    table = graded(pd.concat([part[ANSWER_COLUMNS] for part in parts]), benchmark.table)
    metadata: dict[str, Any] = {
        "keys": wanted,
        "grader": grader,
        "weights": plan.model.identity,
        "benchmark": benchmark.sha256,
        "golds_as_text": benchmark.golds_as_text,
        "template": template_hash(plan.model.folder),
        "prompt": plan.prompt,
        "versions": generating_versions(),
        "dtype": settings.dtype,
        "device": settings.device,
        "seed": seed,
    }
    write_table(path, table, metadata)
    return regraded


def load_benchmark(path: Path, table: pd.DataFrame) -> Benchmark:
    """Bind a benchmark's table to its file and hash."""
    return Benchmark(path, content_sha256(table), table)


def check_protocols(benchmarks: Mapping[str, Benchmark], protocols: Sequence[Protocol]) -> None:
    """Make sure that every benchmark is answered, and under one protocol of each name at most.

    Raises:
        UserError: It is not.
    """
    for one, other in itertools.combinations(protocols, 2):
        if one.name == other.name and one.clashes(other):
            raise UserError(
                f"protocol name {one.name!r} is given twice",
                way_out="another name, or different splits and both greedy or both sampled",
            )
    for name, benchmark in benchmarks.items():
        if not any(protocol.covers(benchmark.split) for protocol in protocols):
            raise UserError(
                f"no protocol covers benchmark {name}, whose split is {benchmark.split}",
                way_out="add a protocol for that split (splits of scoring.protocols), or leave "
                "the benchmark out",
            )
