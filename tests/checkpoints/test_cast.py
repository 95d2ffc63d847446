"""A base and its checkpoints are kept in one dtype: exactly where it widens, rounded where not."""

import json
import tracemalloc

import pytest
import torch
from safetensors.torch import load_file

from rlvr_dynamics.checkpoints import Trajectory, cast, read_manifest
from rlvr_dynamics.checkpoints.cast import cast_checkpoint, store_base
from rlvr_dynamics.errors import UserError
from tests.support.small_models import EMBEDDING, SHAPES, random_tensors, save_model

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_all(folder):
    return {
        name: value
        for file in folder.glob("*.safetensors")
        for name, value in load_file(file).items()
    }


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("published", list(DTYPES))
@pytest.mark.parametrize("kept", ["float32", "bfloat16"])
def test_a_base_is_kept_in_the_dtype_of_its_checkpoints(
    tmp_path, monkeypatch, shards, published, kept
):
    monkeypatch.setattr(cast, "BLOCK_ELEMENTS", 7)
    tensors = random_tensors(0, DTYPES[published])
    base = save_model(tmp_path / "base", tensors, shards=shards)
    manifest = store_base(base, kept, "somewhere")
    expected = {name: value.to(DTYPES[kept]) for name, value in tensors.items()}
    stored = load_all(base)
    assert stored.keys() == expected.keys()
    assert all(torch.equal(stored[name], expected[name]) for name in expected)
    assert (manifest["dtype"], manifest["original_dtype"]) == (kept, published)
    assert manifest == read_manifest(base)
    assert json.loads((base / "config.json").read_text())["dtype"] == kept
    assert (base / "chat_template.jinja").read_text() == "{{ messages }}"
    save_model(tmp_path / "steps" / "step_1", random_tensors(1, DTYPES[kept]))
    assert Trajectory.open(base, tmp_path / "steps").dtype == kept


def test_rounding_is_to_nearest_with_ties_to_even(tmp_path):
    # bfloat16 keeps 8 bits: 1 + 2**-8 lies midway between 1 and 1 + 2**-7, 1 + 3 * 2**-8 midway
    # between 1 + 2**-7 and 1 + 2**-6; both go to the even neighbour.
    values = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -(1 + 2**-8)])
    base = save_model(tmp_path / "base", {EMBEDDING: values.reshape(2, 2)})
    store_base(base, "bfloat16", "test")
    stored = load_all(base)[EMBEDDING].flatten().tolist()
    assert stored == [1.0, 1 + 2**-6, 1 + 2**-7, -1.0]


def test_mixed_dtypes_become_one(tmp_path):
    tensors = random_tensors(0, torch.bfloat16)
    tensors["model.norm.weight"] = tensors["model.norm.weight"].float()
    base = save_model(tmp_path / "base", tensors)
    assert store_base(base, "float32", "test")["original_dtype"] == "bfloat16+float32"
    assert {value.dtype for value in load_all(base).values()} == {torch.float32}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_tied_head_that_is_stored_twice_is_kept_once(tmp_path, dtype):
    tensors = random_tensors(0) | {"lm_head.weight": random_tensors(0)[EMBEDDING].clone()}
    # The last of seven shards holds the copy alone and disappears with it.
    base = save_model(tmp_path / "base", tensors, shards=7)
    store_base(base, dtype, "test")
    assert load_all(base).keys() == SHAPES.keys()
    index = json.loads((base / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == SHAPES.keys()
    assert len(list(base.glob("*.safetensors"))) == 6
    assert read_manifest(base)


def test_an_untied_head_stays(tmp_path):
    tensors = random_tensors(0, shapes=SHAPES | {"lm_head.weight": (11, 8)})
    base = save_model(tmp_path / "base", tensors, tie=False)
    store_base(base, "bfloat16", "test")
    assert "lm_head.weight" in load_all(base)


def test_what_needs_no_cast_keeps_its_bytes(tmp_path):
    base = save_model(tmp_path / "base", random_tensors(0))
    before = (base / "model.safetensors").read_bytes()
    store_base(base, "float32", "test")
    assert (base / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(("dtype", "value"), [("float32", float("nan")), ("bfloat16", 3.4e38)])
def test_values_that_are_not_finite_are_refused_and_nothing_changes(tmp_path, dtype, value):
    tensors = random_tensors(0)
    tensors["model.norm.weight"][3] = value
    base = save_model(tmp_path / "base", tensors)
    before = {file.name: file.read_bytes() for file in base.iterdir()}
    with pytest.raises(UserError, match="model.norm.weight has values that are not finite"):
        store_base(base, dtype, "test")
    assert {file.name: file.read_bytes() for file in base.iterdir()} == before


def test_large_finite_values_are_kept_though_their_sum_overflows(tmp_path):
    base = save_model(tmp_path / "base", {EMBEDDING: torch.full((4, 2), 3e38)})
    store_base(base, "float32", "test")
    assert read_manifest(base)


def test_a_disk_without_room_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(cast, "free_bytes", lambda _folder: 100)
    base = save_model(tmp_path / "base", random_tensors(0, torch.bfloat16))
    with pytest.raises(UserError, match="need 1,088 bytes in float32, 100 are free"):
        store_base(base, "float32", "test")
    assert load_all(base)[EMBEDDING].dtype == torch.bfloat16


def test_memory_is_bounded_by_the_block(tmp_path, monkeypatch):
    big = {EMBEDDING: torch.ones(1 << 22)}
    save_model(tmp_path / "base", big)
    seen = []
    empty = torch.empty
    monkeypatch.setattr(cast, "BLOCK_ELEMENTS", 1 << 16)
    monkeypatch.setattr(
        cast.torch, "empty", lambda count, **kw: seen.append(count) or empty(count, **kw)
    )
    tracemalloc.start()
    cast_checkpoint(
        tmp_path / "base",
        tmp_path / "out",
        "bfloat16",
        step=1,
        origin="test",
        companions=tmp_path / "base",
    )
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
    assert seen and max(seen) == 1 << 16
    assert load_all(tmp_path / "out")[EMBEDDING].sum() == 1 << 22
