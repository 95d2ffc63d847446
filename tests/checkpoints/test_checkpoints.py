import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from rlvr_dynamics.checkpoints import (
    CheckpointWriter,
    Differences,
    Trajectory,
    differences,
    identity_of,
    read_manifest,
    stored_values,
    write_checkpoint,
    write_manifest,
)
from rlvr_dynamics.checkpoints.hash_cache import HashCache
from rlvr_dynamics.checkpoints.names import module_of
from rlvr_dynamics.checkpoints.structure import Structure
from rlvr_dynamics.errors import UserError
from tests.support.small_models import EMBEDDING, QUERY, SHAPES, random_tensors, save_model


@pytest.fixture
def run(tmp_path):
    """A base and steps 1, 2, 3, each with a manifest."""
    save_model(tmp_path / "base", random_tensors(0), manifest_step=0)
    for step in (1, 2, 3):
        folder = tmp_path / "checkpoints" / f"step_{step}"
        save_model(folder, random_tensors(step), manifest_step=step)
    return tmp_path


def open_run(run, **options):
    return Trajectory.open(run / "base", run / "checkpoints", **options)


def refused(run, *words, **options):
    with pytest.raises(UserError) as caught:
        open_run(run, **options)
    assert_names(caught.value, *words)


def assert_names(error, *words):
    text = str(error)
    assert error.way_out and error.where and "\n" not in text
    for word in words:
        assert str(word) in text


# Reading


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_reads_what_was_saved_bit_for_bit(tmp_path, dtype):
    save_model(tmp_path / "base", random_tensors(0, dtype))
    for step, shards in ((1, 1), (2, 3)):
        save_model(
            tmp_path / "checkpoints" / f"step_{step}", random_tensors(step, dtype), shards=shards
        )
    trajectory = open_run(tmp_path)
    assert trajectory.steps == (1, 2)
    assert trajectory.names == tuple(sorted(SHAPES))
    assert trajectory.dtype == str(dtype).removeprefix("torch.")
    assert trajectory.tied
    for step in (0, 1, 2):
        for name, expected in random_tensors(step, dtype).items():
            found = trajectory.tensor(step, name)
            assert found.dtype == dtype and trajectory.shape(name) == tuple(expected.shape)
            assert torch.equal(found, expected)
            assert torch.equal(trajectory.elements(step, name, 2, 7), expected.reshape(-1)[2:7])


