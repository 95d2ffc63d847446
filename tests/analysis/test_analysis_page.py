"""The page of a study, read as text and opened in a real browser."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis.build import analyse
from rlvr_dynamics.claims.ledger import build_ledger, ledger_of_run
from rlvr_dynamics.reporting.artefact import Artefact, Drawing
from rlvr_dynamics.reporting.build import build
from rlvr_dynamics.reporting.run_page import write_run_page
from rlvr_dynamics.reporting.summaries import table_artefacts
from rlvr_dynamics.reporting.tables import Table
from rlvr_dynamics.results.formatting import number
from rlvr_dynamics.results.run import load_results
from rlvr_dynamics.results.study import load_study
from tests.support.analysis_fixture import build_cells, set_config
from tests.support.browser_fixture import chromium
from tests.support.page_links import faults

VALUES = [71.5, -2.0, float("nan"), 1e-5, 100.0]


def sortable(study):
    names = [cell.name for cell in study.cells]
    frame = pd.DataFrame(
        {
            "source": ["paper", *["ours"] * 4],
            "value": VALUES,
            "method": ["rank 10", "rank 9", "<script>alert(1)</script>", "rank 100", "b"],
            "cell": [None, names[0], ", ".join(names), names[1], names[0]],
        }
    )
    return [
        Table("ours_values", "Values", "n is 5.", frame, {"value": lambda value: number(value, 5)}),
        Table("ours_gone", "Gone", "", None, missing="Not measured: needs a moon."),
    ]


def wide(study):
    columns = {f"a_rather_long_column_{place}": np.arange(400) + place for place in range(30)}
    return [Table("ours_wide", "Wide", "Thirty columns.", pd.DataFrame(columns))]


def drawn(study):
    figure = Figure(figsize=(5.5, 2))
    figure.subplots().plot([0, 1], [0, 1])
    return Drawing(figure, "n 2 points", tuple(cell.name for cell in study.cells))


def lacking(study):
    return Drawing(None, missing="Not measured: needs behaviour/ (a comparison of texts).")


ARTEFACTS = [
    Artefact("ours_values", "ours", "", "Values", "Look at the sign.", "seeds", sortable),
    Artefact("alpharl_wide", "alpharl", "Table 8", "Wide", "All of it.", "seeds", wide),
    Artefact("relex_line", "relex", "Figure 3", "A line", "Its slope.", "seeds", drawn),
    Artefact("relex_none", "relex", "Figure 4", "No line", "Nothing.", "seeds", lacking),
]
TABLE = "document.querySelector('#ours_values table')"
COLUMN = f"[...{TABLE}.tBodies[0].rows].map((row) => row.cells[%d].textContent)"
BUTTON = f"{TABLE}.tHead.rows[0].cells[%d].querySelector('button')"
SHOWN = "[...document.querySelectorAll('.entry:not([hidden])')].map((entry) => entry.id)"


def write_report(run):
    """The run's own page as its report stage writes it, without figures."""
    results, folder = load_results(run), run / "report"
    folder.mkdir()
    claims = ledger_of_run(results)
    tables = build(table_artefacts(claims), results, folder, strict=True)
    claims.to_csv(folder / "claims.csv")
    write_run_page(results, claims, [], tables, folder / "index.html")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("page")
    runs = build_cells(place / "runs", 2)
    for run in runs:
        set_config(run, report={"bootstrap_draws": 40})
    write_report(runs[0])
    study = load_study(runs)
    analyse(study, ARTEFACTS, place / "out", ledger=build_ledger, strict=True)
    return place / "out"


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(tab, folder):
    tab.resize(1200)
    tab.media()
    tab.open(folder / "index.html")
    return tab


def test_every_link_of_every_page_leads_somewhere(folder):
    assert len(list((folder / "cells").glob("*.html"))) == 2
    assert faults(folder) == []


def test_a_run_with_a_report_keeps_its_page_and_one_without_says_what_to_do(folder):
    pages = {path.stem: path.read_text() for path in (folder / "cells").glob("*.html")}
    with_report, without = sorted(pages)
    assert "Claims ledger" in pages[with_report] and "All runs of the study" in pages[with_report]
    assert (folder / "cells" / with_report / "tables").is_dir()
    assert "has no page of its own" in pages[without]
    assert "python -m rlvr_dynamics.run" in pages[without]


