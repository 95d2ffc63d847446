import hashlib
import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_dynamics.claims.claim import Threshold
from rlvr_dynamics.claims.judge import both, verdict_of
from rlvr_dynamics.claims.ledger import BY_ID, COLUMNS, ledger_of_run
from rlvr_dynamics.errors import UserError
from rlvr_dynamics.extrapolation import METHODS
from rlvr_dynamics.reporting import build_report, ledger_as_text
from rlvr_dynamics.reporting.ledger_view import link_papers
from rlvr_dynamics.reporting.run_page import next_command, unfinished
from rlvr_dynamics.reporting.score_tables import accuracy_overview
from rlvr_dynamics.reporting.summaries import table_artefacts
from rlvr_dynamics.reporting.tables import Table, as_markdown, as_tex, escape_tex, write_table
from rlvr_dynamics.results.formatting import DASH, general, integer, interval, number, percent
from rlvr_dynamics.results.run import load_results
from rlvr_dynamics.results.scores import POINTS, paired_accuracy
from rlvr_dynamics.schema.tables import TABLES
from rlvr_dynamics.statistics.intervals import (
    Interval,
    effective_wilson,
    percentile_interval,
    with_quartiles,
)
from rlvr_dynamics.statistics.paired import RATIO
from tests.support.reporting_fixture import ACCURACY, build_run, write_scores

FIGURES = 15
PAPERS = {method.paper for method in METHODS.values()}
HOSTILE = '<script>alert("x")</script><img src="http://evil.example/a.png"> & \\boxed{1}'


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    return build_run(tmp_path_factory.mktemp("run"), response=HOSTILE)


@pytest.fixture(scope="module")
def report(run_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    return build_report(run_dir, out)


@pytest.fixture(scope="module")
def page(report):
    return report.page.read_text(encoding="utf-8")


def ledger(folder: Path) -> pd.DataFrame:
    return ledger_of_run(load_results(folder)).set_index("id")


def scored(tmp_path: Path, **accuracy: float) -> pd.DataFrame:
    """The ledger of a run that has scores only."""
    write_scores(tmp_path, {**ACCURACY, **accuracy})
    return ledger(tmp_path)


# Intervals and verdicts


def test_a_statistic_of_all_units_has_their_quartiles_as_its_ends():
    assert with_quartiles(np.array([0.0, 4.0, 8.0, 12.0, 100.0]), np.median) == (8.0, 4.0, 12.0)
    assert with_quartiles(np.array([0.0, 4.0, 8.0, 12.0, 100.0])).value == pytest.approx(24.8)
    assert math.isnan(with_quartiles(np.empty(0)).value)
    share = with_quartiles(np.array([1.0, 1.0, 1.0, 0.0, 1.0]))
    assert share.value == 0.8 and math.isnan(share.low) and math.isnan(share.high)
    assert with_quartiles(np.ones(5)) == (1.0, 1.0, 1.0)


def test_no_interval_where_the_denominator_vanishes():
    found = percentile_interval(1.0, np.array([np.nan] * 10 + [1.0] * 90))
    assert math.isnan(found.low) and math.isnan(found.high)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.6, 0.8, "holds"),
        (0.1, 0.4, "fails"),
        (0.1, 0.5, "fails"),
        (0.4, 0.8, "inconclusive"),
        (0.5, 0.8, "inconclusive"),
        (math.nan, math.nan, "inconclusive"),
    ],
)
def test_verdict_of_an_interval(low, high, verdict):
    assert verdict_of(Interval(0.55, low, high), Threshold(">", 0.5)) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 0.5, "holds"), (0.1, 0.6, "inconclusive"), (0.51, 0.6, "fails")],
)
def test_verdict_where_less_is_wanted(low, high, verdict):
    assert verdict_of(Interval(0.55, low, high), Threshold("≤", 0.5)) == verdict


def test_nothing_measured_is_not_a_failure():
    assert verdict_of(Interval(math.nan, math.nan, math.nan), Threshold(">", 0.5)) == "not measured"


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ("holds", "holds", "holds"),
        ("holds", "inconclusive", "inconclusive"),
        ("inconclusive", "fails", "fails"),
        ("not measured", "holds", "not measured"),
    ],
)
def test_a_claim_of_two_parts(first, second, verdict):
    assert both(first, second) == verdict == both(second, first)


# Accuracy, paired by question


