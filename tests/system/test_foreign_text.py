"""Text that others wrote does not reach a terminal, a spreadsheet, Markdown or a page raw."""

import csv
import io
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_dynamics.errors import UserError, shown
from rlvr_dynamics.reporting.tables import Table, as_markdown, as_tex
from rlvr_dynamics.results.formatting import distinct_titles
from rlvr_dynamics.system.command_line import say
from rlvr_dynamics.system.foreign_text import as_csv, cell

HOSTILE = "\x1b[2J\x1b]0;owned\x07\r=1+1\u202etxt\x00\ud800"


@given(st.text())
def test_nothing_that_is_shown_controls_anything(text):
    safe = shown(text)
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", safe
    )
    assert shown(safe) == safe
    if text.isascii() and text.isprintable():
        assert safe == text


def test_a_message_and_a_line_are_written_out(capsys):
    told = str(UserError(HOSTILE, where="a  b\nc", way_out="\x9bA"))
    assert told == ("\\x1b[2J\\x1b]0;owned\\x07 =1+1\\u202etxt\\x00\\ud800 (a  b c) -> \\x9bA")
    say(f"\x1b[31mred\x1b[0m {HOSTILE}")
    out = capsys.readouterr().out
    assert out.startswith("red \\x1b[2J")
    assert "\x1b" not in out


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", " =1", "\t=1", "＝1+1", "=HYPERLINK(1)"],
)
def test_no_cell_is_a_formula(text):
    frame = pd.DataFrame({"a": [text, "b"], text: ["c", None]})
    rows = list(csv.reader(io.StringIO(as_csv(frame))))
    assert rows[0][1][0] == rows[1][0][0] == "'"
    assert rows[1][0].endswith(text.strip()[1:])


@pytest.mark.parametrize("text", ["-1.5", "+0.3", "-1e-5", "-", "−1.5 [−2, 3]", "a=b", "-inf", "5"])
def test_numbers_and_plain_text_stay_as_they_are(text):
    assert cell(text) == text


def test_csv_keeps_all_that_is_not_foreign():
    frame = pd.DataFrame(
        {
            "object": pd.Series([1, None, "x"], dtype=object),
            "text": ["a", None, "b, c"],
            "number": [0.1234567890123, float("nan"), 1e-20],
            "count": pd.array([1, None, 3], dtype="Int64"),
        }
    )
    plain = frame.to_csv(index=False, float_format="%.10g", lineterminator="\n")
    assert as_csv(frame) == plain
    hostile = frame.assign(text=["=a", None, "b, c"])
    assert as_csv(hostile) == plain.replace(",a,", ",'=a,")


def test_markdown_has_no_link_image_or_html():
    texts = [
        "[x](http://evil.example)",
        "![x](http://evil.example/x.png)",
        "<a href=http://evil.example>x</a>",
        "[x][y]",
        "http://evil.example",
        "https://evil.example www.evil.example ftp://a mailto:a@b.example",
        "`code`",
        HOSTILE,
    ]
    table = Table(
        "x",
        texts[0],
        texts[1] + "\n[y]: " + texts[4],
        pd.DataFrame({texts[0]: texts}, dtype=object),
    )
    made = as_markdown(table)
    assert len(made.splitlines()) == 4 + len(texts)
    assert not re.search(r"(?<!\\):(?=//)|\]\(|\]\[|<|\bwww\.|(?<!\\)`|(?<!\\)@b", made)
    assert shown(made) == made
    assert shown(as_tex(table)) == as_tex(table)


def test_intervals_stay_readable_in_markdown():
    table = Table(
        "x", "t", "95 % [low, high]", pd.DataFrame({"n": ["[0.1, 0.2]"], "pass@n": ["a:b"]})
    )
    assert "| [0.1, 0.2] | a:b |" in as_markdown(table)
    assert "| n | pass@n |" in as_markdown(table)


@given(
    st.dictionaries(
        st.text("ab", min_size=1), st.sampled_from(["T", "T (a)", "T (b)", "method", "T: n"])
    ),
)
def test_every_key_has_a_heading_of_its_own(titles):
    taken, endings = ["method", "step"], ("", ": n")
    found = distinct_titles(titles, taken, endings)
    assert list(found) == list(titles)
    every = [heading + ending for heading in found.values() for ending in endings]
    assert len({*every, *taken}) == len(every) + len(taken)
    for key, heading in found.items():
        assert heading.startswith(titles[key])
