"""Which models are scored on what: a grid is decided on validation problems, never on test ones."""

from dataclasses import replace

import pandas as pd
import pytest

from rlvr_dynamics.checkpoints import write_manifest
from rlvr_dynamics.config import load
from rlvr_dynamics.flow import score as score_stage
from rlvr_dynamics.flow import stages
from rlvr_dynamics.flow.execute import execute
from rlvr_dynamics.flow.pipeline import Known, plan
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema.tables import TABLES
from rlvr_dynamics.scoring.generation import Work
from rlvr_dynamics.scoring.jobs import Protocol
from tests.support.small_models import random_tensors, save_model

REGRADED = 21
ACCURACY = {"expo_alpha_0_1": 0.5, "expo_alpha_0_3": 0.7, "expo_alpha_0_5": 0.7}


@pytest.fixture
def run(tmp_path):
    run = Run(load([f"run_dir={tmp_path}"]), tmp_path)
    for folder in ("prepare/base", "train/checkpoints/step_1", "train/checkpoints/step_2"):
        write_manifest(save_model(tmp_path / folder, random_tensors(len(folder))), 0, "test")
    (tmp_path / "prepare" / "benchmarks").mkdir()
    problem = {
        "prompt": [{"role": "user", "content": "1+1="}],
        "reward_model": {"ground_truth": "2"},
        "data_source": "arithmetic",
    }
    pd.DataFrame([problem] * 3).to_parquet(tmp_path / "prepare" / "val.parquet")
    pd.DataFrame({"question_id": ["a"]}).to_parquet(
        tmp_path / "prepare" / "benchmarks" / "test.parquet"
    )
    rows = []
    for method in ("relex", *ACCURACY):
        folder = tmp_path / "predictions" / method
        manifest = write_manifest(save_model(folder, random_tensors(9)), 2, method)
        rows.append(
            {
                "method": method,
                "observe": 1,
                "step": 2,
                "path": f"predictions/{method}",
                "identity": manifest["identity"],
                "uses_future": False,
                "candidate_of": None if method == "relex" else "expo",
                "moved": 8,
                "parameters": 9,
            }
        )
    pd.DataFrame(rows).to_parquet(tmp_path / "predictions" / "index.parquet")
    (tmp_path / "scores").mkdir()
    return run


@pytest.fixture
def calls(monkeypatch):
    """Replaces the engine: remembers what it is asked, and gives the planted accuracies."""
    asked = []

    def score_models(**arguments):
        asked.append(arguments)
        return Work(regraded=REGRADED)

    def scores_table(samples, models, benchmarks):
        rows = []
        for model in models:
            method = model.split("__")[0]
            rows.append(
                {
                    "model": model,
                    "method": method,
                    **dict.fromkeys(("benchmark", "title", "protocol"), "given"),
                    "accuracy": ACCURACY.get(method, 0.0),
                    **dict.fromkeys(("ci_low", "ci_high", "questions", "samples"), 1.0),
                }
            )
        return pd.DataFrame(rows)

    monkeypatch.setattr("rlvr_dynamics.scoring.generation.score_models", score_models)
    monkeypatch.setattr("rlvr_dynamics.scoring.table.scores_table", scores_table)
    return asked


def test_candidates_meet_validation_problems_only(run, calls):
    score_stage.score(run, run.of("score"))
    validation, test = calls
    assert list(validation["benchmarks"]) == ["validation"]
    assert [model.id for model in validation["models"]] == [
        f"{candidate}__observe_1__step_2" for candidate in ACCURACY
    ]
    problems = pd.read_parquet(validation["benchmarks"]["validation"])
    assert list(problems.prompt) == ["1+1="] * 3 and set(problems.gold) == {"2"}
    assert set(problems.kind) == {"integer"} and problems.question_id.is_unique
    assert list(test["benchmarks"]) == ["test"]
    scored = {model.id: model.folder for model in test["models"]}
    assert not set(ACCURACY) & {name.split("__")[0] for name in scored}
    # Two candidates tie; the first in the grid is taken.
    assert scored["expo__observe_1__step_2"].name == "expo_alpha_0_3"
    assert {"base", "step_1", "step_2", "relex__observe_1__step_2"} <= set(scored)


def test_the_choice_is_on_record(run, calls):
    score_stage.score(run, run.of("score"))
    selection = pd.read_parquet(run.of("score") / "selection.parquet")
    assert list(selection.columns) == TABLES["selection"].names
    selection = selection.set_index("method")
    assert selection.chosen.to_dict() == {name: name == "expo_alpha_0_3" for name in ACCURACY}
    assert selection.accuracy.to_dict() == ACCURACY
    scores = pd.read_parquet(run.of("score") / "scores.parquet")
    assert not scores.uses_future.any() and "expo__observe_1__step_2" in set(scores.model)


