import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import psutil
import pytest

from rlvr_dynamics.errors import StageFailed, UserError
from rlvr_dynamics.schema import Scoring
from rlvr_dynamics.scoring import engine_process, gpu_memory
from rlvr_dynamics.scoring.generation import (
    PROOF_FILE,
    TIMES_FILE,
    ScoredModel,
    score_models,
)
from rlvr_dynamics.scoring.gpu_memory import DeviceMemory, MemoryGuard
from rlvr_dynamics.scoring.keys import frame_of, unit_key
from rlvr_dynamics.scoring.prompts import TEMPLATES
from rlvr_dynamics.scoring.reload_proof import judge
from rlvr_dynamics.scoring.samples import SAMPLE_COLUMNS, read_benchmark
from rlvr_dynamics.scoring.seeding import request_seed
from rlvr_dynamics.scoring.table import scores_table
from rlvr_dynamics.system.keyed import facts_of
from tests.support.engine_stand_in import (
    ALL,
    GREEDY,
    SAMPLED,
    SETTINGS,
    Fake,
    fake,
    write_benchmark,
)

FIXTURES = (fake,)
CUDA = replace(SETTINGS, device="cuda", memory_wait_seconds=5.0)
QWEN = "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\n0+1=<|im_end|>\n<|im_start|>assistant\n"


def test_everything_is_scored_once(fake):
    seen = []
    assert fake.run(on_progress=lambda *facts: seen.append(facts)) == ALL
    assert seen[-1][:2] == (120, 120)
    samples = pd.read_parquet(fake.out / "step_2" / "chain.parquet")
    assert list(samples.columns) == SAMPLE_COLUMNS
    assert len(samples) == 5 * (1 + 4)
    assert not samples.duplicated(["question_id", "protocol", "sample"]).any()
    first = samples.iloc[0]
    assert first["prompt"] == "<user>0+1=<model>"
    assert (first["answer"], first["status"], first["score"]) == ("1", "correct", 1.0)
    assert pd.isna(first["seed"])
    sampled = samples[samples["protocol"] == "sampled"]
    assert [
        request_seed(7, row.question_id, row.sample) for row in sampled.itertuples()
    ] == sampled["seed"].tolist()
    assert not (fake.out / ".raw").exists()
    proof = fake.proof()
    assert (proof["mode"], proof["passed"], proof["max_abs_diff"]) == ("in_place", True, 0.0)


def test_a_second_call_does_nothing(fake):
    fake.run()
    before = fake.content()
    stamps = {path: path.stat().st_mtime_ns for path in fake.out.rglob("*.parquet")}
    assert fake.run() == []
    assert fake.content() == before
    assert {path: path.stat().st_mtime_ns for path in fake.out.rglob("*.parquet")} == stamps


@pytest.mark.slow
def test_a_change_redoes_only_what_it_touches(fake):
    fake.run()
    other = replace(fake.models[1], identity="other weights")
    assert fake.run(models=[fake.models[0], other, fake.models[2]]) == [(1, 8), (1, 32)]
    fake.models[1] = other

    write_benchmark(fake.benchmarks["long"], 3, title="Longer")
    assert fake.run() == []
    for column in ({"prompt": ["1+1=", "2+2=", "3+3="]}, {"gold": ["7", "8", "9"]}):
        write_benchmark(fake.benchmarks["long"], 3, **column)
        assert fake.run() == [(digit, n) for digit in range(3) for n in (3, 12)]

    fake.protocols = [GREEDY, replace(SAMPLED, temperature=0.5)]
    assert fake.run() == [(digit, 32) for digit in range(3)]
    assert fake.run(seed=8) == ALL
    assert fake.run(seed=8, settings=replace(SETTINGS, max_num_seqs=8, engines=2)) == []
    assert fake.run(seed=8, settings=replace(SETTINGS, dtype="bfloat16")) == ALL
    system = replace(SETTINGS, dtype="bfloat16", system_prompt="Be brief.")
    assert fake.run(seed=8, settings=system) == ALL
    assert fake.run(seed=8, settings=system) == []


