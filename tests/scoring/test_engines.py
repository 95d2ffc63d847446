"""Several engines side by side, how their answers are seeded, and how many each model gives."""

from dataclasses import replace

import pandas as pd
import pytest

from rlvr_dynamics.errors import StageFailed, UserError
from rlvr_dynamics.scoring import engine_process
from rlvr_dynamics.scoring.gpu_memory import DeviceMemory
from rlvr_dynamics.scoring.keys import unit_key
from rlvr_dynamics.scoring.seeding import batch_seed
from rlvr_dynamics.scoring.table import scores_table
from rlvr_dynamics.system.keyed import facts_of
from tests.support.engine_stand_in import ALL, GREEDY, SAMPLED, SETTINGS, Fake, fake

FIXTURES = (fake,)
TWO = replace(SETTINGS, engines=2)
BATCHES = replace(SETTINGS, seeding="batch")


@pytest.fixture
def gpus(monkeypatch):
    """Two free GPUs of a node, of which this process may see no other."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    monkeypatch.setattr(
        engine_process, "read_gpu_memory", lambda gpus: [DeviceMemory(95, 100) for _ in gpus]
    )
    return replace(TWO, device="cuda")


def in_short_batches(fake):
    """Let a batch be one benchmark under one protocol."""
    script = fake.root / "fake_engine.py"
    own = "engine.BATCH_ANSWERS = 1\nengine.ALIVE_SECONDS = 0.5\ncode = engine"
    script.write_text(script.read_text().replace("code = engine", own))


def test_every_engine_has_gpus_of_its_own_and_the_fresh_load_is_shared(fake, gpus):
    fake.mode("meet")
    assert fake.run(settings=gpus) == ALL
    assert {gpu for _, _, gpu in fake.answered_by()} == {"4", "7"}
    # One process loads the last model afresh, two answer.
    assert fake.work.engines == 3
    assert (fake.proof()["mode"], len(fake.proof()["proofs"])) == ("in_place", 2)


def test_engines_of_several_gpus_have_neighbours(fake, gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a,MIG-b,MIG-c,MIG-d")
    settings = replace(gpus, tensor_parallel=2)
    found = engine_process.gpus_of_engines(settings)
    assert found == [("MIG-a", "MIG-b"), ("MIG-c", "MIG-d")]
    with pytest.raises(UserError, match=r"3 engines of 2 GPUs need 6, 4 are visible"):
        fake.run(settings=replace(settings, engines=3))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert engine_process.gpus_of_engines(gpus) == [("0",), ("1",)]


def test_an_engine_without_a_model_of_its_own_helps_another(fake):
    in_short_batches(fake)
    fake.mode("stuck")  # the first batch of the first model ends after all others
    assert fake.run(settings=TWO) == sorted(
        (digit, answers) for digit in range(3) for answers in (5, 3, 20, 12)
    )
    by = {digit: {who for of, who, _ in fake.answered_by() if of == digit} for digit in range(3)}
    assert len(by[0]) == 2
    assert len(by[1]) == len(by[2]) == 1


def test_a_broken_gpu_does_not_stop_the_others(fake, gpus):
    fake.mode("die on 4")
    with pytest.raises(StageFailed, match=r"(?s)SIGKILL.*about to die"):
        fake.run(settings=gpus)
    done = fake.calls()
    assert len(done) == 5
    assert {gpu for _, _, gpu in fake.answered_by()} == {"7"}
    fake.mode("")
    assert sorted(done + fake.run(settings=gpus)) == ALL


@pytest.mark.slow
def test_an_engine_that_takes_steps_is_not_hung(fake):
    in_short_batches(fake)
    fake.mode("steps")
    given = {"models": fake.models[:1], "protocols": [GREEDY]}
    given["benchmarks"] = {"long": fake.benchmarks["long"]}
    assert fake.run(settings=replace(SETTINGS, stall_seconds=10.0), **given) == [(0, 3)]


def answers(fake, model="step_1"):
    table = pd.read_parquet(fake.out / model / "chain.parquet")
    return table[table["protocol"] == "sampled"]


def test_a_seed_of_a_batch_is_recorded_and_no_request_pretends_to_have_one(fake):
    assert fake.run(settings=BATCHES) == ALL
    facts = facts_of(fake.out / "step_1" / "chain.parquet")
    keys = {
        name: facts_of(fake.out / "step_1" / f"{name}.parquet")["keys"]["sampled"]
        for name in ("chain", "long")
    }
    assert facts["batch_seeds"] == {"sampled": batch_seed(7, keys)}
    assert answers(fake)["seed"].isna().all()
    # All answers are drawn from one stream, which is another for every model.
    drawn = [tuple(answers(fake, f"step_{step}")["response"]) for step in (1, 2, 3)]
    assert len(set(drawn)) == 3 and len(set(drawn[0])) > 4
    assert fake.run(settings=BATCHES) == []


def test_a_batch_again_is_the_same_on_any_engine_and_after_an_interruption(fake):
    in_short_batches(fake)
    fake.run(settings=BATCHES)
    content = fake.content()
    other = Fake(fake.root, fake.models)
    other.out = fake.root / "other" / "samples"
    fake.mode("die")
    with pytest.raises(StageFailed):
        other.run(settings=BATCHES)
    fake.mode("")
    assert other.run(settings=replace(BATCHES, engines=2))
    assert other.content() == content
    assert other.run(settings=BATCHES, seed=8)
    assert other.content() != content


def test_a_new_grader_keeps_the_seeds_of_batches(fake, monkeypatch):
    fake.run(settings=BATCHES, models=fake.models[:1])
    path = fake.out / "step_1" / "chain.parquet"
    before = facts_of(path)["batch_seeds"]
    monkeypatch.setattr("rlvr_dynamics.scoring.plan.grader_version", lambda kind: "new")
    assert fake.run(settings=BATCHES, models=fake.models[:1]) == []
    assert facts_of(path)["grader"] == "new" and facts_of(path)["batch_seeds"] == before


def test_seeding_is_in_the_key_of_sampled_answers_only(fake):
    def key(protocol, seeding):
        settings = replace(SETTINGS, seeding=seeding)
        return unit_key(fake.models[0], "frame", "benchmark", protocol, settings, {}, 7)

    assert key(GREEDY, "batch") == key(GREEDY, "request")
    assert key(SAMPLED, "batch") != key(SAMPLED, "request")


def test_models_that_need_not_answer_in_full_give_what_the_interval_needs(fake):
    wide = replace(SAMPLED, samples=8, half_width=0.3)
    fake.models = [fake.models[0], replace(fake.models[1], whole=False)]
    assert fake.run(protocols=[wide]) == [(0, 8 * 5 + 8 * 3), (1, 2 * 5 + 4 * 3)]
    table = scores_table(fake.out, ["step_1", "step_2"], fake.benchmarks)
    assert table["samples"].tolist() == [8, 8, 2, 4]
    # Another width asks again only where it asks for another number.
    assert fake.run(protocols=[replace(wide, half_width=0.4)]) == [(1, 1 * 5 + 2 * 3)]
    # As many answers under a protocol that asks for so many are the same answers.
    fake.models = fake.models[1:]
    long = {"long": fake.benchmarks["long"]}
    assert fake.run(protocols=[replace(SAMPLED, samples=2)], benchmarks=long) == []