def test_data_cannot_become_script(folder):
    html = (folder / "index.html").read_text()
    assert "<script>alert(1)" not in html and "&lt;script&gt;alert(1)" in html


def test_long_tables_say_where_the_rest_is(folder):
    html = (folder / "index.html").read_text()
    assert "300 of 400 rows" in html and "tables/ours_wide.csv" in html
    assert len(pd.read_csv(folder / "tables" / "ours_wide.csv")) == 400


def test_printed_rows_and_ours_are_told_apart(folder):
    html = (folder / "index.html").read_text()
    body = html[html.index('id="ours_values"') :]
    rows = re.findall(r"<tr( class=\"printed\")?><td", body[: body.index("</table>")])
    assert [bool(row) for row in rows] == [True, False, False, False, False]


def test_everything_has_its_provenance_one_click_away(folder):
    html = (folder / "index.html").read_text()
    for name, file in (("ours_values", "ours_values.csv"), ("relex_line", "relex_line.pdf")):
        entry = html[html.index(f'<article class="entry" id="{name}"') :].partition("</article>")[0]
        behind = entry[entry.index('<details class="behind">') :]
        for wanted in ("seeds", "dtype", "commit", "2 runs", file, f"analysis {name}"):
            assert wanted in behind, (name, wanted)


def test_it_opens_without_complaint_and_asks_nothing_of_the_network(page, folder):
    assert page.complaints == []
    assert {request.partition(":")[0] for request in page.requests} <= {"file", "data"}
    assert [request for request in page.requests if request.startswith("file:")] == [
        (folder / "index.html").as_uri()
    ]
    for other in (folder / "cells").glob("*.html"):
        page.open(other)
        assert page.complaints == [], other.name
        assert {request.partition(":")[0] for request in page.requests} <= {"file", "data"}


def test_images_are_decoded(page):
    images = "[...document.images]"
    assert page.run(f"{images}.length") == 1
    page.run(f"Promise.all({images}.map((image) => image.decode()))")
    assert page.run(f"{images}.every((image) => image.complete && image.naturalWidth > 300)")


def test_a_click_sorts_numbers_as_numbers_and_a_third_restores(page):
    start = page.run(COLUMN % 1)
    assert start == ["71.50000", "−2.00000", "–", "0.00001", "100.00000"]
    heading = f"{TABLE}.tHead.rows[0].cells[1].ariaSort"
    page.run(f"{BUTTON % 1}.click()")
    assert page.run(COLUMN % 1) == ["−2.00000", "0.00001", "71.50000", "100.00000", "–"]
    assert page.run(heading) == "ascending"
    page.run(f"{BUTTON % 1}.click()")
    assert page.run(COLUMN % 1) == ["100.00000", "71.50000", "0.00001", "−2.00000", "–"]
    assert page.run(heading) == "descending"
    page.run(f"{BUTTON % 1}.click()")
    assert page.run(COLUMN % 1) == start and page.run(heading) is None


def test_the_keyboard_sorts_words_with_numbers_in_them(page):
    page.run(f"{BUTTON % 2}.focus()")
    page.press("Enter", 13, "\r")
    assert page.run(COLUMN % 2)[-3:] == ["rank 9", "rank 10", "rank 100"]
    assert page.run(f"{TABLE}.tHead.rows[0].cells[2].ariaSort") == "ascending"


def test_search_filters_claims_tables_and_figures(page):
    page.run("document.getElementById('query').focus()")
    page.send("Input.insertText", text="A LINE slope")
    assert page.run(SHOWN) == ["relex_line"]
    assert page.run("document.getElementById('found').textContent").startswith("1 of ")
    assert page.run("document.getElementById('part-claims').hidden") is True
    assert page.run("document.querySelectorAll('.toc li:not([hidden])').length") == 1
    page.press("Escape", 27)
    assert len(page.run(SHOWN)) > 20
    page.send("Input.insertText", text="gibberish")
    assert page.run(SHOWN) == []