def samples(path: Path, model: str, scores: dict[str, list[float]]) -> None:
    rows = [
        {"question_id": question, "protocol": "sampled", "sample": index, "score": score}
        for question, values in scores.items()
        for index, score in enumerate(values)
    ]
    target = path / "scores" / "samples" / model / "sums.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(target)


def test_pairing_uses_common_questions_and_clusters_samples(tmp_path):
    samples(tmp_path, "one", {"a": [1, 1, 1, 0], "b": [0, 0, 0, 0], "only one": [1, 1, 1, 1]})
    samples(tmp_path, "two", {"b": [1, 0, 0, 0], "a": [0, 0, 0, 0], "only two": [1, 1, 1, 1]})
    paired = paired_accuracy(load_results(tmp_path), ["one", "two"], ["sums"])
    assert paired is not None
    assert paired.questions == 2
    assert paired.means.tolist() == [0.375, 0.125]
    assert set(np.unique(paired.paired.draws[:, 0])) == {0.0, 0.375, 0.75}
    assert paired.samples == ((4,), (4,)) and paired.samples_text == "4"


def test_models_with_fewer_answers_are_paired_by_their_questions_means(tmp_path):
    """The interval of a model is that of its own number of answers."""
    many = {str(i): [1, 0] * 4 if i % 3 else [1] * 8 for i in range(30)}
    few = {str(i): [i % 2, 1] for i in range(30)}
    samples(tmp_path, "many", many)
    samples(tmp_path, "few", few)
    paired = paired_accuracy(load_results(tmp_path), ["many", "few"], ["sums"])
    assert paired is not None
    assert paired.samples == ((8,), (2,)) and paired.samples_text == "2–8"
    assert paired.points("many", "few").value == pytest.approx(100 * (2 / 3 - 3 / 4))
    for model, scores, count in (("many", many, 8), ("few", few, 2)):
        means = [sum(values) / count for values in scores.values()]
        draws = paired.paired.draws[:, paired.models.index(model)]
        alone = effective_wilson(means, count)
        assert paired.accuracy(model).low == min(alone.low, np.quantile(draws, 0.025))


def test_models_that_answer_alike_still_differ_by_an_interval(tmp_path):
    for model in ("one", "two"):
        samples(tmp_path, model, {str(i): [i % 2, 1] for i in range(30)})
    paired = paired_accuracy(load_results(tmp_path), ["one", "two"], ["sums"])
    assert paired is not None
    for contrast, value in ((POINTS, 0), (RATIO, 1)):
        found = paired.compare(contrast)
        assert found.value == value and found.low < value < found.high
    # Bonett and Price: z sqrt(2 / 32 / 32) of the difference of 30 equal answers.
    assert paired.compare(POINTS).high == pytest.approx(196 * math.sqrt(2) / 32, rel=1e-3)


def test_benchmarks_are_resampled_apart(tmp_path):
    write_scores(tmp_path, {"base": 0.5})
    results = load_results(tmp_path)
    one = paired_accuracy(results, ["base"], ["chains"])
    other = paired_accuracy(results, ["base"], ["products"])
    assert one is not None and other is not None
    draws = one.paired.draws[:, 0], other.paired.draws[:, 0]
    assert abs(np.corrcoef(*draws)[0, 1]) < 0.15


def test_missing_model_is_missing_not_zero(tmp_path):
    write_scores(tmp_path, {"base": 0.5})
    assert paired_accuracy(load_results(tmp_path), ["base", "step_20"], ["sums"]) is None


def test_no_models_are_no_comparison(tmp_path):
    """What a table is left with if the samples of a run were removed."""
    write_scores(tmp_path, {"base": 0.5})
    assert paired_accuracy(load_results(tmp_path), [], ["sums"]) is None


# Claims


def test_every_claim_is_in_the_ledger_whatever_was_measured(tmp_path):
    claims = ledger(tmp_path)
    assert list(claims.index) == list(BY_ID)
    claims = claims[claims["kind"] == "measured here"]
    assert set(claims["verdict"]) == {"not measured"}
    assert claims["ours"].isna().all() and claims["n"].isna().all()
    assert (claims["note"] != "").all()


def test_ledger_has_the_agreed_columns(run_dir):
    assert list(ledger_of_run(load_results(run_dir)).columns) == list(COLUMNS)