def test_reads_verl_folders(tmp_path):
    save_model(tmp_path / "base", random_tensors(0))
    for step in (5, 10):
        folder = tmp_path / "checkpoints" / f"global_step_{step}" / "actor" / "huggingface"
        save_model(folder, random_tensors(step))
    (tmp_path / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("10")
    trajectory = open_run(tmp_path)
    assert trajectory.steps == (5, 10)
    assert trajectory.folder(5).name == "huggingface"


def test_a_stored_copy_of_a_tied_head_counts_once_and_is_written_again(tmp_path):
    tensors = random_tensors(0)
    tensors["lm_head.weight"] = tensors[EMBEDDING].clone()
    save_model(tmp_path / "base", tensors)
    save_model(tmp_path / "checkpoints" / "step_1", random_tensors(1))
    trajectory = open_run(tmp_path)
    assert "lm_head.weight" not in trajectory.names
    write_checkpoint(tmp_path / "base", tmp_path / "out", random_tensors(2).items(), 2, "test")
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(written["lm_head.weight"], random_tensors(2)[EMBEDDING])


def test_an_untied_head_is_a_tensor_like_any_other(tmp_path):
    shapes = SHAPES | {"lm_head.weight": (11, 8)}
    save_model(tmp_path / "base", random_tensors(0, shapes=shapes), tie=False)
    save_model(tmp_path / "checkpoints" / "step_1", random_tensors(1, shapes=shapes), tie=False)
    trajectory = open_run(tmp_path)
    assert not trajectory.tied and "lm_head.weight" in trajectory.names


def test_steps_are_sorted_by_number_and_can_be_chosen(run):
    save_model(run / "checkpoints" / "step_10", random_tensors(10))
    assert open_run(run, allow_gaps=True).steps == (1, 2, 3, 10)
    chosen = open_run(run, steps=[10, 2])
    assert chosen.steps == (2, 10)
    assert chosen.until(5).steps == (2,)


def test_names_and_shapes_tell_layer_module_and_matrices():
    norm, head = "model.layers.12.self_attn.q_norm.weight", "lm_head.weight"
    up = "model.layers.12.mlp.up_proj.weight"
    found = Structure(SHAPES | {up: (12, 8), norm: (8,), head: (11, 8)})
    assert found.layer(up) == 12.0
    assert found.layer("model.norm.weight") != found.layer("model.norm.weight")
    assert module_of(QUERY) == "q_proj" and module_of(f"{QUERY[:-6]}bias") == "q_proj.bias"
    assert {matrix.label for matrix in found.matrices} == {
        QUERY,
        "model.layers.0.mlp.down_proj.weight",
        up,
    }
    assert found.kind(EMBEDDING) == "embedding" and found.kind(head) == "head"


@pytest.mark.parametrize("budget", [10**9, 4 * 4 * 10, 1])
def test_differences_do_not_depend_on_the_budget(run, budget):
    trajectory = open_run(run)
    base = random_tensors(0)[QUERY]
    expected = torch.stack([(random_tensors(s)[QUERY] - base).reshape(-1) for s in (1, 2, 3)])
    differences = Differences(trajectory, QUERY, budget)
    for _ in range(2):
        chunks = list(differences.chunks())
        assert torch.equal(torch.cat([chunk for _, _, chunk in chunks], dim=1), expected)
    assert differences.fits == (len(chunks) == 1)
    assert torch.equal(differences.row(1), expected[1])
    assert torch.equal(differences.row(-1), expected[-1])
    with pytest.raises(IndexError):
        differences.row(len(expected))


# Identity


def test_manifest_names_every_shard(run):
    folder = save_model(run / "sharded", random_tensors(0), shards=2)
    manifest = write_manifest(folder, 7, "somewhere")
    assert manifest == read_manifest(folder)
    assert (manifest["format"], manifest["step"], manifest["dtype"]) == (1, 7, "float32")
    assert len(manifest["shards"]) == 2 and manifest["identity"] == identity_of(folder)


def test_identity_is_of_the_weights_not_of_the_step(run):
    again = save_model(run / "again", random_tensors(2))
    assert identity_of(again) == identity_of(run / "checkpoints" / "step_2")
    assert identity_of(again) != identity_of(run / "checkpoints" / "step_3")
    assert open_run(run).identity != open_run(run, steps=[1, 2]).identity


def test_hashes_are_cached_until_the_file_changes(run, tmp_path, monkeypatch):
    folder = save_model(tmp_path / "plain", random_tensors(5))
    cache = tmp_path / "cache" / "hashes.json"
    before = identity_of(folder, cache)
    monkeypatch.setattr("rlvr_dynamics.checkpoints.hash_cache.hash_weights", pytest.fail)
    assert identity_of(folder, HashCache(cache)) == before
    monkeypatch.undo()
    save_file(random_tensors(6), folder / "model.safetensors")
    assert identity_of(folder, cache) != before


def test_byte_identical_steps_are_reported(run):
    for step, seed in ((4, 2), (5, 0)):
        save_model(run / "checkpoints" / f"step_{step}", random_tensors(seed))
    assert open_run(run).repeats == [(2, 4), (0, 5)]


def test_light_modules_import_no_torch():
    code = (
        "import sys, rlvr_dynamics.checkpoints.identity, rlvr_dynamics.checkpoints.steps, "
        "rlvr_dynamics.checkpoints.shards, rlvr_dynamics.extrapolation; "
        "heavy = {'torch', 'pandas', 'vllm', 'verl', 'safetensors'} & sys.modules.keys(); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Errors on opening


@pytest.mark.parametrize("which", ["base", "checkpoints", "checkpoints/step_2"])
def test_missing_folder(run, which):
    (run / which).rename(run / "elsewhere")
    if which.endswith("step_2"):
        refused(run, "gap", "after 1 comes 3")
        refused(run, "no checkpoint of step 2", steps=[2])
    else:
        refused(run, "not found", run / which)


def test_empty_and_foreign_folders(run):
    (run / "empty").mkdir()
    with pytest.raises(UserError) as caught:
        Trajectory.open(run / "empty", run / "checkpoints")
    assert_names(caught.value, "empty checkpoint folder")
    with pytest.raises(UserError) as caught:
        Trajectory.open(run / "base", run / "empty")
    assert_names(caught.value, "no checkpoints here")
    (run / "empty" / "notes.md").write_text("x")
    with pytest.raises(UserError) as caught:
        Trajectory.open(run / "empty", run / "checkpoints")
    assert_names(caught.value, "not a checkpoint folder", "notes.md")


@pytest.mark.parametrize("file", ["pytorch_model.bin", "optimizer.pt"])
def test_pickled_weights_are_never_opened(run, file):
    folder = run / "checkpoints" / "step_2"
    (folder / "model.safetensors").rename(folder / file)
    refused(run, "only safetensors is read", file, "step_2")


def test_verl_step_without_a_hugging_face_model(run):
    (run / "other" / "global_step_4" / "actor").mkdir(parents=True)
    shutil.rmtree(run / "checkpoints")
    (run / "other").rename(run / "checkpoints")
    refused(run, "global_step_4", "hf_model")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extra.weight": (2, 2)}, ["extra.weight only in the checkpoint"]),
        ({EMBEDDING: (12, 8)}, ["shape", EMBEDDING, "(11, 8)", "(12, 8)"]),
        ({"lm_head.weight": (11, 8)}, ["head", "tied"]),
    ],
)
def test_base_that_does_not_match(run, change, words):
    save_model(run / "checkpoints" / "step_4", random_tensors(4, shapes=SHAPES | change), tie=False)
    refused(run, "the base does not match step 4", *words)