def test_other_versions_generate_anew(fake, monkeypatch):
    fake.run(models=fake.models[:1])
    monkeypatch.setattr("rlvr_dynamics.scoring.keys.generating_versions", lambda: {"vllm": "9"})
    assert fake.run(models=fake.models[:1]) == [(0, 8), (0, 32)]


def test_a_new_benchmark_or_model_is_added(fake):
    fake.run(models=fake.models[:2], benchmarks={"chain": fake.benchmarks["chain"]})
    assert fake.run(models=fake.models[:2]) == [(d, n) for d in range(2) for n in (3, 12)]
    assert fake.run() == [(2, 8), (2, 32)]


def test_a_new_grader_needs_no_generation(fake, monkeypatch):
    fake.run()
    assert (fake.work.generated, fake.work.regraded, fake.work.engines) == (120, 0, 1)
    before = fake.content()
    monkeypatch.setattr("rlvr_dynamics.scoring.plan.grader_version", lambda kind: "new")
    monkeypatch.setattr(engine_process, "EngineProcess", None)
    assert fake.run() == []
    assert (fake.work.generated, fake.work.regraded, fake.work.engines) == (0, 120, 0)
    assert fake.content() != before
    assert facts_of(fake.out / "step_1" / "long.parquet")["grader"] == "new"
    assert fake.run() == [] and fake.work.regraded == 0


def test_a_dead_engine_is_reported_and_nothing_is_repeated(fake):
    fake.mode("die")
    with pytest.raises(StageFailed, match=r"(?s)SIGKILL.*engine_0.log.*about to die"):
        fake.run()
    done = fake.calls()
    assert done == [(0, 8), (0, 32)]
    assert sorted(p.name for p in fake.out.iterdir() if p.name[0] != ".") == ["step_1"]
    fake.mode("")
    assert sorted(done + fake.run()) == ALL
    resumed = fake.content()
    whole = Fake(fake.root / "whole", fake.models)
    whole.run()
    assert resumed == whole.content()


def test_a_batch_that_was_not_yet_graded_is_kept(fake, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("rlvr_dynamics.scoring.generation.publish", killed)
    with pytest.raises(KeyboardInterrupt):
        fake.run(models=fake.models[:1])
    assert fake.calls() == [(0, 8), (0, 32)]
    assert not list(fake.out.glob("step_1/*"))
    monkeypatch.undo()
    monkeypatch.setattr(engine_process, "engine_command", lambda job: ["/no/engine/is/needed"])
    assert fake.run(models=fake.models[:1]) == []
    assert len(fake.content()) == 2


@pytest.mark.slow
def test_a_silent_engine_is_ended(fake):
    fake.mode("hang")
    began = time.monotonic()
    with pytest.raises(StageFailed, match="silent for 3 s"):
        fake.run(settings=replace(SETTINGS, stall_seconds=3.0))
    assert time.monotonic() - began < 30
    assert not psutil.pid_exists(int((fake.root / "pid").read_text()))


def test_the_engine_ends_with_its_parent(fake):
    fake.mode("hang")
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(fake.root)])
    try:
        engine = int(wait_for(fake.root / "pid").read_text())
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        deadline = time.monotonic() + 60
        while running(engine) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not running(engine)
    finally:
        parent.kill()


PARENT = """
import sys
from pathlib import Path
from rlvr_dynamics.scoring import engine_process
from rlvr_dynamics.scoring.generation import EngineSettings, Protocol, ScoredModel, score_models
root = Path(sys.argv[1])
engine_process.engine_command = lambda job: [sys.executable, str(root / "fake_engine.py"), str(job)]
score_models([ScoredModel("step_1", root / "models" / "0", "weights")],
    {"chain": root / "benchmarks" / "chain.parquet"}, [Protocol("greedy", 0.0, 1.0, 1, 16)],
    EngineSettings("cpu", "float32", 96), root / "scores" / "samples", 7)
"""


