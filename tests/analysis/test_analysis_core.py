"""`python -m analysis`: what it is asked, what it writes, and what it does with odd runs."""

import csv
import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import registry
from analysis.__main__ import EXIT_PARTIAL, listing, main
from analysis.arguments import expand, parse
from analysis.build import MARK, analyse
from rlvr_dynamics.claims.ledger import build_ledger
from rlvr_dynamics.claims.printed import COLUMNS, PROVENANCE, printed
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.reporting import figure_style
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.study import load_study
from tests.support.analysis_fixture import build_cells, remove_stage, set_config
from tests.support.page_links import faults
from tests.support.reporting_fixture import write_config


def numbers(study):
    frame = pd.DataFrame(
        {
            "source": ["paper", *["ours"] * len(study.cells)],
            "100%_a & b": [71.6, *[np.nan] * len(study.cells)],
            "cell": [None, *[cell.name for cell in study.cells]],
        }
    )
    return [Table("ours_numbers", "Num_bers & 50 %", "n is one", frame)]


def line(study):
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1], [0, len(study.cells)])
    return Drawing(figure, "n 2 points", tuple(cell.name for cell in study.cells))


def table(name="ours_numbers", build=numbers):
    return Artefact(name, "ours", "Table 9", "Numbers", "Look here.", "seeds", build)


def figure(name="ours_line", draw=line):
    return Artefact(name, "ours", "", "A line", "Its slope.", "seeds", draw)


def refuse(study):
    raise ZeroDivisionError("odd data")


def few_draws(run):
    set_config(run, report={"bootstrap_draws": 40})
    return run


@pytest.fixture
def unsaved(monkeypatch):
    """Figures are drawn and not written: writing three formats takes most of the time."""
    monkeypatch.setattr(figure_style, "save", lambda *_: b"<svg/>")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return [few_draws(run) for run in build_cells(tmp_path_factory.mktemp("runs"), 2)]


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory):
    """Everything that the package offers, with errors let through."""
    out = tmp_path_factory.mktemp("whole") / "out"
    result = analyse(load_study(runs), registry.artefacts(), out, ledger=build_ledger, strict=True)
    return out, result


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_printed_numbers_are_complete_and_know_where_they_come_from():
    everything = printed()
    assert tuple(everything.columns) == COLUMNS
    assert set(everything["provenance"]) <= set(PROVENANCE)
    assert everything["value"].notna().all()
    first = printed(paper="alpharl", table="table1", algorithm="dapo", benchmark="aime24")
    assert list(first["value"]) == [28.54, 12.5, 15.8, 15.0, 28.33]
    assert not len(printed(table="no such table"))
    first.loc[:, "value"] = 0.0
    again = printed(paper="alpharl", table="table1", algorithm="dapo", benchmark="aime24")
    assert again["value"].iloc[0] == 28.54


def test_one_number_is_printed_once():
    labelled = printed()[printed()["algorithm"].notna()]
    keys = [name for name in COLUMNS if name not in ("value", "provenance")]
    assert not labelled.duplicated(keys).any()


def test_the_whole_build_writes_what_it_says(whole, runs):
    out, result = whole
    assert not result.broken
    there = [item for item in result.built if item.there]
    assert len(there) >= len(result.built) / 3
    for item in there:
        for one in item.tables:
            if one.frame is not None:
                for ending in ("csv", "md", "tex"):
                    assert (out / "tables" / f"{one.name}.{ending}").stat().st_size > 0
        if item.image:
            assert (out / "figures" / f"{item.artefact.name}.png").read_bytes()[:4] == b"\x89PNG"
            assert (out / "figures" / f"{item.artefact.name}.pdf").read_bytes()[:5] == b"%PDF-"
    assert {path.stem for path in (out / "cells").glob("*.html")} == {run.name for run in runs}
    mark = json.loads((out / MARK).read_text())
    assert mark["written"] == [item.artefact.name for item in there]
    assert mark["runs"] == sorted(run.name for run in runs)


def test_what_is_not_measured_says_what_it_needs(whole):
    _, result = whole
    for item in result.built:
        if not item.there:
            said = [item.missing, *[one.missing for one in item.tables]]
            assert any(said), item.artefact.name


def test_no_missing_value_is_shown_as_nan_and_no_table_is_ragged(whole):
    out, _ = whole
    for path in (out / "tables").glob("*.csv"):
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
        assert {len(row) for row in rows} == {len(rows[0])}, path.name
        assert not {"nan", "None", "<NA>"} & {field for row in rows for field in row}, path.name
    for path in (out / "tables").glob("*.md"):
        assert " nan " not in path.read_text(), path.name


def test_every_row_names_runs_of_the_study(whole, runs):
    """The page turns these names into links: none of them may lead nowhere."""
    out, result = whole
    names = {run.name for run in runs}
    for item in result.built:
        assert set(item.cells) <= names, item.artefact.name


def test_the_whole_page_has_no_dead_link_and_no_name_twice(whole):
    assert faults(whole[0]) == []


