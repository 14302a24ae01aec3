"""Many records in one plain table."""

from collections.abc import Sequence

from inferkit.records.run import Run
from inferkit.report.labels import figure_text, measured_text, point_text, share_text
from inferkit.text import text_table


def overview(runs: Sequence[Run]) -> str:
    """Return one line per record: what was measured, at which point, what was predicted, and the verdict."""
    rows = [
        [
            run.notebook,
            run.measure,
            point_text(run),
            measured_text(run),
            figure_text(run.predicted),
            share_text(run.reached),
            run.bottleneck or "–",
            run.verdict,
        ]
        for run in runs
    ]
    head = ["notebook", "measure", "point", "measured", "predicted", "reached", "bottleneck", "verdict"]
    return "\n".join(text_table(rows, head, numbers=[5]))