def test_learning_holds_and_fails(tmp_path):
    assert scored(tmp_path / "up").loc["P0", "verdict"] == "holds"
    assert scored(tmp_path / "down", step_20=0.2).loc["P0", "verdict"] == "fails"
    assert scored(tmp_path / "same", step_20=0.35).loc["P0", "verdict"] == "inconclusive"


@pytest.mark.parametrize(
    ("rank1", "control", "verdict"),
    [(0.77, 0.35, "holds"), (0.50, 0.35, "fails"), (0.77, 0.77, "inconclusive")],
)
def test_rank1_recovery(tmp_path, rank1, control, verdict):
    claims = scored(tmp_path, rank1_recovery__step_20=rank1, random_update__step_20=control)
    assert claims.loc["A1", "verdict"] == claims.loc["A1b", "verdict"] == verdict
    assert ("the null passes too" in claims.loc["A1", "note"]) == (control == 0.77)


def test_nothing_to_recover_without_a_gain(tmp_path):
    claims = scored(
        tmp_path,
        step_20=0.35,
        rank1_recovery__step_20=0.4,
        random_update__step_20=0.1,
        step_3=0.1,
        relex__observe_3__step_20=0.35,
    )
    for id in ("A1", "A1b", "B3"):
        assert claims.loc[id, "verdict"] == "inconclusive", id
        assert "no gain to recover" in claims.loc[id, "note"]


@pytest.mark.parametrize(
    ("relex", "held", "verdict"),
    [
        (0.74, 0.46, "holds"),
        (0.50, 0.46, "fails"),
        (0.72, 0.46, "inconclusive"),
        (0.74, 0.74, "inconclusive"),
    ],
)
def test_early_window(tmp_path, relex, held, verdict):
    claims = scored(tmp_path, relex__observe_3__step_20=relex, step_3=held)
    assert claims.loc["B3", "verdict"] == verdict
    assert ("the null passes too" in claims.loc["B3", "note"]) == (held == 0.74)


def test_control_that_was_not_scored_is_said(tmp_path):
    accuracy = {key: value for key, value in ACCURACY.items() if key != "step_6"}
    write_scores(tmp_path, accuracy)
    row = ledger(tmp_path).loc["B3-30"]
    assert row["verdict"] == "holds" and "no control was measured" in row["note"]
    assert math.isnan(row["null"])


def test_far_targets_and_denoising(tmp_path):
    claims = scored(tmp_path, relex__observe_3__step_30=0.2, relex_raw__observe_3__step_20=0.5)
    assert claims.loc["B4", "verdict"] == "fails"
    assert claims.loc["B5", "verdict"] == "holds"


def test_protocol_is_stated_and_greedy_stands_beside_it(run_dir):
    note = ledger(run_dir).loc["P0", "note"]
    assert "sampled answers (greedy: +" in note


def weights(folder: Path, table: str, **columns: float) -> pd.DataFrame:
    path = folder / "measure" / f"{table}.parquet"
    frame = pd.read_parquet(path).assign(**columns)
    frame.to_parquet(path)
    return ledger(folder)


@pytest.fixture
def measured(run_dir, tmp_path):
    shutil.copytree(run_dir / "measure", tmp_path / "measure")
    return tmp_path


@pytest.mark.parametrize(
    ("columns", "verdict"),
    [
        ({"r2": 0.99, "r2_null_mean": 0.9, "r2_null_high": 0.97}, "holds"),
        ({"r2": 0.97, "r2_null_mean": 0.9, "r2_null_high": 0.95}, "fails"),
        ({"r2": 0.99, "r2_null_mean": 0.985, "r2_null_high": 0.988}, "inconclusive"),
        ({"r2": 0.99, "r2_null_mean": 0.9, "r2_null_high": 0.995}, "inconclusive"),
        ({"r2": math.nan}, "not measured"),
    ],
)
def test_linearity(measured, columns, verdict):
    assert weights(measured, "linearity", **columns).loc["B2", "verdict"] == verdict


@pytest.mark.parametrize(
    ("columns", "verdict"),
    [
        ({"explained_variance": 0.95, "null_high": 0.9}, "holds"),
        ({"explained_variance": 0.95, "null_high": 0.97}, "fails"),
        ({"explained_variance": 0.7, "null_high": 0.6}, "fails"),
        ({"explained_variance": 0.95, "null_high": math.nan}, "inconclusive"),
    ],
)
def test_trajectory_rank(measured, columns, verdict):
    assert weights(measured, "trajectory_svd", **columns).loc["B1", "verdict"] == verdict


