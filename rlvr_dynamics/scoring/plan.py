"""Finds what is missing by comparing the expected keys with the stored keys."""

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
CLAIMS_FOLDER = ".claims"


@dataclass
class Benchmark:
    """One benchmark as read from its file.

    Attributes:
        path: The parquet file.
        sha256: Hash of its questions (`content_sha256`), independent of the file.
        table: Its questions (see `samples.read_benchmark`).
        golds_as_text: Number of gold answers that algebra cannot read; set once they are checked.
    """

    path: Path
    sha256: str
    table: pd.DataFrame
    golds_as_text: int = 0

    @property
    def kind(self) -> str:
        """Kind of answer, the same in every row."""
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
        keys: benchmark -> protocol name -> expected key.
        prompt: Its prompt form (`prompts.prompt_facts`).
        stale: Benchmarks whose published file is missing or has other keys or another grader.
        batches: protocol name -> benchmark -> key to generate; empty if nothing is missing.
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
        keys: benchmark -> key for the contents of the batch; determines the file name.
    """
    return raw / model / f"{digest(dict(keys))[:16]}.parquet"


def raw_keys(raw: Path, model: str) -> dict[str, Path]:
    """Map each key to the file that holds its answers."""
    return {
        key: path
        for path in sorted((raw / model).glob("*.parquet"))
        for key in facts_of(path).get("keys", {}).values()
    }


def claim(raw: Path, model: str, keys: Mapping[str, str] | None = None) -> bool:
    """Claim one batch, or a model, for the calling engine; return whether it was the first.

    Args:
        raw: Folder of all raw batches. Its claims are of one call of `score_models`.
        model: Model id.
        keys: Of the batch; None claims the model.
    """
    path = _claim_path(raw, model, keys)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def claims_left(raw: Path, model: str, parts: Sequence[tuple[str, Mapping[str, str]]]) -> bool:
    """Return whether a batch of a model is unclaimed.

    Args:
        raw: Folder of all raw batches.
        model: Model id.
        parts: Protocol and keys of its batches.
    """
    return any(not _claim_path(raw, model, keys).exists() for _, keys in parts)


def _claim_path(raw: Path, model: str, keys: Mapping[str, str] | None) -> Path:
    name = "model" if keys is None else raw_path(raw, model, keys).stem
    return raw / CLAIMS_FOLDER / model / name


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
    """Determine which answers of one model are stored and which are missing.

    Raises:
        UserError: The model folder is missing or broken, or does not support this prompt form.
    """
    frame = frame_of(model.folder)
    prompt = prompt_facts(model.folder, settings)
    keys = {
        name: {
            protocol.name: unit_key(
                model,
                frame,
                benchmark.sha256,
                protocol.sized(len(benchmark.table), model.whole),
                settings,
                prompt,
                seed,
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
    """Grade and publish one benchmark's answers, from raw batches and the file being replaced.

    Returns:
        How many of the answers had been graded before by another grader.

    Raises:
        RuntimeError: Answers that the plan relies on are missing.
    """
    wanted = plan.keys[benchmark_name]
    path = published_path(out, plan.model.id, benchmark_name)
    before = facts_of(path)
    stored = before.get("keys", {})
    raw = raw_keys(out / RAW_FOLDER, plan.model.id)
    grader = grader_version(benchmark.kind)
    regraded, parts, seeds = 0, [], {}
    for protocol, key in wanted.items():
        if stored.get(protocol) == key:
            rows = read_parquet(path)
            parts.append(rows[rows["protocol"] == protocol])
            seeds[protocol] = before.get("batch_seeds", {}).get(protocol)
            regraded += len(parts[-1]) * (before.get("grader") != grader)
        elif key in raw:
            rows = read_parquet(raw[key])
            parts.append(rows[rows["benchmark"] == benchmark_name])
            seeds[protocol] = facts_of(raw[key]).get("seed")
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
    batch_seeds = {name: each for name, each in seeds.items() if each is not None}
    if batch_seeds:
        metadata["batch_seeds"] = batch_seeds
    write_table(path, table, metadata)
    return regraded


def load_benchmark(path: Path, table: pd.DataFrame) -> Benchmark:
    """Combine a benchmark's table with its file and hash."""
    return Benchmark(path, content_sha256(table), table)


def check_protocols(benchmarks: Mapping[str, Benchmark], protocols: Sequence[Protocol]) -> None:
    """Check that every benchmark is covered, by at most one protocol of each name.

    Raises:
        UserError: A benchmark is not covered, or two protocols of one name clash.
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