def running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(path, seconds=60):
    deadline = time.monotonic() + seconds
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)
    return path


@pytest.mark.parametrize(("mode", "difference"), [("stale", 0.0), ("raise", None)])
def test_a_wrong_reload_is_caught_and_each_model_gets_its_own_engine(fake, mode, difference):
    fake.mode(mode)
    assert fake.run() == ALL
    proof = fake.proof()
    assert (proof["mode"], proof["passed"]) == ("fresh_engine_per_model", False)
    assert (proof["max_abs_diff"] is None) == (difference is None)
    for digit in range(3):
        samples = pd.read_parquet(fake.out / f"step_{digit + 1}" / "chain.parquet")
        assert set(samples[samples["protocol"] == "greedy"]["answer"]) == {str(digit)}


def test_reload_can_be_switched_off(fake):
    assert fake.run(settings=replace(SETTINGS, reload=False, engines=2)) == ALL
    assert fake.proof()["mode"] == "fresh_engine_per_model"


def test_truncated_answers_are_counted(fake):
    fake.run(models=fake.models[:1], protocols=[replace(GREEDY, max_tokens=2)])
    table = scores_table(fake.out, ["step_1"], fake.benchmarks)
    assert table["truncated"].tolist() == [5, 3]
    assert table["accuracy"].tolist() == [0.0, 0.0]


def test_an_answer_has_what_the_prompt_leaves_of_the_context(fake):
    fake.run(
        models=fake.models[:1], protocols=[GREEDY], settings=replace(SETTINGS, max_model_len=23)
    )
    assert {tuple(asked[:1]) for asked in fake.params()} == {(23 - len("<user>0+1=<model>"),)}
    table = scores_table(fake.out, ["step_1"], fake.benchmarks)
    assert table["truncated"].tolist() == [5, 3]
    samples = pd.read_parquet(fake.out / "step_1" / "chain.parquet")
    assert set(samples["finish_reason"]) == {"length"} and set(samples["tokens"]) == {6}


def test_a_split_has_its_own_protocols(fake):
    write_benchmark(fake.benchmarks["long"], 3, split="out_of_domain")
    fake.protocols = [
        replace(GREEDY, splits=("in_domain",)),
        replace(SAMPLED, splits=("out_of_domain",)),
    ]
    one = fake.models[:1]
    assert fake.run(models=one) == [(0, 5), (0, 12)]
    table = scores_table(fake.out, ["step_1"], fake.benchmarks)
    assert table[["benchmark", "protocol", "samples"]].to_numpy().tolist() == [
        ["chain", "greedy", 1],
        ["long", "sampled", 4],
    ]
    # Wider splits ask for what is new only.
    fake.protocols[1] = replace(SAMPLED, splits=None)
    assert fake.run(models=one) == [(0, 20)]
    # Protocols of one name are one batch.
    fake.protocols = [
        replace(SAMPLED, samples=2, splits=("in_domain",)),
        replace(SAMPLED, samples=4, splits=("out_of_domain",)),
    ]
    done = []
    assert fake.run(seed=8, models=one, on_progress=lambda *f: done.append(f[:2])) == [(0, 22)]
    assert done[-1] == (22, 22)
    table = scores_table(fake.out, ["step_1"], fake.benchmarks)
    assert table["samples"].tolist() == [2, 4]


def test_a_long_batch_is_cut_between_benchmarks(fake):
    script = fake.root / "fake_engine.py"
    script.write_text(
        script.read_text().replace("code = engine", "engine.BATCH_ANSWERS = 4\ncode = engine")
    )
    fake.mode("die")
    seen = []
    with pytest.raises(StageFailed):
        fake.run(on_progress=lambda *facts: seen.append(facts[:2]))
    assert fake.calls() == [(0, 3), (0, 5)]
    assert seen[-1] == (8, 120)
    fake.mode("")
    rest = fake.run()
    assert sorted(rest[:2]) == [(0, 12), (0, 20)]
    assert len(rest) == 10
    for digit in range(3):
        samples = pd.read_parquet(fake.out / f"step_{digit + 1}" / "chain.parquet")
        assert len(samples) == 25
        assert not samples.duplicated(["question_id", "protocol", "sample"]).any()


