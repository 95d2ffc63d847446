"""Answers from the extrapolated logits of two checkpoints, without an engine.

An engine holds one model; here transformers decodes with both in memory, at more than twice the
price of a token. That suits small models only (`LARGEST`).

Source: arXiv 2601.04537, table 1.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from rlvr_dynamics.errors import UserError
from rlvr_dynamics.scoring.decoding import Sampling, decode
from rlvr_dynamics.scoring.jobs import EngineSettings, Protocol
from rlvr_dynamics.scoring.local_model import load
from rlvr_dynamics.scoring.plan import Benchmark, ModelPlan, raw_path
from rlvr_dynamics.scoring.prompts import render
from rlvr_dynamics.scoring.samples import RAW_COLUMNS
from rlvr_dynamics.scoring.seeding import batch_seed
from rlvr_dynamics.system.keyed import write_table

LARGEST = 1_000_000_000
BATCH_TOKENS = 1 << 16
"""Prompts and answers of a batch at their longest: what the two caches hold."""


def check_size(parameters: int) -> None:
    """Refuse extrapolated logits of a large model.

    Raises:
        UserError: It has more than `LARGEST` parameters.
    """
    if parameters > LARGEST:
        raise UserError(
            f"extrapolated logits run two models for every token, and this one has "
            f"{parameters:,} parameters; at most {LARGEST:,} are taken",
            where="scoring.extrapolated_logits",
            way_out="scoring.extrapolated_logits=[]",
        )


def answer_with_two(
    plan: ModelPlan,
    benchmarks: Mapping[str, Benchmark],
    protocols: Sequence[Protocol],
    settings: EngineSettings,
    seed: int,
    raw: Path,
) -> int:
    """Generate the missing answers of one model and store them as an engine does.

    Sampled answers share one stream of random numbers for each benchmark and protocol
    (`seeding`: ``batch``), whatever `settings.seeding` is.

    Args:
        plan: Of a model with `mixed`; its finished batches are removed.
        benchmarks: All benchmarks by name.
        protocols: All protocols.
        settings: Device, dtype, longest answer.
        seed: Seed of the whole scoring run.
        raw: Folder of raw batches.

    Returns:
        Number of answers.

    Raises:
        UserError: A prompt leaves no room for an answer, or a model cannot be loaded.
    """
    mixed = plan.model.mixed
    assert mixed is not None  # noqa: S101 - the caller chooses such plans
    later, earlier = (
        load(folder, settings.dtype, settings.device, plan.prompt)
        for folder in (plan.model.folder, mixed.earlier)
    )
    count = 0
    for name, keys in list(plan.batches.items()):
        for benchmark, key in list(keys.items()):
            asked = benchmarks[benchmark]
            protocol = next(
                each for each in protocols if each.name == name and each.covers(asked.split)
            ).sized(len(asked.table), plan.model.whole)
            prompts = [
                render(later.tokenizer, plan.prompt, str(question))
                for question in asked.table["prompt"]
            ]
            longest = max(len(tokens) for _, tokens in prompts)
            if longest >= settings.max_model_len:
                raise UserError(
                    f"benchmark {benchmark} has a prompt of {longest} tokens, which fills "
                    f"max_model_len={settings.max_model_len}",
                    way_out="raise max_model_len, or leave the question out",
                )
            drawn = batch_seed(seed, {benchmark: key}) if protocol.temperature > 0 else None
            rows = [
                {
                    "benchmark": benchmark,
                    "question_id": question,
                    "protocol": name,
                    "sample": sample,
                    "prompt": text,
                    "ids": tokens,
                }
                for question, (text, tokens) in zip(
                    asked.table["question_id"], prompts, strict=True
                )
                for sample in range(protocol.samples)
            ]
            ids = [row["ids"] for row in rows]
            answers = decode(
                later,
                ids,
                [min(protocol.max_tokens, settings.max_model_len - len(each)) for each in ids],
                batch=max(1, BATCH_TOKENS // settings.max_model_len),
                label=f"{plan.model.id} {name}",
                sampling=None
                if drawn is None
                else Sampling(protocol.temperature, protocol.top_p, drawn),
                earlier=earlier,
                alpha=mixed.alpha,
            )
            table = pd.DataFrame(rows).assign(
                response=later.tokenizer.batch_decode(
                    [list(answer.tokens) for answer in answers], skip_special_tokens=True
                ),
                finish_reason=[answer.finish for answer in answers],
                tokens=[len(answer.tokens) for answer in answers],
                seed=pd.array([pd.NA] * len(rows), dtype="Int64"),
            )
            facts = {"keys": {benchmark: key}} | ({} if drawn is None else {"seed": drawn})
            path = raw_path(raw, plan.model.id, {benchmark: key})
            write_table(path, table.reindex(columns=RAW_COLUMNS), facts)
            count += len(rows)
        del plan.batches[name]
    return count
