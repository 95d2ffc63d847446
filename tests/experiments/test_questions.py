"""The questions: their runs can be made, and what is said to be missing is, with its command."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from analysis import registry
from experiments import files, grid, questions, runs
from experiments.cells import CELLS
from experiments.declared import declared
from experiments.needs import missing
from experiments.predictions import Predictions, merged, overrides_of
from experiments.question import Plan, Question
from rlvr_dynamics import config
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.flow.extrapolate import check_methods
from rlvr_dynamics.flow.stages import ALL as ALL_STAGES
from rlvr_dynamics.run_directory.lock import locked
from rlvr_dynamics.run_directory.records import FOLDERS
from rlvr_dynamics.run_directory.run import Run
from rlvr_dynamics.schema import STAGES, Extrapolation, Method, Rebuilt
from rlvr_dynamics.schema.shares import observed_step, target_step
from rlvr_dynamics.schema.tables import TABLES
from rlvr_dynamics.system.atomic import write_json

ROOT = Path(__file__).parents[2]
ALL = {question.name: question for question in questions.all_questions()}
CELL = "grpo_lr1e_5_seed1"


def merged_overrides(questions, cell=None):
    """Return overrides for one run that answers several questions, each prediction once."""
    plans = [plan for question in questions for plan in question.plans_for(cell)]
    ladder = sorted({share for plan in plans for share in plan.ladder})
    return overrides_of(merged([plan.predictions for plan in plans]), ladder)


def triples(extrapolation):
    return Predictions.configured(extrapolation.model_dump()).triples()


def wanted_of(cell):
    plans = [plan for question in ALL.values() for plan in question.plans_for(cell)]
    ladder = {share for plan in plans for share in plan.ladder}
    return merged([plan.predictions for plan in plans]), ladder


def test_every_question_is_a_module_of_its_name():
    assert list(ALL) == list(questions.MODULES)
    for question in ALL.values():
        assert question.asks.endswith("?") and question.sources and question.cells


def test_tables_and_figures_and_questions_name_each_other():
    asked = {artefact.name: artefact.question for artefact in registry.artefacts()}
    fed = {name: question.name for question in ALL.values() for name in question.artefacts}
    assert fed == {name: asked_by for name, asked_by in asked.items() if asked_by != "claims"}
    assert questions.select(["claims"]) == list(ALL.values())


@pytest.mark.parametrize("name", ALL)
def test_the_papers_own_overrides_compose_to_what_the_question_asks(name):
    question = ALL[name]
    plan = question.plans[0]
    loaded = config.load(
        [*runs.arguments(plan.cells[0], Path("outputs")), *merged_overrides([question])]
    )
    check_methods(loaded.extrapolation)
    if plan.predictions.triples():
        assert triples(loaded.extrapolation) == plan.predictions.triples()
    assert set(plan.benchmarks) <= loaded.benchmark.keys()
    if plan.ladder:
        assert loaded.scoring.ladder == tuple(sorted(plan.ladder))


def test_all_questions_of_a_cell_compose_together():
    for cell in ("relex_published_qwen2_5_math_1_5b", "grpo_qwen3_8b-shuffled", runs.DETAILED):
        merged_ones = merged_overrides(list(ALL.values()), cell)
        loaded = config.load([*runs.arguments(cell, Path("outputs")), *merged_ones])
        wanted, ladder = wanted_of(cell)
        assert triples(loaded.extrapolation) >= wanted.triples()
        assert set(loaded.scoring.ladder) == ladder
        check_methods(loaded.extrapolation)


def test_every_cell_can_be_run_and_has_the_benchmarks_it_is_asked_for():
    by_name = {
        cell.name: made for cell, made in zip(CELLS, grid.configurations(list(CELLS)), strict=True)
    }
    for question in ALL.values():
        for plan in question.plans:
            assert set(plan.tables) <= TABLES.keys()
            for cell in plan.cells:
                assert runs.arguments(cell, Path("outputs"))[0].startswith("+exp=")
                made = by_name.get(cell.partition("-")[0])
                if made is not None:
                    assert set(plan.benchmarks) <= made.benchmark.keys(), (question.name, cell)


def test_variants_of_a_cell_differ_in_what_their_name_says():
    made = config.load(runs.arguments("grpo_qwen3_4b-shuffled-seed2", Path("here")))
    assert made.data.shuffle_answers and made.seed == 2
    assert made.run_dir == "here/grpo_qwen3_4b-shuffled-seed2"
    many = config.load(runs.arguments("dapo_qwen3_8b-mini32-seed1", Path("outputs")))
    assert (many.trainer.updates_per_rollout, many.seed) == (16, 1)
    with pytest.raises(UserError, match="no cell is called grpo_nobody"):
        runs.arguments("grpo_nobody-seed1", Path("outputs"))


def test_contrast_pairs_say_what_trained_them_and_that_is_no_setting():
    train = next(stage for stage in ALL_STAGES if stage.name == "train")
    for cell, method in {"dpo": "dpo", "sft": "sft"}.items():
        made = config.load([f"+exp={cell}_qwen2_5_math_7b"])
        assert made.source.published.method == method
        other = config.load([f"+exp={cell}_qwen2_5_math_7b", "source.published.method=null"])
        assert train.settings(made) == train.settings(other)


def test_the_study_computes_what_the_questions_ask_of_its_cells():
    made = Predictions.configured(declared("study", "extrapolation"))
    for cell in set(runs.STUDY) - {runs.DETAILED}:
        wanted, ladder = wanted_of(cell)
        assert wanted.triples() <= made.triples()
        assert ladder <= set(declared("study", "scoring")["ladder"])


@pytest.mark.parametrize(
    "name", ["study", "oat_zero_7b", "relex_published_qwen2_5_math_1_5b", "grpo_smollm2_135m"]
)
def test_sections_are_read_from_files_as_they_compose(name):
    loaded = config.load([f"+exp={name}"])
    read = Extrapolation.model_validate(declared(name, "extrapolation"))
    assert read == loaded.extrapolation
    assert tuple(declared(name, "scoring")["ladder"]) == loaded.scoring.ladder


def test_written_groups_are_those_of_the_declarations():
    """A failure here means: run `python -m experiments.questions --write`."""
    for name in files.LISTED:
        assert (files.LIST_FOLDER / f"{name}.yaml").read_text() == files.list_of(ALL[name])
        made = Predictions.configured(declared_group(name))
        assert made.triples() == ALL[name].plans[0].predictions.triples()


def declared_group(name):
    return config.load([f"extrapolation={name}"]).extrapolation.model_dump()


# --- the union ---


def question(*plans):
    return Question("one", "Is it?", ("here",), plans)


def test_a_union_has_every_prediction_once():
    one = Plan(
        cells=(CELL,),
        windows=(0.2,),
        methods=(Method(name="relex"), Method(name="expo", grid={"alpha": (0.5, 2.0)})),
        reconstructions=(Rebuilt(name="rank1_recovery"),),
        ladder=(1.0,),
    )
    other = Plan(
        cells=(CELL,),
        windows=(0.1, 0.2),
        targets=(0.15, 2.0),
        methods=(Method(name="relex"), Method(name="expo", grid={"alpha": (2.0, 4.0)})),
        reconstructions=(Rebuilt(name="rank1_recovery", targets=(0.5,)),),
        ladder=(0.5,),
    )
    both = merged([one.predictions, other.predictions])
    assert [method.title for method in both.methods] == ["relex", "expo"]
    assert both.triples() >= one.predictions.triples() | other.predictions.triples()
    assert ("relex", 0.2, 0.15) not in both.triples()
    assert both.methods[1].grid == {"alpha": (0.5, 2.0, 4.0)}
    loaded = config.load(["+exp=demo", *merged_overrides([question(one), question(other)])])
    assert triples(loaded.extrapolation) == both.triples()
    assert loaded.scoring.ladder == (0.5, 1.0)
    assert merged_overrides([]) == []


def test_one_label_for_two_methods_is_refused():
    ranks = [Method(name="relex", label="wide", parameters={"rank": rank}) for rank in (3, 5)]
    plans = [Plan(cells=(CELL,), windows=(0.2,), methods=(method,)) for method in ranks]
    with pytest.raises(UserError, match="the label wide stands for"):
        merged_overrides([question(plan) for plan in plans])


def test_ranks_are_those_of_the_methods():
    assert ALL["ablations"].plans[0].ranks == ("1", "3", "5", "10")
    assert ALL["rank_recovery"].plans[0].ranks[:3] == ("1", "1%", "10%")


# --- what is missing ---


@pytest.fixture(scope="module")
def settings():
    return config.load(runs.arguments(CELL, Path("outputs")))


@pytest.fixture
def made(tmp_path, settings):
    """A finished run of a study cell with all that its configuration asks for."""
    folder = tmp_path / "study" / CELL
    write_json(folder / "config.json", settings.model_dump(mode="json"))
    for stage in STAGES:
        record = {"finished": True, "key": stage, "seconds": 1.0, "identity": stage}
        write_json(folder / FOLDERS[stage] / "stage.json", record)
    for name in TABLES:
        pd.DataFrame({"step": [1]}).to_parquet(folder / "measure" / f"{name}.parquet")
    write_index(folder, triples(settings.extrapolation), settings)
    return folder


def write_index(folder, made, settings, unscored=()):
    steps = tuple(range(1, settings.trainer.steps + 1))
    rows = [
        {
            "method": f"{label}_alpha_0_5" if label == "expo" else label,
            "observe": observed_step(steps, window) if window else 0,
            "step": target_step(steps, target),
            "candidate_of": label if label == "expo" else None,
        }
        for label, window, target in sorted(made)
    ]
    pd.DataFrame(rows).to_parquet(folder / "predictions" / "index.parquet")
    real = [
        {"method": "real", "observe": None, "step": target_step(steps, share)}
        for share in settings.scoring.ladder
    ]
    scores = pd.DataFrame([*rows, *real]).drop(columns=["candidate_of"])
    scores["method"] = scores["method"].str.replace("_alpha_0_5", "")
    scores = scores[~scores["method"].isin(unscored)].assign(benchmark="arithmetic")
    scores.to_parquet(folder / "scores" / "scores.parquet")


def lacks(folder, *names):
    asked = [ALL[name] for name in names or ALL]
    return [one for one in missing(asked, [folder]) if one.cell == CELL]


def test_a_finished_run_answers_and_a_cell_without_one_does_not(made, tmp_path):
    assert lacks(made) == []
    (gone,) = [one for one in missing([ALL["seeds"]], []) if one.cell == CELL]
    assert gone.what == "not run"
    loaded = config.load(shlex.split(gone.command)[3:])
    assert (loaded.name, loaded.seed, loaded.extrapolation) == (CELL, 1, settings_of(made))


def settings_of(folder):
    stored = json.loads((folder / "config.json").read_text())
    return Extrapolation.model_validate(stored["extrapolation"])


def test_a_missing_method_is_named_and_its_command_keeps_the_others(made, settings):
    less = settings.extrapolation.model_copy(
        update={
            "methods": tuple(
                each for each in settings.extrapolation.methods if each.title != "neural"
            )
        }
    )
    older = settings.model_copy(update={"extrapolation": less})
    write_json(made / "config.json", older.model_dump(mode="json"))
    write_index(made, triples(less), settings)
    (found,) = lacks(made, "ablations")
    assert found.what == "not predicted: neural (20% to 100%)"
    filled = config.load(shlex.split(found.command)[3:])
    assert triples(filled.extrapolation) >= triples(less) | {("neural", 0.2, 1.0)}
    assert filled.model_copy(
        update={"extrapolation": None, "run_dir": settings.run_dir}
    ) == settings.model_copy(update={"extrapolation": None})
    assert Run(filled, Path(filled.run_dir)).folder == made
    assert lacks(made, "baselines") == []


def test_what_the_run_was_asked_for_and_left_out_has_no_command(made, settings):
    everything = triples(settings.extrapolation)
    write_index(made, {one for one in everything if one[0] != "alpharl_final"}, settings)
    (found,) = lacks(made, "acceleration")
    assert found.what.startswith("left out by the run") and "alpharl_final" in found.what
    assert found.command is None


def test_unscored_predictions_and_checkpoints_are_named(made, settings):
    write_index(made, triples(settings.extrapolation), settings, unscored=("momentum", "real"))
    (found,) = lacks(made, "baselines")
    assert found.what == "not scored: momentum (20% to 100%); real (at 20%, at 100%)"


def test_a_benchmark_that_is_asked_for_and_not_scored_counts(made):
    plan = Plan(cells=(CELL,), ladder=(1.0,), benchmarks=("arithmetic", "gsm8k"))
    (found,) = missing([question(plan)], [made])
    assert found.what == "not scored: real (at 100%)"


def test_missing_measurements_and_tables_that_were_not_written(made):
    (made / "measure" / "pls.parquet").unlink()
    (found,) = lacks(made, "linearity_pls")
    assert (found.what, found.command) == ("left out by measure: pls", None)
    (made / "measure" / "stage.json").unlink()
    assert [one.what for one in lacks(made, "linearity_pls")] == ["not measured"]


def test_failed_and_working_runs_say_so(made):
    log = made / "log.jsonl"
    command = shlex.join(["python", "-m", "rlvr_dynamics.run", "+exp=study", "seed=1"])
    events = [{"event": "start", "stage": "score", "command": command}]
    events += [{"event": "failed", "stage": "score", "error": "out of memory"}]
    log.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    (found,) = lacks(made, "seeds")
    assert found.what == "failed in score: out of memory"
    assert shlex.split(found.command)[3:] == ["+exp=study", "seed=1", f"run_dir={made}"]
    with locked(made):
        (found,) = lacks(made, "seeds")
    assert (found.what, found.command) == ("at work: score", None)


def test_a_run_of_another_version_is_named_and_stops_nothing(made):
    stored = json.loads((made / "config.json").read_text())
    stored["extrapolation"] = {"methods": ["relex"], "recovery_rank": 1}
    write_json(made / "config.json", stored)
    (found,) = lacks(made, "seeds")
    assert (found.what, found.command) == (f"run by another version of this project: {made}", None)


# --- the command line ---


def test_the_listing_says_what_is_missing_and_what_to_type_next(made, tmp_path, capsys):
    write_json(made / "scores" / "stage.json", {})
    (made / "scores" / "scores.parquet").unlink()
    assert questions.main(["seeds", "--runs", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "1 of 20 cells answer it" not in printed and "0 of 20 cells answer it" in printed
    assert "not scored: alpharl (10% to 100%, 20% to 100%, 40% to 100%)" in printed
    *_, last = printed.strip().splitlines()
    assert last.startswith("python -m rlvr_dynamics.run +exp=study") and CELL in last


def test_json_has_every_cell_of_every_question(tmp_path, capsys):
    assert questions.main(["--json", "--runs", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found["questions"]] == list(ALL)
    for each in found["questions"]:
        assert [cell["cell"] for cell in each["cells"]] == list(ALL[each["name"]].cells)
        assert all(cell["missing"][0]["what"] == "not run" for cell in each["cells"])
    assert "+exp=study" in found["next"]


def test_an_unknown_question_is_refused(capsys):
    assert questions.main(["recovery"]) == 2
    assert "no question is called recovery" in capsys.readouterr().err


def test_the_listing_waits_for_no_heavy_import(made, tmp_path):
    command = [sys.executable, "-X", "importtime", "-m", "experiments.questions"]
    done = subprocess.run(
        [*command, "--runs", str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "rlvr_dynamics" in imported
    assert not imported & {"torch", "transformers", "ray", "verl", "vllm", "matplotlib"}


def test_nothing_to_override_is_no_override():
    assert overrides_of(Predictions()) == []