@pytest.mark.parametrize(
    ("changes", "prompt", "form"),
    [
        ({}, "<user>0+1=<model>", "chat_template"),
        ({"system_prompt": "Be brief."}, "<system>Be brief.<user>0+1=<model>", "chat_template"),
        ({"thinking": False}, "<user>0+1=<model>enable_thinking=False", "chat_template"),
        ({"template": "plain"}, "0+1=", "plain"),
        ({"template": "qwen_math"}, QWEN.format("You are a helpful assistant."), "qwen_math"),
        ({"template": "qwen_math", "system_prompt": "S."}, QWEN.format("S."), "qwen_math"),
    ],
)
def test_how_a_question_is_put(fake, changes, prompt, form):
    settings = replace(SETTINGS, **changes)
    fake.run(models=fake.models[:1], protocols=[GREEDY], settings=settings)
    path = fake.out / "step_1" / "chain.parquet"
    assert pd.read_parquet(path)["prompt"].iloc[0] == prompt
    facts = facts_of(path)["prompt"]
    assert facts["form"] == form and len(facts["sha256"]) == 64
    assert {tuple(stops) for _, stops in fake.params()} == {(5,) if form == "qwen_math" else ()}
    keys = facts_of(path)["keys"]
    other = replace(settings, template="plain" if form == "qwen_math" else "qwen_math")
    other = replace(other, system_prompt=None, thinking=None)
    fake.run(models=fake.models[:1], protocols=[GREEDY], settings=other)
    assert facts_of(path)["keys"] != keys


def test_a_model_without_a_template_gets_the_bare_question(fake):
    (fake.models[0].folder / "chat_template.jinja").unlink()
    fake.run(models=fake.models[:1], protocols=[GREEDY])
    path = fake.out / "step_1" / "chain.parquet"
    assert pd.read_parquet(path)["prompt"].iloc[0] == "0+1="
    metadata = facts_of(path)
    assert (metadata["prompt"]["form"], metadata["template"]) == ("plain", "none")
    with pytest.raises(UserError, match="no chat template"):
        fake.run(models=fake.models[:1], settings=replace(SETTINGS, system_prompt="Be brief."))


def test_braces_in_a_question_stay(fake):
    write_benchmark(fake.benchmarks["chain"], 1, prompt="{system} and {prompt}")
    settings = replace(SETTINGS, template="qwen_math", max_model_len=400)
    fake.run(models=fake.models[:1], protocols=[GREEDY], settings=settings)
    sent = pd.read_parquet(fake.out / "step_1" / "chain.parquet")["prompt"].iloc[0]
    assert sent == QWEN.format("You are a helpful assistant.").replace(
        "0+1=", "{system} and {prompt}"
    )


def test_the_configuration_knows_every_template():
    assert get_args(Scoring.model_fields["template"].annotation) == TEMPLATES


def test_on_a_gpu_the_fresh_load_has_a_process_of_its_own(fake, monkeypatch):
    free = DeviceMemory(free=95, total=100)
    probes = []
    monkeypatch.setattr(engine_process, "read_gpu_memory", lambda _: probes.append(1) or [free])
    assert fake.run(settings=CUDA) == ALL
    # The fingerprint of the last model, then the engine that holds all of them.
    assert fake.work.engines == 2 and len(probes) == 2
    assert (fake.proof()["mode"], fake.proof()["max_abs_diff"]) == ("in_place", 0.0)
    times = json.loads((fake.out.parent / TIMES_FILE).read_text())["engines"]
    assert [one["ready"] is None for one in times] == [True, False]
    assert [one["answers"] for one in times] == [0, 120]
    assert times[1]["loaded"] <= times[1]["ready"] and times[1]["generating"] >= 0