@pytest.mark.slow
def test_the_same_runs_give_the_same_bytes(runs, tmp_path):
    found = []
    for seed in ("1", "2"):
        out = tmp_path / "out"
        command = [sys.executable, "-m", "analysis", f"run_dirs=[{runs[0]},{runs[1]}]"]
        names = ["alpharl_table_1", "alpharl_figure_3a", "relex_main"]
        subprocess.run(
            [*command, *names, f"out={out}"],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        found.append(digests(out))
    assert found[0] == found[1]
    assert "figures/alpharl_figure_3a.png" in found[0]


def test_latex_escapes_what_data_may_hold(runs, tmp_path):
    analyse(load_study(runs), [table()], tmp_path / "out", strict=True)
    tex = (tmp_path / "out" / "tables" / "ours_numbers.tex").read_text()
    assert r"100\%\_a \& b" in tex and r"Num\_bers \& 50 \%" in tex
    body = tex.partition(r"\begin{table}")[2]
    assert body.count("{") == body.count("}")
    for row in body.partition(r"\midrule")[2].partition(r"\bottomrule")[0].strip().splitlines():
        assert row.replace(r"\&", "").count("&") == 2 and row.endswith(r"\\")


def test_tex_of_everything_is_balanced(whole):
    out, _ = whole
    for path in (out / "tables").glob("*.tex"):
        body = "\n".join(path.read_text().splitlines()[1:])
        assert body.replace(r"\{", "").count("{") == body.replace(r"\}", "").count("}"), path.name
        plain = body.replace("\\%", "").replace("\\_", "").replace("\\#", "")
        assert "%" not in plain and "#" not in plain, path.name
        assert body.isascii() or all(ord(sign) < 0x250 for sign in body), path.name


def test_one_that_breaks_leaves_the_others(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        registry, "artefacts", lambda: [table(), figure(draw=refuse), figure("ours_other")]
    )
    out = tmp_path / "out"
    code = main([f"run_dirs={runs[0]}", f"out={out}"])
    said = capsys.readouterr().err
    assert code == EXIT_PARTIAL
    assert "ours_line" in said and "ZeroDivisionError: odd data" in said
    page = (out / "index.html").read_text()
    assert "ZeroDivisionError: odd data" in page and "A line" in page
    assert json.loads((out / MARK).read_text())["broken"] == ["ours_line"]
    assert (out / "figures" / "ours_other.png").exists()
    assert not (out / "figures" / "ours_line.png").exists()


def test_half_of_a_broken_artefact_does_not_stay(runs, tmp_path):
    def two(study):
        odd = Table("ours_odd", "t", "c", pd.DataFrame({"a": [1]}), {"a": refuse})
        return [*numbers(study), odd]

    result = analyse(load_study(runs), [table(build=two)], tmp_path / "out")
    assert list(result.broken) == ["ours_numbers"]
    assert {path.stem for path in (tmp_path / "out" / "tables").iterdir()} == {"runs"}


def test_strict_lets_an_error_through_and_writes_nothing(runs, tmp_path):
    with pytest.raises(ZeroDivisionError):
        analyse(load_study(runs), [figure(draw=refuse)], tmp_path / "out", strict=True)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_no_broken_table(runs, tmp_path):
    def full(study):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match="no space left"):
        analyse(load_study(runs), [figure(draw=full)], tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_broken_ledger_leaves_the_tables(runs, tmp_path):
    result = analyse(load_study(runs), [table()], tmp_path / "out", ledger=refuse)
    assert list(result.broken) == ["claims ledger"]
    assert "odd data" in (tmp_path / "out" / "index.html").read_text()
    assert (tmp_path / "out" / "tables" / "ours_numbers.csv").exists()


@pytest.mark.slow
@pytest.mark.parametrize("stages", [("train", "measure"), ("predictions",), ("scores",)])
def test_a_run_without_a_stage_breaks_nothing(stages, tmp_path, unsaved):
    run = few_draws(build_cells(tmp_path / "runs", 1)[0])
    for stage in stages:
        remove_stage(run, stage)
    result = analyse(
        load_study([run]),
        registry.artefacts(),
        tmp_path / "out",
        ledger=build_ledger,
        strict=True,
    )
    assert result.claims is None or len(result.claims)
    page = (tmp_path / "out" / "cells" / f"{run.name}.html").read_text()
    for stage in stages:
        assert stage.replace("predictions", "extrapolate").replace("scores", "score") in page


def test_a_run_with_nothing_but_a_configuration_breaks_nothing(tmp_path, unsaved):
    run = build_cells(tmp_path / "runs", 1)[0]
    for stage in ("measure", "predictions", "scores", "train"):
        remove_stage(run, stage)
    result = analyse(
        load_study([run]),
        registry.artefacts(),
        tmp_path / "out",
        ledger=build_ledger,
        strict=True,
    )
    assert "Runs" in result.page.read_text()


def test_out_with_something_else_in_it_is_refused_and_kept(runs, tmp_path, capsys):
    precious = tmp_path / "precious" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("years of work")
    assert main(["table_1", f"run_dirs={runs[0]}", f"out={precious.parent}"]) == 2
    assert "would replace" in capsys.readouterr().err
    assert precious.read_text() == "years of work"
    (precious.parent / "analysis.json").write_text("{}")  # somebody's own file of that name
    assert main(["table_1", f"run_dirs={runs[0]}", f"out={precious.parent}"]) == 2
    assert precious.read_text() == "years of work"


def test_out_where_nothing_can_be_written_is_named(runs, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["table_1", f"run_dirs={runs[0]}", f"out={tmp_path / 'file' / 'out'}"]) == 2
    assert "out cannot be written" in capsys.readouterr().err


def test_names(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where there are no runs: the name is still what is told
    known = [table("alpharl_table_1"), table("relex_table_1"), figure("alpharl_figure_3a")]
    assert registry.find("figure_3a", known) is known[2]
    assert registry.find("relex_table_1", known) is known[1]
    with pytest.raises(UserError, match="several.*alpharl_table_1, relex_table_1"):
        registry.find("table_1", known)
    with pytest.raises(UserError, match="no table or figure named nonsense.*figure_3a"):
        registry.find("nonsense", known)
    assert main(["nonsense"]) == 2
    assert "alpharl_table_1" in capsys.readouterr().err


def test_list_names_everything_once():
    lines = listing().splitlines()
    names = [line.split()[0] for line in lines]
    assert names == [artefact.name for artefact in registry.artefacts()]
    assert all(len(line.split()) > 1 for line in lines)


def test_every_artefact_has_words_and_a_question():
    for artefact in registry.artefacts():
        assert artefact.title and artefact.look_at.endswith((".", "?")), artefact.name
        assert artefact.question, artefact.name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runs=a"], "unknown key runs.*run_dirs, out"),
        (["run_dirs=a", "run_dirs=b"], "given twice"),
        (["run_dirs=[]"], "empty"),
        (["run_dirs=[/nowhere/*]"], "no run directory matches"),
        (["run_dirs=/nowhere/*[01]"], r"no run directory matches.*\*\[01\]"),
        (["out="], "empty"),
    ],
)
def test_mistakes_are_named(arguments, said):
    with pytest.raises(UserError, match=said):
        parse(arguments)


