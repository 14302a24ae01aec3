"""Plain tables and plain texts."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferkit.text import MOST, MOST_LINES, plain, quoted, readable, shortened, text_table

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


def test_bytes_of_a_name_that_are_no_text_are_told() -> None:
    assert plain(os.fsdecode("Größe ".encode() + b"c\xff.jpg")) == r"Größe c\xff.jpg"


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
        ("half \ud800", r"half \ud800"),
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


def test_a_long_text_keeps_both_ends_and_says_what_is_left_out() -> None:
    told = shortened(f"a.yaml: {'x' * 70_000}: write y")
    assert told.startswith("a.yaml: xx")
    assert told.endswith("x: write y")
    assert "… (69,017 more characters) …" in told
    assert len(told) < MOST + 50
    assert shortened("x" * MOST) == "x" * MOST


def test_a_message_of_many_lines_fits_a_screen() -> None:
    told = readable("\n".join(["fault"] * 5000)).splitlines()
    assert len(told) == MOST_LINES + 1
    assert told[-1] == f"… and {5000 - MOST_LINES:,} more lines"
    assert readable("one\ntwo") == "one\ntwo"


@pytest.mark.parametrize(
    "value", ["y" * 70_000, ["y" * 900] * 900, {"a" * 900: [[[[[["b" * 9000]]]]]]}, 10**4000, b"x" * 9999]
)
def test_a_value_that_was_found_is_quoted_in_short(value: object) -> None:
    assert len(quoted(value)) < 700


@pytest.mark.parametrize("value", ["x", 5, 1.5, None, [1, "a"], {"a": 1}, "a\n\ud800"])
def test_a_short_value_is_quoted_as_it_is(value: object) -> None:
    assert quoted(value) == repr(value)


def test_a_cell_does_not_make_every_row_of_a_table_as_long() -> None:
    assert max(map(len, text_table([["x" * 70_000, "b"], ["c", "d"]]))) < 400