def test_a_wrong_reload_on_a_gpu_is_caught_too(fake, monkeypatch):
    monkeypatch.setattr(engine_process, "read_gpu_memory", lambda _: [DeviceMemory(95, 100)])
    fake.mode("stale")
    assert fake.run(models=fake.models[:2], settings=CUDA) == ALL[:4]
    assert fake.proof()["mode"] == "fresh_engine_per_model"
    assert fake.work.engines == 4  # fingerprint, failed proof, one per model
    for digit in range(2):
        samples = pd.read_parquet(fake.out / f"step_{digit + 1}" / "chain.parquet")
        assert set(samples[samples["protocol"] == "greedy"]["answer"]) == {str(digit)}


def test_no_engine_starts_before_the_gpu_memory_is_back(fake, monkeypatch):
    readings = iter([95, 40, 40] + [95] * 9)
    monkeypatch.setattr(gpu_memory, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(
        engine_process, "read_gpu_memory", lambda _: [DeviceMemory(next(readings), 100)]
    )
    assert fake.run(settings=replace(CUDA, reload=False)) == ALL
    assert len(list(readings)) == 12 - 5


@pytest.mark.parametrize(
    ("readings", "message"),
    [
        ([[(80, 100)]], r"GPU 0 has .* free"),
        # Enough for the share, but less than there was.
        ([[(99, 100)], [(92, 100)]], r"GPU 0 has .* free"),
        ([[]], "takes the GPUs 0, 0 are visible"),
    ],
)
def test_memory_that_does_not_come_back_is_a_failure(readings, message):
    left = [[DeviceMemory(a << 30, b << 30) for a, b in reading] for reading in readings]
    guard = MemoryGuard(
        replace(CUDA, memory_wait_seconds=0.0),
        ("0",),
        lambda _: left.pop(0) if len(left) > 1 else left[0],
    )
    for _ in readings[1:]:
        guard.wait()
    with pytest.raises(StageFailed, match=message):
        guard.wait()


def test_a_guard_asks_nothing_for_the_cpu_and_of_all_gpus_of_an_engine():
    MemoryGuard(SETTINGS, (), lambda _: pytest.fail("read")).wait()
    two = replace(CUDA, tensor_parallel=2, memory_wait_seconds=0.0)
    free, taken = DeviceMemory(95, 100), DeviceMemory(5, 100)
    of = {"4": free, "5": free, "6": taken}

    def probe(gpus):
        return [of[gpu] for gpu in gpus]

    MemoryGuard(two, ("4", "5"), probe).wait()
    with pytest.raises(StageFailed, match="GPU 6 has"):
        MemoryGuard(two, ("5", "6"), probe).wait()


def test_scores_table(fake):
    fake.run()
    table = scores_table(fake.out, [model.id for model in fake.models], fake.benchmarks)
    assert len(table) == 3 * 2 * 2
    row = table[(table["model"] == "step_1") & (table["benchmark"] == "long")].iloc[0]
    assert row["protocol"] == "greedy"
    assert (row["questions"], row["samples"], row["correct"]) == (3, 1, 0)
    # Wilson's interval of none of three: its upper end is z²/(3 + z²).
    assert (row["accuracy"], row["ci_low"]) == (0.0, 0.0)
    assert row["ci_high"] == pytest.approx(1.959964**2 / (3 + 1.959964**2), abs=1e-6)
    statuses = ["correct", "incorrect", "no_answer", "truncated", "limit", "timeout", "crash"]
    assert (table[statuses].sum(axis=1) == table["questions"] * table["samples"]).all()
    assert table["title"].unique().tolist() == ["Chain", "Long"]
    assert (table["mean_tokens"] == len(r"\boxed{1}")).all()
    assert (table["method"] == "real").all()
    with pytest.raises(UserError, match="answers are missing"):
        scores_table(fake.out, ["base"], fake.benchmarks)


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "a" * 300])
def test_a_path_in_a_name_is_refused(fake, name):
    with pytest.raises(UserError, match="cannot be a file name"):
        fake.run(models=[replace(fake.models[0], id=name)])
    with pytest.raises(UserError, match="cannot be a file name"):
        fake.run(benchmarks={name: fake.benchmarks["chain"]})


