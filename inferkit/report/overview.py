"""Many records in one plain table."""

from collections.abc import Sequence

from inferkit.report.tables import text_table
from inferkit.report.words import figure_text, point_text, share_text
from inferkit.run import Run


def overview(runs: Sequence[Run]) -> str:
    """Return one line per record: what was measured, at which point, what was reached, and the verdict."""
    rows = [
        [
            run.stage,
            run.measure,
            point_text(run),
            figure_text(run.measured) if run.measured else "–",
            share_text(run.reached),
            run.binding or "–",
            run.verdict,
        ]
        for run in runs
    ]
    head = ["stage", "measure", "point", "measured", "reached", "binds", "verdict"]
    return "\n".join(text_table(rows, head, numbers=[4]))
