"""The bandwidth of host memory as a ceiling: every stage moves an image's bytes through it, and all stages share it."""

from inferkit.dataset.tensors import image_bytes
from inferkit.readers import READERS
from inferkit.records.figures import Figure
from inferkit.records.job import Job, PipelineJob
from inferkit.records.run import Run

OF_A_COPY = 2
"""A copy within the host reads each byte from memory and writes it there (McCalpin, STREAM: copy counts both)."""
COPIED = {"cuda": 1, "cpu": OF_A_COPY}
"""How often copying to a device moves a byte through host memory: a GPU's copy engine reads it."""


def passes(job: Job) -> int | None:
    """Return how often, at the least, a pipeline moves each byte of an image through host memory.

    None where that is unknown: what a decoder does is, and so is inference on the CPU.
    """
    if not isinstance(job, PipelineJob) or (job.inference.model and job.device.kind == "cpu"):
        return None
    read = READERS[job.reading.reader].capabilities.memory_passes
    return None if read is None else read + COPIED[job.device.kind]


def memory_ceiling(job: Job, memory: Run | None) -> Figure | None:
    """Return what the host's memory lets through; None where that, or what a pipeline needs of it, is unknown.

    Parameters
    ----------
    job
        One process of the pipeline.
    memory
        What measured copies within the host by all of its cores at once.
    """
    often = passes(job)
    if often is None or memory is None or memory.measured is None or not memory.measured.bytes_per_s:
        return None
    assert isinstance(job, PipelineJob)
    images = OF_A_COPY * memory.measured.bytes_per_s / often / image_bytes(job.reading.dtype, job.reading.shape)
    return Figure(images_per_s=images, half_width=memory.measured.half_width)