def test_the_users_mistakes(fake):
    with pytest.raises(UserError, match="given twice"):
        fake.run(models=[fake.models[0], fake.models[0]])
    with pytest.raises(UserError, match="model folder missing"):
        fake.run(models=[replace(fake.models[0], folder=fake.root / "nowhere")])
    with pytest.raises(UserError, match=r"config.json is missing"):
        fake.run(models=[replace(fake.models[0], folder=fake.root)])
    with pytest.raises(UserError, match=r"prompt of 17 tokens, which fills max_model_len=17"):
        fake.run(settings=replace(SETTINGS, max_model_len=17))
    for changes in ({"splits": ("in_domain",)}, {"temperature": 0.0, "samples": 1}):
        other = replace(SAMPLED, **({"splits": ("out_of_domain",)} | changes))
        with pytest.raises(UserError, match="'sampled' is given twice"):
            fake.run(protocols=[replace(SAMPLED, splits=("in_domain",)), other])
    with pytest.raises(UserError, match="no protocol covers benchmark chain"):
        fake.run(protocols=[replace(GREEDY, splits=("out_of_domain",))])
    with pytest.raises(UserError, match="unknown scoring.template"):
        fake.run(settings=replace(SETTINGS, template="essay"))
    for changes in (
        {"template": "plain", "system_prompt": "s"},
        {"template": "qwen_math", "thinking": True},
    ):
        with pytest.raises(UserError, match="has no place in the prompt text"):
            fake.run(settings=replace(SETTINGS, **changes))
    with pytest.raises(UserError, match="unknown seeding"):
        replace(SETTINGS, seeding="none")
    write_benchmark(fake.benchmarks["chain"], 5, gold="five")
    with pytest.raises(UserError, match="gold answer 'five'"):
        fake.run()
    assert fake.calls() == []


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"question_id": "same"}, "is there twice"),
        ({"kind": "essay"}, "column kind"),
        ({"kind": ["math", "integer", "math"]}, "column kind"),
    ],
)
def test_a_broken_benchmark_is_refused(tmp_path, columns, message):
    path = write_benchmark(tmp_path / "broken.parquet", 3, **columns)
    with pytest.raises(UserError, match=message):
        read_benchmark(path)


def test_an_unreadable_benchmark_is_refused(tmp_path):
    path = tmp_path / "broken.parquet"
    with pytest.raises(UserError, match="missing"):
        read_benchmark(path)
    path.write_text("not parquet")
    with pytest.raises(UserError, match="not a readable parquet"):
        read_benchmark(path)
    pd.DataFrame({"question_id": ["a"]}).to_parquet(path)
    with pytest.raises(UserError, match="lacks the columns prompt, gold"):
        read_benchmark(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": -1.0},
        {"top_p": 0.0},
        {"samples": 0},
        {"max_tokens": 0},
        {"temperature": 0.0, "samples": 4},
    ],
)
def test_an_impossible_protocol_is_refused(changes):
    with pytest.raises(UserError, match="protocol sampled"):
        replace(SAMPLED, **changes)


def test_the_key_covers_what_counts_and_nothing_else(tmp_path):
    model = ScoredModel("a", tmp_path, "weights")
    given = (model, "frame", "benchmark", SAMPLED, SETTINGS, {"form": "plain"}, 7)
    names = ("model", "frame", "bench", "protocol", "settings", "prompt", "seed")

    def key(**changes):
        values = dict(zip(names, given, strict=True))
        return unit_key(*(changes.get(name, value) for name, value in values.items()))

    assert key(model=replace(model, id="b", folder=Path("elsewhere"))) == key()
    assert key(settings=replace(SETTINGS, max_num_seqs=1, engines=2, threads=2)) == key()
    assert key(protocol=replace(SAMPLED, splits=("in_domain",))) == key()
    changed = {
        key(prompt={"form": "chat_template"}),
        key(model=replace(model, identity="other")),
        key(frame="other"),
        key(bench="other"),
        key(protocol=replace(SAMPLED, samples=5)),
        key(settings=replace(SETTINGS, dtype="bfloat16")),
        key(settings=replace(SETTINGS, max_model_len=257)),
        key(seed=8),
    }
    assert len(changed) == 8
    assert key() not in changed


