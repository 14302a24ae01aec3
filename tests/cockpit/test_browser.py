"""The cockpit in a real JupyterLab, driven by clicks and keys: from an empty form to a result, in light and dark."""

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from inferkit.cockpit.process import TWICE_S
from inferkit.errors import RecordError
from inferkit.machine.watched import descendants
from inferkit.records.notebooks import load_runs
from tests.browser import CHROMIUM, LONG_MS, MARKS, connected, end_sessions, shoot, wear
from tests.cli.conftest import write_data
from tests.processes import alive, ranks_below, wait_for

pytestmark = MARKS


@contextmanager
def opened(playwright: Any, lab: str, theme: str, width: int) -> Iterator[Any]:
    """Open start.ipynb in a browser of its own and run its cells by the keyboard."""
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
    try:
        page = browser.new_page(viewport={"width": width, "height": 1200})
        page.goto(f"{lab}/lab/tree/notebooks/start.ipynb?reset", timeout=LONG_MS)
        page.wait_for_selector(".jp-Notebook .jp-MarkdownCell", timeout=LONG_MS)
        page.keyboard.press("Control+b")  # the side bar
        wear(page, theme)
        run_cells(page, lab)
        yield page
        end_sessions(page)
    finally:
        browser.close()


def run_cells(page: Any, lab: str) -> None:
    wait_for(lambda: connected(lab), LONG_MS / 1000)  # a cell that is run before that is passed over in silence
    page.locator(".jp-Notebook .jp-MarkdownCell").click()
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector(".jp-CodeCell.jp-mod-active", timeout=LONG_MS)
    page.keyboard.press("Shift+Enter")
    page.wait_for_selector(".inferkit-cockpit", timeout=LONG_MS)


def fill(cockpit: Any, tmp_path: Path, seconds: float) -> None:
    """Fill the empty form: notebook 03a over a small data set."""
    cockpit.get_by_label("03a storage to host").check()
    cockpit.get_by_label("Data folder").fill(write_data(tmp_path))
    cockpit.get_by_label("Warm-up (seconds)").fill("0.1")
    cockpit.get_by_label("Window (seconds)").fill(str(seconds))
    cockpit.get_by_label("Repeats").fill("2")
    cockpit.get_by_label("Results go to").fill(str(tmp_path / "runs"))


def enabled(button: Any) -> bool:
    return bool(button.is_enabled())


@pytest.mark.parametrize(("theme", "width"), [("light", 1200), ("dark", 900)])
def test_from_an_empty_form_to_a_result(
    playwright: Any, lab: tuple[str, int, Path], theme: str, width: int, tmp_path: Path
) -> None:
    with opened(playwright, lab[0], theme, width) as page:
        cockpit = page.locator(".inferkit-cockpit")
        start = cockpit.get_by_role("button", name="Start", exact=True)
        cockpit.get_by_label("Batch sizes").fill("8, 0, many")
        wrong = cockpit.locator(".inferkit-row", has=page.get_by_label("Batch sizes")).get_by_role("alert")
        wrong.first.wait_for(timeout=LONG_MS)
        assert wrong.all_inner_texts() == [
            "✗ item 2: 0: Input should be greater than 0",
            "✗ item 3: 'many': Input should be a valid integer",
        ]
        assert start.is_disabled()
        shoot(page, f"cockpit-{theme}-error", tmp_path)
        cockpit.get_by_label("Batch sizes").fill("8")
        fill(cockpit, tmp_path, 2.0)
        cockpit.get_by_text("What will be measured").wait_for(timeout=LONG_MS)
        wait_for(lambda: enabled(start), 60)
        start.focus()
        page.keyboard.press("Enter")
        cockpit.get_by_text("being read").wait_for(timeout=LONG_MS)
        assert cockpit.get_by_text("Throughput now").is_visible()
        shoot(page, f"cockpit-{theme}-running", tmp_path)
        cockpit.get_by_text("Done: 1").wait_for(timeout=LONG_MS)
        (stored,) = load_runs(tmp_path / "runs")
        outputs = page.locator(".jp-OutputArea-output")
        outputs.get_by_text(stored.run.verdict).first.wait_for(timeout=LONG_MS)
        assert outputs.locator("a", has_text=str(stored.notebook)).count() == 1
        assert page.evaluate("document.querySelector('.inferkit-cockpit').scrollWidth") <= width
        shoot(page, f"cockpit-{theme}-done", tmp_path)
        page.reload()  # what was not saved is lost, the kernel is not
        page.wait_for_selector(".jp-Notebook .jp-MarkdownCell", timeout=LONG_MS)
        page.wait_for_timeout(3000)  # the kernel of the page that is gone counts as connected for a moment
        run_cells(page, lab[0])
        cockpit.get_by_text("Done: 1").wait_for(timeout=LONG_MS)
        outputs.get_by_text(stored.run.verdict).first.wait_for(timeout=LONG_MS)
        assert cockpit.get_by_label("Window (seconds)").input_value() == "2.0"
        shoot(page, f"cockpit-{theme}-again", tmp_path)


