"""The engine process: one vLLM engine runs many checkpoints on the benchmarks.

``python -m rlvr_dynamics.scoring.engine JOB.json``. The job names the models, benchmarks and
protocols, and the missing batches of each model. A batch is all missing questions of all benchmarks
under one protocol, split between benchmarks if it is long; its answers are published atomically as
one file.

Engines with the same job divide its batches among themselves while they run, since nobody knows
beforehand how long answers get: each takes models that no other has taken, then helps with the
remaining batches of the others (`Session.claimed`).

Greedy and sampled answers never share a batch: on the CPU vLLM drops the seeds of all requests as
soon as one request in a step has none.
"""

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlvr_dynamics.checkpoints.file_hashes import FileHashes, mark_of
from rlvr_dynamics.checkpoints.identity import prove_folder
from rlvr_dynamics.errors import EXIT_FAILED, EXIT_USER_ERROR, UserError
from rlvr_dynamics.scoring.jobs import EngineSettings, Protocol
from rlvr_dynamics.scoring.keys import frame_of
from rlvr_dynamics.scoring.plan import claim, claims_left, raw_path
from rlvr_dynamics.scoring.prompts import prompt_facts, render, stop_tokens
from rlvr_dynamics.scoring.reload_proof import log_probs, prove_reload, release, reload_weights
from rlvr_dynamics.scoring.samples import RAW_COLUMNS, read_benchmark
from rlvr_dynamics.scoring.seeding import batch_seed, request_seed, seed_engine
from rlvr_dynamics.system.children import end_with_parent
from rlvr_dynamics.system.keyed import write_table

# Minimum answers per batch. A killed engine loses its current batch, which favours small batches,
# but every batch has a slow tail.
BATCH_ANSWERS = 8192
PROBES = 8
PROBE_CHARS = 2000
MIN_BATCHED_TOKENS = 8192
PROGRESS_SECONDS = 1.0
ALIVE_SECONDS = 15.0  # a report at least that often while vLLM takes steps


def keep_weights_unpacked() -> None:
    """Stop the CPU build from packing matrices: a reload would not update the packed copy."""
    import vllm._custom_ops as custom_ops

    custom_ops._supports_onednn = False


def build_engine(folder: Path, settings: EngineSettings) -> Any:
    """Load a model folder into a new engine."""
    from vllm import LLM

    if settings.device == "cpu":
        keep_weights_unpacked()
        own: dict[str, Any] = {
            "enforce_eager": True,
            # A chunked prompt breaks seeded requests on the CPU ("Generator does not use offset").
            "enable_chunked_prefill": False,
            "enable_prefix_caching": False,
            "max_num_batched_tokens": max(settings.max_model_len, MIN_BATCHED_TOKENS),
        }
    else:
        own = {
            "gpu_memory_utilization": settings.memory_share,
            "tensor_parallel_size": settings.tensor_parallel,
        }
    return LLM(
        model=str(folder),
        dtype=settings.dtype,  # pyright: ignore[reportArgumentType]
        max_model_len=settings.max_model_len,
        max_num_seqs=settings.max_num_seqs,
        disable_log_stats=True,
        seed=0,
        **own,
    )


@contextmanager
def proved(model: dict[str, Any]) -> Iterator[None]:
    """Verify a model's files before vLLM reads them, and that they do not change meanwhile.

    vLLM does its own reading, so the weights are hashed here first, which also caches them.

    Args:
        model: An entry of the job: folder, frame, and the weight hashes from its identity.

    Raises:
        UserError: A file is damaged, or is not the one whose identity keys the answers.
    """
    folder = Path(model["folder"])
    hashes = {name: FileHashes(**each) for name, each in model["hashes"].items()}
    before = {name: mark_of(folder / name) for name in hashes}
    prove_folder(folder, hashes)
    yield
    if before != {name: mark_of(folder / name) for name in hashes} or (
        frame_of(folder) != model["frame"]
    ):
        raise UserError(
            "a model changed while it was loaded",
            where=str(folder),
            way_out="leave checkpoints alone while they are scored, then run again",
        )


