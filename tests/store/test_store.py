"""A delta store gives back what was packed, reads as a trajectory, and names what is damaged."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import xxhash
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from rlvr_dynamics.checkpoints.delta_frames import OPEN_BYTES
from rlvr_dynamics.checkpoints.delta_open import open_store
from rlvr_dynamics.checkpoints.delta_unpack import unpack_step
from rlvr_dynamics.checkpoints.differences import Differences
from rlvr_dynamics.checkpoints.identity import write_manifest
from rlvr_dynamics.checkpoints.published_steps import Deltas
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.checkpoints.whole_folders import whole_folder
from rlvr_dynamics.dynamics import ActiveColumns
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation import EXTRAPOLATORS
from rlvr_dynamics.measurement import MeasureSettings, measure
from rlvr_dynamics.measurement.memory import working_set
from rlvr_dynamics.store.__main__ import main
from rlvr_dynamics.store.pack import pack
from tests.support.folders import same_folders

SHAPES = {
    "model.embed_tokens.weight": (40, 16),
    "model.layers.0.mlp.up_proj.weight": (300, 257),
    "model.layers.0.input_layernorm.weight": (16,),
    "lm_head.weight": (40, 16),
}
STEPS = (1, 2, 3, 4, 5, 6, 7)


def write_step(folder: Path, tensors: dict[str, torch.Tensor], **config) -> None:
    folder.mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    (folder / "tokenizer.json").write_text("{}")


def moved(tensors, generator, share):
    """A step in which a share of the elements moves and one tensor stays."""
    found = {}
    for name, values in tensors.items():
        mask = torch.rand(values.shape, generator=generator) < share
        noise = 0.01 * torch.randn(values.shape, generator=generator)
        found[name] = values if "norm" in name else (values.float() + mask * noise).to(values.dtype)
    return found


@pytest.fixture(params=[torch.bfloat16, torch.float32], ids=["bfloat16", "float32"])
def dense(tmp_path, request):
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.randn(shape, generator=generator).to(request.param)
        for name, shape in SHAPES.items()
    }
    write_step(tmp_path / "base", tensors)
    for step in STEPS:
        tensors = moved(tensors, generator, 0.03)
        write_step(tmp_path / "steps" / f"step_{step}", tensors, step=step)
    return tmp_path


@pytest.fixture
def packed(dense):
    pack(dense / "steps", dense / "store", base=dense / "base", anchor_every=3)
    return dense


def test_unpacked_steps_are_byte_equal(packed):
    assert main(["unpack", str(packed / "store"), str(packed / "out")]) == 0
    for step in STEPS:
        same_folders(packed / "out" / f"step_{step}", packed / "steps" / f"step_{step}")


def test_store_reads_as_the_folder_does(packed):
    folder = Trajectory.open(packed / "base", packed / "steps")
    store = Trajectory.open(packed / "base", packed / "store")
    assert store.steps == folder.steps
    assert store.identity == folder.identity
    store.prove_on_reading()
    for name in folder.names:
        for step in (7, 0, 3, 1):
            assert torch.equal(store.tensor(step, name), folder.tensor(step, name))
        middle = folder.numel(name) // 2
        for step in (5, 2):
            span = (step, name, middle, middle + 3)
            assert torch.equal(store.elements(*span), folder.elements(*span))
    store.settle()
    store.verify()


@pytest.mark.parametrize("rounded", [None, "bfloat16", "float16"])
def test_measuring_a_store_gives_the_same_tables(packed, tmp_path, rounded):
    tables = []
    for source in ("steps", "store"):
        trajectory = Trajectory.open(packed / "base", packed / source, round_to=rounded)
        out = tmp_path / f"measured_{source}"
        measure(trajectory, MeasureSettings(threads=2, spectrum_steps=2), out, progress=False)
        tables.append({path.name: path.read_bytes() for path in sorted(out.glob("*.parquet"))})
    assert tables[0].keys() == tables[1].keys()
    assert [name for name in tables[0] if tables[0][name] != tables[1][name]] == []


@pytest.mark.parametrize("rounded", [None, "float16"])
@pytest.mark.parametrize("source", ["steps", "store"])
def test_measuring_reads_no_byte_of_the_weights_twice(
    packed, tmp_path, monkeypatch, source, rounded
):
    """With memory for a block and one update, less than a tensor at all steps."""
    trajectory = Trajectory.open(packed / "base", packed / source, round_to=rounded)
    read, place = {}, os.preadv

    def counted(descriptor, buffers, offset):
        count = place(descriptor, buffers, offset)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        read[path] = read.get(path, 0) + count
        return count

    monkeypatch.setattr(os, "preadv", counted)
    given = MeasureSettings(update_steps=1, threads=1, budget_bytes=1 << 19, directions=False)
    measure(trajectory, given, tmp_path / "out", progress=False)
    assert {Path(path).suffix for path in read} == {".safetensors"}
    assert len(read) == 1 + len(STEPS) + (source == "store")  # which has a base of its own
    assert all(count <= Path(path).stat().st_size for path, count in read.items())


def test_predicting_from_a_store_gives_the_same_bytes(packed, tmp_path):
    made = []
    for source in ("steps", "store"):
        trajectory = Trajectory.open(packed / "base", packed / source)
        relex = EXTRAPOLATORS["relex"]
        made += relex.run(trajectory, 6, [9], tmp_path / f"predicted_{source}")
    assert made[0].identity == made[1].identity


def changes_of_all(trajectory, name):
    trajectory.prove_on_reading()
    return [changes for _, changes in Differences(trajectory, name).changes()]


@pytest.mark.parametrize("first", [0, 2], ids=["from the base", "a stretch"])
def test_what_changed_is_known_from_the_store_alone(packed, monkeypatch, first):
    added, original = [], ActiveColumns.add

    def add(active, row):
        added.append(row)
        original(active, row)

    monkeypatch.setattr(ActiveColumns, "add", add)
    name, found = "model.layers.0.mlp.up_proj.weight", []
    for source in ("steps", "store"):
        added.clear()
        opened = Trajectory.open(packed / "base", packed / source)
        found.append(changes_of_all(opened.stretch(first, 7) if first else opened, name))
    assert bool(added) == bool(first)  # a stretch's base is no whole checkpoint: rows are compared
    for one, two in zip(*found, strict=True):
        assert torch.equal(one.base, two.base)
        assert (one.columns is None) == (two.columns is None)
        if one.columns is not None and two.columns is not None:
            assert 0 < len(one.columns) == len(two.columns)
            assert torch.equal(one.columns, two.columns)
        assert all(torch.equal(*pair) for pair in zip(one.rows, two.rows, strict=True))


def test_the_memory_of_open_frames_counts(packed):
    folder, store = (Trajectory.open(packed / "base", packed / each) for each in ("steps", "store"))
    given = MeasureSettings(threads=2)
    for name in store.names:
        more = working_set(store, name, given) - working_set(folder, name, given)
        assert more == OPEN_BYTES * len(STEPS)
    assert store.reading_bytes([0, 5]) == 3 * OPEN_BYTES  # 3 follows the base, 4 and 5 each other


def test_scoring_gets_a_whole_folder(packed, tmp_path):
    trajectory = Trajectory.open(packed / "base", packed / "store")
    folder = whole_folder(trajectory, 4, tmp_path / "whole")
    same_folders(folder, packed / "steps" / "step_4")
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert whole_folder(trajectory, 4, tmp_path / "whole") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_files_are_those_of_slime(packed):
    """Another reader of the format: XOR of what zstd gives, checked by the file's checksums."""
    whole = {
        name: bytearray(values.view(torch.uint8).numpy().tobytes())
        for name, values in load_file(packed / "base" / "model.safetensors").items()
    }
    states = {"000000": whole}
    for step in STEPS:
        folder = packed / "store" / f"weight_v{step:06d}"
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        said = index["metadata"]
        assert said["version"] == f"{step:06d}"
        assert (said["delta_encoding"], said["compression_format"]) == ("xor", "zstd")
        assert said["checksum_format"] == "xxh3-128"
        state = {name: bytearray(data) for name, data in states[said["base_version"]].items()}
        for file in set(index["weight_map"].values()):
            with safe_open(folder / file, "np") as opened:
                for name in opened.keys():  # noqa: SIM118
                    frame = opened.get_tensor(name)
                    assert frame.dtype == np.uint8
                    # As sglang's readers do: both stop behind the first frame.
                    change = zstandard.ZstdDecompressor().decompress(frame.tobytes())
                    with zstandard.ZstdDecompressor().stream_reader(frame.tobytes()) as stream:
                        assert stream.read() == change
                    assert len(change) == len(state[name])
                    new = np.frombuffer(state[name], np.uint8) ^ np.frombuffer(change, np.uint8)
                    assert xxhash.xxh3_128(new.tobytes()).hexdigest() == opened.metadata()[name]
                    state[name] = bytearray(new.tobytes())
        states[f"{step:06d}"] = state
        for name, values in load_file(packed / "steps" / f"step_{step}/model.safetensors").items():
            assert state[name] == values.view(torch.uint8).numpy().tobytes()