def test_a_step_of_another_dtype(run):
    save_model(run / "checkpoints" / "step_4", random_tensors(4, torch.bfloat16))
    refused(run, "step 4", "in bfloat16, the first step in float32", "one dtype")


def test_quantised_weights(run):
    tensors = random_tensors(4) | {QUERY: torch.zeros(8, 8, dtype=torch.int8)}
    save_model(run / "checkpoints" / "step_4", tensors)
    refused(run, QUERY, "I8", "unquantised")


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_truncated_shard(run, keep):
    path = run / "checkpoints" / "step_2" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    refused(run, "truncated", path)


def test_damaged_header(run):
    path = run / "checkpoints" / "step_2" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[8] = ord("?")
    path.write_bytes(data)
    refused(run, "damaged safetensors header", path)


def test_flipped_bit_is_found_by_its_hash(run):
    path = run / "checkpoints" / "step_2" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    trajectory = open_run(run)
    with pytest.raises(UserError) as caught:
        trajectory.verify()
    assert_names(caught.value, "damaged shard", path, "step 2")
    trajectory.until(1).verify()


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda manifest: manifest.pop("shards"), "damaged manifest"),
        (lambda manifest: manifest.update(identity="0"), "edited"),
    ],
)
def test_damaged_manifest(run, damage, word):
    path = run / "checkpoints" / "step_2" / "manifest.json"
    manifest = json.loads(path.read_text())
    damage(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError) as caught:
        open_run(run).verify()
    assert_names(caught.value, word, path)


def test_shard_of_the_index_is_missing(run):
    folder = save_model(run / "checkpoints" / "step_4", random_tensors(4), shards=2)
    (folder / "model-00002-of-00002.safetensors").unlink()
    refused(run, "model-00002-of-00002.safetensors", "in the weight index but not", "step_4")


@pytest.mark.parametrize("file", ["../x.safetensors", "/etc/x.safetensors", "a/b.safetensors", "x"])
def test_an_index_cannot_leave_its_folder(run, file):
    folder = save_model(run / "checkpoints" / "step_4", random_tensors(4), shards=2)
    save_file(random_tensors(4), run / "checkpoints" / "x.safetensors")
    index = folder / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"] | {QUERY: file}
    index.write_text(json.dumps({"weight_map": weight_map}))
    refused(run, repr(file), "weight index")


