"""What is missing: compares the keys that are wanted with the keys that are stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr_dynamics.scoring.grading import grader_version
from rlvr_dynamics.scoring.jobs import EngineSettings, Protocol, ScoredModel
from rlvr_dynamics.scoring.keys import digest, file_sha256, frame_of, template_hash, unit_key
from rlvr_dynamics.scoring.samples import (
    ANSWER_COLUMNS,
    graded,
    read_metadata,
    write_table,
)

RAW_FOLDER = ".raw"


@dataclass(frozen=True)
class Benchmark:
    """One benchmark as read from its file.

    Attributes:
        path: The parquet file.
        sha256: Hash of its bytes.
        table: Its questions (see `samples.read_benchmark`).
    """

    path: Path
    sha256: str
    table: pd.DataFrame

    @property
    def kind(self) -> str:
        """Kind of the answers, the same in every row."""
        return str(self.table["kind"].iloc[0])


@dataclass
class ModelPlan:
    """What one model still needs.

    Attributes:
        model: The model.
        frame: Hash of its architecture, tokenizer and template.
        keys: benchmark -> protocol -> key that is wanted.
        stale: Benchmarks whose published file is absent, of other keys or of another grader.
        batches: protocol -> benchmark -> key that has to be generated; empty if nothing has to.
    """

    model: ScoredModel
    frame: str
    keys: dict[str, dict[str, str]]
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
        for key in read_metadata(path).get("keys", {}).values()
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
        UserError: The model folder is missing or broken.
    """
    frame = frame_of(model.folder)
    keys = {
        name: {
            protocol.name: unit_key(model, frame, benchmark.sha256, protocol, settings, seed)
            for protocol in protocols
        }
        for name, benchmark in benchmarks.items()
    }
    plan = ModelPlan(model, frame, keys)
    raw = raw_keys(out / RAW_FOLDER, model.id)
    for name, wanted in keys.items():
        stored = read_metadata(published_path(out, model.id, name))
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
) -> None:
    """Grade one benchmark's answers, from the raw batches and the file they replace; publish.

    Raises:
        RuntimeError: Answers that the plan counts on are not there.
    """
    wanted = plan.keys[benchmark_name]
    path = published_path(out, plan.model.id, benchmark_name)
    stored = read_metadata(path).get("keys", {})
    raw = raw_keys(out / RAW_FOLDER, plan.model.id)
    parts = []
    for protocol, key in wanted.items():
        if stored.get(protocol) == key:
            rows = pd.read_parquet(path)
            parts.append(rows[rows["protocol"] == protocol])
        elif key in raw:
            rows = pd.read_parquet(raw[key])
            parts.append(rows[rows["benchmark"] == benchmark_name])
        else:
            raise RuntimeError(
                f"no answers of {plan.model.id} on {benchmark_name} under {protocol}"
            )
    table = graded(pd.concat([part[ANSWER_COLUMNS] for part in parts]), benchmark.table)
    metadata: dict[str, Any] = {
        "keys": wanted,
        "grader": grader_version(benchmark.kind),
        "weights": plan.model.identity,
        "benchmark": benchmark.sha256,
        "template": template_hash(plan.model.folder),
        "dtype": settings.dtype,
        "device": settings.device,
        "seed": seed,
    }
    write_table(path, table, metadata)


def load_benchmark(path: Path, table: pd.DataFrame) -> Benchmark:
    """Bind a benchmark's table to its file and hash."""
    return Benchmark(path, file_sha256(path), table)