def test_the_ledger_is_sorted_and_searched_like_the_rest(page):
    first = "document.querySelector('.ledger tbody tr .verdict').textContent"
    page.run("document.querySelector('.ledger thead button').click()")
    best = page.run(first)
    page.run("document.querySelector('.ledger thead button').click()")
    assert "inconclusive" in page.run(first) and "inconclusive" not in best
    page.run("document.getElementById('query').focus()")
    page.send("Input.insertText", text="not measured")
    shown = page.run(SHOWN)
    assert any(name.startswith("claim-") for name in shown) and "relex_none" in shown
    assert page.run("document.querySelector('.unmeasured').open") is True


PICK = """
(() => {{
  const pick = document.querySelector('[data-filter="{name}"]');
  pick.value = "{value}";
  pick.dispatchEvent(new Event("change"));
  return [...document.querySelectorAll(".ledger tr.entry:not([hidden])")].map(
    (row) => row.dataset.{name});
}})()
"""


def test_the_ledger_is_filtered_by_verdict_and_by_paper(page):
    for name, value in (("verdict", "holds"), ("verdict", "not measured"), ("paper", "RELEX")):
        rows = page.run(PICK.format(name=name, value=value))
        assert rows and set(rows) == {value}
        opened = page.run("document.querySelector('.unmeasured').open")
        assert opened or value == "holds"
        assert "ours_values" in page.run(SHOWN)  # only claims have a verdict
        page.run(PICK.format(name=name, value=""))
    assert page.run("document.querySelector('.unmeasured').open") is False


def test_without_a_script_nothing_offers_to_search_or_filter(folder):
    html = (folder / "index.html").read_text()
    assert '<search class="search" hidden>' in html and '<p class="filter" hidden>' in html
    measured, _, rest = html.partition('<details class="unmeasured">')
    assert 'data-verdict="not measured"' not in measured and 'data-verdict="holds"' in measured
    assert 'data-verdict="holds"' not in rest.partition("</details>\n<p")[0]


def test_it_opens_with_one_sentence_then_the_picture_then_the_ledger(folder):
    html = (folder / "index.html").read_text()
    (sentence,) = re.findall(r'<p class="answer">(.*?)</p>', html)
    assert sentence.endswith(".") and sentence.count(". ") == 0 and "[" not in sentence
    assert html.index("answer") < html.index('class="ledger') < html.index('id="part-numbers"')


LOOKS = [("screen", "light"), ("screen", "dark"), ("print", "light")]


@pytest.mark.parametrize("width", [390, 820, 1400])
@pytest.mark.parametrize(("kind", "scheme"), LOOKS)
def test_no_page_is_wider_than_the_screen(page, folder, width, kind, scheme):
    for path in (folder / "index.html", *(folder / "cells").glob("*.html")):
        page.open(path)
        page.resize(width)
        page.media(kind, scheme)
        page.run("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        assert page.run("document.documentElement.scrollWidth") <= width, path.name


@pytest.mark.parametrize("width", [360, 390, 820, 1400])
def test_nothing_but_tables_scrolls_sideways(page, width):
    page.resize(width)
    page.run("document.querySelectorAll('details').forEach((folded) => { folded.open = true })")
    assert page.run("document.documentElement.scrollWidth") <= width
    box = "document.querySelector('#alpharl_wide .scroll')"
    assert page.run(f"{box}.scrollWidth > {box}.clientWidth") is True


CONTRAST = """
(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = parts(colour).map((part) => part / 255).map(
      (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (parts(colour)[3] !== 0) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const words = [...document.querySelectorAll("p, a, td, th, h1, h2, h3, summary, small, dt, dd")];
  return words.filter((element) => element.textContent.trim()).map((element) => {
    const [one, two] = [light(getComputedStyle(element).color), light(ground(element))];
    return (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
  }).reduce((least, ratio) => Math.min(least, ratio), 21);
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_in_light_and_dark(page, scheme):
    page.media(scheme=scheme)
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) == (scheme == "dark")
    assert page.run(CONTRAST) >= 4.5  # WCAG 2.2, level AA


def test_print_leaves_out_what_paper_cannot_do(page):
    page.media("print")
    gone = "['.search', '.toc', '.behind'].map((name) => document.querySelector(name).offsetHeight)"
    assert page.run(gone) == [0, 0, 0]
    assert page.run("document.querySelector('.ledger').offsetHeight") > 0
