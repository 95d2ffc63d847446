"""A published trajectory from a hub: fetched whole, whatever happens on the way, or refused."""

import json
import os
import random
import shutil
import subprocess
import sys
import time

import pandas as pd
import pytest

from rlvr_dynamics.checkpoints.delta_open import open_store
from rlvr_dynamics.checkpoints.delta_unpack import unpack_step
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.hub.download import Job, download
from rlvr_dynamics.hub.http import Hub as Client
from rlvr_dynamics.hub.pinned import Address
from rlvr_dynamics.hub.published import pin_all, read_steps
from rlvr_dynamics.run import main
from tests.support.hub_fixture import BASE, REPO, change, write_trajectory
from tests.support.hub_server import Hub

STAGES = "stages=[prepare,train,measure,extrapolate,report]"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Steps 1 to 4 as branches, step 10 on main, and the base; HF_ENDPOINT points there."""
    source = tmp_path / "source"
    write_trajectory(source, (1, 2, 3, 4, 10))
    with Hub(source) as served:
        served.publish(BASE, "main", source / "base")
        for step in (1, 2, 3, 4):
            served.publish(REPO, f"step_{step}", source / f"step_{step}")
        served.publish(REPO, "main", source / "step_10")
        monkeypatch.setenv("HF_ENDPOINT", served.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("rlvr_dynamics.hub.patience.FIRST_WAIT_SECONDS", 0.01)
        yield served


def overrides(tmp_path, *more, steps="[1-4,10]", out="out", **settings):
    given = {"final_revision": "main", "steps": steps, "revision": "'step_{step}'", **settings}
    fields = ", ".join(f"{name}: {value}" for name, value in given.items())
    return [
        *("+exp=trajectory", "model=qwen3_4b", f"model.repo={BASE}", "model.stop_tokens=[]"),
        f"++source.published={{repo: {REPO}, {fields}}}",
        *(f"run_dir={tmp_path / out}", "measure.null_draws=20", STAGES, *more),
    ]


def go(tmp_path, *more, **settings):
    return main(overrides(tmp_path, *more, **settings))


def same_files(tmp_path, steps=(1, 2, 3, 4, 10), out="out"):
    for step in steps:
        source = tmp_path / "source" / f"step_{step}"
        fetched = tmp_path / out / "train" / "checkpoints" / f"step_{step}"
        for path in source.iterdir():
            assert (fetched / path.name).read_bytes() == path.read_bytes(), path
        assert sorted({path.name for path in fetched.iterdir()} - {"manifest.json"}) == sorted(
            path.name for path in source.iterdir()
        )


def error_line(capsys):
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    return line


def client(hub, connections=4):
    return Client(hub.endpoint, connections)


def fetch_all(hub, folder, lock, steps=(1, 2, 3, 4)):
    with client(hub) as http:
        pinned = pin_all(http, {step: Address(REPO, f"step_{step}", "") for step in steps}, lock)
        jobs = [
            Job(each, file, folder / f"step_{step}" / file.name)
            for step, each in pinned.items()
            for file in each.files
        ]
        return [job.target for job in download(http, jobs, lambda _: None)]


# --- the whole command ---


@pytest.mark.slow
def test_a_published_trajectory_becomes_a_report(hub, tmp_path, capsys):
    assert go(tmp_path, "extrapolation.targets=[1.0]") == 0
    same_files(tmp_path)
    out = tmp_path / "out"
    assert (out / "report" / "index.html").exists()
    manifest = json.loads((out / "train/checkpoints/step_10/manifest.json").read_text())
    commit = hub.repos[REPO]["main"]
    assert manifest["source"] == f"{REPO}@{commit}" and manifest["step"] == 10
    index = pd.read_parquet(out / "predictions" / "index.parquet")
    # 15 and 30 % of the last step of the trajectory, and that step as the target.
    assert set(index[index.method == "relex"].observe) == {2, 3}
    assert set(index[index.method == "relex"].step) == {10}
    assert not list(out.glob("train/incoming*"))
    asked = len(hub.requests)
    capsys.readouterr()
    assert go(tmp_path, "extrapolation.targets=[1.0]") == 0
    assert "everything was done already" in capsys.readouterr().out
    assert len(hub.requests) == asked


def test_nothing_of_the_trainer_counts_for_what_is_fetched(hub, tmp_path, capsys):
    assert go(tmp_path, "stages=[prepare,train]") == 0
    capsys.readouterr()
    assert (
        go(tmp_path, "stages=[prepare,train]", "trainer.steps=7", "algorithm.learning_rate=1e-4")
        == 0
    )
    assert "train        done" in capsys.readouterr().out
    assert go(tmp_path, "stages=[prepare,train]", steps="[1-3,10]") == 2
    assert "another configuration's train" in error_line(capsys)


def test_the_base_is_read_in_the_dtype_of_the_steps(hub, tmp_path, capsys):
    import torch

    shutil.rmtree(tmp_path / "source")
    write_trajectory(tmp_path / "source", (1, 2, 3, 4, 10), torch.float32)
    write_trajectory(tmp_path / "narrow", (), torch.bfloat16)
    hub.publish(BASE, "main", tmp_path / "narrow" / "base")
    assert go(tmp_path, "stages=[prepare,train,measure]") == 0
    assert "the base is in bfloat16 and the steps are in float32" in capsys.readouterr().out
    checkpoints = pd.read_parquet(tmp_path / "out" / "measure" / "checkpoints.parquet")
    assert set(checkpoints.dtype) == {"float32"}


@pytest.mark.slow
def test_a_pair_is_a_trajectory_of_one_step(hub, tmp_path):
    alone = {"steps": "[1]", "revision": "main", "final_revision": "null"}
    assert go(tmp_path, "extrapolation.methods=[]", **alone) == 0
    out = tmp_path / "out"
    assert set(pd.read_parquet(out / "measure" / "update_svd.parquet").step) == {1}
    index = pd.read_parquet(out / "predictions" / "index.parquet")
    assert "rank1_recovery" in set(index.method) and set(index.observe) == {0}


def test_another_shape_is_refused_in_words(hub, tmp_path, capsys):
    from safetensors.torch import load_file, save_file

    file = tmp_path / "source" / "step_4" / "model-00001-of-00002.safetensors"
    tensors = load_file(file)
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][:32].clone()
    save_file(tensors, file)
    hub.publish(REPO, "step_4", tmp_path / "source" / "step_4")
    assert go(tmp_path) == 2
    line = error_line(capsys)
    assert "does not match step 4 in shape" in line and "model.embed_tokens.weight" in line


# --- what a network does ---


KINDS = ("429", "500", "503", "cut", "cut", "cut", "reset", "slow", "wrong", "whole")


def test_a_hundred_faults_change_no_byte(hub, tmp_path):
    draw = random.Random(0)
    # A file may have wrong bytes once; the second time would be its end, as another test shows.
    kinds = [kind for kind in draw.choices(KINDS, k=300) if kind != "wrong"][:76] + ["wrong"] * 4
    faults = {"api": ["429", "500", "cut", "reset", "503"] * 4, "cdn": kinds}
    draw.shuffle(kinds)
    got = 0
    for where, planned in faults.items():
        for kind in planned:
            hub.inject(where, kind, retry_after="0" if kind == "429" else None)
    for attempt in range(100):
        if not hub.waiting:
            break
        out, lock = tmp_path / f"fetched_{attempt}", tmp_path / f"lock_{attempt}.json"
        try:
            fetch_all(hub, out, lock)
        except UserError as error:
            assert "arrived twice" in str(error), error  # two wrong bytes met one file
            fetch_all(hub, out, lock)
        for step in (1, 2, 3, 4):
            for path in (tmp_path / "source" / f"step_{step}").iterdir():
                assert (out / f"step_{step}" / path.name).read_bytes() == path.read_bytes()
                got += 1
    assert hub.injected == 100 and not hub.waiting and got


def test_a_cut_file_goes_on_where_it_ended(hub, tmp_path):
    hub.inject("cdn", "cut", "cut", "cut")
    fetch_all(hub, tmp_path / "out", tmp_path / "lock.json", steps=(1,))
    ranges = [r.headers.get("Range") for r in hub.requests if r.origin == "cdn"]
    assert sum(asked is not None for asked in ranges) == 3
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in ranges if asked]
    assert all(start > 0 for start in starts)


def test_a_wait_that_the_server_asks_for_is_kept(hub, tmp_path):
    hub.inject("cdn", "429", retry_after="1")
    begin = time.monotonic()
    fetch_all(hub, tmp_path / "out", tmp_path / "lock.json", steps=(1,))
    assert time.monotonic() - begin >= 1.0


def test_wrong_bytes_twice_are_an_error_and_no_file(hub, tmp_path):
    hub.inject("cdn", *["wrong"] * 8)
    with pytest.raises(UserError, match="arrived twice"):
        fetch_all(hub, tmp_path / "out", tmp_path / "lock.json", steps=(1,))
    assert not list((tmp_path / "out").rglob("*.safetensors"))


def test_a_server_that_only_fails_ends_in_one_line(hub, tmp_path, capsys):
    hub.inject("api", *["500"] * 20)
    assert go(tmp_path) == 2
    assert "the hub does not deliver: HTTP 500" in error_line(capsys)


def test_the_token_stays_with_the_hub(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch_all(hub, tmp_path / "out", tmp_path / "lock.json", steps=(1,))
    seen = {origin: set() for origin in ("hub", "cdn")}
    for request in hub.requests:
        seen[request.origin].add(request.headers.get("Authorization"))
    assert seen == {"hub": {"Bearer hf_secret"}, "cdn": {None}}


def test_killed_and_run_again(hub, tmp_path):
    shutil.rmtree(tmp_path / "source")
    write_trajectory(tmp_path / "source", (1, 2), rows=20_000)
    for repo, branch, folder in ((BASE, "main", "base"), (REPO, "step_1", "step_1")):
        hub.publish(repo, branch, tmp_path / "source" / folder)
    hub.publish(REPO, "main", tmp_path / "source" / "step_2")
    assert go(tmp_path, "stages=[prepare]", steps="[1,2]") == 0
    hub.speed_limit = 400_000.0
    stages = "stages=[prepare,train]"
    command = [sys.executable, "-m", "rlvr_dynamics.run"]
    command += overrides(tmp_path, stages, steps="[1,2]")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=os.environ | {"HF_HUB_OFFLINE": "0"}, **quiet)
    try:
        deadline = time.monotonic() + 60
        while not begun(tmp_path / "out"):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    left = begun(tmp_path / "out")
    hub.speed_limit = 0.0
    before = len(hub.requests)
    assert go(tmp_path, stages, steps="[1,2]") == 0
    same_files(tmp_path, (1,))
    asked = {r.headers.get("Range") for r in hub.requests[before:] if r.origin == "cdn"}
    assert {f"bytes={size}-" for size in left} <= asked


def begun(out):
    sizes = [file.stat().st_size for file in out.rglob(".*.safetensors.part")]
    return [size for size in sizes if size > 100_000]


# --- what is refused ---


def test_steps_that_are_not_there_are_named(hub, tmp_path, capsys):
    assert go(tmp_path, steps="[1-6,10]") == 2
    line = error_line(capsys)
    assert "step 5-6 cannot be fetched" in line and "branches for these steps exist: 1-4" in line
    assert go(tmp_path, out="other", revision="main", repo="'relex/none-{step}'") == 2
    assert "not on the hub" in error_line(capsys)


@pytest.mark.slow
def test_one_repository_per_step(hub, tmp_path, capsys):
    for step in (1, 2):
        hub.publish(f"relex/step-{step}", "main", tmp_path / "source" / f"step_{step}")
    settings = {"repo": "'relex/step-{step}'", "revision": "main", "final_revision": "null"}
    assert go(tmp_path, "stages=[prepare,train]", steps="[1,2]", **settings) == 0
    same_files(tmp_path, (1, 2))
    assert go(tmp_path, out="other", steps="[1-3]", **settings) == 2
    assert "of the steps asked for, these exist: 1-2" in error_line(capsys)


def test_a_full_disk_is_refused_before_any_weights(hub, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rlvr_dynamics.flow.fetch.free_bytes", lambda _: 1000)
    assert go(tmp_path) == 2
    line = error_line(capsys)
    assert "5 steps need" in line and "1,000 are free" in line and "stream=true" in line
    assert not list((tmp_path / "out" / "train").rglob("*.safetensors"))


def test_a_branch_that_moves_changes_nothing(hub, tmp_path):
    assert go(tmp_path, "stages=[prepare,train]") == 0
    lock = tmp_path / "out" / "published.lock.json"
    recorded = {step: pinned.commit for step, pinned in read_steps(lock).items()}
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "source" / "step_2", moved)
    (moved / "model-00001-of-00002.safetensors").unlink()
    (moved / "model-00002-of-00002.safetensors").unlink()
    (moved / "model.safetensors.index.json").unlink()
    change(moved, 7)
    assert hub.publish(REPO, "step_2", moved) != recorded[2]
    shutil.rmtree(tmp_path / "out" / "train")
    assert go(tmp_path, "stages=[prepare,train]") == 0
    same_files(tmp_path)
    assert {step: pinned.commit for step, pinned in read_steps(lock).items()} == recorded


def test_offline_is_offline(hub, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert go(tmp_path) == 2
    assert "HF_HUB_OFFLINE is set" in error_line(capsys)
    assert not hub.requests


@pytest.mark.parametrize(
    "name", ["../evil.json", "/etc/evil.json", "..\\evil.json", ".hidden.json", "a\nb.json"]
)
def test_names_that_lead_elsewhere_are_refused(hub, tmp_path, name):
    hub.publish(
        REPO,
        "step_1",
        tmp_path / "source" / "step_1",
        extra={name: tmp_path / "source" / "step_1" / "config.json"},
    )
    with pytest.raises(UserError, match="not to be trusted"):
        fetch_all(hub, tmp_path / "out", tmp_path / "lock.json", steps=(1,))
    assert not (tmp_path / "out").exists()


def test_only_safetensors_and_small_texts_are_taken(hub, tmp_path):
    source = tmp_path / "source" / "step_1"
    for name in ("pytorch_model.bin", "run.py", "README.md", "model.ckpt", "manifest.json"):
        (source / name).write_text("no")
    hub.publish(REPO, "step_1", source)
    targets = fetch_all(hub, tmp_path / "out", tmp_path / "lock.json", steps=(1,))
    assert {path.suffix for path in targets} == {".safetensors", ".json", ".jinja"}
    assert "manifest.json" not in {path.name for path in targets}


def test_a_lock_of_before_is_kept_to(hub, tmp_path):
    lock = tmp_path / "lock.json"
    with client(hub) as http:
        address = Address(REPO, "step_1", "")
        pinned = pin_all(http, {1: address}, lock)[1]
        entry = json.loads(lock.read_text())["step_1"]
        before = {"repo": REPO, "revision": "step_1", "folder": "", "files": entry["files"]}
        lock.write_text(
            json.dumps({"format": 1, "steps": {"1": before | {"commit": entry["revision"]}}})
        )
        hub.publish(REPO, "step_1", tmp_path / "source" / "step_2")
        assert pin_all(http, {1: address}, lock) == {1: pinned}
        both = pin_all(http, {1: address, 2: Address(REPO, "step_2", "")}, lock)
    assert both[1] == pinned and read_steps(lock) == both


def test_steps_in_folders_of_one_repository_are_described_once(hub, tmp_path):
    hub.publish("relex/folders", "main", tmp_path / "source")
    asked = {step: Address("relex/folders", "main", f"step_{step}") for step in (1, 2, 10)}
    with client(hub) as http:
        pinned = pin_all(http, asked, tmp_path / "lock.json")
        assert len(hub.requests) == 1
        jobs = [
            Job(pinned[step], file, tmp_path / "out" / f"step_{step}" / file.name)
            for step in asked
            for file in pinned[step].files
        ]
        assert len(list(download(http, jobs, lambda _: None))) == len(jobs)
        for job in jobs:
            source = tmp_path / "source" / job.target.parent.name / job.file.name
            assert job.target.read_bytes() == source.read_bytes()
        with pytest.raises(UserError, match="step 7 cannot be fetched: no folder step_7") as caught:
            pin_all(http, {7: Address("relex/folders", "main", "step_7")}, tmp_path / "other")
    assert "check source.published.repo" in caught.value.way_out


def test_a_step_in_the_cache_of_other_tools_is_not_fetched(hub, tmp_path):
    from huggingface_hub import snapshot_download

    snapshot_download(REPO, revision="step_1", endpoint=hub.endpoint)
    before = len(hub.requests)
    fetch_all(hub, tmp_path / "out", tmp_path / "lock.json", steps=(1,))
    assert len(hub.requests) == before + 1
    for path in (tmp_path / "source" / "step_1").iterdir():
        fetched = tmp_path / "out" / "step_1" / path.name
        assert fetched.read_bytes() == path.read_bytes() and not fetched.is_symlink()


def test_a_damaged_lock_is_named(hub, tmp_path, capsys):
    assert go(tmp_path, "stages=[prepare]") == 0
    (tmp_path / "out" / "published.lock.json").write_text('{"format": 1, "steps": {"1": {}}}')
    assert go(tmp_path, "stages=[prepare,train]") == 2
    assert "damaged record of commits" in error_line(capsys)


# --- streaming ---


def tables(folder):
    return {path.name: pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))}


def test_streamed_tables_are_those_of_the_whole_trajectory(hub, tmp_path, capsys):
    stages = "stages=[prepare,train,measure]"
    assert go(tmp_path, stages) == 0
    # Room for one large tensor of five steps: several groups.
    limit = 5 * 40 * 16 * 4 / 2**30
    streamed = {"out": "streamed", "stream": "true", "stream_gib": limit}
    assert go(tmp_path, stages, **streamed) == 0
    whole, parts = tables(tmp_path / "out/measure"), tables(tmp_path / "streamed/measure")
    assert whole.keys() == parts.keys() and len(whole) > 10
    for name, table in whole.items():
        pd.testing.assert_frame_equal(table, parts[name], check_exact=True)
    assert "hashes could not be compared" not in capsys.readouterr().out
    for file in (tmp_path / "streamed" / "train").rglob("*.safetensors"):
        assert file.stat().st_size > file.stat().st_blocks * 512 or file.stat().st_size < 8192
        assert not any(file.read_bytes()[-64:])


def test_steps_go_straight_into_a_store(hub, tmp_path, capsys):
    """One at a time, also after a step that could not be fetched; then measured from there."""
    stages = "stages=[prepare,train,measure]"
    assert go(tmp_path, stages) == 0
    kept = tmp_path / "source" / "step_4" / "config.json"
    aside = kept.rename(tmp_path / "config.json")
    assert go(tmp_path, stages, "trainer.keep=deltas", out="store") == 2
    aside.rename(kept)
    assert go(tmp_path, stages, "trainer.keep=deltas", out="store") == 0
    store = open_store(tmp_path / "store" / "train" / "checkpoints")
    assert store.steps == [1, 2, 3, 4, 10]
    assert all(version.base is not None for version in store.versions.values() if version.step)
    assert not list((tmp_path / "store" / "train").rglob("step_*"))
    for step in store.steps:
        unpack_step(store, step, tmp_path / "unpacked/train/checkpoints" / f"step_{step}")
    same_files(tmp_path, out="unpacked")
    whole, parts = tables(tmp_path / "out/measure"), tables(tmp_path / "store/measure")
    for name, table in whole.items():
        pd.testing.assert_frame_equal(table, parts[name], check_exact=True)


def test_streaming_measures_and_no_more(hub, tmp_path, capsys):
    assert go(tmp_path, out="streamed", stream="true") == 2
    assert "the weights are gone when extrapolate would need them" in error_line(capsys)
    stages = "stages=[prepare,train,measure,behaviour]"
    assert go(tmp_path, stages, out="streamed", stream="true") == 2
    assert "the weights are gone when behaviour would need them" in error_line(capsys)


@pytest.mark.slow
def test_streamed_wrong_bytes_are_found(hub, tmp_path, capsys):
    assert go(tmp_path, "stages=[prepare,train]", stream="true") == 0
    hub.inject("cdn", "wrong")
    stages = "stages=[prepare,train,measure]"
    assert go(tmp_path, stages, stream="true") == 2
    assert "not those that the hub describes" in error_line(capsys)
    assert not list((tmp_path / "out" / "measure").rglob("*.safetensors"))
    assert go(tmp_path, stages, stream="true") == 0
