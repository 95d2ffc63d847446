"""Every family of models through measurement and extrapolation: names, shapes, heads.

Tiny random models of the real classes with checkpoints that move every tensor, given to the public
command as somebody else's trajectory. Training and scoring:
tests/training/test_architectures_training.py.
"""

from dataclasses import dataclass

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlvr_dynamics.checkpoints.names import part_of
from rlvr_dynamics.checkpoints.structure import Structure
from rlvr_dynamics.run import main
from rlvr_dynamics.training.tiny_base import build_model, build_tokenizer, reproducible

TOKENIZER = build_tokenizer()
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
STEPS, LAYERS = 4, 2
CELLS = [(f, t) for f in ("qwen2", "qwen3", "llama", "glm4") for t in (True, False)]
ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
MLP = {family: {"gate_proj", "up_proj", "down_proj"} for family in ("qwen2", "qwen3", "llama")}
MLP["glm4"] = {"gate_up_proj", "down_proj"}
METHODS = "[{name:relex,windows:[0.5],targets:[1.0,2.0]},{name:weight_extrapolation}]"
REBUILT = ",".join(
    ["rank1_recovery"]
    + [
        f"{{name:rank_recovery,label:rank1_{part},parameters:{{modules:{part}}}}}"
        for part in ("attention", "mlp", "up_proj", "gate_up_proj")
    ]
)


@dataclass(frozen=True)
class Small:
    family: str
    tied: bool
    hidden: int = 32
    layers: int = LAYERS
    heads: int = 2
    kv_heads: int = 1
    intermediate: int = 48
    steps_clean: int = 0
    steps_noisy: int = 0
    batch_size: int = 1
    learning_rate: float = 1e-3
    muon_learning_rate: float = 1e-3
    careful: float = 0.0
    sloppy: float = 0.0
    step_error: float = 0.0
    vocabulary: int | None = None
    context: int | None = None


def save_trajectory(folder, family, tied):
    """A random base and steps along one direction with a little noise in every tensor."""
    with reproducible(3):
        model = build_model(Small(family, tied), TOKENIZER)
        start = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
        direction = {name: torch.randn_like(tensor) for name, tensor in start.items()}
        for step in range(STEPS + 1):
            with torch.no_grad():
                for name, tensor in model.named_parameters():
                    moved = direction[name] + 0.02 * torch.randn_like(tensor)
                    tensor.copy_(start[name] + 1e-3 * step * moved)
            target = folder / "base" if step == 0 else folder / "checkpoints" / f"step_{step}"
            model.save_pretrained(target)
            build_tokenizer(family).save_pretrained(target)
    return start


def go(folder, *overrides):
    return main(
        [
            "+exp=trajectory",
            f"source.base={folder / 'base'}",
            f"source.checkpoints={folder / 'checkpoints'}",
            f"run_dir={folder / 'out'}",
            "measure.null_draws=20",
            "extrapolation.windows=[0.5]",
            "extrapolation.targets=[1.0]",
            f"extrapolation.methods={METHODS}",
            f"extrapolation.reconstructions=[{REBUILT}]",
            *overrides,
        ]
    )


@pytest.fixture(scope="module", params=CELLS, ids=lambda cell: f"{cell[0]}-tied-{cell[1]}")
def cell(request, tmp_path_factory):
    """Folder of a measured and extrapolated trajectory, its family, whether tied, its base."""
    family, tied = request.param
    folder = tmp_path_factory.mktemp(f"{family}_{tied}")
    start = save_trajectory(folder, family, tied)
    assert go(folder, "stages=[measure,extrapolate]") == 0
    return folder / "out", family, tied, start


def test_the_matrices_of_the_blocks_are_the_expected_ones(cell):
    out, family, _, start = cell
    expected = {
        f"model.layers.{layer}.{block}.{module}.weight"
        for layer in range(LAYERS)
        for block, modules in (("self_attn", ATTENTION), ("mlp", MLP[family]))
        for module in modules
    }
    ranks = pd.read_parquet(out / "measure" / "update_rank.parquet")
    assert set(ranks["tensor"]) == expected
    assert len(expected) == LAYERS * (6 if family == "glm4" else 7)
    structure = Structure({name: tuple(tensor.shape) for name, tensor in start.items()})
    assert {matrix.label for matrix in structure.matrices} == expected
    assert {name.split(".")[-2] for name in expected if part_of(name) == "mlp"} == MLP[family]
    assert set(ranks["module"]) == ATTENTION | MLP[family]
    assert set(ranks["layer"]) == set(range(LAYERS))


