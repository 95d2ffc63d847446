"""Scores many models on many benchmarks: plan, run the engines, grade and publish.

`score_models` may be killed at any moment and called again: batches that an engine finished are
kept, and results published under the same keys are not touched.
"""

import contextlib
import logging
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlvr_dynamics.grading.grade import check_golds
from rlvr_dynamics.scoring.engine_process import Event, Job, run_engines
from rlvr_dynamics.scoring.jobs import EngineSettings, Protocol, ScoredModel, check_names
from rlvr_dynamics.scoring.plan import (
    CLAIMS_FOLDER,
    RAW_FOLDER,
    Benchmark,
    ModelPlan,
    check_protocols,
    load_benchmark,
    plan_model,
    publish,
)
from rlvr_dynamics.scoring.samples import read_benchmark
from rlvr_dynamics.system import progress
from rlvr_dynamics.system.atomic import remove_leftovers, write_json

__all__ = ["EngineSettings", "Protocol", "ScoredModel", "Work", "score_models"]

_log = logging.getLogger(__name__)

PROOF_FILE = "reload_proof.json"
TIMES_FILE = "engine_times.json"
OnProgress = Callable[[float, float, str], None]


@dataclass
class Work:
    """Counts of the work done by one call of `score_models`.

    Attributes:
        generated: Number of answers generated.
        regraded: Number of stored answers graded again because the grader had changed.
        engines: Number of engine processes started.
    """

    generated: int = 0
    regraded: int = 0
    engines: int = 0


def score_models(
    models: Sequence[ScoredModel],
    benchmarks: Mapping[str, Path],
    protocols: Sequence[Protocol],
    settings: EngineSettings,
    out: Path,
    seed: int,
    on_progress: OnProgress | None = None,
) -> Work:
    """Ensure that `out/<model>/<benchmark>.parquet` exists and is current for every pair.

    Answers already stored under the expected keys are not generated again; if only the grader
    changed they are regraded, and no engine starts.

    The parent folder of `out` receives `engine_<i>.log`, `engine_times.json` (seconds per engine)
    and `reload_proof.json`, which says how weights were loaded into the engines: mode ``in_place``
    (proved), ``fresh_engine_per_model`` (the proof failed, or `settings.reload` is off) or
    ``single_model``.

    Args:
        models: What to score.
        benchmarks: Name and parquet file of each benchmark.
        protocols: How answers are drawn; each question is answered under every protocol that covers
            its split.
        settings: The engine.
        out: Folder of the graded answers.
        seed: All seeds are derived from this (see `seeding`).
        on_progress: Called with (answers done, total answers, current activity).

    Raises:
        UserError: A model, benchmark or setting is wrong, or a gold answer cannot be graded.
        StageFailed: An engine died or hung (the message includes the end of its log), or the GPU's
            memory is not free. Other engines have finished what was left.
    """
    check_names("model", [model.id for model in models])
    check_names("benchmark", benchmarks)
    check_names("protocol", {protocol.name: None for protocol in protocols})
    loaded = {name: load_benchmark(path, read_benchmark(path)) for name, path in benchmarks.items()}
    check_protocols(loaded, protocols)
    out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out)
    plans = [plan_model(m, loaded, protocols, settings, seed, out) for m in models]
    for name in {name for plan in plans for name in plan.stale}:
        golds = [str(gold) for gold in loaded[name].table["gold"]]
        as_text = check_golds(golds, loaded[name].kind)
        loaded[name].golds_as_text = sum(gold in as_text for gold in golds)

    with contextlib.closing(
        _Scoring(plans, loaded, protocols, settings, out, seed, on_progress)
    ) as scoring:
        scoring.publish_finished()
        waiting = [plan for plan in plans if plan.batches]
        jobs = scoring.jobs([plan for plan in waiting if plan.model.mixed is None])
        if jobs:
            shutil.rmtree(out / RAW_FOLDER / CLAIMS_FOLDER, ignore_errors=True)
            run_engines(jobs, settings, out.parent, scoring.on_event)
            scoring.write_proof()
        for plan in waiting:
            if plan.model.mixed is not None:
                scoring.answer_with_two(plan)
    shutil.rmtree(out / RAW_FOLDER, ignore_errors=True)
    return scoring.work