def test_a_pattern_skips_what_is_no_run_and_names_it(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    for run in runs:
        Path("runs", run.name).symlink_to(run)
    Path("runs/notes").mkdir()
    found, skipped = expand(["runs/*", f"runs/{runs[0].name}"])
    assert sorted(path.name for path in found) == sorted(run.name for run in runs)
    assert skipped == [Path("runs/notes")]
    monkeypatch.setattr(registry, "artefacts", lambda: [table()])
    assert main(["ours_numbers", "run_dirs=[runs/*]", "out=out"]) == 0
    assert "skipped runs/notes" in capsys.readouterr().err


def test_without_run_dirs_the_study_comes_first(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="there are no runs"):
        parse([])
    Path("outputs").mkdir()
    Path("outputs", runs[1].name).symlink_to(runs[1])
    assert [path.name for path in parse([]).run_dirs] == [runs[1].name]
    Path("outputs/study").mkdir()
    Path("outputs/study", runs[0].name).symlink_to(runs[0])
    request = parse([])
    assert [path.name for path in request.run_dirs] == [runs[0].name]
    assert request.out == Path("outputs/analysis")
    # One table must not take the place of the whole page.
    assert parse(["table_1"]).out == Path("outputs/analysis_table_1")


def test_a_folder_without_a_configuration_is_named(tmp_path, capsys):
    assert main([f"run_dirs={tmp_path}", f"out={tmp_path / 'out'}"]) == 2
    said = capsys.readouterr().err
    assert str(tmp_path) in said and "config.json" in said


def test_two_runs_of_one_name_are_refused(tmp_path):
    for parent in ("a", "b"):
        write_config(tmp_path / parent / "demo")
    with pytest.raises(UserError, match="two of the runs are named demo"):
        load_study([tmp_path / "a" / "demo", tmp_path / "b" / "demo"])


def test_controls_stand_apart(tmp_path):
    write_config(tmp_path / "demo")
    set_config(tmp_path / "demo", data={"shuffle_answers": True})
    study = load_study([tmp_path / "demo"])
    assert study.cells[0].control == "shuffled_rewards" and not study.trained


def test_the_command_ends_with_what_to_type_next(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(registry, "artefacts", lambda: [table()])
    assert main(["ours_numbers", f"run_dirs={runs[0]}", f"out={tmp_path / 'out'}"]) == 0
    said = capsys.readouterr().out
    assert f"page: {tmp_path / 'out' / 'index.html'}" in said
    assert "next: python -m rlvr_dynamics.run +exp=demo seed=1" in said
