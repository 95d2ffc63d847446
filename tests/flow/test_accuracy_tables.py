"""`source.accuracy` in the forms that people have it in."""

import pandas as pd
import pytest

from rlvr_dynamics import config
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.run_directory.accuracy import accuracy_of
from rlvr_dynamics.run_directory.run import Run

RIGHT = {1: 0.25, 2: 0.5, 10: 1.0}


def read(path, tmp_path):
    given = ["+exp=trajectory", "source.base=/a", "source.checkpoints=/b"]
    found = accuracy_of(Run(config.load([*given, f"source.accuracy={path}"]), tmp_path))
    assert found is not None
    return dict(found.values)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "step,accuracy\n1,0.25\n2,0.5\n10,1\n"),
        ("a.tsv", "step\taccuracy\n1\t0.25\n2\t0.5\n10\t1\n"),
        ("a.csv", "Step;Accuracy\n1;0,25\n2;0,5\n10;1\n"),
        ("a.csv", "step;accuracy\n1;0.25\n2;0.5\n10;1.0\n"),
        ("a.CSV", " STEP , Accuracy , note\n 1 , 0.25 , x\n2, .5 ,\n10 ,1 , \n\n"),
        ("a.txt", "step accuracy\n1    0.25\n2 5e-1\n10 1\n"),
        ("a.csv", '\ufeff"step","accuracy"\r\n"1","0.25"\r\n"2","0.5"\r\n"10","1"\r\n'),
        ("a.csv", "model,step,accuracy\nx,1,0.25\nx,2,0.5\nx,10,1\n"),
        ("a.jsonl", '{"Step": 1, "accuracy ": 0.25}\n{"Step": 2, "accuracy ": 0.5}\n'
         '{"Step": 10, "accuracy ": 1}\n'),
    ],
)  # fmt: skip
def test_a_table_is_read_in_every_usual_form(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read(tmp_path / name, tmp_path) == RIGHT


def test_a_parquet_table_with_capitals_is_read(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"Step": list(RIGHT), "ACCURACY": list(RIGHT.values())}).to_parquet(path)
    assert read(path, tmp_path) == RIGHT


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("step,accuracy\n1,0.2\n2\n", "row 3 has 1 fields"),
        ("step,accuracy\n1,0,2\n", "row 2 has 3 fields"),
        ("step,accuracy\n1,25%\n", "cannot be read"),
        ("step,accuracy\n1,25\n", "between 0 and 1"),
        ("step,Step,accuracy\n1,2,0.2\n", "two columns"),
        ("step,accuracy\n1,\n", "cannot be read"),
        ("step,accuracy\n1,nan\n", "between 0 and 1"),
        ('step,accuracy\n1,"0.2\n', "cannot be read"),
        ("", "nothing in it"),
    ],
)
def test_what_is_no_such_table_is_one_line(tmp_path, text, word):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=word) as caught:
        read(tmp_path / "a.csv", tmp_path)
    assert "\n" not in str(caught.value) and "tsv" in caught.value.way_out


def test_a_published_run_without_a_gpu_is_offered_what_needs_none(tmp_path, monkeypatch):
    from rlvr_dynamics.flow import checks

    monkeypatch.setattr(checks, "gpus_found", lambda: [])
    loaded = config.load(["+exp=relex_published_qwen2_5_math_1_5b"])
    with pytest.raises(UserError, match="GPUs") as caught:
        checks.check_machine(Run(loaded, tmp_path))
    offered = caught.value.way_out.partition("none: ")[2]
    assert offered == "stages=[prepare,train,measure,extrapolate,report]"
    checks.check_machine(Run(config.load([f"+exp={loaded.name}", offered]), tmp_path))