def test_the_frame_is_everything_but_the_weights(fake):
    folder = fake.models[0].folder
    frame = frame_of(folder)
    assert frame == frame_of(fake.models[1].folder)
    (folder / "model.safetensors").write_text("weights")
    assert frame_of(folder) == frame
    for name, text in (
        ("chat_template.jinja", "{{ messages }}"),
        ("tokenizer.json", "{}"),
        ("config.json", '{"hidden_size": 16}'),
        ("generation_config.json", '{"eos_token_id": 3}'),
    ):
        before = frame_of(folder)
        (folder / name).write_text(text)
        assert frame_of(folder) != before


def test_seeds_are_fixed_and_apart():
    assert request_seed(7, "chain-0", 0) == request_seed(7, "chain-0", 0)
    seeds = {request_seed(s, f"q{q}", k) for s in range(3) for q in range(100) for k in range(8)}
    assert len(seeds) == 2400
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_the_proof_needs_models_that_differ():
    a, b = np.array([-1.0, -2.0]), np.array([-1.5, -2.0])
    assert judge((a, b), (a, b), 1e-4).passed
    assert judge((a, b), (a + 5e-5, b), 1e-4).passed
    assert not judge((a, b), (a + 2e-4, b), 1e-4).passed
    assert not judge((a, b), (a, a), 1e-4).passed
    assert not judge((a, a), (a, a), 1e-4).passed
    assert not judge((a, a + 1e-5), (a, a), 1e-4).passed
    assert not judge((a, b), (a, b * np.nan), 1e-4).passed


# Real vLLM from here on.


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Three random models whose output matrix is tied to the embedding, and one benchmark."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    root = tmp_path_factory.mktemp("real")
    characters = ["<pad>", "<end>", *"0123456789+-*=<>\\{}abcdeorsux\n"]
    raw = Tokenizer(models.WordLevel({c: i for i, c in enumerate(characters)}, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    raw.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<end>", pad_token="<pad>", unk_token="<pad>"
    )
    tokenizer.chat_template = "{% for m in messages %}<{{ m['content'] }}>{% endfor %}"
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
        initializer_range=0.2,
    )
    scored = []
    for step in range(3):
        torch.manual_seed(step)
        folder = root / f"step_{step}"
        Qwen3ForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        scored.append(ScoredModel(f"step_{step}", folder, f"random {step}"))
    benchmark = write_benchmark(root / "chain.parquet", 12)
    return root, scored, {"chain": benchmark}


REAL_SETTINGS = replace(SETTINGS, max_model_len=96, stall_seconds=240.0)


def score_real(real, out, models=None, **changes):
    _, scored, benchmarks = real
    settings = replace(REAL_SETTINGS, **changes)
    score_models(models or scored, benchmarks, [GREEDY, SAMPLED], settings, out / "samples", 7)
    files = sorted((out / "samples").rglob("*.parquet"))
    content = {str(file.relative_to(out)): file.read_bytes() for file in files}
    proof = out / PROOF_FILE  # none where every answer had been given before
    return json.loads(proof.read_text()) if proof.exists() else None, content


@pytest.fixture(scope="module")
def scored_in_place(real):
    return score_real(real, real[0] / "whole")


@pytest.mark.slow
def test_real_reload_is_proved_and_samples_are_whole(real, scored_in_place):
    proof, content = scored_in_place
    assert (proof["mode"], proof["passed"]) == ("in_place", True)
    assert proof["max_abs_diff"] <= 1e-4
    assert proof["proofs"][0]["contrast"] > 0.1
    assert len(content) == 3
    samples = pd.read_parquet(real[0] / "whole" / "samples" / "step_1" / "chain.parquet")
    assert len(samples) == 12 * 5
    assert samples["prompt"].iloc[0] == "<0+1=>"
    assert samples["tokens"].between(1, 16).all()
    assert ((samples["finish_reason"] == "length") <= (samples["tokens"] == 16)).all()
    sampled = samples[samples["protocol"] == "sampled"]
    assert sampled.groupby("question_id")["response"].nunique().max() > 1


