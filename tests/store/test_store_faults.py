"""What a store says of damage, of mistakes and of work that was cut off."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from rlvr_dynamics.checkpoints.delta_open import open_store
from rlvr_dynamics.checkpoints.delta_unpack import unpack_step
from rlvr_dynamics.checkpoints.identity import write_manifest
from rlvr_dynamics.checkpoints.published_steps import Deltas
from rlvr_dynamics.checkpoints.trajectory import Trajectory
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.store.__main__ import main
from tests.support.folders import same_folders

STEPS = (1, 2, 3, 4, 5)
INDEX = "model.safetensors.index.json"
NAMES = ("model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "lm_head.weight")


def weights(step):
    """Some values of two tensors change from step to step; a third one is empty."""
    found = {}
    for place, name in enumerate(NAMES):
        generator = torch.Generator().manual_seed(place)
        found[name] = torch.randn(40, 16, generator=generator)
        found[name][0, : step + place] += 0.1 * step
    return found | {"model.layers.0.empty.weight": torch.zeros(0, 4)}


def write(folder, step, shards=1):
    """A Hugging Face folder of one file, or of several with their index."""
    folder.mkdir(parents=True)
    tensors = weights(step)
    parts = {
        "model.safetensors" if shards == 1 else f"model-{at + 1:05d}-of-{shards:05d}.safetensors": {
            name: tensors[name] for name in sorted(tensors)[at::shards]
        }
        for at in range(shards)
    }
    for file, part in parts.items():
        save_file(part, folder / file, metadata={"format": "pt"})
    if shards > 1:
        home = {name: file for file, part in parts.items() for name in part}
        text = json.dumps({"metadata": {"total_size": 1}, "weight_map": home})
        (folder / INDEX).write_text(text)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "step": step}))
    (folder / "tokenizer.json").write_text("{}")


@pytest.fixture
def run(tmp_path):
    """Base and steps of one file each, and the store that they are packed into."""
    for step in (0, *STEPS):
        write(tmp_path / ("steps" if step else ".") / (f"step_{step}" if step else "base"), step)
    assert packed(tmp_path) == 0
    return tmp_path


def packed(folder, *more):
    given = ("pack", folder / "steps", folder / "store", "--base", folder / "base")
    return main([*map(str, given), "--anchor-every", "3", *more])


def unpacked(folder, steps):
    return main(["unpack", str(folder / "store"), str(folder / "out"), "--steps", steps])


def flip(path, text, bit=1):
    data = bytearray(path.read_bytes())
    data[data.index(text)] ^= bit
    path.write_bytes(data)


@pytest.mark.parametrize("shards", [(2, 2), (1, 2), (2, 1)], ids=["sharded", "steps", "base"])
@pytest.mark.parametrize("kept", ["packed", "without a base", "while training"])
def test_checkpoints_of_several_files_are_given_back(tmp_path, shards, kept):
    for step in (0, *STEPS):
        place = tmp_path / "steps" / f"step_{step}" if step else tmp_path / "base"
        write(place, step, shards[step > 0])
    whole = tmp_path / "whole"
    shutil.copytree(tmp_path / "steps", whole)
    if kept == "packed":
        assert packed(tmp_path) == 0
    elif kept == "without a base":
        assert main(["pack", str(tmp_path / "steps"), str(tmp_path / "store")]) == 0
    else:
        write_manifest(tmp_path / "base", 0, "test")
        deltas = Deltas(tmp_path / "store", tmp_path / "base")
        for step in STEPS:
            (tmp_path / "store/newest").mkdir(parents=True, exist_ok=True)
            shutil.move(tmp_path / "steps" / f"step_{step}", deltas.place(step))
            write_manifest(deltas.place(step), step, "test")
            deltas.take(step)
        deltas.finish()
    assert main(["verify", str(tmp_path / "store")]) == 0
    assert unpacked(tmp_path, "1-5") == 0
    for step in STEPS:
        same_folders(tmp_path / "out" / f"step_{step}", whole / f"step_{step}")
    read, kept_as = (
        Trajectory.open(tmp_path / "base", each) for each in (tmp_path / "store", whole)
    )
    assert read.identity == kept_as.identity
    read.verify()


@pytest.mark.parametrize("text", [b"pt", b"lm_head.weight"])
def test_a_bit_flipped_in_the_header_of_the_base_is_found(run, text, capsys):
    flip(run / "store" / "weight_v000000" / "model.safetensors", text)
    capsys.readouterr()
    assert main(["verify", str(run / "store")]) == 2
    said = capsys.readouterr().err
    assert "step 0" in said and "header of model.safetensors" in said
    assert "whole are the steps (none)" in said
    assert unpacked(run, "2") == 2
    assert not (run / "out" / "step_2").exists()


@pytest.mark.parametrize("file", [INDEX, "manifest.json", "model-00001-of-00001.safetensors"])
@pytest.mark.parametrize("lost", [True, False], ids=["missing", "flipped"])
def test_a_version_that_cannot_be_read_leaves_the_others_whole(run, file, lost, capsys):
    path = run / "store" / "weight_v000004" / file
    if lost:
        path.unlink()
    else:
        flip(path, b'"', 64)
    capsys.readouterr()
    assert main(["verify", str(run / "store")]) == 2
    said = capsys.readouterr().err
    assert "step 4" in said and "whole are the steps 1-3" in said
    assert "delete this manifest" not in said
    assert unpacked(run, "1-3") == 0
    for step in (1, 2, 3):
        same_folders(run / "out" / f"step_{step}", run / "steps" / f"step_{step}")
    Trajectory.open(run / "base", run / "store", steps=[1, 2, 3]).verify()
    for command in (
        ["unpack", str(run / "store"), str(run / "out"), "--steps", "5"],
        ["unpack", str(run / "store"), str(run / "out")],
        ["show", str(run / "store")],
    ):
        capsys.readouterr()
        assert main(command) == 2
        assert "whole are the steps 1-3" in capsys.readouterr().err
    with pytest.raises(UserError, match="whole are the steps 1-3"):
        Trajectory.open(run / "base", run / "store")
    assert packed(run) == 2


def test_a_companion_of_the_base_is_named_where_it_lies(run, capsys):
    (run / "store" / "weight_v000000" / "tokenizer.json").write_text("[]")
    capsys.readouterr()
    assert main(["verify", str(run / "store")]) == 2
    said = capsys.readouterr().err
    assert "1 tensors or files" in said and "step 0: " in said and "tokenizer.json" in said
    assert unpacked(run, "3") == 2
    assert "weight_v000000" in capsys.readouterr().err


def test_a_base_that_is_not_there_leaves_no_store(tmp_path, capsys):
    write(tmp_path / "steps" / "step_1", 1)
    assert packed(tmp_path) == 2
    assert "checkpoint folder not found" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_lost_header_of_a_step_in_other_files_is_named(tmp_path, capsys):
    write(tmp_path / "base", 0)
    for step in STEPS:
        write(tmp_path / "steps" / f"step_{step}", step, 2 if step > 2 else 1)
    assert packed(tmp_path) == 0
    (lost,) = (tmp_path / "store/weight_v000004/files").glob("*2-of*.header")
    lost.unlink()
    capsys.readouterr()
    for command in ("show", "verify"):
        assert main([command, str(tmp_path / "store")]) == 2
        said = capsys.readouterr().err
        assert "weight_v000004" in said or "step 4: " in said
        assert "the header of model-00002-of-00002" in said
    assert unpacked(tmp_path, "1-2") == 0


@pytest.mark.parametrize("change", ["tokenizer.json", "model.safetensors"])
def test_a_step_that_is_not_what_its_manifest_says_is_not_packed(tmp_path, change, capsys):
    write(tmp_path / "base", 0)
    write(tmp_path / "steps" / "step_1", 1)
    write_manifest(tmp_path / "steps" / "step_1", 1, "test")
    path = tmp_path / "steps" / "step_1" / change
    if change == "tokenizer.json":
        path.write_text("[]")
    else:
        flip(path, b"pt")
    assert packed(tmp_path) == 2
    assert str(path) in capsys.readouterr().err
    assert open_store(tmp_path / "store").steps == []


def test_unpacking_goes_on_and_leaves_nothing_of_what_was_cut_off(run):
    assert unpacked(run, "1-2") == 0
    partial = run / "out" / ".step_3.partial-x"
    partial.mkdir()
    first = (run / "out/step_1/model.safetensors").stat().st_mtime_ns
    flip(run / "out/step_2/tokenizer.json", b"{")
    assert unpacked(run, "1-3") == 0
    assert not partial.exists()
    assert (run / "out/step_1/model.safetensors").stat().st_mtime_ns == first
    for step in (1, 2, 3):
        same_folders(run / "out" / f"step_{step}", run / "steps" / f"step_{step}")


def test_a_base_that_has_moved_is_given_to_every_command(tmp_path, capsys):
    write(tmp_path / "base", 0)
    write_manifest(tmp_path / "base", 0, "test")
    deltas = Deltas(tmp_path / "store", tmp_path / "base")
    for step in (1, 2):
        write(deltas.place(step), step)
        deltas.take(step)
    deltas.finish()
    moved = (tmp_path / "base").rename(tmp_path / "moved")
    store, out = str(tmp_path / "store"), str(tmp_path / "out")
    for command in (["show", store], ["verify", store], ["unpack", store, out]):
        assert main(command) == 2
        assert "--base DIR" in capsys.readouterr().err
        assert main([*command, "--base", str(moved)]) == 0
    write(tmp_path / "steps" / "step_3", 3)
    given = ["pack", str(tmp_path / "steps"), store, "--base", str(moved)]
    assert main(given) == 0
    assert open_store(tmp_path / "store", moved).steps == [1, 2, 3]


@pytest.mark.parametrize("steps", ["5-1", "1-99999999999", "x", "1-"])
def test_a_range_that_is_none_is_refused(run, steps, capsys):
    assert unpacked(run, steps) == 2
    assert "allowed" in capsys.readouterr().err
    assert not (run / "out").exists()


def test_a_store_does_not_lie_among_its_steps(run, capsys):
    given = ["pack", str(run / "steps"), str(run / "steps"), "--base", str(run / "base")]
    assert main(given) == 2
    assert "a folder of its own" in capsys.readouterr().err
    assert not (run / "steps" / "store.json").exists()


@pytest.mark.parametrize(
    ("part", "value"),
    [("companions", []), ("companions", ""), ("headers", {}), ("headers", ""), ("tensors", {})],
)
def test_a_manifest_that_proves_nothing_is_no_proof(run, part, value, capsys):
    path = run / "store/weight_v000005/manifest.json"
    manifest = json.loads(path.read_text())
    manifest.pop("seal", None)
    path.write_text(json.dumps(manifest | {part: value}))
    assert main(["verify", str(run / "store")]) == 2
    assert "step 5" in capsys.readouterr().err
    with pytest.raises(UserError):
        unpack_step(open_store(run / "store"), 5, run / "out")