def test_any_step_is_reached_by_at_most_anchor_every_deltas(packed):
    store = open_store(packed / "store")
    assert max(len(store.chain(step)) - 1 for step in STEPS) == 3
    assert [store.versions[step].base for step in (3, 6)] == [0, 0]


def test_unchanged_tensors_are_not_stored(packed):
    store = open_store(packed / "store")
    for step in STEPS:
        assert "model.layers.0.input_layernorm.weight" not in store.versions[step].frames
        assert store.versions[step].changed < 0.05 * store.versions[step].elements


def test_packing_goes_on_where_it_ended(dense):
    later = dense / "later"
    (dense / "steps" / "step_7").rename(later)
    pack(dense / "steps", dense / "store", base=dense / "base", anchor_every=3)
    leftover = dense / "store" / ".weight_v000007.partial-1-1-0-abc"
    leftover.mkdir()
    later.rename(dense / "steps" / "step_7")
    store = pack(dense / "steps", dense / "store", base=dense / "base", anchor_every=3)
    assert store.steps == list(STEPS)
    assert not leftover.exists()
    same_folders(unpack_step(store, 7, dense / "out"), dense / "steps" / "step_7")


def test_other_weights_under_a_known_number_are_refused(packed):
    shutil.rmtree(packed / "steps" / "step_2")
    shutil.copytree(packed / "steps" / "step_3", packed / "steps" / "step_2")
    with pytest.raises(UserError, match="step 2 of the store has other weights"):
        pack(packed / "steps", packed / "store", base=packed / "base", anchor_every=3)