@pytest.mark.slow
def test_real_samples_repeat_with_other_engines_and_other_batches(real, scored_in_place):
    _, content = scored_in_place
    _, again = score_real(real, real[0] / "again", engines=2, max_num_seqs=16)
    assert again == content


@pytest.mark.slow
def test_a_real_engine_draws_by_the_seed_of_the_batch(real, scored_in_place):
    """The first model's batch alone, in an engine of its own, is the one among three models."""

    def drawn(content):
        name = "samples/step_0/chain.parquet"
        table = pd.read_parquet(io.BytesIO(content[name]))
        return table[table["protocol"] == "sampled"]

    _, content = score_real(real, real[0] / "batches", seeding="batch")
    _, alone = score_real(real, real[0] / "batch", models=real[1][:1], seeding="batch")
    assert drawn(alone)["response"].tolist() == drawn(content)["response"].tolist()
    assert drawn(alone)["seed"].isna().all()
    by_request = drawn(scored_in_place[1])["response"].tolist()
    assert drawn(alone)["response"].tolist() != by_request
    # The four answers to a question are drawn apart.
    assert drawn(alone).groupby("question_id")["response"].nunique().max() > 1


@pytest.mark.slow
def test_a_stale_real_reload_is_caught(real, scored_in_place, monkeypatch):
    code = textwrap.dedent(
        """
        import sys
        from rlvr_dynamics.scoring import engine
        engine.keep_weights_unpacked = lambda: None
        sys.exit(engine.main(sys.argv[1]))
        """
    )
    monkeypatch.setattr(
        engine_process, "engine_command", lambda job: [sys.executable, "-c", code, str(job)]
    )
    proof, content = score_real(real, real[0] / "stale", models=real[1][:2])
    assert (proof["mode"], proof["passed"]) == ("fresh_engine_per_model", False)
    assert proof["max_abs_diff"] > 1e-4
    for name in content:
        one, other = (pd.read_parquet(real[0] / run / name) for run in ("stale", "whole"))
        # Packed matrices round differently, which may turn a token here and there.
        assert (one["response"] == other["response"]).mean() > 0.9


REAL_PARENT = """
import json, sys
from pathlib import Path
from rlvr_dynamics.scoring.generation import EngineSettings, Protocol, ScoredModel, score_models
call = json.loads(sys.argv[1])
score_models([ScoredModel(i, Path(f), w) for i, f, w in call["models"]],
    {n: Path(p) for n, p in call["benchmarks"].items()},
    [Protocol(**p) for p in call["protocols"]], EngineSettings(**call["settings"]),
    Path(call["out"]), 7)
"""


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on(real, scored_in_place):
    root, scored, benchmarks = real
    out = root / "killed"
    call = {
        "models": [[m.id, str(m.folder), m.identity] for m in scored],
        "benchmarks": {name: str(path) for name, path in benchmarks.items()},
        "protocols": [vars(GREEDY), vars(SAMPLED)],
        "settings": vars(REAL_SETTINGS),
        "out": str(out / "samples"),
    }
    parent = subprocess.Popen([sys.executable, "-c", REAL_PARENT, json.dumps(call)])
    try:
        first = out / "samples" / "step_0" / "chain.parquet"
        deadline = time.monotonic() + 240
        while not first.exists() and parent.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        engines = psutil.Process(parent.pid).children()
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        psutil.wait_procs(engines, timeout=30)
        assert not any(running(engine.pid) for engine in engines)
    finally:
        parent.kill()
    stamp = first.stat().st_mtime_ns
    _, content = score_real(real, out)
    assert first.stat().st_mtime_ns == stamp
    assert content == scored_in_place[1]