def test_an_index_that_disagrees_with_its_shards(run):
    folder = save_model(run / "checkpoints" / "step_4", random_tensors(4), shards=2)
    index = folder / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    weight_map["ghost"] = next(iter(weight_map.values()))
    index.write_text(json.dumps({"weight_map": weight_map}))
    refused(run, "disagree about ghost")


def test_a_gap_is_refused_unless_allowed(run):
    save_model(run / "checkpoints" / "step_5", random_tensors(5))
    refused(run, "after 3 comes 5")
    assert open_run(run, allow_gaps=True).steps == (1, 2, 3, 5)


def test_even_spacing_above_one_is_no_gap(tmp_path):
    save_model(tmp_path / "base", random_tensors(0))
    for step in (10, 20, 30):
        save_model(tmp_path / "checkpoints" / f"step_{step}", random_tensors(step))
    assert open_run(tmp_path).steps == (10, 20, 30)


def test_a_step_that_occurs_twice(run):
    save_model(run / "checkpoints" / "step_03", random_tensors(5))
    refused(run, "step 3 occurs twice", "step_03")


@pytest.mark.parametrize("name", ["step_", "step_x", "step_-1", "step_1.5", "step_²"])
def test_a_folder_that_is_no_step(run, name):
    (run / "checkpoints" / name).mkdir()
    refused(run, repr(name), "positive integer")


@pytest.mark.parametrize("steps", [["../x"], [0], [True], [2, 2], [], [1.0]])
def test_steps_that_are_no_numbers(run, steps):
    refused(run, "step", steps=steps)


# Writing


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shards", [1, 3])
def test_written_checkpoints_come_back_bit_for_bit(tmp_path, dtype, shards):
    base = save_model(tmp_path / "base", random_tensors(0, dtype), shards=shards, manifest_step=0)
    (base / "optimizer.bin").write_bytes(b"x")
    new = random_tensors(9, dtype)
    out = tmp_path / "deep" / "out"
    manifest = write_checkpoint(base, out, lambda name: new[name].double(), 9, "test")
    assert manifest == read_manifest(out) and manifest["step"] == 9
    for file in base.glob("*.safetensors"):
        with safe_open(file, "pt") as old, safe_open(out / file.name, "pt") as copy:
            assert list(old.keys()) == list(copy.keys()) and old.metadata() == copy.metadata()
            for name in copy.keys():  # noqa: SIM118
                assert copy.get_tensor(name).dtype == dtype
                assert torch.equal(copy.get_tensor(name), new[name])
    companions = {"config.json", "tokenizer.json", "chat_template.jinja"}
    assert companions <= {path.name for path in out.iterdir()}
    assert not (out / "optimizer.bin").exists()
    assert set(path.name for path in out.iterdir()) == {
        path.name for path in base.iterdir() if path.name != "optimizer.bin"
    }


def test_a_copy_has_the_identity_of_its_original(run):
    write_checkpoint(run / "base", run / "out", random_tensors(2).items(), 2, "test")
    original = load_file(run / "checkpoints" / "step_2" / "model.safetensors")
    copy = load_file(run / "out" / "model.safetensors")
    assert all(torch.equal(original[name], copy[name]) for name in original)
    assert identity_of(run / "out") == identity_of(run / "checkpoints" / "step_2")


def test_tensors_may_come_in_pieces(run):
    new = random_tensors(4)
    with CheckpointWriter(run / "base", run / "out", step=4, source="test") as writer:
        for name, tensor in new.items():
            flat = tensor.reshape(-1)
            writer.write_elements(name, 3, flat[3:])
            writer.write_elements(name, 0, flat[:3])
    written = load_file(run / "out" / "model.safetensors")
    assert all(torch.equal(written[name], new[name]) for name in new)


