"""The table of points at the top of a notebook."""

import re
from html.parser import HTMLParser

from inferkit.records.figures import Figure
from inferkit.records.run import Run
from inferkit.report.page import page
from inferkit.report.points import points_table
from inferkit.report.sanitize import sanitized
from tests.report.conftest import MakeRun


class Cells(HTMLParser):
    """Collects the texts of a table's rows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1] and "script" not in self.tags:
            self.rows[-1][-1] += data


def rows_of(*runs: Run) -> list[list[str]]:
    return Cells(points_table(runs)["text/html"]).rows


def test_one_row_a_point_the_best_pipeline_first(make_run: MakeRun, failed: Run) -> None:
    runs = [make_run(rate, point={"threads": n, "batch_size": 8}) for n, rate in enumerate((40, 58, 20), 1)]
    head, *rows = rows_of(*runs, failed)
    assert head == ["what", "point", "images/s", "verdict", "bytes/s", "predicted", "reached", "bottleneck"]
    assert [row[1] for row in rows[:3]] == [f"threads {n} · batch size 8" for n in (2, 1, 3)]
    assert [row[2] for row in rows] == ["58.00 ± 0.58", "40.00 ± 0.40", "20.00 ± 0.20", "–"]
    assert [row[3] for row in rows] == ["VALID"] * 3 + ["FAILED"]
    text = points_table([*runs, failed])["text/plain"].splitlines()
    assert len(text) == 1 + 4
    assert "58.00 ± 0.58" in text[1]


def test_what_all_points_share_and_what_none_has_takes_no_room(make_copy: MakeRun) -> None:
    head, *rows = rows_of(*(make_copy(size, "pinned", 1e9) for size in (1 << 16, 1 << 20)))
    assert head == ["what", "point", "verdict", "bytes/s"]
    assert [row[1] for row in rows] == ["64 KiB", "1 MiB"]


def test_nothing_in_a_record_becomes_markup(make_run: MakeRun) -> None:
    evil = "<img src=x onerror=alert(1)>"
    html = points_table([make_run(point={"model": evil, "reader": name}, bottleneck=evil) for name in ("a", evil)])
    assert Cells(html["text/html"]).tags <= {"div", "table", "thead", "tbody", "tr", "th", "td", "script"}


def test_without_scripts_nothing_is_lost(make_run: MakeRun) -> None:
    runs = [make_run(rate, point={"threads": n}) for n, rate in enumerate((40, 58), 1)]
    html = points_table(runs)["text/html"]
    assert rows_of(*runs) == Cells(re.sub("<script>.*</script>", "", html, flags=re.DOTALL)).rows


def test_a_bandwidth_has_its_error_beside_images(make_read: MakeRun) -> None:
    figure = Figure(images_per_s=100.0, bytes_per_s=2e9, half_width=0.01)
    head, first, *_ = rows_of(*(make_read("direct", n, 8, 1e9, measured=figure) for n in (1, 2)))
    assert (first[head.index("images/s")], first[head.index("bytes/s")]) == ("100.0 ± 1.0", "2.000 ± 0.020 GB/s")


def test_on_paper_no_point_is_cut(make_run: MakeRun) -> None:
    """Paper does not scroll."""
    html = page({"cells": []}, "x")
    paper = html[html.index("@media print") :]
    assert re.search(r"\.inferkit-points\{max-height:none!important;overflow:visible!important\}", paper)
    assert "img{max-height:255mm" in paper  # of 269: a taller picture would be cut in two
    table = points_table([make_run(rate) for rate in (40, 58)])["text/html"]
    assert 'class="inferkit-points"' in sanitized(table)