def test_window_must_be_near_the_share(run_dir):
    results = load_results(run_dir)
    assert results.final_step == 20 and results.windows == [3, 6]
    assert results.window_near(0.15) == 3 and results.window_near(0.30) == 6
    assert results.window_near(0.5) is None


def test_ledger_as_text_reads_the_published_file(report):
    text = ledger_as_text(pd.read_csv(report.page.parent / "claims.csv"))
    assert text == ledger_as_text(report.claims)
    assert max(map(len, text.splitlines())) <= 98
    rows = report.claims[report.claims["kind"] == "measured here"].to_dict("records")
    for row in rows:
        shown = re.search(rf"^{re.escape(row['id'])} +{row['verdict'].upper()}", text, re.M)
        assert bool(shown) == (row["verdict"] != "not measured"), row["id"]
    missing = sum(row["verdict"] == "not measured" for row in rows)
    assert missing and f"\n{missing} further claims were not measured" in text
    assert "nan" not in text.lower()


def test_the_ledger_is_written_as_it_was_computed(report, run_dir):
    out, computed = report.page.parent, ledger(run_dir)
    written = pd.read_csv(out / "claims.csv").set_index("id")
    assert list(written.index) == list(computed.index)
    for name in ("ours", "ci_low", "ci_high", "null", "n"):
        left, right = written[name].astype(float), computed[name].astype(float)
        pd.testing.assert_series_equal(left, right, rtol=1e-9, check_names=False)
    shown = pd.read_csv(out / "tables" / "claims.csv").set_index("id")
    assert set(shown.index) == set(written.index)
    for id, row in written[written["kind"] == "measured here"].iterrows():
        if row["verdict"] == "not measured":
            assert set(shown.loc[id, ["ours", "interval", "null"]]) == {DASH}
            continue
        points = "points" in row["threshold"]

        def text(value: float, points: bool = points) -> str:
            if math.isnan(value):
                return DASH
            rounded = f"{value:+.1f}" if points else f"{value:.3f}"
            return (rounded if float(rounded) else rounded.lstrip("+-")).replace("-", "−")

        cells = [row["ours"], row["null"]]
        assert shown.loc[id, ["ours", "null"]].tolist() == [text(value) for value in cells]
        ends = f"[{text(row['ci_low'])}, {text(row['ci_high'])}]"
        spread = row["interval_over"].startswith("a spread") and not math.isnan(row["ci_low"])
        none = DASH if math.isnan(row["ci_low"]) else ends
        assert shown.loc[id, "interval"] == (f"quartiles {ends}" if spread else none)
        assert shown.loc[id, "n"] == f"{row['n']:.0f} {row['n_unit']}"
        assert shown.loc[id, "verdict"] == row["verdict"]


# Tables


def test_missing_is_a_dash_and_zero_is_a_zero():
    for show in (number, integer, percent, general):
        assert show(math.nan) == show(None) == show(pd.NA) == DASH
        assert show(0) != DASH
    assert interval(math.nan, math.nan) == DASH
    assert number(-0.0001) == "0.000" and number(-1.5, 1) == "−1.5"
    assert general(1e-5) == "1e−5"


def example_table() -> Table:
    frame = pd.DataFrame({"name": ["50%_a & b|c", None], "value": [0.0, math.nan]})
    return Table("example", "A_title", "100 %", frame, {"value": number})


def test_tables_in_three_forms(tmp_path):
    write_table(example_table(), tmp_path)
    tex, md, csv = ((tmp_path / f"example.{end}").read_text() for end in ("tex", "md", "csv"))
    assert r"50\%\_a \& b\textbar{}c & 0.000 \\" in tex
    assert r"-- & -- \\" in tex
    assert r"\caption{A\_title. 100 \%}" in tex
    assert "| 50%\\_a & b\\|c | 0.000 |" in md and "| – | – |" in md
    back = pd.read_csv(tmp_path / "example.csv")
    assert back["value"][0] == 0 and math.isnan(back["value"][1]) and csv.endswith("\n,\n")


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
def test_tex_has_no_live_character_left(text):
    escaped = escape_tex(text)
    plain = re.sub(r"\\text[a-z]+\{\}|\\[{}%_&#$]", "", escaped)
    assert not re.search(r"[\\{}%_&#$~^]", plain)


