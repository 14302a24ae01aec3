"""Plain tables and plain texts."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.text import plain, printable, text_table

BIDI = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def test_columns_are_aligned_and_nothing_trails() -> None:
    rows = [["read", "9", "a"], ["copy alone", "12,000", ""]]
    assert text_table(rows, ["stage", "rate", "note"], numbers=[1]) == [
        "stage         rate  note",
        "read             9  a",
        "copy alone  12,000",
    ]


def test_a_table_needs_no_heading_and_may_be_empty() -> None:
    assert text_table([["a", "b"], ["cc", "d"]]) == ["a   b", "cc  d"]
    assert text_table([]) == []


def test_names_are_shown_as_they_are_but_for_what_a_terminal_would_obey() -> None:
    assert printable("Größe 大 n=1.jpg") == "Größe 大 n=1.jpg"
    assert printable("a\n\t\x1b[2J\x7f\u202e\u2028b") == r"a\n\t\x1b[2J\x7f\u202e\u2028b"
    assert printable(os.fsdecode(b"c\xff.jpg")) == r"c\xff.jpg"
    assert printable("\ud800") == r"\ud800"


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b2Jcleared", "cleared"),
        ("\x1b]0;a title\x07x", "x"),
        ("\x1b]52;c;ZXZpbA==\x1b\\x", "x"),
        ("\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1;2q#\x1b\\x\x1bc", "x"),
        ("\x1b[?1049hx\x1b(0", "x"),
        ("over\rwritten\nrow\ttab", "over written row tab"),
        ("a\u2028b\x85c", "a b c"),
        ("gnp\u202egpj.exe\u2066", "gnpgpj.exe"),
        ("ze\u200bro\ufeff \x00\x07\x7f\x80", "zero "),
        ("half \ud800", "half \ufffd"),
        ("Grüße 東京 – ½ 👩‍🔬", "Grüße 東京 – ½ 👩‍🔬"),
    ],
)
def test_a_text_cannot_command_a_terminal(told: str, shown: str) -> None:
    assert plain(told) == shown


def test_lines_stay_where_they_are_asked_for() -> None:
    assert plain("a\n\tb\x1b[2J\r\x08c", lines=True) == "a\n\tbc"


def test_a_cell_of_a_table_is_one_line_without_commands() -> None:
    assert text_table([["a\nVALID", "\x1b[2Jb"], ["c", "d"]]) == ["a VALID  b", "c        d"]


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_nothing_is_left_by_which_a_terminal_is_commanded(text: str) -> None:
    shown = plain(text)
    assert plain(shown) == shown
    assert not any(unicodedata.category(letter) in ("Cc", "Cs") for letter in shown)
    assert not any(unicodedata.bidirectional(letter) in BIDI for letter in shown)
