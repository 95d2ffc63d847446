"""`+exp=trajectory` on somebody's checkpoints: a report, or one clear line and exit code 2."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from rlvr_dynamics.config import load
from rlvr_dynamics.flow.score import models_to_score
from rlvr_dynamics.results.run import load_results
from rlvr_dynamics.run import main
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema.tables import TABLES
from rlvr_dynamics.system.atomic import write_sealed_json
from tests.support.small_models import EMBEDDING, QUERY, SHAPES, random_tensors, save_model
from tests.support.trajectory_source import FEW, STEPS, go, source, sources

FIXTURES = (source,)


@pytest.mark.slow
def test_report_without_training(source, capsys):
    assert go(source) == 0
    out = source / "out"
    assert (out / "report" / "index.html").exists()
    svd = pd.read_parquet(out / "measure" / "trajectory_svd.parquet")
    assert (svd[svd["index"] == 1]["explained_variance"] > 0.9).all()
    assert (out / "predictions" / "relex" / "observe_2" / "step_20").is_dir()
    capsys.readouterr()
    assert go(source) == 0
    assert "everything was done already" in capsys.readouterr().out


def test_a_run_never_writes_into_a_model(source, capsys):
    for folder in (source / "base", source / "checkpoints" / "step_3"):
        before = {path: path.read_bytes() for path in folder.iterdir()}
        assert go(source, f"run_dir={folder}") == 2
        assert "run_dir is the folder of a model" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in folder.iterdir()} == before


def index_of(source):
    return pd.read_parquet(source / "out" / "predictions" / "index.parquet")


def test_methods_that_need_accuracies_get_them_from_a_table(source, capsys):
    assert go(source) == 0
    assert "alpharl left out" in capsys.readouterr().out
    for table in TABLES.values():
        if table.stage in ("measure", "extrapolate"):
            found = pd.read_parquet(source / "out" / table.file)
            assert list(found.columns) == table.names, table.name
    assert "alpharl" not in set(index_of(source).method)
    table = pd.DataFrame({"step": range(1, 11), "accuracy": [0.1 + 0.05 * s for s in range(10)]})
    table.to_csv(source / "accuracy.csv", index=False)
    given = f"source.accuracy={source / 'accuracy.csv'}"
    assert go(source, given) == 0
    index = index_of(source).set_index("method")
    assert index.loc["alpharl", "observe"] == 4 and not index.loc["alpharl", "uses_future"]
    pls = pd.read_parquet(source / "out" / "measure" / "pls.parquet")
    assert set(pls.accuracy) == {"accuracy.csv"} and (pls["T"] == 10).all()
    table.assign(accuracy=0.5 + table.accuracy).to_csv(source / "accuracy.csv", index=False)
    assert go(source, given) == 2
    assert "not between 0 and 1" in capsys.readouterr().err
    assert go(source, "source.accuracy=nowhere.csv") == 2
    assert "no such file" in capsys.readouterr().err


def test_one_training_is_read_in_two_dtypes_with_its_own_records(source, tmp_path):
    """Bfloat16 is read from the same files; the training's rates and accuracies are found."""
    run = tmp_path / "trained"
    for old, new in (("base", "prepare/base"), ("checkpoints", "train/checkpoints")):
        (run / new).parent.mkdir(parents=True)
        (source / old).rename(run / new)
    steps = range(1, STEPS + 1)
    metrics = {"step": steps, "actor/lr": 1e-4, "actor/grad_norm": 1.0}
    score = {"critic/score/mean": [0.1 + 0.02 * step for step in steps]}
    pd.DataFrame(metrics | score).to_parquet(run / "train" / "metrics.parquet")
    trainer = {"prompts_per_step": 8, "mini_batch_prompts": 4}
    write_sealed_json(run / "config.json", {"name": "trained", "trainer": trainer})
    asked = [f"source.base={run}/prepare/base", f"source.checkpoints={run}/train/checkpoints"]
    norms, stored = {}, {}
    for dtype in ("null", "bfloat16", "null"):  # in one directory, so nothing stale may stay
        assert go(source, *asked, f"measure.round_to={dtype}") == 0
        out = source / "out"
        norms[dtype] = pd.read_parquet(out / "measure" / "norms.parquet").set_index("tensor")
        found = load_file(out / "predictions/relex/observe_2/step_20/model.safetensors")
        stored[dtype] = {str(tensor.dtype) for tensor in found.values()}
        assert (pd.read_parquet(out / "measure" / "pls.parquet")["T"] == STEPS - 1).all()
        assert "alpharl" in set(index_of(source).method)
    assert stored == {"null": {"torch.float32"}, "bfloat16": {"torch.bfloat16"}}
    wide, narrow = norms["null"], norms["bfloat16"]
    expected = (
        wide["step_norm"] / np.sqrt([np.prod(SHAPES[name]) for name in wide.index]) / (2 * 1e-4)
    )
    assert wide["optimizer_step_length"].to_numpy() == pytest.approx(expected.to_numpy())
    assert (narrow["bfloat16_changed_share"] == wide["bfloat16_changed_share"]).all()
    assert narrow["changed_share"].mean() < wide["changed_share"].mean()
    found = load_results(source / "out")
    assert found.dtype == "float32"
    assert go(source, *asked, "measure.round_to=bfloat16") == 0
    assert load_results(source / "out").dtype == "bfloat16 (rounded from float32 files)"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("step,accuracy\n1,0.1\n1,0.2\n", "each once"),
        ("step,accuracy\n1.5,0.1\n", "whole step numbers"),
        ("step,accuracy\n-1,0.1\n", "whole step numbers"),
        ("step,accuracy\none,0.1\n", "cannot be read"),
        ("step,score\n1,0.1\n", "cannot be read"),
        ("step,accuracy\n1e400,0.1\n", "whole step numbers"),
        ("step,accuracy\n", "empty"),
        ("step,accuracy\n100,0.1\n200,0.2\n", "the checkpoints have other steps: 1-10"),
    ],
)
def test_a_wrong_table_of_accuracies_is_one_line(source, capsys, rows, words):
    (source / "accuracy.csv").write_text(rows)
    assert go(source, f"source.accuracy={source / 'accuracy.csv'}") == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_short_trajectory_leaves_out_what_needs_more_steps(source, capsys, count):
    for step in range(count + 1, STEPS + 1):
        shutil.rmtree(source / "checkpoints" / f"step_{step}")
    constant = pd.DataFrame({"step": range(1, count + 1), "accuracy": 0.5})
    constant.to_csv(source / "accuracy.csv", index=False)
    assert go(source, f"source.accuracy={source / 'accuracy.csv'}") == 0
    out = capsys.readouterr().out
    assert "left out: relex needs at least 2 observed steps" in out
    assert (source / "out" / "report" / "index.html").exists()
    assert {"rank1_recovery", "random_update"} <= set(index_of(source).method)


