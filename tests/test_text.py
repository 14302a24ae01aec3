"""Plain tables."""

from inferkit.text import text_table


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
