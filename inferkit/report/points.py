"""One row per point, for the top of a notebook; a click on a heading sorts, where scripts may run."""

from collections.abc import Sequence

from inferkit.records.run import Run
from inferkit.report.charts.rows import ranked
from inferkit.report.labels import bandwidth_text, images_text, number_text, share_text, varying_points
from inferkit.report.tables import html_table
from inferkit.text import text_table

HIGH = "22em"
"""Height of the table before it scrolls, so that what follows stays in reach."""
HEAD = ("what", "point", "images/s", "verdict", "bytes/s", "predicted", "reached", "bottleneck")
"""A figure and its verdict come first: what a narrow window cuts off is reached by scrolling."""
POINT = 1
NUMBERS = (2, 4, 5, 6)

_SORT = """<script>window.inferkitSorts ??= (document.addEventListener("click", event => {
const head = event.target.closest(".inferkit-points th"); if (!head) return;
const body = head.closest("table").tBodies[0], at = head.cellIndex, up = head.dataset.up === "1" ? -1 : 1;
const value = row => { const text = row.cells[at].innerText,
told = text.match(/^([\\d.,]+)(?: ± [\\d.,]+)?(?: ([kMGT])?B)?/);
return told ? parseFloat(told[1].replace(/,/g, "")) * 1000 ** " kMGT".indexOf(told[2] || " ") : text; };
const order = (a, b) => typeof a === "number" && typeof b === "number" ? a - b
: String(a).localeCompare(String(b), undefined, {numeric: true});
head.dataset.up = up; [...body.rows].sort((a, b) => up * order(value(a), value(b))).forEach(row => body.append(row));
}), true);</script>"""


def points_table(runs: Sequence[Run]) -> dict[str, str]:
    """Return the MIME bundle of a table with one row per record: pipelines from the best on, then what is alone."""
    pipelines, _ = ranked([run for run in runs if run.measure == "pipeline"])
    runs = [*pipelines, *(run for run in runs if run.measure != "pipeline")]
    rows = [_row(run, point) for run, point in zip(runs, varying_points(runs), strict=True)]
    shown = [i for i in range(len(HEAD)) if any(row[i] not in ("", "–") for row in rows)]
    head, rows = [HEAD[i] for i in shown], [[row[i] for i in shown] for row in rows]
    numbers = [shown.index(i) for i in NUMBERS if i in shown]
    table = html_table(rows, head, numbers=numbers, wide=shown.index(POINT) if POINT in shown else None)
    html = f'<div class="inferkit-points" style="max-height:{HIGH};overflow:auto">{table}</div>{_SORT}'
    return {"text/html": html, "text/plain": "\n".join(text_table(rows, head, numbers=numbers))}


def _row(run: Run, point: str) -> list[str]:
    figure = run.measured
    nbytes = "–" if figure is None or figure.bytes_per_s is None else bandwidth_text(figure)
    predicted = run.predicted.images_per_s if run.predicted else None
    rest = [nbytes, number_text(predicted), share_text(run.reached), run.bottleneck or "–"]
    return [run.measure, point, images_text(figure), run.verdict, *rest]
