"""Every batch of a run in a parquet file, for those who want more than quantiles and bins."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import time_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferkit.errors import ParameterError
from inferkit.files import obstacle, replacing
from inferkit.pipeline.timeline import DONE, IMAGES, NBYTES, TIMES

MOST_ROWS = 2**16
"""Batches that are written at a time: a few megabytes, and few enough pieces that parquet's index of them is small."""

Columns = dict[str, NDArray[np.int64] | NDArray[np.float64]]


def check_batch_log(folder: Path, *, elsewhere: bool = False) -> None:
    """Refuse a batch log where nothing can write one.

    Parameters
    ----------
    folder, elsewhere
        As :func:`inferkit.files.obstacle` takes them.

    Raises
    ------
    ParameterError
        If the folder cannot be made, as far as that can be told before, or pyarrow is not installed.
    """
    if why := obstacle(folder, elsewhere=elsewhere):
        message = f"batch_log: {folder} cannot be made, {why}: name a folder that you may write to"
        raise ParameterError(message)
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        message = "batch_log needs pyarrow to write parquet: pip install 'inferkit[lab]', or leave batch_log empty"
        raise ParameterError(message) from error


class BatchLog:
    """Writes batches while others are measured: one lot at a time, by a thread of its own.

    Parameters
    ----------
    path
        Which file it will be.
    stages
        Names of the stages whose start and end are in it.
    write
        Writes a lot of batches.
    writer
        The thread.
    """

    def __init__(
        self, path: Path, stages: tuple[str, ...], write: Callable[[Columns], None], writer: ThreadPoolExecutor
    ) -> None:
        self.path = path
        self._stages, self._write, self._writer = stages, write, writer
        self._lot: list[Columns] = []
        self._rows = 0
        self._writing: Future[None] | None = None

    def __call__(self, window: int, start_ns: int, rows: NDArray[np.int64]) -> None:
        """Take batches of a window; see :data:`inferkit.pipeline.timeline.Log`.

        Raises
        ------
        OSError
            If earlier ones could not be written.
        """
        self._lot.append(_columns(window, start_ns, rows, self._stages))
        self._rows += len(rows)
        if self._rows >= MOST_ROWS:
            self.flush()

    def flush(self) -> None:
        """Begin to write what was taken, once what was taken before is written."""
        if self._writing is not None:
            self._writing.result()
        lot, self._lot, self._rows = self._lot, [], 0
        self._writing = self._writer.submit(self._write_lot, lot) if lot else None

    def _write_lot(self, lot: list[Columns]) -> None:
        self._write({name: np.concatenate([columns[name] for columns in lot]) for name in lot[0]})


def _columns(window: int, start_ns: int, rows: NDArray[np.int64], stages: tuple[str, ...]) -> Columns:
    """Return copies of batches' numbers: window, images, bytes, and seconds since the start."""
    seconds = (rows - start_ns) / 1e9
    spans = [f"{name}_{edge}_s" for name in stages for edge in ("start", "end")]
    return {
        "window": np.full(len(rows), window),
        "images": rows[:, IMAGES].copy(),
        "nbytes": rows[:, NBYTES].copy(),
        "done_s": seconds[:, DONE],
        **{name: seconds[:, TIMES + k] for k, name in enumerate(spans)},
    }


@contextmanager
def batch_log(folder: Path, stages: tuple[str, ...]) -> Iterator[BatchLog]:
    """Open a log of one row per batch: window, images, bytes, and when each stage began and ended, since the start.

    The file, whose name no other run's has, appears when the block ends well.
    """
    import pyarrow
    import pyarrow.parquet

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"batches-{time_ns()}-{os.getpid()}.parquet"
    empty = pyarrow.table(_columns(0, 0, np.empty((0, TIMES + 2 * len(stages)), np.int64), stages))
    options: dict[str, Any] = {"write_statistics": False}  # they would be kept until the end
    with (
        replacing(path) as file,
        pyarrow.parquet.ParquetWriter(file, empty.schema, **options) as parquet,
        ThreadPoolExecutor(1, "batch log") as writer,
    ):
        log = BatchLog(path, stages, lambda columns: parquet.write_table(pyarrow.table(columns)), writer)
        yield log
        log.flush()
        log.flush()  # waits for what the first began
