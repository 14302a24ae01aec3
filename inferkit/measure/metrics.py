"""From what ranks measured to what a Run says of it: throughput, and what lies beside it."""

from collections.abc import Mapping
from typing import Any

from inferkit.errors import ModelError
from inferkit.machine.gpu_monitor import pcie_bytes_per_s
from inferkit.plan.points import Point
from inferkit.readers import READERS
from inferkit.records.figures import Figure, figure_of
from inferkit.records.job import CopyJob, Job, ReadJob
from inferkit.records.outcome import Outcome
from inferkit.validity.verdict import Judgement


def measured_of(job: Job, outcome: Outcome) -> Figure | None:
    """Return the throughput: of bare copies without the gaps between them; None where nothing was really read."""
    figure = outcome.measured or figure_of(outcome.repeats)
    if isinstance(job, ReadJob) and not READERS[job.reading.reader].capabilities.has_ceiling:
        return None
    if isinstance(job, CopyJob) and figure is not None and "copy" in outcome.stages:
        return figure.model_copy(update={"bytes_per_s": outcome.stages["copy"].bytes_per_s})
    return figure


def agreement(point: Point, found: Judgement) -> dict[str, Any]:
    """Return how often a network of less precision names the same class as that of float32, where there is one."""
    try:
        share = point.network.top1_agreement if point.network else None
    except ModelError as error:
        found.warnings.append(f"no agreement of {point.axes['precision']} with float32: {error}")
        return {}
    return {} if share is None else {"top1_agreement": share}


def link_of(job: Job, facts: Mapping[str, Any]) -> Figure | None:
    """Return what the PCIe links of a copy's GPUs carry one way, as they were under load."""
    gpus = facts.get("gpus", {})
    if not isinstance(job, CopyJob) or not gpus or "missing" in gpus:
        return None
    links = [
        pcie_bytes_per_s(told.get("pcie_generation_max", 0), told.get("pcie_width_max", 0)) for told in gpus.values()
    ]
    return Figure(bytes_per_s=sum(link for link in links if link)) if all(links) else None


def images_per_joule(measured: Figure | None, facts: Mapping[str, Any]) -> float | None:
    """Return images ÷ energy of the GPUs, where their counters ran for long enough."""
    gpus = facts.get("gpus", {})
    watts = [told.get("mean_power_w") for told in gpus.values()] if "missing" not in gpus else []
    if measured is None or not measured.images_per_s or not watts or None in watts:
        return None
    return float(measured.images_per_s / sum(watts))
