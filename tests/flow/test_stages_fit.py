"""Stages of one run directory belong together: what was made from something else is not used."""

import json
import shutil

import pandas as pd
import pytest

from analysis.__main__ import main as analyse
from rlvr_dynamics.run import main
from rlvr_dynamics.system.atomic import write_json, write_parquet, write_sealed_json
from rlvr_dynamics.system.sealed import digest, read_sealed_json
from tests.support.small_models import random_tensors, save_model
from tests.support.trajectory_source import FEW, write_source

MEASURE, PREDICT = "stages=[measure]", "stages=[extrapolate]"


@pytest.fixture
def two(tmp_path):
    return write_source(tmp_path / "a", 0), write_source(tmp_path / "b", 10)


def go(source, out, *overrides):
    given = (f"source.base={source / 'base'}", f"source.checkpoints={source / 'checkpoints'}")
    return main(["+exp=trajectory", *given, f"run_dir={out}", *FEW, *overrides])


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".parquet", ".safetensors")
    }


def refusal(capsys, *words):
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]


def test_a_second_set_of_checkpoints_is_refused_and_the_first_ones_results_stay(two, capsys):
    first, second = two
    out = first.parent / "out"
    assert go(first, out, "stages=[measure,extrapolate]") == 0
    before = contents(out)
    assert go(second, out, "stages=[measure,extrapolate]") == 2
    refusal(capsys, "other checkpoints", str(out), "run_dir=", str(first / "checkpoints"))
    assert go(second, out, "stages=[measure]", "dry_run=true") == 2
    refusal(capsys, "other checkpoints")
    assert contents(out) == before
    # Another run from the same base, in the place of the first one.
    shutil.rmtree(first / "checkpoints")
    write_source(first, 20, base=random_tensors(0))
    assert go(first, out, MEASURE) == 2
    refusal(capsys, "step 1 had other weights")
    assert contents(out) == before


@pytest.mark.parametrize("stage", [MEASURE, PREDICT])
def test_results_of_a_version_that_kept_no_note_of_their_source_stay_too(two, capsys, stage):
    first, second = two
    out = first.parent / "out"
    assert go(first, out, stage) == 0
    before = contents(out)
    (out / "source.json").unlink()
    assert go(second, out, stage) == 2
    refusal(capsys, "this run directory holds", str(out), "run_dir=")
    assert contents(out) == before
    assert go(first, out, stage) == 0
    (out / "source.json").unlink()
    if stage == MEASURE:
        write_source(first, 0, steps=6)
        assert go(first.rename(first.parent / "moved"), out, stage) == 0


def test_moved_longer_and_repaired_checkpoints_are_the_same(two, capsys):
    first, _ = two
    out = first.parent / "out"
    assert go(first, out, MEASURE) == 0
    moved = first.rename(first.parent / "moved")
    assert go(moved, out, MEASURE) == 0
    assert "measure      done" in capsys.readouterr().out
    write_source(moved, 0, steps=6)
    assert go(moved, out, MEASURE) == 0
    assert "measure      going on (its inputs" in capsys.readouterr().out
    assert set(pd.read_parquet(out / "measure" / "norms.parquet")["step"]) == set(range(1, 7))
    shutil.rmtree(moved / "checkpoints" / "step_5")
    save_model(moved / "checkpoints" / "step_5", random_tensors(77))
    assert go(moved, out, MEASURE) == 0
    assert "measure      going on (its inputs" in capsys.readouterr().out


