"""Every family of models through the whole loop: verl trains, vLLM scores, the page is written.

The cells are those of the algorithms (tests/support/grid_fixture.py); here the stages after
training are added. What needs no training is in tests/measurement/test_architectures.py.
"""

import json

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlvr_dynamics.config import load
from rlvr_dynamics.schema import USUAL_STAGES
from rlvr_dynamics.scoring.generation import EngineSettings, Protocol, ScoredModel, score_models
from rlvr_dynamics.training.arithmetic import ArithmeticTask
from rlvr_dynamics.training.tiny_base import build_model, build_tokenizer, reproducible
from tests.support.grid_fixture import CELLS, IN_MAKE_TEST, STEPS, grid_folder, metrics, run_cell  # noqa: F401

pytestmark = pytest.mark.grid

GREEDY = Protocol("greedy", temperature=0.0, top_p=1.0, samples=1, max_tokens=16)
HEAD = "lm_head.weight"
LATER = (
    "measure.null_draws=20",
    "extrapolation.windows=[0.5]",
    "extrapolation.targets=[1.0]",
    "extrapolation.methods=[relex]",
    "extrapolation.reconstructions=[rank1_recovery]",
    "scoring.ladder=[1.0]",
)
# One cell for each model that is not the demo's.
ARCHITECTURES = {model: algorithm for algorithm, model in CELLS.items() if model != "tiny"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(model, id=model, marks=[pytest.mark.slow] if algorithm in IN_MAKE_TEST else [])
        for model, algorithm in ARCHITECTURES.items()
    ],
)
def cell(request, grid_folder):  # noqa: F811
    """Settings of the model and run directory of its cell, all stages done."""
    model = request.param
    folder = run_cell(grid_folder, ARCHITECTURES[model], stages=USUAL_STAGES, overrides=LATER)
    return load([f"model={model}"]).model, folder


def test_verl_saves_what_the_base_has_and_moves_all_of_it(cell):
    settings, folder = cell
    base = load_file(folder / "prepare" / "base" / "model.safetensors")
    last = folder / "train" / "checkpoints" / f"step_{STEPS}"
    model, report = AutoModelForCausalLM.from_pretrained(last, output_loading_info=True)
    assert type(model).__name__.lower() == f"{settings.family}forcausallm"
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    trained = dict(model.named_parameters())
    assert set(trained) == set(base) and (HEAD in base) != settings.tied
    for name, before in base.items():
        assert not torch.equal(trained[name].data, before), name


def test_trainer_and_vllm_agree_on_the_rollouts(cell):
    _, folder = cell
    table = metrics(folder)
    assert table["step"].tolist() == list(range(1, STEPS + 1))
    assert table["rollout_corr/kl"].abs().max() < 1e-3


def test_every_matrix_is_measured_by_its_name(cell):
    settings, folder = cell
    fused = settings.family == "glm4"
    mlp = {"gate_up_proj"} if fused else {"gate_proj", "up_proj"}
    expected = {"q_proj", "k_proj", "v_proj", "o_proj", "down_proj"} | mlp
    ranks = pd.read_parquet(folder / "measure" / "update_rank.parquet")
    assert set(ranks["module"]) == expected
    assert ranks["tensor"].nunique() == settings.layers * len(expected)
    trajectory = pd.read_parquet(folder / "measure" / "trajectory_svd.parquet")
    assert set(trajectory["tensor"]) == set(
        load_file(folder / "prepare" / "base" / "model.safetensors")
    )


def test_a_weight_reload_in_vllm_is_proved_for_the_class(cell):
    _, folder = cell
    proof = json.loads((folder / "scores" / "reload_proof.json").read_text())
    assert proof["mode"] == "in_place" and proof["passed"] and proof["max_abs_diff"] < 1e-4


def test_predictions_are_scored_beside_real_checkpoints(cell):
    _, folder = cell
    scores = pd.read_parquet(folder / "scores" / "scores.parquet")
    assert {"base", "real", "relex", "rank1_recovery"} == set(scores["method"])
    assert scores["accuracy"].between(0, 1).all()
    assert (folder / "report" / "index.html").exists()
    rank1 = pd.read_csv(folder / "report" / "tables" / "rank1_share.csv")
    measured = pd.read_parquet(folder / "measure" / "update_rank.parquet")
    assert set(rank1["module"]) == {*measured["module"], "all"}


@pytest.mark.parametrize(("family", "tied"), [("qwen2", False), ("llama", True), ("glm4", True)])
def test_the_reload_is_proved_for_the_heads_that_no_cell_has(family, tied, tmp_path):
    """Two random models that differ in every tensor, the biases of q, k and v among them."""
    settings = load([f"model=tiny_{family}"]).model.model_copy(update={"tied": tied})
    models = []
    for seed in (1, 2):
        with reproducible(seed), torch.no_grad():
            model = build_model(settings, build_tokenizer(family))
            for tensor in model.parameters():
                tensor.add_(0.05 * torch.randn_like(tensor))
        folder = tmp_path / f"model_{seed}"
        model.save_pretrained(folder)
        build_tokenizer(family).save_pretrained(folder)
        models.append(ScoredModel(f"model_{seed}", folder, str(seed)))
    task = ArithmeticTask(
        seed=0, train_problems=1, validation_problems=1, test_problems=4, ood_problems=4
    )
    task.write(tmp_path / "task")
    tables = {file.stem: file for file in (tmp_path / "task" / "benchmarks").glob("*.parquet")}
    engine = EngineSettings(device="cpu", dtype="float32", max_model_len=128, stall_seconds=300.0)
    score_models(models, tables, [GREEDY], engine, tmp_path / "samples", 0)
    proof = json.loads((tmp_path / "reload_proof.json").read_text())
    assert proof["mode"] == "in_place" and proof["passed"]
    assert proof["proofs"][0]["contrast"] > 0.1