class Session:
    """One job: its settings, its benchmarks, and the pipe for events."""

    def __init__(self, job: dict[str, Any]) -> None:
        """Read the benchmarks without importing anything heavy."""
        self.job = job
        self.settings = EngineSettings(**job["settings"])
        self.raw = Path(job["raw"])
        self.benchmarks = {n: read_benchmark(Path(p)) for n, p in job["benchmarks"].items()}
        protocols = [Protocol(**each) for each in job["protocols"]]
        self.protocols = {
            (protocol.name, name): protocol
            for name, table in self.benchmarks.items()
            for protocol in protocols
            if protocol.covers(str(table["split"].iloc[0]))
        }
        # All models of a job share one frame, so all get the same prompts.
        self.prompt = prompt_facts(Path(job["models"][0]["folder"]), self.settings)
        self.rendered: dict[str, tuple[list[str], list[list[int]]]] = {}

    def emit(self, event: str, **facts: Any) -> None:
        """Send one event to the parent process."""
        os.write(self.job["events"], (json.dumps({"event": event, **facts}) + "\n").encode())

    def build(self, folder: Path) -> Any:
        """Load a model folder into a new engine."""
        return build_engine(folder, self.settings)

    def render(self, llm: Any, benchmark: str) -> tuple[list[str], list[list[int]]]:
        """Return the full prompts of a benchmark and their token ids."""
        if benchmark not in self.rendered:
            tokenizer = llm.get_tokenizer()
            put = [
                render(tokenizer, self.prompt, str(question))
                for question in self.benchmarks[benchmark]["prompt"]
            ]
            self.rendered[benchmark] = ([text for text, _ in put], [ids for _, ids in put])
        return self.rendered[benchmark]

    def probes(self, llm: Any) -> list[list[int]]:
        """Return the token ids of a few prompts, each followed by its boxed gold answer."""
        tokenizer = llm.get_tokenizer()
        found = []
        for benchmark in list(self.benchmarks)[:PROBES]:
            prompts, _ = self.render(llm, benchmark)
            golds = self.benchmarks[benchmark]["gold"]
            share = -(-PROBES // len(self.benchmarks))
            for prompt, gold in list(zip(prompts, golds, strict=True))[:share]:
                text = f"{prompt[-PROBE_CHARS:]}\\boxed{{{gold}}}"
                ids = tokenizer.encode(text, add_special_tokens=False)
                found.append(ids[: self.settings.max_model_len - 1])
        return [ids for ids in found if len(ids) > 1]

    def run(self) -> None:
        """Answer batches of the models until none is left.

        If the job has several models, the last is also loaded from scratch, to prove the reload:
        on the CPU in this process, before the first model; on a GPU in a separate process, because
        only its exit frees all memory. This process is that one if the job has no `reference` yet.
        """
        models = self.job["models"]
        folders = [Path(model["folder"]) for model in models]
        reference = self.job["reference"]
        if len(models) > 1 and reference is None:
            with proved(models[-1]):
                reference = self.fingerprint(folders[-1])
            if self.settings.device == "cuda":
                self.emit("fingerprint", log_probs=reference.tolist())
                return
        if not any(claims_left(self.raw, model["id"], self.parts(model)) for model in models):
            return
        with proved(models[0]):
            llm = self.build(folders[0])
            self.emit("loaded")
            if len(models) > 1:
                proof = prove_reload(
                    llm,
                    folders[0],
                    folders[-1],
                    np.asarray(reference),
                    self.probes(llm),
                    self.settings.dtype,
                )
                self.emit("proof", proof=asdict(proof))
                if not proof.passed:
                    return
        self.emit("ready")
        held = 0
        for position, protocol, keys in self.claimed():
            if position != held:
                with proved(models[position]):
                    reload_weights(llm, folders[position])
                held = position
            self.answer(llm, models[position], protocol, keys)

    def claimed(self) -> Iterator[tuple[int, str, dict[str, str]]]:
        """Yield (position of a model, protocol, keys) of batches that no other engine answers.

        First all batches of whole models, which need the fewest loads. Then the batches of the
        others' models, from their last one on, so that all engines end at about the same time.
        """
        for alone in (True, False):
            for position, model in enumerate(self.job["models"]):
                if alone and not claim(self.raw, model["id"]):
                    continue
                parts = self.parts(model)
                for protocol, keys in parts if alone else reversed(parts):
                    if claim(self.raw, model["id"], keys):
                        yield position, protocol, keys

    def fingerprint(self, folder: Path) -> np.ndarray:
        """Load a model, return the log-probabilities of the probes, and free it."""
        llm = self.build(folder)
        self.emit("loaded")
        found = log_probs(llm, self.probes(llm))
        if self.settings.device == "cpu":
            release(llm)
        return found

    def parts(self, model: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
        """Split a model's batches between benchmarks, each of at least `BATCH_ANSWERS` answers.

        The parts stay the same when some of them are finished, and so do their seeds.
        """
        found = []
        for protocol, keys in model["batches"].items():
            size = BATCH_ANSWERS
            for name, key in keys.items():
                if size >= BATCH_ANSWERS:
                    found.append((protocol, {}))
                    size = 0
                found[-1][1][name] = key
                size += self.sized(model, protocol, name).samples * len(self.benchmarks[name])
        return found

    def sized(self, model: dict[str, Any], protocol: str, benchmark: str) -> Protocol:
        """Return the protocol as one model answers it on one benchmark."""
        questions = len(self.benchmarks[benchmark])
        return self.protocols[protocol, benchmark].sized(questions, model["whole"])

    def answer(self, llm: Any, model: dict[str, Any], protocol: str, keys: dict[str, str]) -> None:
        """Generate one batch and publish it.

        Args:
            llm: Engine holding the model.
            model: An entry of the job.
            protocol: Protocol name; if several share it, the benchmark determines which applies.
            keys: benchmark -> key, for the benchmarks of this batch.
        """
        rows, requests, params = self.requests(llm, model, protocol, keys)
        facts: dict[str, Any] = {"keys": keys}
        if self.settings.seeding == "batch" and any(each.temperature > 0 for each in params):
            facts["seed"] = batch_seed(self.job["seed"], keys)
            seed_engine(llm, facts["seed"])
        began = time.monotonic()
        with Progress(self, llm, model["id"], protocol, len(rows)):
            outputs = llm.generate(requests, params, use_tqdm=False)
        seconds = time.monotonic() - began
        answers = [output.outputs[0] for output in outputs]
        texts = llm.get_tokenizer().batch_decode(
            [answer.token_ids for answer in answers], skip_special_tokens=True
        )
        table = pd.DataFrame(rows).reindex(columns=RAW_COLUMNS)
        table["response"] = texts
        table["finish_reason"] = [answer.finish_reason for answer in answers]
        counts = [len(answer.token_ids) for answer in answers]
        table["tokens"] = counts
        table["seed"] = table["seed"].astype("Int64")
        write_table(raw_path(self.raw, model["id"], keys), table, facts)
        self.emit(
            "batch",
            model=model["id"],
            protocol=protocol,
            benchmarks=list(keys),
            seconds=seconds,
            answers=len(table),
            tokens=sum(counts),
        )

    def requests(
        self, llm: Any, model: dict[str, Any], protocol_name: str, keys: dict[str, str]
    ) -> tuple[list[dict[str, Any]], list[Any], list[Any]]:
        """Return rows, prompts and sampling parameters of one batch, in a fixed order.

        Raises:
            UserError: A prompt leaves no room for an answer.
        """
        from vllm import SamplingParams

        rows, requests, params = [], [], []
        stops = stop_tokens(llm.get_tokenizer(), self.prompt)
        context = self.settings.max_model_len
        for name in keys:
            protocol = self.sized(model, protocol_name, name)
            prompts, ids = self.render(llm, name)
            longest = max(len(tokens) for tokens in ids)
            if longest >= context:
                raise UserError(
                    f"benchmark {name} has a prompt of {longest} tokens, which fills "
                    f"max_model_len={context}",
                    way_out="raise max_model_len, or leave the question out",
                )
            questions = self.benchmarks[name]["question_id"]
            for question, prompt, tokens in zip(questions, prompts, ids, strict=True):
                for sample in range(protocol.samples):
                    seed = None
                    if protocol.temperature > 0 and self.settings.seeding == "request":
                        seed = request_seed(self.job["seed"], question, sample)
                    rows.append(
                        {
                            "benchmark": name,
                            "question_id": question,
                            "protocol": protocol.name,
                            "sample": sample,
                            "prompt": prompt,
                            "seed": seed,
                        }
                    )
                    requests.append({"prompt_token_ids": tokens})
                    params.append(
                        SamplingParams(
                            temperature=protocol.temperature,
                            top_p=protocol.top_p,
                            # At most what the context leaves; an answer cut there also has the
                            # finish reason "length".
                            max_tokens=min(protocol.max_tokens, context - len(tokens)),
                            stop_token_ids=stops,
                            seed=seed,
                            detokenize=False,
                        )
                    )
        return rows, requests, params


class Progress:
    """Reports how many answers of a batch are finished, and that vLLM takes steps.

    Nothing is reported while it takes none, which is how the parent detects a hung engine.
    """

    def __init__(self, session: Session, llm: Any, model: str, protocol: str, total: int) -> None:
        """Prepare the reports; nothing is sent before the block is entered."""
        self.session, self.engine = session, llm.llm_engine
        self.facts = {"model": model, "protocol": protocol, "total": total}
        self.total, self.steps = total, 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._report, daemon=True)

    def _report(self) -> None:
        last, steps, told = None, 0, time.monotonic()
        while not self.over.wait(PROGRESS_SECONDS):
            left, taken = self.engine.get_num_unfinished_requests(), self.steps
            alive = taken > steps and time.monotonic() - told >= ALIVE_SECONDS
            if left != last or alive:
                self.session.emit("progress", done=self.total - left, **self.facts)
                last, steps, told = left, taken, time.monotonic()

    def __enter__(self) -> "Progress":
        """Start counting steps and reporting."""
        self.step = self.engine.step

        def counted() -> Any:
            self.steps += 1
            return self.step()

        self.engine.step = counted
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop both."""
        self.engine.step = self.step
        self.over.set()
        self.thread.join()


def main(job_file: str) -> int:
    """Run one job; return the exit code."""
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    end_with_parent()
    session = Session(job)
    try:
        session.run()
    except UserError as error:
        session.emit("user_error", what=error.what, where=error.where, way_out=error.way_out)
        return EXIT_USER_ERROR
    session.emit("done")
    return 0


if __name__ == "__main__":
    try:
        exit_code = main(sys.argv[1])
    except Exception:
        traceback.print_exc()
        exit_code = EXIT_FAILED
    sys.stdout.flush()
    sys.stderr.flush()
    # Skip the interpreter's clean-up, which takes vLLM seconds and prints leak reports.
    os._exit(exit_code)
