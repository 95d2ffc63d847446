"""Base and steps that store the same model in other dtypes, names or with buffers beside it."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rlvr_dynamics.checkpoints import Differences, Trajectory
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation import EXTRAPOLATORS, RECONSTRUCTIONS
from tests.support.small_models import EMBEDDING, QUERY, SHAPES, random_tensors, save_model

FLOAT, HALF, BRAIN = torch.float32, torch.float16, torch.bfloat16


def steps_of(count, dtype=FLOAT, base_dtype=FLOAT):
    """A base as stored and steps a little away from it."""
    base = random_tensors(0, base_dtype)
    return [
        {
            name: (base[name].float() + 1e-2 * step * values).to(dtype)
            for name, values in random_tensors(50).items()
        }
        for step in range(1, count + 1)
    ]


def write(root, base, steps):
    save_model(root / "base", base)
    (root / "base" / "config.json").write_text(json.dumps({"torch_dtype": "bfloat16"}))
    for step, tensors in enumerate(steps, 1):
        save_model(root / "run" / f"step_{step}", tensors)


def opened(root):
    return Trajectory.open(root / "base", root / "run")


def refused(root, *words):
    with pytest.raises(UserError) as caught:
        opened(root)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.way_out and "\n" not in str(caught.value)


def updates(trajectory, name):
    pieces = [piece.updates for piece in Differences(trajectory, name).pieces()]
    return torch.cat(pieces, 1).double().numpy()


@pytest.mark.parametrize(
    ("base_dtype", "step_dtype", "words"),
    [
        (BRAIN, FLOAT, "which is exact"),
        (HALF, FLOAT, "which is exact"),
        (FLOAT, BRAIN, "rounded like the steps"),
        (BRAIN, HALF, "rounded like the steps"),
    ],
)
def test_the_base_is_read_in_the_dtype_of_the_steps(tmp_path, base_dtype, step_dtype, words):
    base, steps = random_tensors(0, base_dtype), steps_of(3, step_dtype, base_dtype)
    frozen = "model.norm.weight"  # a weight that training does not touch has no update
    for tensors in steps:
        tensors[frozen] = base[frozen].to(step_dtype)
    write(tmp_path, base, steps)
    trajectory = opened(tmp_path)
    (note,) = trajectory.notes
    assert words in note and str(step_dtype).removeprefix("torch.") in note
    for name in SHAPES:
        start = base[name].to(step_dtype).double().numpy().reshape(-1)
        expected = np.stack([each[name].double().numpy().reshape(-1) - start for each in steps])
        found = updates(trajectory, name)
        assert np.allclose(found, expected, rtol=1e-6, atol=1e-7)
        mapped = torch.cat(
            [torch.stack(rows) for _, rows in Differences(trajectory, name).rows()], 1
        )
        assert mapped.dtype == step_dtype and torch.equal(
            mapped[0].double(), torch.from_numpy(start)
        )
    assert not updates(trajectory, frozen).any()


def test_predictions_of_float32_steps_are_float32(tmp_path):
    base, steps = random_tensors(0, BRAIN), steps_of(4, FLOAT, BRAIN)
    base["mask"] = torch.arange(5)
    write(tmp_path, base, [tensors | {"mask": torch.arange(5)} for tensors in steps])
    trajectory = opened(tmp_path)
    (held,) = EXTRAPOLATORS["hold_last"].run(trajectory, 3, [5], tmp_path / "out")
    (line,) = EXTRAPOLATORS["weight_extrapolation"].run(trajectory, 2, [4], tmp_path / "out")
    (rebuilt,) = RECONSTRUCTIONS["random_update"].run(trajectory, [4], tmp_path / "out", seed=1)
    for made in (held, line, rebuilt):
        written = load_file(made.folder / "model.safetensors")
        assert {each.dtype for name, each in written.items() if name != "mask"} == {FLOAT}
        assert torch.equal(written["mask"], torch.arange(5))
        assert json.loads((made.folder / "config.json").read_text())["dtype"] == "float32"
    assert torch.equal(load_file(held.folder / "model.safetensors")[QUERY], steps[2][QUERY])
    start = base[QUERY].double()
    expected = start + 2 * (steps[1][QUERY].double() - start)
    found = load_file(line.folder / "model.safetensors")[QUERY].double()
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_dtypes_may_differ_within_a_model(tmp_path):
    norms = [name for name in SHAPES if "norm" in name]
    base, steps = random_tensors(0, BRAIN), steps_of(3, BRAIN, BRAIN)
    for tensors in (base, *steps):
        tensors |= {name: tensors[name].float() * 1.0001 for name in norms}
    for tensors in steps:
        tensors[QUERY] = tensors[QUERY].float() + 1e-4
    write(tmp_path, base, steps)
    trajectory = opened(tmp_path)
    assert trajectory.dtype == "bfloat16+float32"
    assert {name: trajectory.dtype_of(name) for name in norms} == dict.fromkeys(norms, "float32")
    assert trajectory.dtype_of(QUERY) == "float32" and trajectory.dtype_of(EMBEDDING) == "bfloat16"
    assert "(1 tensors)" in trajectory.notes[0]
    for name in (QUERY, *norms):
        start = base[name].double()
        expected = torch.stack([(each[name].double() - start).reshape(-1) for each in steps])
        assert np.allclose(updates(trajectory, name), expected, rtol=1e-6, atol=1e-7)
    assert trajectory.only([]).dtype_of(QUERY) == "float32"


def test_steps_in_several_dtypes_are_refused(tmp_path):
    write(tmp_path, random_tensors(0), [*steps_of(2), *steps_of(1, BRAIN)])
    refused(tmp_path, "step 3", "bfloat16", "float32", "one dtype")


BUFFERS = {
    "model.embeddings.position_ids": torch.arange(8)[None],
    "model.rotary_emb.inv_freq": torch.rand(4, generator=torch.Generator().manual_seed(0)),
    "h.0.attn.bias": torch.ones(1, 1, 4, 4).tril(),
    "h.0.attn.mask": torch.ones(3, 3, dtype=torch.bool),
    "empty": torch.zeros(0),
    "count": torch.tensor(7, dtype=torch.int32),
}


def test_unchanged_buffers_are_left_out_and_written(tmp_path):
    write(tmp_path, random_tensors(0) | BUFFERS, [each | BUFFERS for each in steps_of(3)])
    trajectory = opened(tmp_path)
    assert trajectory.names == tuple(sorted(SHAPES))
    assert (
        "same at all steps: count, h.0.attn.bias, h.0.attn.mask and 2 more" in trajectory.notes[0]
    )
    (made,) = EXTRAPOLATORS["relex"].run(trajectory, 2, [4], tmp_path / "out")
    written = load_file(made.folder / "model.safetensors")
    assert all(torch.equal(written[name], values) for name, values in BUFFERS.items())


def test_buffers_may_be_missing_or_of_another_dtype(tmp_path):
    rounded = {"model.rotary_emb.inv_freq": BUFFERS["model.rotary_emb.inv_freq"].bfloat16()}
    few = {"count": torch.tensor(7)} | rounded
    steps = steps_of(3)
    write(tmp_path, random_tensors(0) | BUFFERS, [steps[0] | few, steps[1], steps[2] | BUFFERS])
    assert opened(tmp_path).names == tuple(sorted(SHAPES))


@pytest.mark.parametrize("name", ["count", "h.0.attn.mask", "model.rotary_emb.inv_freq"])
def test_a_buffer_that_changes_is_named(tmp_path, name):
    steps = [each | BUFFERS for each in steps_of(3)]
    steps[1][name] = ~steps[1][name] if name.endswith("mask") else steps[1][name] + 1
    write(tmp_path, random_tensors(0) | BUFFERS, steps)
    refused(tmp_path, name, "step 2", "the base")


def test_quantised_weights_are_refused(tmp_path):
    write(
        tmp_path,
        random_tensors(0),
        [each | {"qweight": torch.ones(4, 4).int()} for each in steps_of(1)],
    )
    config = tmp_path / "run" / "step_1" / "config.json"
    config.write_text(json.dumps({"quantization_config": {"bits": 4}}))
    refused(tmp_path, "quantised (qweight)")
    tensors = random_tensors(0)
    tensors[QUERY] = tensors[QUERY].to(torch.float8_e4m3fn)
    save_file(tensors, tmp_path / "base" / "model.safetensors")
    refused(tmp_path, QUERY, "F8_E4M3")


def test_placeholders_of_zero_3(tmp_path):
    steps = steps_of(2)
    steps[1] |= {name: torch.zeros(0) for name in SHAPES if name != EMBEDDING}
    write(tmp_path, random_tensors(0), steps)
    refused(tmp_path, "step 2", "ZeRO-3", "like 4 more", "zero_to_fp32")
    steps[1] = dict.fromkeys(SHAPES, torch.zeros(0))
    write(tmp_path / "all", random_tensors(0), steps)
    more = f"like {len(SHAPES) - 1} more"
    refused(tmp_path / "all", "step_2", "ZeRO-3", more, "zero_to_fp32")


def test_a_value_head_in_the_steps_is_named(tmp_path):
    head = {"v_head.summary.weight": torch.ones(1, 8), "v_head.summary.bias": torch.ones(1)}
    write(tmp_path, random_tensors(0), [step | head for step in steps_of(2)])
    refused(tmp_path, "v_head.summary", "save the policy without it")


# Names


def renamed(tensors, change):
    return {change(name): values for name, values in tensors.items()}


NAMES = {
    "compiled": lambda name: f"_orig_mod.{name}",
    "parallel": lambda name: f"module.{name}",
    "peft": lambda name: f"base_model.model.{name}",
    "several": lambda name: f"module._orig_mod.{name}",
    "fsdp": lambda name: (
        f"_fsdp_wrapped_module.{name.replace('layers.0.', 'layers.0._fsdp_wrapped_module.')}"
    ),
    "bare": lambda name: name.removeprefix("model."),
    "part of another": lambda name: name.replace("model.", "model.language_model."),
}


@pytest.mark.parametrize("which", ["steps", "base"])
@pytest.mark.parametrize("change", NAMES)
def test_uniform_prefixes_are_seen_through(tmp_path, which, change):
    base, steps = random_tensors(0), steps_of(4)
    if which == "steps":
        steps = [renamed(tensors, NAMES[change]) for tensors in steps]
    else:
        base = renamed(base, NAMES[change])
    write(tmp_path, base, steps)
    trajectory = opened(tmp_path)
    plain = steps_of(4)
    names = {name.split(".")[-2] + name.split(".")[-1]: name for name in trajectory.names}
    for name in SHAPES:
        found = trajectory.tensor(3, names["".join(name.split(".")[-2:])])
        assert torch.equal(found, plain[2][name])
    (made,) = EXTRAPOLATORS["relex"].run(trajectory, 3, [4], tmp_path / "out")
    again = Trajectory.open(tmp_path / "base", tmp_path / "run").beside(4, made.folder)
    assert again.names == trajectory.names
    assert not any("_orig_mod" in name for name in load_file(made.folder / "model.safetensors"))


def test_names_that_do_not_fit_uniformly(tmp_path):
    steps = steps_of(2)
    steps[1] = renamed(steps[1], lambda name: "x." + name if "mlp" in name else "y." + name)
    write(tmp_path, random_tensors(0), steps)
    refused(tmp_path, "does not match step 2", "only in the base")


def test_an_adapter_inside_of_whole_weights(tmp_path):
    steps = steps_of(2)
    steps[1] |= {QUERY.replace("weight", "lora_A.weight"): torch.zeros(2, 8)}
    write(tmp_path, random_tensors(0), steps)
    refused(tmp_path, "lora_A", "merge_and_unload")
