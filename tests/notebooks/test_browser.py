"""An executed notebook as people see it: in JupyterLab, light and dark, trusted and not, and as an exported page."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import papermill
import pytest
from nbformat import read
from nbformat.sign import NotebookNotary

from inferkit.dataset.synthetic import make_synthetic
from inferkit.records.params import MakeDataset
from inferkit.records.project import project_root
from inferkit.report.display import SCALE
from inferkit.report.export import export
from tests.browser import CHROMIUM, LONG_MS, MARKS, connected, end_sessions, shoot, wear
from tests.notebooks.conftest import TINY
from tests.processes import wait_for

pytestmark = MARKS
FIRST_SCREEN = 900
"""Pixels from the top within which the answer stands."""
SENTENCE = re.compile("This server|No valid figure")


@pytest.fixture
def executed(tmp_path: Path, plain: dict[str, Any]) -> Path:
    """Execute notebook 03b at several points; or take the one that ``INFERKIT_NOTEBOOK`` names, to look at it."""
    if own := os.environ.get("INFERKIT_NOTEBOOK"):
        return Path(own)
    make_synthetic(MakeDataset(data=str(tmp_path / "tensors"), limit=64, shape=[3, 224, 224], images_per_file=17))
    given = {"data": str(tmp_path / "tensors"), "threads": [1, 2], "batch_sizes": [4, 8], "engines": ["null"], **TINY}
    source, out = project_root() / "notebooks" / "03b_single_process.ipynb", tmp_path / "executed.ipynb"
    earlier = {"earlier": str(tmp_path / "none")}
    papermill.execute_notebook(source, out, parameters=given | earlier, report_mode=True, **plain, cwd=tmp_path)
    return out


@contextmanager
def page_of(playwright: Any, width: int = 1200, **options: Any) -> Iterator[Any]:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
    try:
        yield browser.new_context(viewport={"width": width, "height": 1000}, **options).new_page()
    finally:
        browser.close()


def seen(page: Any, inside: str) -> None:
    """Show that sentence and picture stand in the first screen, and that no label is light on white."""
    sentence = page.locator(inside).get_by_text(SENTENCE).first.bounding_box()
    assert sentence["y"] + sentence["height"] < FIRST_SCREEN / 2
    drawn = page.locator(f"{inside} img, {inside} .vega-embed svg, {inside} .vega-embed canvas").first
    picture = drawn.bounding_box()
    assert picture["height"] > 50
    assert picture["y"] + picture["height"] < FIRST_SCREEN
    for fill in page.eval_on_selector_all(
        f"{inside} .vega-embed svg text", "texts => texts.map(t => t.getAttribute('fill'))"
    ):
        assert fill.startswith("#"), fill
        assert max(bytes.fromhex(fill[1:])) < 0xC0, f"{fill} on white"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "untrusted"])
def test_the_answer_stands_in_the_first_screen(
    playwright: Any, lab: tuple[str, int, Path], executed: Path, theme: str, trusted: bool, tmp_path: Path
) -> None:
    address, _, root = lab
    name = f"{theme}-{trusted}.ipynb"
    shutil.copy(executed, root / name)
    if trusted:
        notary = NotebookNotary(data_dir=str(root.parent / "data"))
        notary.sign(read(root / name, as_version=4))
        notary.store.close()
    with page_of(playwright) as page:
        page.goto(f"{address}/doc/tree/{name}?reset", timeout=LONG_MS)
        page.wait_for_selector(".jp-Notebook .jp-OutputArea-output img, .vega-embed", timeout=LONG_MS)
        wear(page, theme)
        page.wait_for_timeout(3000)  # charts are drawn again in the other theme
        shown = f"{theme}-{'trusted' if trusted else 'untrusted'}"
        shoot(page, f"answer-{shown}", tmp_path)
        seen(page, ".jp-Notebook")
        heading = page.locator(".jp-Notebook h2", has_text="Time per batch")
        for _ in range(2):
            heading.evaluate("heading => heading.scrollIntoView()")
            page.wait_for_timeout(2000)  # what comes into view is drawn then, and moves what is below
        shoot(page, f"charts-{shown}", tmp_path)


CUT = """outputs => outputs.flatMap(output => {
    const right = output.getBoundingClientRect().right;
    return [...output.querySelectorAll('canvas, svg.marks, img')].map(drawn => drawn.getBoundingClientRect())
        .filter(drawn => drawn.right > right || drawn.right > window.innerWidth).map(drawn => drawn.width)})"""
"""Widths of the charts that go over the right edge of their cell or of the window."""
NARROW = 600


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_narrow_window_cuts_no_chart(
    playwright: Any, lab: tuple[str, int, Path], executed: Path, theme: str, tmp_path: Path
) -> None:
    address, _, root = lab
    shutil.copy(executed, root / "narrow.ipynb")
    with page_of(playwright, NARROW) as page:
        page.goto(f"{address}/doc/tree/narrow.ipynb?reset", timeout=LONG_MS)
        page.wait_for_selector(".vega-embed canvas", timeout=LONG_MS)
        wear(page, theme)
        page.set_viewport_size({"width": NARROW, "height": 6000})  # what is out of view is not drawn
        page.wait_for_timeout(5000)
        assert page.locator(".vega-embed canvas").count() > 3
        assert page.eval_on_selector_all(".jp-OutputArea-output", CUT) == []
        verdict = page.locator(".inferkit-points th", has_text="verdict").bounding_box()
        assert verdict["x"] + verdict["width"] < NARROW  # before anybody scrolls
        shoot(page, f"narrow-{theme}", tmp_path)


def test_a_narrow_page_without_scripts_cuts_no_picture(playwright: Any, executed: Path, tmp_path: Path) -> None:
    (page_file,) = export([executed], "html", tell=lambda _: None)
    with page_of(playwright, NARROW, offline=True) as page:
        page.goto(page_file.as_uri(), timeout=LONG_MS)
        pictures = page.eval_on_selector_all("img", "all => all.map(img => [img.width, img.naturalWidth])")
        assert pictures
        for shown, drawn in pictures:
            assert shown > 0.9 * drawn / SCALE  # letters are as large as they are drawn
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW
        shoot(page, "narrow-export", tmp_path)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_an_export_shows_the_answer_first_offline(
    playwright: Any, executed: Path, scripts: bool, tmp_path: Path
) -> None:
    (page_file,) = export([executed], "html", tell=lambda _: None)
    with page_of(playwright, java_script_enabled=scripts, offline=True) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri(), timeout=LONG_MS)
        shoot(page, f"export-{'scripts' if scripts else 'plain'}", tmp_path)
        seen(page, "body")
        assert asked == [page_file.as_uri()]
        page.emulate_media(media="print")
        table = page.locator(".inferkit-points")
        assert table.locator("tr").last.bounding_box()["y"] < table.bounding_box()["y"] + table.bounding_box()["height"]


def test_every_menu_of_explore_draws_a_chart_or_says_why_not(
    playwright: Any, lab: tuple[str, int, Path], executed: Path, tmp_path: Path
) -> None:
    address, _, root = lab
    (root / "runs").mkdir(exist_ok=True)
    shutil.copy(executed, root / "runs" / "executed.ipynb")
    with page_of(playwright) as page:
        page.goto(f"{address}/lab/tree/notebooks/compare.ipynb?reset", timeout=LONG_MS)
        page.wait_for_selector(".jp-Notebook .jp-MarkdownCell", timeout=LONG_MS)
        wait_for(lambda: connected(address), LONG_MS / 1000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.locator(".jp-Notebook h2", has_text="Explore").scroll_into_view_if_needed(timeout=LONG_MS)
        menus = page.locator(".widget-dropdown select")
        menus.first.wait_for(timeout=LONG_MS)
        cell = page.locator(".jp-CodeCell", has=menus.first)
        cell.locator(".vega-embed canvas").wait_for(timeout=LONG_MS)
        shown = cell.locator(".jp-OutputArea-output").nth(1)  # below the menus
        for number in range(menus.count()):
            menu = menus.nth(number)
            for option in menu.locator("option").all_inner_texts():
                menu.select_option(label=option)
                page.wait_for_timeout(300)  # until the kernel hears of it
                wait_for(lambda: connected(address), LONG_MS / 1000)  # and has drawn anew
                page.wait_for_timeout(300)
                said = shown.inner_text()
                assert shown.locator("canvas, svg").count() or "none of these" in said or "are both" in said, option
                assert not cell.locator(".jp-RenderedText[data-mime-type*=stderr]").count(), option
                shown.scroll_into_view_if_needed()
                shoot(page, f"explore-{number}-{option.replace('/', ' ')}", tmp_path)
            menu.select_option(index=0)
        end_sessions(page)
