"""A method declares everything that its readers show: one file and one line of the registry."""

import base64
import importlib.util
import re
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest

from analysis.registry import find
from rlvr_dynamics.extrapolation import EXTRAPOLATORS, METHODS
from rlvr_dynamics.extrapolation.__main__ import methods_in_markdown
from rlvr_dynamics.reporting import build_report, figure_style
from rlvr_dynamics.results.methods import look, method_name, method_rank
from rlvr_dynamics.results.study import load_study
from rlvr_dynamics.system import palette
from tests.support.reporting_fixture import ACCURACY, SKILL, build_run, write_forecast, write_scores
from tests.support.trajectory_source import go, source

FIXTURES = (source,)
DOCUMENT = Path(__file__).parents[2] / "docs" / "methods.md"
DOUBLED = '''
"""Twice the last observed update."""

import numpy as np

from rlvr_dynamics.extrapolation import Extrapolator, Look, Parameter


def row_weights(window, targets, parameters, reconstruct):
    weights = np.zeros((len(targets), len(window.steps)))
    weights[:, -1] = parameters["factor"]
    return weights


DOUBLED = Extrapolator(
    name="doubled",
    title="twice the update",
    paper="https://example.org/doubled",
    summary="the last observed update, doubled",
    look=Look("#123456", "8", ":"),
    labels={r"doubled_times(\\d+)": "{} times the update"},
    row_weights=row_weights,
    parameters={"factor": Parameter(default=2.0, summary="how often it counts")},
)
'''


@pytest.fixture
def doubled(tmp_path, monkeypatch):
    """A method in a file of its own, and its line in the registry."""
    path = tmp_path / "doubled.py"
    path.write_text(DOUBLED)
    spec = importlib.util.spec_from_file_location("doubled", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for registry in (METHODS, EXTRAPOLATORS):
        monkeypatch.setitem(registry, module.DOUBLED.name, module.DOUBLED)
    return module.DOUBLED


def test_a_run_finds_a_new_method(doubled, source, capsys):
    wanted = "{name: doubled, label: mine, parameters: {factor: 3.0}}"
    overrides = ("stages=[extrapolate]", "extrapolation.reconstructions=[]")
    methods = "extrapolation.methods"
    assert go(source, *overrides, f"{methods}=[doubled,{wanted}]") == 0
    index = pd.read_parquet(source / "out" / "predictions" / "index.parquet")
    assert set(index["method"]) == {"doubled", "mine"}
    assert go(source, *overrides, methods + "=[{name: doubled, parameters: {x: 1}}]") == 2
    assert "it has: factor" in capsys.readouterr().err


@pytest.fixture
def run(doubled, tmp_path):
    """A run that used the method, and a variant under a label of the user's."""
    run = build_run(tmp_path / "run")
    models = ("base", "step_3", "step_20", "rank1_recovery__step_20", "relex__observe_3__step_20")
    own = {f"{label}__observe_3__step_20": 0.7 for label in ("doubled", "mine")}
    write_scores(run, {model: ACCURACY[model] for model in models} | own)
    write_forecast(run, skill=SKILL | {"doubled": 0.3, "mine": 0.2})
    return run


@pytest.fixture
def report(run, tmp_path, monkeypatch):
    out = tmp_path / "report"
    out.mkdir()
    monkeypatch.setitem(figure_style.STYLE, "svg.fonttype", "none")  # words stay words
    build_report(run, out)
    return out


def test_every_table_of_methods_has_its_title(doubled, report):
    found = {path.stem: path.read_text() for path in (report / "tables").glob("*.csv")}
    found = {name: text for name, text in found.items() if "RELEX" in text}
    del found["claims"], found["columns"], found["best"]  # the last has only the best method
    assert set(found) >= {"methods", "scores", "forecast_skill", "moved_parameters"}
    for name, text in found.items():
        assert doubled.title in text and "mine" in text and "doubled" not in text, name


def test_the_study_has_its_title_beside_all_other_methods(doubled, run):
    tables = find("regimes").make(load_study([run]))
    cells = {str(cell) for table in tables for row in table.cells() for cell in row}
    assert {doubled.title, "mine", method_name("relex")} <= cells and "doubled" not in cells


def test_every_figure_of_methods_has_its_title(doubled, report):
    page = (report / "index.html").read_text()
    pictures = re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", page)
    figures = [base64.b64decode(each).decode() for each in pictures]
    figures = [each for each in figures if ">RELEX" in each]
    assert len(figures) >= 3
    for figure in figures:
        assert doubled.title in figure and "mine" in figure


def test_a_variant_has_its_methods_colour_and_a_marker_of_its_own(doubled):
    assert method_name("doubled_times7") == "7 times the update"
    assert method_name("doubled_times7_factor_0_5") == "7 times the update, factor 0.5"
    shown = ["doubled", "doubled_times7", "doubled_times10", "mine", "relex"]
    looks = {label: look(label, shown) for label in shown}
    assert looks["doubled"] == doubled.look
    assert {looks[label].colour for label in shown[:3]} == {doubled.look.colour}
    assert len({(each.colour, each.marker) for each in looks.values()}) == len(shown)


def test_labels_sort_by_registry_declaration_and_number(doubled):
    wanted = ["base", "real", "hold_last", "rank1_recovery", "rank1_mlp", "recovery_5_percent"]
    wanted += ["recovery_10_percent", "relex", "relex_rank3", "relex_rank10", "relex_polynomial"]
    wanted += ["expo_alpha_0_25", "expo_alpha_0_4", "alpharl", "alpharl_released", "doubled"]
    wanted += ["doubled_times7", "mine"]
    assert sorted(reversed(wanted), key=method_rank) == wanted


def test_no_two_methods_look_or_are_called_alike():
    for one, other in combinations(METHODS.values(), 2):
        assert one.title != other.title
        assert (one.look.colour, one.look.marker) != (other.look.colour, other.look.marker)
    for name, method in METHODS.items():
        assert method.name == name and method.summary and method.paper.startswith("https://")
        assert method.look.colour in vars(palette).values()


def test_the_document_lists_every_method(doubled, monkeypatch):
    assert f"| `doubled` | {doubled.title} | {doubled.summary} |" in methods_in_markdown()
    monkeypatch.delitem(METHODS, "doubled")
    monkeypatch.delitem(EXTRAPOLATORS, "doubled")
    assert methods_in_markdown() in DOCUMENT.read_text(encoding="utf-8"), (
        "docs/methods.md is not what `python -m rlvr_dynamics.extrapolation` prints"
    )