class _Scoring:
    """The state of one call of `score_models`."""

    def __init__(
        self,
        plans: Sequence[ModelPlan],
        benchmarks: Mapping[str, Benchmark],
        protocols: Sequence[Protocol],
        settings: EngineSettings,
        out: Path,
        seed: int,
        on_progress: OnProgress | None,
    ) -> None:
        self.plans = {plan.model.id: plan for plan in plans}
        self.benchmarks, self.protocols = benchmarks, protocols
        self.settings, self.out, self.seed = settings, out, seed
        self.on_progress = on_progress
        self.proofs: list[dict[str, Any]] = []
        self.alone: set[str] = set()  # models with an engine of their own
        self.unproved: set[str] = set()  # frames in which a reload is wrong
        self.work = Work()
        self.times: dict[int, dict[str, float]] = {}
        self.expected = {
            plan.model.id: sum(
                protocol.sized(len(benchmark.table), plan.model.whole).samples
                * len(benchmark.table)
                for protocol in protocols
                for name, benchmark in benchmarks.items()
                if protocol.covers(benchmark.split) and name in plan.batches.get(protocol.name, {})
            )
            for plan in plans
        }
        self.in_flight: dict[int, int] = {}  # answers of unfinished batches, by engine
        self.sets = len(plans) * len(benchmarks)
        self.bar = progress.bar(total=sum(self.expected.values()), desc="score", unit="answer")

    def close(self) -> None:
        self.bar.close()

    def publish_finished(self) -> None:
        """Publish every model whose batches are complete."""
        for plan in self.plans.values():
            if plan.batches:
                continue
            for name in list(plan.stale):
                benchmark = self.benchmarks[name]
                self.work.regraded += publish(
                    plan, name, benchmark, self.settings, self.seed, self.out
                )
                plan.stale.remove(name)
            shutil.rmtree(self.out / RAW_FOLDER / plan.model.id, ignore_errors=True)

    def jobs(self, plans: Sequence[ModelPlan]) -> list[Job]:
        """Return the first jobs: models of one frame share engines, those with most answers first.

        On a GPU the first is the fresh load that proves the reload; `on_event` returns the others.
        """
        if not self.settings.reload:
            return [self._job([plan]) for plan in plans]
        frames: dict[str, list[ModelPlan]] = {}
        for plan in sorted(plans, key=lambda plan: -self.expected[plan.model.id]):
            frames.setdefault(plan.frame, []).append(plan)
        found = []
        for group in frames.values():
            job = self._job(group)
            fresh = self.settings.device == "cuda" and len(group) > 1
            found += [job] * (1 if fresh else job["engines"])
        return found

    def _job(self, plans: Sequence[ModelPlan]) -> Job:
        if len(plans) == 1:
            self.alone.add(plans[0].model.id)
        batches = sum(len(keys) for plan in plans for keys in plan.batches.values())
        return {
            "reference": None,
            "engines": min(self.settings.engines, batches),
            "settings": asdict(self.settings),
            "seed": self.seed,
            "protocols": [asdict(protocol) for protocol in self.protocols],
            "benchmarks": {
                name: str(benchmark.path.resolve()) for name, benchmark in self.benchmarks.items()
            },
            "raw": str((self.out / RAW_FOLDER).resolve()),
            "models": [
                {
                    "id": plan.model.id,
                    "folder": str(plan.model.folder.resolve()),
                    "frame": plan.frame,
                    "hashes": {file: asdict(each) for file, each in plan.model.hashes.items()},
                    "whole": plan.model.whole,
                    "batches": plan.batches,
                }
                for plan in plans
            ],
        }

    def on_event(self, job: Job, event: Event) -> list[Job]:
        """Record an event and return the jobs that follow from it.

        After the fingerprint of a fresh load that is the same job with the fingerprint, for all
        engines; after a failed proof, one job per model.
        """
        self._note_times(event)
        if event["event"] == "fingerprint":
            return [{**job, "reference": event["log_probs"]}] * job["engines"]
        if event["event"] == "proof":
            self.proofs.append(event["proof"])
            frame = job["models"][0]["frame"]
            if not event["proof"]["passed"] and frame not in self.unproved:
                self.unproved.add(frame)
                _log.warning(
                    "weights reloaded in place are not proved right (%s): one engine per model",
                    event["proof"],
                )
                return [self._job([self.plans[model["id"]]]) for model in job["models"]]
        elif event["event"] in ("progress", "batch"):
            self.in_flight[event["engine"]] = event.get("done", 0)
            if event["event"] == "batch":
                self.work.generated += event["answers"]
                batches = self.plans[event["model"]].batches
                for name in event["benchmarks"]:
                    del batches[event["protocol"]][name]
                if not batches[event["protocol"]]:
                    del batches[event["protocol"]]
                self.publish_finished()
            published = self.sets - sum(len(plan.stale) for plan in self.plans.values())
            doing = f"{event['model']} {event['protocol']}, {published}/{self.sets} sets finished"
            done = self.work.generated + sum(self.in_flight.values())
            self.bar.set_postfix_str(doing, refresh=False)
            self.bar.update(done - self.bar.n)
            if self.on_progress is not None:
                self.on_progress(done, sum(self.expected.values()), doing)
        return []

    def answer_with_two(self, plan: ModelPlan) -> None:
        """Answer for a model of two checkpoints, in this process."""
        from rlvr_dynamics.scoring.two_models import answer_with_two

        raw = self.out / RAW_FOLDER
        count = answer_with_two(
            plan, self.benchmarks, self.protocols, self.settings, self.seed, raw
        )
        self.work.generated += count
        self.bar.update(count)
        self.publish_finished()

    def _note_times(self, event: Event) -> None:
        """Record an engine's seconds until its first model was loaded and until it could answer."""
        new = {"loaded": math.nan, "ready": math.nan, "generating": 0.0, "answers": 0, "tokens": 0}
        times = self.times.setdefault(event["engine"], new)
        kind = event["event"]
        if kind in ("loaded", "ready") and math.isnan(times[kind]):
            times[kind] = event["age"]
        elif kind == "batch":
            times["generating"] += event["seconds"]
            times["answers"] += event["answers"]
            times["tokens"] += event["tokens"]
        self.work.engines = len(self.times)

    def write_proof(self) -> None:
        """Record how weights were loaded into the engines, and the engines' times."""
        times = [
            {key: None if math.isnan(value) else value for key, value in one.items()}
            for _, one in sorted(self.times.items())
        ]
        write_json(self.out.parent / TIMES_FILE, {"engines": times})
        passed = all(proof["passed"] for proof in self.proofs)
        differences = [proof["max_abs_diff"] for proof in self.proofs]
        if self.proofs and passed:
            mode = "in_place"
        elif self.proofs or len(self.alone) > 1:
            mode = "fresh_engine_per_model"
        else:
            mode = "single_model"
        facts = {
            "mode": mode,
            "passed": passed if self.proofs else None,
            "max_abs_diff": None if None in differences else max(differences, default=None),
            "proofs": self.proofs,
        }
        write_json(self.out.parent / PROOF_FILE, facts)