def test_without_a_grid_nothing_is_validated(run, calls):
    path = run.of("extrapolate") / "index.parquet"
    index = pd.read_parquet(path)
    index[index.method == "relex"].assign(uses_future=True).to_parquet(path)
    score_stage.score(run, run.of("score"))
    assert len(calls) == 1 and not (run.of("score") / "selection.parquet").exists()
    scores = pd.read_parquet(run.of("score") / "scores.parquet")
    assert scores.set_index("method").uses_future.to_dict()["relex"]


def test_the_ends_of_windows_meet_validation_problems_where_a_key_asks(run, calls):
    asked = load([f"run_dir={run.folder}", "scoring.validate_windows=true"])
    score_stage.score(Run(asked, run.folder), run.of("score"))
    candidates, ends, test = calls
    assert [model.id for model in ends["models"]] == ["step_1"]
    assert list(ends["benchmarks"]) == ["validation"] and list(test["benchmarks"]) == ["test"]
    assert ends["protocols"] == candidates["protocols"]
    table = pd.read_parquet(run.of("score") / "validation.parquet")
    assert list(table.model) == ["step_1"] and set(table) <= set(TABLES["validation"].names)
    settings = [score_stage.STAGE.settings(config) for config in (run.config, asked)]
    assert "validate_windows" not in settings[0]["scoring"]  # runs without the key keep theirs
    assert settings[1]["scoring"]["validate_windows"]


def test_what_was_regraded_is_said(run, calls, capsys):
    score_stage.score(run, run.of("score"))
    assert "regraded 42 answers" in capsys.readouterr().out  # validation and benchmarks


def test_the_protocols_of_a_paper_reach_the_engine(run, calls):
    given = ["scoring=relex_1_5b", "scoring.tensor_parallel=1", "scoring.max_tokens=4001"]
    config = load([f"run_dir={run.folder}", "seed=7919", *given])
    score_stage.score(Run(config, run.folder), run.of("score"))
    validation, test = calls
    # Validation problems belong to no benchmark's split.
    (chosen,) = validation["protocols"]
    assert (chosen.samples, chosen.splits) == (8, None)
    assert test["protocols"] == [
        Protocol("greedy", 0.0, 1.0, samples=1, max_tokens=4001, splits=("in_domain",)),
        Protocol("sampled", 0.7, 0.8, samples=8, max_tokens=4001, splits=("out_of_domain",)),
    ]
    assert (validation["seed"], test["seed"]) == (7919, 7919)
    settings = test["settings"]
    assert (settings.template, settings.system_prompt, settings.thinking) == (
        "qwen_math",
        None,
        None,
    )


def test_what_a_paper_prints_is_answered_in_full(run, calls):
    """expo is printed here: its prediction and the checkpoint that it starts from."""
    given = ["scoring.half_width=0.02", "scoring.printed=[expo]"]
    grid = "extrapolation.methods=[relex,{name:expo,grid:{alpha:[0.1,0.3,0.5]}}]"
    config = load([f"run_dir={run.folder}", grid, *given])
    score_stage.score(Run(config, run.folder), run.of("score"))
    validation, test = calls
    assert not any(model.whole for model in validation["models"])
    assert {model.id: model.whole for model in test["models"]} == {
        "base": True,
        "step_1": True,
        "step_2": True,
        "relex__observe_1__step_2": False,
        "expo__observe_1__step_2": True,
    }
    assert {protocol.half_width for protocol in test["protocols"]} == {0.02}


def test_another_grader_makes_the_stage_run_again(run, calls, monkeypatch):
    """The same command regrades: the graders are part of what the stage depends on."""

    (stage,) = [stage for stage in stages.ALL if stage.name == "score"]
    stage = replace(stage, needs=(), required=())
    config = load([f"run_dir={run.folder}", "stages=[score]"])
    again = Run(config, run.folder)

    def planned():
        (item,) = plan(again, [stage], Known({}))
        return item

    execute(again, planned())
    assert planned().state == "done"
    monkeypatch.setattr(score_stage, "grader_version", lambda kind: "new")
    assert planned().state == "resume"


def test_every_kind_of_answer_has_its_grader():
    (stage,) = [stage for stage in stages.ALL if stage.name == "score"]
    assert list(stage.settings(load([]))["graders"]) == ["integer"]
    cell = load(["+exp=grpo_qwen3_4b", "benchmark=[math500,gpqa_diamond]"])
    assert list(stage.settings(cell)["graders"]) == ["letter", "math"]