def test_without_a_base_the_first_step_is_whole(dense):
    store = pack(dense / "steps", dense / "store", anchor_every=4)
    assert store.versions[1].base is None
    assert store.versions[4].base == 1
    for step in (1, 6):
        same_folders(unpack_step(store, step, dense / "out"), dense / "steps" / f"step_{step}")
    trajectory = Trajectory.open(dense / "base", dense / "store")
    assert trajectory.identity == Trajectory.open(dense / "base", dense / "steps").identity


def test_other_tensors_start_a_new_chain(dense):
    folder = dense / "steps" / "step_4"
    tensors = load_file(folder / "model.safetensors")
    shutil.rmtree(folder)
    write_step(folder, tensors | {"model.layers.0.new.weight": torch.ones(3, 3)})
    store = pack(dense / "steps", dense / "store", base=dense / "base", anchor_every=3)
    assert [step for step in STEPS if store.versions[step].base is None] == [4, 5]
    for step in STEPS:
        same_folders(
            unpack_step(store, step, dense / "out" / str(step)), dense / "steps" / f"step_{step}"
        )


def test_a_missing_link_is_named_with_the_steps_that_are_whole(packed, capsys):
    shutil.rmtree(packed / "store" / "weight_v000004")
    assert main(["unpack", str(packed / "store"), str(packed / "out"), "--steps", "5"]) == 2
    said = capsys.readouterr().err
    assert "follows version 4, which is missing" in said
    assert "whole are the steps 1-3, 6-7" in said
    assert main(["unpack", str(packed / "store"), str(packed / "out"), "--steps", "3,6-7"]) == 0