def test_a_stage_left_out_must_fit_what_is_asked_for_now(two, capsys):
    first, _ = two
    out = first.parent / "out"
    assert go(first, out, "stages=[measure,extrapolate]") == 0
    capsys.readouterr()
    assert go(first, out, "stages=[report]", "measure.top_k=3") == 2
    refusal(capsys, "report would take measure", "measure.top_k: 8 there, 3 now", "another run_dir")
    write_source(first, 0, steps=6)
    assert go(first, out, MEASURE) == 0
    capsys.readouterr()
    assert go(first, out, "stages=[report]") == 2
    refusal(capsys, "extrapolate", "another train", "stages=[extrapolate,report]", "predictions/")
    # How much of which machine is no matter of what was measured.
    assert go(first, out, PREDICT, "measure.threads=1", "measure.memory_gib=1") == 0
    assert go(first, out, "stages=[report]", "measure.threads=1") == 0


def test_a_stage_that_was_interrupted_lends_no_tables_of_before(two, capsys):
    first, _ = two
    out = first.parent / "out"
    assert go(first, out, MEASURE) == 0
    record = out / "measure" / "stage.json"
    unfinished = json.loads(record.read_text()) | {"finished": False}
    unfinished.pop("seal")
    record.write_text(json.dumps(unfinished))
    capsys.readouterr()
    assert go(first, out, "stages=[report]") == 2
    refusal(capsys, "measure", "interrupted", "stages=[measure,report]")
    assert analyse(["table_1", f"run_dirs=[{out}]", f"out={out.parent / 'page'}"]) == 2
    refusal(capsys, "has not finished", str(out))


def test_behaviour_that_was_interrupted_lends_no_tables_of_before(two, capsys):
    first, _ = two
    out = first.parent / "out"
    assert go(first, out, MEASURE) == 0
    write_parquet(out / "behaviour" / "summary.parquet", pd.DataFrame({"metric": ["accuracy"]}))
    write_json(out / "behaviour" / "stage.json", {"finished": False})
    assert analyse(["table_1", f"run_dirs=[{out}]", f"out={out.parent / 'page'}"]) == 2
    refusal(capsys, "behaviour has not finished", str(out))


def test_behaviour_of_other_checkpoints_stays(two, capsys):
    first, second = two
    out = first.parent / "out"
    assert go(first, out, MEASURE) == 0
    write_parquet(out / "behaviour" / "summary.parquet", pd.DataFrame({"metric": ["accuracy"]}))
    shutil.rmtree(out / "measure")
    assert go(second, out, MEASURE) == 2
    refusal(capsys, "other checkpoints")


def test_a_report_with_the_verdicts_of_before_is_made_again(two, capsys):
    first, _ = two
    out = first.parent / "out"
    assert go(first, out, "stages=[measure,report]") == 0
    path = out / "report" / "stage.json"
    record = read_sealed_json(path)
    record["material"]["version"] = 1
    write_sealed_json(path, record | {"key": digest(record["material"])})
    capsys.readouterr()
    assert go(first, out, "stages=[measure,report]") == 0
    said = capsys.readouterr().out
    assert "measure      done" in said and "report       starting (its inputs" in said


def test_the_analysis_names_a_run_whose_stages_do_not_fit(two, capsys):
    first, second = two
    out, other = first.parent / "out", first.parent / "other"
    assert go(first, out, "stages=[measure,extrapolate]") == 0
    assert go(second, other, PREDICT) == 0
    shutil.rmtree(out / "predictions")
    shutil.copytree(other / "predictions", out / "predictions")
    capsys.readouterr()
    assert analyse(["table_1", f"run_dirs=[{out}]", f"out={out.parent / 'page'}"]) == 2
    refusal(capsys, "do not fit together", "extrapolate", str(out))


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "null", "[" * 100000])
def test_a_damaged_record_is_one_line_or_done_again(two, capsys, text):
    first, _ = two
    out = first.parent / "out"
    assert go(first, out, MEASURE) == 0
    (out / "measure" / "stage.json").write_text(text)
    assert go(first, out, "stages=[report]") == 2
    refusal(capsys, "damaged stage.json", str(out / "measure"))
    assert go(first, out, MEASURE) == 0
    assert go(first, out, MEASURE) == 0
    assert "measure      done" in capsys.readouterr().out
