"""Charts of runs. To add one: a function in a file here, a line in ``CHARTS`` and a test; then look at its PNG."""

from collections.abc import Callable

from inferkit.report.charts.batches import batch_times, timeline
from inferkit.report.charts.layers import layer_times
from inferkit.report.charts.nodes import node_strips, over_nodes
from inferkit.report.charts.over_time import machine_over_time
from inferkit.report.charts.pipeline import ceilings, comparison, stage_times, throughput, time_series
from inferkit.report.charts.scaling import scaling, speedup
from inferkit.report.charts.settings import batch_sizes, energy
from inferkit.report.charts.storing import jpeg_or_tensors
from inferkit.report.charts.sweeps import copy_matrix, read_sweep, transfer_sweep
from inferkit.report.charts.theme import Chart
from inferkit.report.charts.trend import trend

CHARTS: dict[str, Callable[..., Chart]] = {
    chart.__name__: chart
    for chart in (
        *(throughput, ceilings, stage_times, time_series, machine_over_time, transfer_sweep, copy_matrix, read_sweep),
        *(layer_times, scaling, speedup, comparison, timeline, batch_times, batch_sizes, energy, trend),
        jpeg_or_tensors,
        *(over_nodes, node_strips),
    )
}
"""Every chart by name; ``comparison`` takes the table of all records, the others take runs."""