def test_every_flipped_bit_is_found(packed, capsys):
    """In every file of a delta; of a frame, tensor and step are named."""
    assert main(["verify", str(packed / "store")]) == 0
    version = packed / "store" / "weight_v000005"
    generator = np.random.default_rng(1)
    for path in sorted(version.rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        for place in generator.choice(len(data), size=min(12, len(data)), replace=False):
            flipped = bytearray(data)
            flipped[place] ^= 1 << int(generator.integers(8))
            path.write_bytes(flipped)
            capsys.readouterr()
            assert main(["verify", str(packed / "store")]) == 2, (path.name, place)
            said = capsys.readouterr().err
            assert "weight_v000005" in said or "step 5" in said
            if path.suffix == ".safetensors" and place > 1000 and "header" not in said:
                assert "of step 5" in said
                assert any(f"tensor {name}" in said for name in SHAPES)
                assert "whole are the steps 1-4, 6-7" in said
        path.write_bytes(data)


def test_a_damaged_frame_stops_whoever_reads_it(packed, tmp_path):
    store = open_store(packed / "store")
    name = "model.layers.0.mlp.up_proj.weight"
    frame = store.versions[5].frames[name]
    data = bytearray(frame.path.read_bytes())
    data[(frame.begin + frame.end) // 2] ^= 4
    frame.path.write_bytes(data)
    with pytest.raises(UserError, match=f"tensor {name} of step 5"):
        unpack_step(store, 5, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    trajectory = Trajectory.open(packed / "base", packed / "store")
    with pytest.raises(UserError, match=f"tensor {name} of step 5"):
        trajectory.verify()
    unpack_step(store, 6, tmp_path / "out")


def test_an_adapter_is_refused(dense, capsys):
    (dense / "steps" / "step_1" / "adapter_model.safetensors").write_bytes(b"")
    store = str(dense / "store")
    assert main(["pack", str(dense / "steps"), store, "--base", str(dense / "base")]) == 2
    assert "adapter" in capsys.readouterr().err


def test_a_store_is_not_packed_again(packed, capsys):
    assert main(["pack", str(packed / "store"), str(packed / "second")]) == 2
    assert "a delta store already" in capsys.readouterr().err
    assert not (packed / "second").exists()


def test_show_says_sizes_and_shares(packed, capsys):
    assert main(["show", str(packed / "store")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["step", "follows", "MiB", "smaller", "changed"]
    assert len(lines) == 1 + 1 + len(STEPS) + 1 + 1
    assert lines[-2].startswith("7 deltas")


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**31),
    share=st.sampled_from([0.0, 0.001, 0.5, 1.0]),
    anchor=st.integers(1, 5),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
def test_whatever_changes_is_given_back(tmp_path_factory, seed, share, anchor, dtype):
    folder = tmp_path_factory.mktemp("property")
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: torch.randn(shape, generator=generator).to(dtype)
        for name, shape in (("model.layers.0.a.weight", (9, 7)), ("model.norm.weight", (5,)))
    }
    write_step(folder / "base", tensors)
    for step in range(1, 5):
        tensors = moved(tensors, generator, share)
        write_step(folder / "steps" / f"step_{step}", tensors)
    store = pack(folder / "steps", folder / "store", base=folder / "base", anchor_every=anchor)
    for step in range(1, 5):
        same_folders(
            unpack_step(store, step, folder / "out" / str(step)), folder / "steps" / f"step_{step}"
        )


def test_a_store_that_was_moved_finds_its_base_where_it_is_given(dense):
    published = Deltas(dense / "train" / "checkpoints", dense / "base")
    write_manifest(dense / "base", 0, "a test")
    for step in STEPS:
        shutil.copytree(dense / "steps" / f"step_{step}", published.place(step))
        published.take(step)
    published.finish()
    moved_store = (dense / "train" / "checkpoints").rename(dense / "store")
    trajectory = Trajectory.open(dense / "base", moved_store)
    assert trajectory.identity == Trajectory.open(dense / "base", dense / "steps").identity
    trajectory.verify()
    same_folders(whole_folder(trajectory, 5, dense / "whole"), dense / "steps" / "step_5")
    with pytest.raises(UserError, match="base of a delta store is not where"):
        open_store(moved_store)
    with pytest.raises(UserError, match="base of a delta store is not where"):
        Trajectory.open(dense / "steps" / "step_1", moved_store)