def test_every_tensor_is_measured_once_and_a_tied_head_is_the_embedding(cell):
    out, _, tied, start = cell
    trajectory = pd.read_parquet(out / "measure" / "trajectory_svd.parquet")
    assert set(trajectory["tensor"]) == set(start)
    assert (HEAD in start) != tied and EMBEDDING in start
    first = trajectory[trajectory["index"] == 1]
    assert len(first) == len(start)
    assert (first["explained_variance"] > 0.99).all()
    norms = pd.read_parquet(out / "measure" / "norms.parquet")
    assert norms.groupby("step")["tensor"].nunique().eq(len(start)).all()
    both = norms[norms["tensor"].isin([HEAD, EMBEDDING])]
    assert both.groupby("step").size().eq(1 if tied else 2).all()


def test_predictions_load_in_the_familys_class(cell):
    out, family, tied, start = cell
    folder = out / "predictions" / "relex" / "observe_2" / "step_8"
    model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert type(model).__name__.lower() == f"{family}forcausallm"
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert set(dict(model.named_parameters())) == set(start)
    head, embedding = model.lm_head.weight, model.model.embed_tokens.weight
    assert (head.data_ptr() == embedding.data_ptr()) == tied
    stored = load_file(folder / "model.safetensors")
    assert set(stored) == set(start)
    last = load_file(out.parent / "checkpoints" / f"step_{STEPS}" / "model.safetensors")
    for name, tensor in dict(model.named_parameters()).items():
        # Twice the training along one direction is twice the update, up to the noise.
        update = last[name] - start[name]
        missed = torch.linalg.vector_norm(tensor - start[name] - 2 * update)
        assert missed < 0.1 * torch.linalg.vector_norm(2 * update), name
    logits = model(torch.tensor([TOKENIZER.encode("6-5+1=")])).logits
    assert logits.shape[-1] == len(TOKENIZER) and logits.isfinite().all()


def test_a_part_of_the_update_changes_that_part_alone(cell):
    out, family, _, start = cell
    index = pd.read_parquet(out / "predictions" / "index.parquet")
    # What one family fuses another has apart; the one that is missing is left out.
    part = "gate_up_proj" if family == "glm4" else "up_proj"
    assert set(index["method"]) == {
        *("relex", "weight_extrapolation", "rank1_recovery"),
        *("rank1_attention", "rank1_mlp", f"rank1_{part}"),
    }
    wanted = {"attention": ATTENTION, "mlp": MLP[family], part: {part}}
    for label, modules in wanted.items():
        folder = out / "predictions" / f"rank1_{label}" / "observe_0" / f"step_{STEPS}"
        stored = load_file(folder / "model.safetensors")
        changed = {name for name in stored if not torch.equal(stored[name], start[name])}
        assert {name.split(".")[-2] for name in changed} == modules
        assert len(changed) == LAYERS * len(modules)


@pytest.mark.slow
def test_reading_verls_copy_of_a_tied_head_gives_the_same_table(tmp_path):
    """verl stores the head of a tied model beside its embedding; it counts once all the same."""
    from safetensors.torch import save_file

    save_trajectory(tmp_path, "glm4", tied=True)
    assert go(tmp_path, "stages=[measure,extrapolate]", f"run_dir={tmp_path / 'plain'}") == 0
    for folder in (tmp_path / "base", *(tmp_path / "checkpoints").iterdir()):
        tensors = load_file(folder / "model.safetensors")
        copy = tensors | {HEAD: tensors[EMBEDDING].clone()}
        save_file(copy, folder / "model.safetensors", metadata={"format": "pt"})
    assert go(tmp_path, "stages=[measure,extrapolate]") == 0
    one, two = (
        pd.read_parquet(tmp_path / name / "measure" / "trajectory_svd.parquet")
        for name in ("plain", "out")
    )
    pd.testing.assert_frame_equal(one, two)
    folder = tmp_path / "out" / "predictions" / "relex" / "observe_2" / "step_4"
    stored = load_file(folder / "model.safetensors")
    assert torch.equal(stored[HEAD], stored[EMBEDDING])


@pytest.mark.slow
def test_the_report_of_a_fused_mlp(tmp_path):
    save_trajectory(tmp_path, "glm4", tied=False)
    assert go(tmp_path) == 0
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    for words in ("gate_up_proj", "post_self_attn_layernorm", "k_proj.bias", "lm_head"):
        assert words in page
    table = pd.read_csv(tmp_path / "out" / "report" / "tables" / "rank1_share.csv")
    order = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj", "all"]
    assert table["module"].tolist() == order
    assert table["matrices"].tolist() == [LAYERS] * 6 + [LAYERS * 6]
