"""Run directories with hostile names and broken files: refused or shown, never believed."""

import json

import pandas as pd
import pytest

from analysis.runs import copy_report
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.results.run import load_results
from rlvr_dynamics.results.study import Cell, load_study


@pytest.fixture
def run_dir(tmp_path):
    folder = tmp_path / "run"
    (folder / "measure").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"name": "run"}))
    return folder


@pytest.mark.parametrize("name", ['a"><img src=x onerror=alert(1)>', "x\\1y", "a%20b#c?"])
def test_a_folder_name_stays_a_name_in_a_copied_report(name, run_dir, tmp_path):
    page, cells = tmp_path / "index.html", tmp_path / "cells"
    page.write_text('<main><a href="claims.csv">csv</a></main>')
    (tmp_path / "claims.csv").write_text("id\n")
    cells.mkdir()
    copy_report(Cell(name, load_results(run_dir)), page, cells, "")
    html = (cells / f"{name}.html").read_text()
    assert html.count("<") == 4 and html.count('"') == 2
    assert (cells / name / "claims.csv").is_file()


def test_half_a_table_is_named(run_dir):
    path = run_dir / "measure" / "norms.parquet"
    pd.DataFrame({"step": [1, 2]}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"norms\.parquet.*measure stage") as told:
        load_study([run_dir])
    assert "not a whole parquet file" in str(told.value)


def test_half_a_table_of_samples_is_named(run_dir):
    results = load_results(run_dir)
    path = results.sample_path("base", "math")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"math\.parquet.*score stage"):
        results.has_samples("base", "math")


@pytest.mark.parametrize("name", ["config.json", "provenance.json"])
def test_half_a_json_file_is_named(run_dir, name):
    (run_dir / name).write_text('{"name": "ru')
    with pytest.raises(UserError, match=f"damaged {name}"):
        load_study([run_dir])
