"""Steps that are LoRA adapters: every analysis as for whole weights, refusals in one line."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from rlvr_dynamics.checkpoints import Differences, Trajectory
from rlvr_dynamics.checkpoints.adapter_patterns import first_match
from rlvr_dynamics.checkpoints.whole_folders import whole_folder
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation import EXTRAPOLATORS, RECONSTRUCTIONS
from rlvr_dynamics.run import main
from tests.support.small_models import EMBEDDING, QUERY, SHAPES, random_tensors, save_model

DOWN = "model.layers.0.mlp.down_proj.weight"
RANK, ALPHA, STEPS = 2, 6, 6
CONFIG = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "target_modules": ["q_proj"]}


def parts(step, name=QUERY):
    generator = torch.Generator().manual_seed(7)
    m, n = SHAPES[name]
    b, a = torch.randn(m, RANK, generator=generator), torch.randn(RANK, n, generator=generator)
    return 0.01 * step * b, a


def keys(name=QUERY, prefix="base_model.model."):
    module = prefix + name.removesuffix(".weight")
    return f"{module}.lora_B.weight", f"{module}.lora_A.weight"


def save_adapter(folder, tensors, config=CONFIG):
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config))


def adapter(step, prefix="base_model.model."):
    return {
        key: values
        for name in (QUERY, DOWN)
        for key, values in zip(keys(name, prefix), parts(step, name), strict=True)
    }


@pytest.fixture
def run(tmp_path):
    save_model(tmp_path / "base", random_tensors(0, torch.bfloat16))
    for step in range(1, STEPS + 1):
        save_adapter(tmp_path / "run" / f"checkpoint-{step}", adapter(step))
    return tmp_path


def opened(run):
    return Trajectory.open(run / "base", run / "run")


def refused(run, *words):
    with pytest.raises(UserError) as caught:
        opened(run)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.way_out and "\n" not in str(caught.value)


def change(run, tensors=None, **settings):
    folder = run / "run" / "checkpoint-2"
    shutil.rmtree(folder)
    save_adapter(folder, adapter(2) if tensors is None else tensors, CONFIG | settings)


def update(step, name=QUERY):
    b, a = (each.double() for each in parts(step, name))
    return ALPHA / RANK * b @ a


def test_updates_are_the_products(run):
    trajectory = opened(run)
    assert trajectory.dtype == "bfloat16+float32"
    for name in SHAPES:
        found = torch.cat([piece.updates for piece in Differences(trajectory, name).pieces()], 1)
        if name not in (QUERY, DOWN):
            assert not found.any() and trajectory.dtype_of(name) == "bfloat16"
            continue
        expected = torch.stack([update(step, name).reshape(-1) for step in range(1, STEPS + 1)])
        assert np.allclose(found, expected, rtol=3e-7, atol=1e-9)
        base = random_tensors(0, torch.bfloat16)[name].double()
        merged = (base + update(3, name)).float()
        assert torch.allclose(trajectory.tensor(3, name), merged, rtol=1e-7, atol=1e-8)
        assert torch.linalg.matrix_rank(found[2].view(SHAPES[name])) == RANK


def test_the_command_measures_adapters(run, capsys):
    for step in range(1, STEPS + 1):
        (run / "run" / f"checkpoint-{step}").rename(run / "run" / f"a-{step}-b")
    given = [f"source.base={run / 'base'}", f"source.checkpoints={run / 'run'}"]
    given += ["source.pattern=a-{step}-b", f"run_dir={run / 'out'}", "measure.null_draws=20"]
    assert main(["+exp=trajectory", *given, "stages=[measure]"]) == 0
    assert "read as W_0 + scale B A, in float32" in capsys.readouterr().out
    norms = pd.read_parquet(run / "out" / "measure" / "norms.parquet").set_index(["tensor", "step"])
    for step in (1, STEPS):
        expected = np.linalg.norm(update(step).numpy())
        assert norms.update_norm[QUERY, step] == pytest.approx(expected, rel=1e-7)
    assert (norms.update_norm[EMBEDDING] == 0).all()
    ranks = pd.read_parquet(run / "out" / "measure" / "update_rank.parquet")
    assert set(ranks[ranks.tensor == QUERY].numerical_rank) == {RANK}


def test_predictions_from_adapters_are_whole_models(run):
    trajectory = opened(run)
    start = random_tensors(0, torch.bfloat16)
    relex = EXTRAPOLATORS["relex"].run(trajectory, 4, [6], run / "out")[0]
    rebuilt = RECONSTRUCTIONS["rank_recovery"].run(trajectory, [5], run / "out", rank=RANK)[0]
    for made, step in ((relex, 6), (rebuilt, 5)):
        written = load_file(made.folder / "model.safetensors")
        for name in (QUERY, DOWN):
            expected = start[name].double() + update(step, name)
            assert torch.allclose(written[name].double(), expected, rtol=1e-5, atol=1e-6)
        assert torch.equal(written[EMBEDDING], start[EMBEDDING])
        assert trajectory.beside(step, made.folder).dtypes == trajectory.dtypes


def test_the_identity_is_that_of_adapter_settings_and_base(run):
    seen = {opened(run).identities[2]}
    first = opened(run).mark
    change(run, lora_alpha=7)
    seen.add(opened(run).identities[2])
    assert opened(run).mark != first
    change(run, adapter(3))
    seen.add(opened(run).identities[2])
    change(run)
    assert opened(run).identities[2] in seen
    shutil.rmtree(run / "base")
    save_model(run / "base", random_tensors(1, torch.bfloat16))
    seen.add(opened(run).identities[2])
    assert len(seen) == 4


def test_an_engine_gets_whole_folders(run):
    trajectory = opened(run)
    assert whole_folder(trajectory, 0, run / "merged") == run / "base"
    made = whole_folder(trajectory, 3, run / "merged")
    written = load_file(made / "model.safetensors")
    assert all(torch.equal(written[name], trajectory.tensor(3, name)) for name in SHAPES)
    assert json.loads((made / "config.json").read_text())["dtype"] == "float32"
    assert (made / "tokenizer.json").exists()
    before = (made / "model.safetensors").stat().st_mtime_ns
    whole_folder(opened(run), 3, run / "merged")
    assert (made / "model.safetensors").stat().st_mtime_ns == before
    shutil.rmtree(run / "run" / "checkpoint-3")
    save_adapter(run / "run" / "checkpoint-3", adapter(4))
    trajectory = opened(run)
    whole_folder(trajectory, 3, run / "merged")
    written = load_file(made / "model.safetensors")
    assert torch.equal(written[QUERY], trajectory.tensor(3, QUERY))


def test_an_adapter_that_changes_after_its_identity_was_taken_is_named(run):
    trajectory = opened(run)
    assert trajectory.identity
    path = run / "run" / "checkpoint-3" / "adapter_model.safetensors"
    status, data = path.stat(), bytearray(path.read_bytes())
    data[-3] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(UserError, match=r"adapter_model\.safetensors"):
        trajectory.prove_on_reading()


@pytest.mark.parametrize("name", [QUERY, EMBEDDING])
def test_a_base_that_changes_under_adapters_is_named_by_the_pass_that_merges(run, name):
    trajectory = opened(run)
    assert trajectory.identity
    trajectory.prove_on_reading()
    path = run / "base" / "model.safetensors"
    entry = trajectory.layout(0).entry(name)
    data = bytearray(path.read_bytes())
    data[entry.end - 1] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    with pytest.raises(UserError, match=name):
        whole_folder(trajectory, 3, run / "merged")
    assert not (run / "merged" / "step_3").exists()


@pytest.mark.parametrize("prefix", ["", "model.", "_fsdp_wrapped_module.base_model.model."])
def test_prefixes_of_adapters(run, prefix):
    if prefix == "model.":  # a base that was saved without its outer `model.`
        tensors = {n.removeprefix("model."): v for n, v in random_tensors(0).items()}
        shutil.rmtree(run / "base")
        save_model(run / "base", tensors)
    else:
        change(run, adapter(2, prefix))
    trajectory = opened(run)
    name = next(name for name in trajectory.names if "q_proj.weight" in name)
    (piece,) = Differences(trajectory, name).pieces()
    assert np.allclose(piece.updates[1].view(8, 8), update(2), rtol=1e-6, atol=1e-9)


def test_verl_lays_adapters_deeper(run):
    for step in range(1, STEPS + 1):
        target = run / "verl" / f"global_step_{step}" / "actor"
        target.mkdir(parents=True)
        (run / "run" / f"checkpoint-{step}").rename(target / "lora_adapter")
        (target / "huggingface").mkdir()
        (target / "huggingface" / "config.json").write_text("{}")
    trajectory = Trajectory.open(run / "base", run / "verl")
    assert trajectory.steps == tuple(range(1, STEPS + 1))
    assert trajectory.folder(1).name == "lora_adapter"


def test_an_untrained_adapter_may_be_step_zero(run):
    save_adapter(run / "run" / "checkpoint-0", adapter(0))
    assert opened(run).steps == tuple(range(1, STEPS + 1))
    shutil.rmtree(run / "run" / "checkpoint-0")
    save_adapter(run / "run" / "checkpoint-0", adapter(1))
    refused(run, "step 0 among the checkpoints is not the base")


REFUSED = {
    "another type": ({"peft_type": "IA3"}, ["type IA3", "merge_and_unload"]),
    "dora": ({"use_dora": True}, ["DoRA"]),
    "pissa": ({"init_lora_weights": "pissa_niter_16"}, ["pissa_niter_16", "another base"]),
    "olora": ({"init_lora_weights": "olora"}, ["olora"]),
    "loftq": ({"init_lora_weights": "loftq"}, ["loftq"]),
    "experts": ({"target_parameters": ["experts.down_proj"]}, ["target_parameters"]),
    "tokens": ({"trainable_token_indices": [1, 2]}, ["trainable_token_indices"]),
    "copied layers": ({"layer_replication": [[0, 1]]}, ["layer_replication"]),
    "not known yet": ({"use_something": {"new": 1}}, ["use_something"]),
    "scale of verl": ({"lora_alpha": 0}, ["lora_alpha is 0", "verl"]),
    "scale missing": ({"lora_alpha": None}, ["lora_alpha is None"]),
    "another rank": ({"r": 4}, ["rank 4"]),
    "hostile pattern": ({"alpha_pattern": {"(a+)+": 1}}, ["pattern", "not tried"]),
    "no pattern": ({"alpha_pattern": [1]}, ["alpha_pattern"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_adapters_that_are_something_else_are_refused_by_name(run, case):
    settings, words = REFUSED[case]
    change(run, **settings)
    refused(run, "checkpoint-2", *words)


def without(key):
    return {name: values for name, values in adapter(2).items() if name != key}


TENSORS = {
    "half a pair": (without(keys()[0]), ["only part of", "q_proj"]),
    "magnitude": (
        adapter(2) | {"base_model.model.x.lora_magnitude_vector.weight": torch.ones(3)},
        ["DoRA"],
    ),
    "another module": (
        {key.replace("q_proj", "k_proj"): values for key, values in adapter(2).items()},
        ["k_proj.weight, which is not a tensor of the base"],
    ),
    "another shape": (adapter(2) | {keys()[1]: torch.ones(RANK, 9)}, [QUERY, "(8, 9)"]),
    "scalars": (
        adapter(2) | {key: torch.tensor(1.0) for key in keys()},
        ["q_proj is () times ()"],
    ),
    "placeholder": (adapter(2) | {keys()[1]: torch.ones(0)}, ["ZeRO-3"]),
    "tied embedding": (
        adapter(2) | {"base_model.model.model.embed_tokens.weight": torch.ones(11, 8)},
        [EMBEDDING, "tied"],
    ),
}


@pytest.mark.parametrize("case", TENSORS)
def test_adapters_that_do_not_fit(run, case):
    tensors, words = TENSORS[case]
    change(run, tensors)
    refused(run, *words)


def test_files_of_adapters(run):
    folder = run / "run" / "checkpoint-2"
    (folder / "adapter_config.json").write_text("{")
    refused(run, "damaged adapter_config.json")
    (folder / "adapter_config.json").unlink()
    refused(run, "without its adapter_config.json")
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG))
    save_file(random_tensors(2), folder / "model.safetensors")
    refused(run, "whole weights and an adapter in one folder")
    (folder / "model.safetensors").unlink()
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    refused(run, "adapter (adapter_model.bin)")
    with pytest.raises(UserError, match="an adapter .adapter_model.safetensors. and not a whole"):
        Trajectory.open(run / "run" / "checkpoint-1", run / "run")


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ({"q_proj": 1}, 1),
        ({"proj": 1}, 0),
        ({"k_proj": 1, "layers.0.self_attn.q_proj": 2}, 2),
        ({r"^model\.layers\.\d+\.self_attn\.q_proj": 3}, 3),
        ({"^layers.*": 1}, 0),
        ({".*attn.*": 4, "q_proj": 1}, 4),
    ],
)
def test_patterns_match_as_in_peft(tmp_path, patterns, expected):
    assert first_match(patterns, "model.layers.0.self_attn.q_proj", 0, tmp_path) == expected
