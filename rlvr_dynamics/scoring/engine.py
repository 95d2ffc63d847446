"""The engine process: one vLLM engine answers the benchmarks with many checkpoints.

``python -m rlvr_dynamics.scoring.engine JOB.json``. The job names the models, the benchmarks, the
protocols, and for each model which batches are missing. A batch is all missing questions of all
benchmarks under one protocol; its answers are published as one file, whole or not at all.

Greedy and sampled answers never share a batch: on the CPU vLLM drops the seeds of all requests as
soon as one request of a step has none.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr_dynamics.errors import EXIT_FAILED, EXIT_USER_ERROR, UserError
from rlvr_dynamics.scoring.jobs import EngineSettings, Protocol
from rlvr_dynamics.scoring.keys import request_seed
from rlvr_dynamics.scoring.plan import raw_path
from rlvr_dynamics.scoring.samples import RAW_COLUMNS, read_benchmark, write_table

PROBES = 8
PROBE_CHARS = 2000
MIN_BATCHED_TOKENS = 8192
PROGRESS_SECONDS = 1.0


def end_with_parent() -> None:
    """End this process and its children as soon as standard input closes."""

    def watch() -> None:
        # Not through sys.stdin, whose lock would be in the way of an ordinary exit.
        while os.read(0, 1):
            pass
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(EXIT_FAILED)

    threading.Thread(target=watch, daemon=True).start()


def keep_weights_unpacked() -> None:
    """Stop the CPU build from packing matrices, because a reload would leave the packed copy."""
    import vllm._custom_ops as custom_ops

    custom_ops._supports_onednn = False


def build_engine(folder: Path, settings: EngineSettings) -> Any:
    """Load a model folder into a new engine."""
    from vllm import LLM

    if settings.device == "cpu":
        keep_weights_unpacked()
        own: dict[str, Any] = {
            "enforce_eager": True,
            # A prompt cut in two breaks seeded requests on the CPU ("Generator does not use
            # offset").
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


class Session:
    """One job: its settings, its benchmarks, and the pipe for events."""

    def __init__(self, job: dict[str, Any]) -> None:
        """Read the benchmarks; nothing heavy is imported yet."""
        self.job = job
        self.settings = EngineSettings(**job["settings"])
        self.protocols = {p["name"]: Protocol(**p) for p in job["protocols"]}
        self.benchmarks = {n: read_benchmark(Path(p)) for n, p in job["benchmarks"].items()}
        self.rendered: dict[str, tuple[list[str], list[list[int]]]] = {}

    def emit(self, event: str, **facts: Any) -> None:
        """Send one event to the parent."""
        os.write(self.job["events"], (json.dumps({"event": event, **facts}) + "\n").encode())

    def build(self, folder: Path) -> Any:
        """Load a model folder into a new engine."""
        return build_engine(folder, self.settings)

    def render(self, llm: Any, benchmark: str) -> tuple[list[str], list[list[int]]]:
        """Return the full prompts of a benchmark and their token ids."""
        if benchmark not in self.rendered:
            tokenizer = llm.get_tokenizer()
            prompts = [str(prompt) for prompt in self.benchmarks[benchmark]["prompt"]]
            if tokenizer.chat_template is None:
                ids = [tokenizer.encode(prompt) for prompt in prompts]
            else:
                prompts = [
                    tokenizer.apply_chat_template(
                        [{"role": "user", "content": prompt}],
                        tokenize=False,
                        add_generation_prompt=True,
                    )
                    for prompt in prompts
                ]
                # The template writes the special tokens itself.
                ids = [tokenizer.encode(prompt, add_special_tokens=False) for prompt in prompts]
            self.rendered[benchmark] = (prompts, ids)
        return self.rendered[benchmark]

    def probes(self, llm: Any) -> list[list[int]]:
        """Return a few prompts, each with a boxed gold answer behind it."""
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
        """Answer every missing batch of every model."""
        models = self.job["models"]
        folders = [Path(model["folder"]) for model in models]
        began = time.monotonic()
        if len(models) == 1:
            llm = self.build(folders[0])
        else:
            from rlvr_dynamics.scoring.reload_proof import prove_reload, reload_weights

            llm, proof = prove_reload(
                self.build, folders[0], folders[-1], self.probes, self.settings.dtype
            )
            self.emit("proof", proof=asdict(proof))
            if not proof.passed:
                return
        self.emit("ready", seconds=time.monotonic() - began)
        for position, model in enumerate(models):
            if position > 0:
                reload_weights(llm, folders[position])  # pyright: ignore[reportPossiblyUnbound]
            for protocol, keys in model["batches"].items():
                self.answer(llm, model["id"], self.protocols[protocol], keys)

    def answer(self, llm: Any, model: str, protocol: Protocol, keys: dict[str, str]) -> None:
        """Generate one batch and publish it.

        Args:
            llm: Engine holding the model.
            model: Model id.
            protocol: How to draw.
            keys: benchmark -> key, the benchmarks of this batch.
        """
        rows, requests, params = self.requests(llm, protocol, keys)
        began = time.monotonic()
        with Progress(self, llm, model, protocol.name, len(rows)):
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
        path = raw_path(Path(self.job["raw"]), model, keys)
        write_table(path, table, {"keys": keys})
        self.emit(
            "batch",
            model=model,
            protocol=protocol.name,
            seconds=seconds,
            answers=len(table),
            tokens=sum(counts),
        )

    def requests(
        self, llm: Any, protocol: Protocol, keys: dict[str, str]
    ) -> tuple[list[dict[str, Any]], list[Any], list[Any]]:
        """Return rows, prompts and sampling parameters of one batch, in a fixed order.

        Raises:
            UserError: A prompt and its longest answer exceed the engine's length.
        """
        from vllm import SamplingParams

        rows, requests, params = [], [], []
        for name in keys:
            prompts, ids = self.render(llm, name)
            longest = max(len(tokens) for tokens in ids)
            if longest + protocol.max_tokens > self.settings.max_model_len:
                raise UserError(
                    f"benchmark {name} has a prompt of {longest} tokens, and with max_tokens="
                    f"{protocol.max_tokens} that exceeds max_model_len="
                    f"{self.settings.max_model_len}",
                    way_out="raise max_model_len or lower max_tokens",
                )
            questions = self.benchmarks[name]["question_id"]
            for question, prompt, tokens in zip(questions, prompts, ids, strict=True):
                for sample in range(protocol.samples):
                    seed = None
                    if protocol.temperature > 0:
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
                            max_tokens=protocol.max_tokens,
                            seed=seed,
                            detokenize=False,
                        )
                    )
        return rows, requests, params


class Progress:
    """Reports now and then how many answers of a batch are finished.

    Silence means that none was, which is how the parent notices an engine that hangs.
    """

    def __init__(self, session: Session, llm: Any, model: str, protocol: str, total: int) -> None:
        """Prepare; nothing is sent before the block is entered."""
        self.session, self.llm = session, llm
        self.facts = {"model": model, "protocol": protocol, "total": total}
        self.total = total
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._report, daemon=True)

    def _report(self) -> None:
        last = None
        while not self.over.wait(PROGRESS_SECONDS):
            left = self.llm.llm_engine.get_num_unfinished_requests()
            if left != last:
                self.session.emit("progress", done=self.total - left, **self.facts)
            last = left

    def __enter__(self) -> "Progress":
        """Start reporting."""
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop reporting."""
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
    # Leaves without the interpreter's clean-up, which takes vLLM seconds and prints leak reports.
    os._exit(exit_code)