@pytest.mark.parametrize("existing", [False, True])
def test_an_exception_midway_leaves_nothing(run, existing):
    if existing:
        write_checkpoint(run / "base", run / "out", random_tensors(1).items(), 1, "before")
    before = sorted(path.name for path in run.iterdir())

    def tensors():
        yield from list(random_tensors(2).items())[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(run / "base", run / "out", tensors(), 2, "test")
    assert sorted(path.name for path in run.iterdir()) == before
    if existing:
        assert (read_manifest(run / "out") or {})["source"] == "before"


@pytest.mark.parametrize(
    "tensors",
    [
        list(random_tensors(1).items())[1:],
        [*random_tensors(1).items(), (QUERY, torch.zeros(8, 8))],
        [("ghost", torch.zeros(2))],
        [(QUERY, torch.zeros(64))],
    ],
)
def test_a_wrong_set_of_tensors_is_a_bug_and_writes_nothing(run, tensors):
    with pytest.raises(ValueError, match="weight|ghost"):
        write_checkpoint(run / "base", run / "out", tensors, 1, "test")
    assert not (run / "out").exists()


def test_values_that_overflow_the_stored_dtype_are_refused(tmp_path):
    base = save_model(tmp_path / "base", random_tensors(0, torch.float16))
    tensors = {name: tensor.double() for name, tensor in random_tensors(1).items()}
    tensors[QUERY][0, 0] = 1e6
    with pytest.raises(UserError) as caught:
        write_checkpoint(base, tmp_path / "out", tensors.items(), 1, "test")
    assert_names(caught.value, QUERY, "float16")
    assert not (tmp_path / "out").exists()


def test_trajectory_accepts_text_paths(run):
    assert Trajectory.open(str(run / "base"), str(run / "checkpoints")).folder(1) == Path(
        run / "checkpoints" / "step_1"
    )


def test_rows_come_in_pieces_of_what_reading_gives(tmp_path):
    trajectory = long_run(tmp_path)
    found = Differences(trajectory, "w")
    for _ in range(2):
        pieces = [(start, [row.clone() for row in rows]) for start, rows in found.rows()]
        assert [start for start, _ in pieces] == [0, differences.STORED_COLUMNS]
        for place, step in enumerate((0, 1, 2)):
            values = torch.cat([rows[place] for _, rows in pieces])
            assert torch.equal(values, trajectory.tensor(step, "w").flatten())


def test_a_pass_opens_every_file_once_and_leaves_none_open(tmp_path, monkeypatch):
    trajectory, opened = long_run(tmp_path), []
    original = os.open
    monkeypatch.setattr(os, "open", lambda *given: opened.append(given[0]) or original(*given))
    before = len(os.listdir("/proc/self/fd"))
    assert len(list(Differences(trajectory, "w").rows())) == 2
    assert len(opened) == len(set(opened)) == 3
    begun = Differences(trajectory, "w").rows()
    next(begun)
    begun.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_more_steps_than_files_may_be_open_are_read(tmp_path, monkeypatch):
    trajectory = long_run(tmp_path)
    monkeypatch.setattr(stored_values, "_KEPT_FILES", 2)
    rows = [[row.clone() for row in rows] for _, rows in Differences(trajectory, "w").rows()]
    assert torch.equal(torch.cat([each[2] for each in rows]), trajectory.tensor(2, "w").flatten())


def test_a_file_cut_short_while_it_is_read_is_said(tmp_path):
    trajectory = long_run(tmp_path)
    path = tmp_path / "checkpoints" / "step_2" / "model.safetensors"
    pieces = Differences(trajectory, "w").rows()
    next(pieces)
    with path.open("r+b") as file:
        file.truncate(4096)
    with pytest.raises(UserError, match="truncated"):
        next(pieces)
    with pytest.raises(UserError, match="truncated"):
        next(Differences(trajectory, "w").rows())


def long_run(root):
    for step in range(3):
        folder = root / ("base" if step == 0 else f"checkpoints/step_{step}")
        folder.mkdir(parents=True)
        generator = torch.Generator().manual_seed(step)
        values = torch.randn(150, 1000, generator=generator).to(torch.bfloat16)
        save_file({"a": torch.ones(3).bfloat16(), "w": values}, folder / "model.safetensors")
    return Trajectory.open(root / "base", root / "checkpoints")
