"""Every configured value of the scoring arrives at vLLM: engine, environment and each request."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest

from rlvr_dynamics import config
from rlvr_dynamics.flow.score import engine_settings
from rlvr_dynamics.schema import Scoring
from rlvr_dynamics.scoring import engine
from rlvr_dynamics.scoring.engine_process import engine_environment
from rlvr_dynamics.scoring.jobs import Protocol

# No value is a default of ours or of vLLM's, and none repeats.
SCORING = {
    "dtype": "float16", "template": "qwen_math", "system_prompt": "Be brief.",
    "max_model_len": 9211, "max_tokens": 8017, "max_num_seqs": 77, "kv_cache_gib": 3,
    "gpu_memory_share": 0.61, "tensor_parallel": 2, "engines": 1, "stall_timeout_seconds": 417.0,
    "seeding": "request",
}  # fmt: skip
# Not part of the settings: what is scored and how it is drawn.
ELSEWHERE = {
    "ladder", "protocols", "extrapolated_logits", "half_width", "printed", "max_tokens",
    "device", "thinking", "validate_windows",
}  # fmt: skip


MODEL = {"id": "step_1", "whole": True}


class Tokenizer:
    """One token a character."""

    def encode(self, text, **_):
        return [ord(character) for character in text]

    def get_vocab(self):
        return {"<|im_end|>": 5}


class FakeLLM(SimpleNamespace):
    def get_tokenizer(self):
        return Tokenizer()


@pytest.fixture
def vllm(monkeypatch):
    """vLLM's two classes as records of what they are given."""
    module, operations = ModuleType("vllm"), ModuleType("vllm._custom_ops")
    module.LLM, module.SamplingParams, module._custom_ops = FakeLLM, SimpleNamespace, operations
    operations._supports_onednn = True
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setitem(sys.modules, "vllm._custom_ops", operations)
    return operations


def loaded(device: str, **changes):
    values = {**SCORING, "device": device, **changes}
    given = [f"scoring.{name}={json.dumps(value)}" for name, value in values.items()]
    return config.load(["+exp=grpo_qwen3_4b", *given])


def test_the_settings_are_those_of_the_configuration():
    found = asdict(engine_settings(loaded("cuda")))
    for name, value in SCORING.items():
        if name in ELSEWHERE:
            continue
        ours = {"gpu_memory_share": "memory_share", "stall_timeout_seconds": "stall_seconds"}
        assert found[ours.get(name, name)] == value
    assert set(Scoring.model_fields) == set(SCORING) | ELSEWHERE
    assert found["device"] == "cuda"
    assert engine_settings(loaded("cuda", engines=4)).engines == 4
    assert engine_settings(loaded("cuda", seeding="batch")).seeding == "batch"
    plain = {"template": "model", "system_prompt": None, "thinking": False}
    assert engine_settings(loaded("cuda", **plain)).thinking is False


def test_the_engine_on_a_gpu(vllm):
    made = engine.build_engine(Path("/weights"), engine_settings(loaded("cuda")))
    assert vars(made) == {
        "model": "/weights", "dtype": "float16", "max_model_len": 9211, "max_num_seqs": 77,
        "gpu_memory_utilization": 0.61, "tensor_parallel_size": 2, "seed": 0,
        "disable_log_stats": True,
    }  # fmt: skip
    assert vllm._supports_onednn is True


def test_an_engine_needs_neither_hub_nor_compiler(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    found = engine_environment(engine_settings(loaded("cuda")))
    assert found["HF_HUB_OFFLINE"] == "1"
    assert found["VLLM_USE_FLASHINFER_SAMPLER"] == "0"  # it would be compiled at the start


def test_the_engine_on_a_cpu(vllm):
    settings = engine_settings(loaded("cpu"))
    made = engine.build_engine(Path("/weights"), settings)
    assert vars(made) == {
        "model": "/weights", "dtype": "float16", "max_model_len": 9211, "max_num_seqs": 77,
        "enforce_eager": True, "enable_chunked_prefill": False, "enable_prefix_caching": False,
        "max_num_batched_tokens": 9211, "seed": 0, "disable_log_stats": True,
    }  # fmt: skip
    # Packed matrices would outlive a reload of the weights.
    assert vllm._supports_onednn is False
    assert engine_environment(settings)["VLLM_CPU_KVCACHE_SPACE"] == "3"


def test_each_request_is_drawn_by_the_protocol_of_its_benchmarks_split(vllm, tmp_path):
    splits = {"inside": "in_domain", "outside": "out_of_domain"}
    for name, split in splits.items():
        table = pd.DataFrame({"question_id": [f"{name}-0", f"{name}-1"], "prompt": ["1+1=", "2="]})
        table.assign(gold="2", kind="integer", split=split, title=name).to_parquet(
            tmp_path / f"{name}.parquet"
        )
    settings = engine_settings(loaded("cpu"))
    drawn = {
        "inside": Protocol("sampled", 0.6, 0.93, 2, 8017, ("in_domain",)),
        "outside": Protocol("sampled", 0.7, 0.81, 3, 8017, ("out_of_domain",)),
    }
    (tmp_path / "config.json").write_text("{}")
    job = {
        "settings": asdict(settings),
        "benchmarks": {name: str(tmp_path / f"{name}.parquet") for name in splits},
        "protocols": [asdict(each) for each in drawn.values()],
        "models": [{"folder": str(tmp_path)}],
        "raw": str(tmp_path),
        "seed": 7919,
    }
    session = engine.Session(job)
    keys = dict.fromkeys(splits, "key")
    rows, requests, params = session.requests(FakeLLM(), MODEL, "sampled", keys)
    assert len(rows) == len(requests) == len(params) == 2 * 2 + 2 * 3
    for row, request, asked in zip(rows, requests, params, strict=True):
        protocol = drawn[row["benchmark"]]
        assert (asked.temperature, asked.top_p) == (protocol.temperature, protocol.top_p)
        # What the context leaves, where that is less.
        left = 9211 - len(request["prompt_token_ids"])
        assert asked.max_tokens == min(8017, left)
        assert asked.stop_token_ids == [5]
        assert asked.seed == row["seed"]
    assert len({row["seed"] for row in rows}) == len(rows)
    other, *_ = engine.Session(job | {"seed": 7920}).requests(FakeLLM(), MODEL, "sampled", keys)
    assert not {row["seed"] for row in rows} & {row["seed"] for row in other}


def test_a_greedy_answer_is_the_most_likely_and_has_no_seed(vllm, tmp_path):
    table = pd.DataFrame({"question_id": ["a"], "prompt": ["1" * 2000]})
    table.assign(gold="2", kind="integer", split="in_domain", title="A").to_parquet(
        tmp_path / "a.parquet"
    )
    (tmp_path / "config.json").write_text("{}")
    job = {
        "settings": asdict(engine_settings(loaded("cpu"))),
        "benchmarks": {"a": str(tmp_path / "a.parquet")},
        "protocols": [asdict(Protocol("greedy", 0.0, 1.0, 1, 8017))],
        "models": [{"folder": str(tmp_path)}],
        "raw": str(tmp_path),
        "seed": 7919,
    }
    session = engine.Session(job)
    _, (request,), (asked,) = session.requests(FakeLLM(), MODEL, "greedy", {"a": "key"})
    assert (asked.temperature, asked.seed) == (0.0, None)
    assert asked.max_tokens == 9211 - len(request["prompt_token_ids"]) < 8017