@pytest.mark.slow
def test_nothing_to_predict_is_an_empty_index(source, capsys):
    nothing = ("extrapolation.methods=[alpharl]", "extrapolation.reconstructions=[]")
    assert go(source, *nothing) == 0
    assert len(index_of(source)) == 0 and "path" in index_of(source)


def test_a_gpu_that_is_not_there_is_refused_first(source, capsys, monkeypatch):
    monkeypatch.setattr("rlvr_dynamics.flow.checks.gpus_found", lambda: [])
    behaviour = ("stages=[measure,behaviour]", "behaviour.device=cuda")
    for asked in (["measure.device=cuda"], behaviour):
        assert go(source, *asked) == 2
        assert f"{asked[-1]}, and this machine has no GPU" in capsys.readouterr().err
        assert not (source / "out").exists()


@pytest.mark.slow
def test_grids_labels_and_windows(source):
    settings = (
        "extrapolation.methods=[{name:relex,label:relex_rank3,parameters:{rank:3},windows:[0.5]},"
        "{name:expo,targets:[1.0],grid:{alpha:[0.5,1.0]}}]"
    )
    assert go(source, settings) == 0
    index = index_of(source)
    candidates = index.dropna(subset=["candidate_of"])
    assert set(candidates.method) == {"expo_alpha_0_5", "expo_alpha_1_0"}
    assert set(candidates.candidate_of) == {"expo"}
    assert set(index[index.method == "relex_rank3"].observe) == {5}
    assert set(index[index.uses_future].method) == {"rank1_recovery", "random_update"}
    # What another configuration had predicted goes, what is still wanted is not made again.
    kept = source / "out" / "predictions" / "relex_rank3" / "observe_5" / "step_10"
    before = (kept / "model.safetensors").stat().st_mtime_ns
    assert (
        go(
            source,
            "extrapolation.methods=[{name:relex,label:relex_rank3,parameters:{rank:3},windows:[0.5]}]",
        )
        == 0
    )
    assert (kept / "model.safetensors").stat().st_mtime_ns == before
    assert not (source / "out" / "predictions" / "expo_alpha_0_5").exists()


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ("[nonsense]", ["no method 'nonsense'", "relex"]),
        ("[{name:relex,parameters:{rnk:2}}]", ["no parameter 'rnk'", "rank"]),
        ("[relex,relex]", ["relex is listed twice"]),
        (
            "[{name:relex,label:relex_rank_2},{name:relex,grid:{rank:[2,3]}}]",
            ["relex_rank_2 is listed twice"],
        ),
        ("[{name:relex,windows:[0.9],targets:[0.5]}]", ["targets of relex must lie after"]),
    ],
)
def test_a_wrong_method_is_refused_before_anything_is_read(source, capsys, methods, words):
    assert go(source, f"extrapolation.methods={methods}") == 2
    error = capsys.readouterr().err
    for word in words:
        assert word in error
    assert not (source / "out").exists()