def start_run(cockpit: Any) -> None:
    button = cockpit.get_by_role("button", name="Start", exact=True)
    wait_for(lambda: enabled(button), 60)
    button.click()


@contextmanager
def measuring(playwright: Any, lab: str, tmp_path: Path, seconds: float) -> Iterator[tuple[Any, Any]]:
    """Open the cockpit, fill the form, press Start, and give page and cockpit once batches are read."""
    with opened(playwright, lab, "light", 1200) as page:
        cockpit = page.locator(".inferkit-cockpit")
        fill(cockpit, tmp_path, seconds)
        start_run(cockpit)
        cockpit.get_by_text("being read").wait_for(timeout=LONG_MS)
        yield page, cockpit


def test_stop_twice_ends_the_run_at_once(playwright: Any, lab: tuple[str, int, Path], tmp_path: Path) -> None:
    with measuring(playwright, lab[0], tmp_path, 300.0) as (page, cockpit):
        family = ranks_below(lab[1])
        cockpit.get_by_role("button", name="Stop after this point").click()
        cockpit.get_by_text("the last point, press Stop again").wait_for(timeout=LONG_MS)
        page.wait_for_timeout(2000 * TWICE_S)
        cockpit.get_by_role("button", name="Stop at once").click()
        cockpit.get_by_text("Not everything was measured: 1 FAILED").wait_for(timeout=LONG_MS)
    wait_for(lambda: not [pid for pid in family if alive(pid)], 30)


def test_a_kernel_that_is_shut_down_takes_its_run_along(
    playwright: Any, lab: tuple[str, int, Path], tmp_path: Path
) -> None:
    with measuring(playwright, lab[0], tmp_path, 1.0) as (page, _):
        family = descendants(lab[1])
        assert ranks_below(lab[1])
        page.get_by_role("menuitem", name="Kernel", exact=True).click()
        page.get_by_text("Restart Kernel…").first.click()
        page.get_by_role("button", name="Confirm Kernel Restart").click()
        wait_for(lambda: not [pid for pid in family if alive(pid)], 90)
    (stored,) = load_runs(tmp_path / "runs")
    assert stored.run.measured is not None


def test_stop_at_random_moments_leaves_nothing_behind(
    playwright: Any, lab: tuple[str, int, Path], tmp_path: Path
) -> None:
    chance = random.Random(14)
    with opened(playwright, lab[0], "dark", 700) as page:
        cockpit = page.locator(".inferkit-cockpit")
        fill(cockpit, tmp_path, 1.0)
        idle = set(descendants(lab[1]))
        for presses in (1, 2, 3):
            start_run(cockpit)
            page.wait_for_timeout(chance.uniform(0, 9000))
            for _ in range(presses):
                stop = cockpit.get_by_role("button", name=re.compile("^Stop|^Kill"))
                stop.evaluate("button => button.click()")  # whether the run has ended or not
                page.wait_for_timeout(chance.uniform(0, 3000 * TWICE_S))
            wait_for(lambda: not set(descendants(lab[1])) - idle, 90)
            cockpit.get_by_text(re.compile("^(Done|Not everything was measured|The command was stopped): ")).wait_for()
        assert page.get_by_text(re.compile("CellExecutionError|out of memory")).count() == 0
        shoot(page, "cockpit-dark-stopped", tmp_path)
    faults: list[str] = []
    try:
        runs = load_runs(tmp_path / "runs")
    except RecordError as none:  # where starting takes long, all were stopped before anything was measured
        runs, faults = [], str(none).splitlines()
    assert all(stored.run.measured or stored.run.failure for stored in runs)
    assert all(re.search("no record in this notebook|no notebook under", fault) for fault in faults)
