"""Every batch of a run in a parquet file, for those who want more than quantiles and bins."""

import os
from pathlib import Path
from time import time_ns

from inferkit.errors import ParameterError
from inferkit.files import replacing
from inferkit.pipeline.timeline import Timeline


def check_batch_log() -> None:
    """Refuse a batch log where nothing can write one.

    Raises
    ------
    ParameterError
        If pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        message = "batch_log needs pyarrow to write parquet: pip install 'inferkit[lab]', or leave batch_log empty"
        raise ParameterError(message) from error


def write_batch_log(folder: Path, timeline: Timeline) -> Path:
    """Write one row per batch: when each stage began and ended (seconds since the start), images, bytes, window.

    Returns
    -------
    path
        The file, whose name no other run's has.
    """
    import pyarrow
    import pyarrow.parquet

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"batches-{time_ns()}-{os.getpid()}.parquet"
    with replacing(path) as file:
        pyarrow.parquet.write_table(pyarrow.table(timeline.columns()), file)
    return path
