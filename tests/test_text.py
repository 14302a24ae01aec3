"""What a terminal shows."""

import os

from inferkit.text import printable, text_table


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