def edit(source, step, change):
    file = source / "checkpoints" / f"step_{step}" / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def set_value(value):
    def change(tensors):
        tensors[QUERY][3, 4] = value

    return change


def truncate(source):
    file = source / "checkpoints" / "step_4" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-40])


def empty(source):
    shutil.rmtree(source / "base")
    (source / "base").mkdir()


MISTAKES = {
    "NaN": (lambda s: edit(s, 4, set_value(float("nan"))), ["NaN", QUERY, "4"]),
    "infinity": (lambda s: edit(s, 7, set_value(float("inf"))), [QUERY, "7"]),
    "gap": (
        lambda s: shutil.rmtree(s / "checkpoints" / "step_5"),
        ["after 4 comes 6", "source.allow_gaps=true"],
    ),
    "truncated shard": (truncate, ["step_4", "model.safetensors"]),
    "missing base": (lambda s: shutil.rmtree(s / "base"), ["base"]),
    "empty base": (empty, ["base"]),
    "no checkpoints": (
        lambda s: [shutil.rmtree(path) for path in (s / "checkpoints").iterdir()],
        ["no checkpoints here"],
    ),
    "another shape": (
        lambda s: edit(s, 3, lambda t: t.update({QUERY: torch.zeros(8, 9)})),
        [QUERY, "step 3"],
    ),
    "another name": (lambda s: edit(s, 3, lambda t: t.pop(QUERY)), [QUERY, "step 3"]),
    "another dtype": (
        lambda s: edit(s, 3, lambda t: t.update({n: v.bfloat16() for n, v in t.items()})),
        ["step 3", "bfloat16"],
    ),
    "repeated step": (
        lambda s: shutil.copytree(s / "checkpoints" / "step_3", s / "checkpoints" / "step_03"),
        ["step 3 occurs twice"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_exit_code_2(source, capsys, mistake):
    spoil, expected = MISTAKES[mistake]
    spoil(source)
    assert go(source) == 2
    message = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(message) == 1
    for part in expected:
        assert part in message[0]
    assert not list(source.glob("out/measure/*.parquet"))


def test_without_checkpoints_or_with_training_it_is_refused(source, capsys):
    assert main(["+exp=trajectory", f"run_dir={source / 'out'}"]) == 2
    assert "source.base=DIR" in capsys.readouterr().err
    assert go(source, "stages=[train,measure]") == 2
    assert "source.base replaces training" in capsys.readouterr().err
    assert not (source / "out").exists()


def test_benchmarks_can_be_prepared_for_them(source, capsys):
    questions = [{"question": f"What is {n} + 1?", "answer": f"#### {n + 1}"} for n in range(4)]
    file = source / "questions.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in questions))
    given = ("benchmark=gsm8k", f"benchmark.gsm8k.repo={file}", "benchmark.gsm8k.rows=4")
    subset = ("benchmark.gsm8k.subset=null", "stages=[prepare,measure,extrapolate]")
    assert go(source, *given, *subset) == 0
    out = source / "out"
    assert len(pd.read_parquet(out / "prepare" / "benchmarks" / "gsm8k.parquet")) == 4
    assert not (out / "prepare" / "base").exists()
    settings = load(["+exp=trajectory", *sources(source), *given, *subset])
    models = models_to_score(Run(settings, out), index_of(source))
    found = {model.id: model.folder for model in models}
    assert found["base"] == source / "base"
    assert found["step_10"] == source / "checkpoints" / "step_10"
    assert found["relex__observe_2__step_10"].is_relative_to(out)


def test_a_grid_has_nothing_to_choose_on(source, capsys):
    grid = "extrapolation.methods=[{name:expo,targets:[1.0],grid:{alpha:[0.5,1.0]}}]"
    assert go(source, grid, "stages=[prepare,measure,extrapolate,score]") == 2
    assert "the grid of expo is chosen on held-out training problems" in capsys.readouterr().err


def test_a_changed_checkpoint_redoes_the_measurement(source, capsys):
    assert go(source) == 0
    edit(source, 6, set_value(0.5))
    capsys.readouterr()
    assert go(source) == 0
    assert "measure      going on (its inputs" in capsys.readouterr().out


def test_the_plan_reads_nothing_and_leaves_nothing(source, capsys):
    before = sorted(source.rglob("*"))
    assert go(source, "dry_run=true") == 0
    assert "measure      run" in capsys.readouterr().out
    assert sorted(source.rglob("*")) == before


def test_the_updates_between_stored_steps_are_estimated_from_their_files(tmp_path, capsys):
    """Four updates a step of AdamW on noise, in bfloat16: `at most` is their number."""
    shapes = {EMBEDDING: (11, 8), QUERY: (128, 128)}
    base = {name: 0.05 * value for name, value in random_tensors(0, shapes=shapes).items()}
    base = {name: value.bfloat16() for name, value in base.items()}
    weights = [torch.nn.Parameter(value.float()) for value in base.values()]
    save_model(tmp_path / "base", base)
    optimizer, generator = torch.optim.AdamW(weights, lr=1e-5), torch.Generator().manual_seed(1)
    for step in range(1, 13):
        for _ in range(4):
            for weight in weights:
                weight.grad = torch.randn(weight.shape, generator=generator)
            optimizer.step()
        stored = [weight.detach().bfloat16() for weight in weights]
        save_model(tmp_path / "checkpoints" / f"step_{step}", dict(zip(base, stored, strict=True)))
    arguments = [*FEW, "stages=[measure,report]"]
    assert go(tmp_path, *arguments) == 0
    table = tmp_path / "out" / "report" / "tables" / "updates.csv"
    assert not table.exists()
    assert go(tmp_path, *arguments, "source.learning_rate=1.0e-5") == 0
    (row,) = pd.read_csv(table).to_dict("records")
    assert row["at most"] == pytest.approx(4, rel=0.1) and row["at least"] <= 4
    assert pd.isna(row["configured"])
    assert (row["steps"], row["bits"]) == (12, 7)