def test_tex_tables_are_balanced(report):
    for path in (report.page.parent / "tables").glob("*.tex"):
        text = path.read_text()
        body = text.split(r"\midrule")[-1].split(r"\bottomrule")[0].strip().splitlines()
        body = [line for line in body if line != r"\endhead"]
        columns = len(re.findall(r"(?<!\\)&", text.split(r"\toprule")[1].split("\n")[1]))
        assert all(len(re.findall(r"(?<!\\)&", line)) == columns for line in body), path
        assert text.count(r"\begin{") == text.count(r"\end{") == (2 - ("longtable" in text))
        assert text.isascii(), path


def long_table(rows: int) -> Table:
    frame = pd.DataFrame({"name": [f"row_{row}" for row in range(rows)], "value": 1.0})
    return Table(f"rows_{rows}", "Many rows", "All of them.", frame, {"value": number})


def test_a_table_longer_than_a_page_breaks_and_repeats_its_head():
    short, long = as_tex(long_table(40)), as_tex(long_table(41))
    assert "longtable" not in short and r"\begin{table}" in short
    assert r"\begin{longtable}" in long and r"\begin{table}" not in long
    assert long.count("name & value") == 2 and r"\endhead" in long
    assert all(text.count(f"row\\_{row} ") == 1 for text in (short, long) for row in range(40))


def test_tex_tables_compile(report, tmp_path):
    if (program := shutil.which("pdflatex")) is None:
        pytest.skip("no TeX: pdflatex is not installed")
    write_table(long_table(120), tmp_path)
    write_table(example_table(), tmp_path)
    paths = [*(report.page.parent / "tables").glob("*.tex"), *tmp_path.glob("*.tex")]
    inputs = [path.read_text(encoding="utf-8") for path in sorted(paths)]
    (tmp_path / "all.tex").write_text(
        "\n".join(
            [
                r"\documentclass{article}\usepackage{booktabs,longtable}\begin{document}",
                *(f"{text}\n\\clearpage" for text in inputs),
                r"\end{document}",
            ]
        ),
        encoding="utf-8",
    )
    command = [program, "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "all.pdf").stat().st_size > 0


def test_markdown_of_hostile_text():
    table = Table("x", "t", "c", pd.DataFrame({"a": ["<script>|\n*b*"]}))
    assert "<script>" not in as_markdown(table)
    assert len(as_markdown(table).strip().splitlines()) == 5
    assert "\n*b" not in as_tex(table)


@pytest.mark.parametrize("missing", sorted(TABLES))
def test_tables_and_claims_with_any_table_absent(run_dir, tmp_path, missing):
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy, ignore=lambda _, names: [n for n in names if n == "samples"])
    (copy / TABLES[missing].file).unlink()
    results = load_results(copy)
    claims = ledger_of_run(results)
    assert len(claims) == len(BY_ID)
    for artefact in table_artefacts(claims):
        (table,) = artefact.make(results)
        assert table.name == artefact.name
        assert (table.frame is None) == bool(table.missing)


def test_rank1_share_is_described_not_judged(report):
    assert "19.3 %" in (report.page.parent / "tables" / "rank1_share.md").read_text()
    assert not report.claims["claim"].str.contains("share of the update norm").any()


def test_recovery_has_both_ratios(report):
    recovery = pd.read_csv(report.page.parent / "tables" / "recovery.csv")
    row = recovery[(recovery["method"] == "rank-1 update, rescaled (uses the future)")].iloc[0]
    assert row["ratio"] == pytest.approx(row["accuracy"] / row["full"])
    gain = (row["accuracy"] - row["base"]) / (row["full"] - row["base"])
    assert row["gain share"] == pytest.approx(gain)


# The page


