"""`rlvr_dynamics.load`: what a run directory holds, made when asked for, and light until then."""

import subprocess
import sys

import pytest

import rlvr_dynamics
from rlvr_dynamics.claims.ledger import ledger_of_run
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.reporting.figures import FIGURES
from rlvr_dynamics.results.run import load_results
from tests.support.reporting_fixture import build_run, write_config, write_train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return build_run(tmp_path_factory.mktemp("runs") / "run")


def test_a_run_has_its_tables_ledger_and_figures(run):
    before = sorted(run.rglob("*"))
    loaded = rlvr_dynamics.load(str(run))
    assert {"metrics", "trajectory_svd", "scores"} <= set(loaded.tables)
    assert loaded.ledger.equals(ledger_of_run(load_results(run)))
    assert list(loaded.summaries["claims"]["id"])[0] in set(loaded.ledger["id"])
    figure = loaded.figure(loaded.figures[0])
    assert figure.axes and figure is not loaded.figure(loaded.figures[0])
    assert loaded.config.seed == loaded.results.config.seed
    assert sorted(run.rglob("*")) == before


def test_what_has_not_run_is_missing_and_said(tmp_path):
    folder = tmp_path / "young"
    folder.mkdir()
    write_config(folder)
    write_train(folder)
    loaded = rlvr_dynamics.load(folder)
    assert "metrics" in loaded.tables and "scores" not in loaded.tables
    assert "clocks" not in loaded.summaries
    absent = {each.name for each in FIGURES} - set(loaded.figures)
    with pytest.raises(UserError, match="was not measured") as caught:
        loaded.figure(min(absent))
    assert "score" in caught.value.way_out
    with pytest.raises(UserError, match="no figure 'nothing'"):
        loaded.figure("nothing")


@pytest.mark.parametrize("make", [False, True])
def test_a_folder_that_is_no_run_is_refused(tmp_path, make):
    folder = tmp_path / "none"
    if make:
        folder.mkdir()
    with pytest.raises(UserError, match="run directory"):
        rlvr_dynamics.load(folder)


def test_the_package_stays_light_until_a_figure_is_asked_for(run):
    code = (
        "import sys, rlvr_dynamics;"
        "heavy = {'torch', 'verl', 'vllm', 'transformers', 'matplotlib', 'pandas'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        f"loaded = rlvr_dynamics.load({str(run)!r}); loaded.tables, loaded.ledger;"
        "found = (heavy - {'pandas'}) & set(sys.modules); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