class Page(HTMLParser):
    """Collects what the tests look at, and checks that tags are balanced."""

    VOID = {"meta", "img", "br", "link", "input", "hr"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def test_page_asks_nothing_of_the_network(page, report):
    parsed = Page(page)
    names = {tag for tag, _ in parsed.tags}
    assert not names & {"link", "iframe", "object"}
    assert not any("src" in attrs for tag, attrs in parsed.tags if tag == "script")
    images = [attrs["src"] for tag, attrs in parsed.tags if tag == "img"]
    assert len(images) == len(report.figures) == FIGURES
    assert all(source.startswith("data:image/svg+xml;base64,") for source in images)
    for tag, attrs in parsed.tags:
        for key in ("src", "href"):
            address = attrs.get(key, "")
            if "//" in address and not address.startswith("data:"):
                assert tag == "a"
                assert address in PAPERS or address.startswith("https://arxiv.org/abs/")
            elif key == "href" and not address.startswith("#") and address:
                assert (report.page.parent / address).is_file(), address
    style = page.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style
    assert "prefers-color-scheme: dark" in style and "@media print" in style


def test_page_has_its_parts_in_order(page):
    order = [
        "<h1>tiny × GRPO",
        'class="answer"',
        'id="part-lead"',
        'id="part-claims"',
        'class="unmeasured"',
        'class="toc"',
        'id="part-numbers"',
        'id="part-figures"',
        'id="part-tables"',
        'id="part-methods"',
        'id="part-columns"',
        'id="part-examples"',
        'id="part-provenance"',
        'id="part-next"',
    ]
    places = [page.index(part) for part in order]
    assert places == sorted(places)


def test_model_text_is_shown_not_run(page):
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(" in page
    assert HOSTILE in "".join(Page(page).text)


def test_every_verdict_is_set_in_the_same_type(page):
    style = page.split("<style>")[1].split("</style>")[0]
    for kind in ("holds", "fails", "inconclusive", "not-measured"):
        for rule in re.findall(rf"\.{kind} \{{([^}}]*)\}}", style):
            assert set(re.findall(r"([a-z-]+):", rule)) == {"color"}
        assert f'class="verdict {kind}"' in page


def test_the_numbers_behind_the_answer(page):
    text = " ".join("".join(Page(page).text).split())
    assert re.search(r"RL lifted accuracy from 3\d\.\d % to 7\d\.\d % in domain", text)
    assert "RELEX, which saw only the first 3 of 20 steps (15 %)" in text
    assert "learning rate 1e−5" in text and "of its own norm" in text
    assert "One run with one seed" in text


def test_a_run_of_another_kind_of_training_has_a_page(run_dir, tmp_path):
    """Claims about reinforcement learning do not judge it, whatever was measured."""
    run, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(run_dir, run)
    out.mkdir()
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    config["source"] = {"published": {"repo": "somebody/model", "method": "sft"}}
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    report = build_report(run, out)
    assert report.claims.set_index("id").loc["B3", "verdict"] == "not measured"
    text = " ".join("".join(Page(report.page.read_text(encoding="utf-8")).text).split())
    assert "Training moved accuracy from" in text
    assert "predict the rest was not measured" in text


def test_captions_name_n_seed_dtype_and_source(page):
    captions = re.findall(r'</div>\n<p class="caption">(.*?)</p>', page, re.S)
    assert len(captions) == FIGURES
    for caption in captions:
        for part in ("n = ", "seed 0", "float32", ".parquet"):
            assert part in caption, caption


@pytest.mark.slow
def test_same_tables_same_bytes(run_dir, report, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    build_report(run_dir, tmp_path)

    def hashes(folder: Path) -> dict[str, str]:
        return {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    first = hashes(report.page.parent)
    assert first == hashes(tmp_path)
    assert len(first) == 2 + 2 * FIGURES + 3 * len(report.tables)


def test_figures_are_fit_for_print(report):
    for path in (report.page.parent / "figures").glob("*.pdf"):
        content = path.read_bytes()
        assert b"/Subtype /Type3" not in content and b"CreationDate" not in content


def test_empty_run_says_not_measured(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "out").mkdir()
    report = build_report(tmp_path / "run", tmp_path / "out")
    page = report.page.read_text(encoding="utf-8")
    Page(page)
    assert report.figures == () and report.tables == ("claims", "columns")
    assert page.count("Not measured: needs") >= FIGURES + 14
    assert "unnamed model" in page


def test_half_a_run_builds(run_dir, tmp_path):
    """Scores of greedy answers without samples, trajectory without linearity, no provenance."""
    run, out = tmp_path / "run", tmp_path / "out"
    (run / "measure").mkdir(parents=True)
    (run / "scores").mkdir()
    out.mkdir()
    for name in ("trajectory_svd", "coefficients"):
        shutil.copy(run_dir / "measure" / f"{name}.parquet", run / "measure")
    scores = pd.read_parquet(run_dir / "scores" / "scores.parquet")
    scores = scores[scores["protocol"] == "greedy"].drop(columns=["ci_low", "ci_high"])
    scores.assign(title="costs $5 & $x^").to_parquet(run / "scores" / "scores.parquet")
    report = build_report(run, out)
    assert set(report.figures) == {
        "reward_and_accuracy", "out_of_domain", "coefficients", "null_bands",
    }  # fmt: skip
    claims = report.claims.set_index("id")
    assert claims.loc["P0", "verdict"] == "not measured"
    assert claims.loc["B1", "verdict"] == "holds"
    Page(report.page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("titles", [["Sums"] * 4, ["method", "step", "observe", "observed to"]])
def test_a_title_is_no_name_of_a_column(run_dir, tmp_path, titles):
    run = tmp_path / "run"
    shutil.copytree(run_dir, run)
    scores = pd.read_parquet(run / "scores" / "scores.parquet")
    names = sorted(set(scores["benchmark"]))
    called = dict(zip(names, titles, strict=True))
    scores["title"] = scores["benchmark"].map(called)
    scores.to_parquet(run / "scores" / "scores.parquet")
    before, after = load_results(run_dir), load_results(run)
    plain, made = accuracy_overview(before).frame, accuracy_overview(after).frame
    assert plain is not None and made is not None
    assert made.shape == plain.shape
    for own, other in zip(plain.columns, made.columns, strict=True):
        pd.testing.assert_series_equal(plain[own], made[other], check_names=False)
    shown = {after.benchmark_title(name) for name in names}
    assert len(shown) == 4
    (tmp_path / "out").mkdir()
    assert "accuracy" in build_report(run, tmp_path / "out").tables


# The rest


def test_next_command_resumes_or_takes_another_seed(run_dir, tmp_path):
    command, _ = next_command(load_results(run_dir))
    assert command == "python -m rlvr_dynamics.run +exp=demo seed=1 run_dir=outputs/demo_seed1"
    results = load_results(run_dir)
    results.provenance["command"] = "run name=a_seed0 reuse=outputs/b seed=0"
    results = replace(results, config=results.config.model_copy(update={"name": "a_seed0"}))
    assert next_command(results)[0] == "run name=a_seed1 seed=1 run_dir=outputs/demo_seed1"
    shutil.copy(run_dir / "provenance.json", tmp_path)
    command, reason = next_command(load_results(tmp_path))
    assert command == "python -m rlvr_dynamics.run +exp=demo" and "goes on" in reason


def test_next_command_of_checkpoints_from_elsewhere(run_dir, tmp_path):
    """They need no training and no seed; what their experiment leaves out is named."""
    run = tmp_path / "run"
    shutil.copytree(run_dir, run, ignore=shutil.ignore_patterns("scores", "train", "behaviour"))
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    config["source"] = {"base": "base", "checkpoints": "steps"}
    config["stages"] = ["measure", "extrapolate", "report"]
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    results = load_results(run)
    assert unfinished(results) == ["score"]
    command, why = next_command(results)
    assert command.endswith("'stages=[prepare,measure,extrapolate,score,report]'")
    assert "score" in why and "train" not in why
    results.provenance["stages"]["score"] = {"key": "k", "seconds": 1}
    assert "behaviour" in next_command(results)[0] and "seed" not in next_command(results)[0]


def test_next_command_takes_a_seed_that_no_sister_has(run_dir):
    command, _ = next_command(load_results(run_dir), taken=[0, 1, 2])
    assert "seed=3 run_dir=outputs/demo_seed3" in command


def test_only_arxiv_numbers_become_links():
    assert link_papers("<b> arXiv 2510.00553") == (
        '&lt;b&gt; <a href="https://arxiv.org/abs/2510.00553">arXiv 2510.00553</a>'
    )


def test_mistakes_of_the_user(tmp_path):
    with pytest.raises(UserError, match="no such run directory"):
        load_results(tmp_path / "nowhere")
    (tmp_path / "scores").mkdir()
    pd.DataFrame({"model": ["base"]}).to_parquet(tmp_path / "scores" / "scores.parquet")
    with pytest.raises(UserError, match="lacks method"):
        load_results(tmp_path)


def test_import_is_light():
    code = (
        "import sys, rlvr_dynamics.reporting;"
        "heavy = {'matplotlib', 'torch', 'vllm', 'verl'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
