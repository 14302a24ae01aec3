"""What happens during a run, in JSON lines, for a program that started it (``inferkit run --feed``).

``planned``
    A storage's notebooks are about to run: ``storage``, ``notebooks``, and ``skipped`` with the reasons.
``progress``
    Of a ``notebook``: ``fraction`` and ``text``, as in a terminal, and ``live``, what a point under way does
    (:data:`inferkit.measure.progress.Live`; null where data are made).
``record``
    A point is measured: the ``notebook`` and its ``run`` (records/run.py).
``executed``
    A notebook is written: its ``path``, the ``error`` that ended it, and whether the user ``stopped`` it.
"""

import json
import os
import select
import signal
from collections.abc import Mapping
from typing import Any

from inferkit.errors import ParameterError
from inferkit.measure.progress import MIME as PROGRESS_MIME
from inferkit.records.run import MIME as RUN_MIME


class Feed:
    """Writes the lines to a file descriptor that the command was started with.

    When nobody reads any longer, the run ends as after one Ctrl-C: the point under way is finished.

    Raises
    ------
    ParameterError
        If there is no such descriptor.
    """

    def __init__(self, descriptor: int) -> None:
        try:
            self._lines = os.fdopen(descriptor, "w", encoding="utf-8")
        except OSError as error:
            message = f"--feed {descriptor}: {error.strerror}: expected a descriptor that the command was started with"
            raise ParameterError(message) from error
        self._read = True
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # stopped while it plans, it cleans up as well

    def tell(self, event: str, **content: Any) -> None:
        """Write a line."""
        if not self._read:
            return
        try:
            self._lines.write(json.dumps({"event": event, **content}) + "\n")
            self._lines.flush()
        except BrokenPipeError:
            self._read = False
            os.kill(os.getpid(), signal.SIGTERM)

    def output(self, notebook: str, data: Mapping[str, Any]) -> None:
        """Pass on what a notebook's cell displays, as far as it is progress or a record.

        Progress that a slow reader has no room for is left out: measuring waits for nobody.
        """
        if PROGRESS_MIME in data and select.select([], [self._lines], [], 0)[1]:
            self.tell("progress", notebook=notebook, **data[PROGRESS_MIME])
        if RUN_MIME in data:
            self.tell("record", notebook=notebook, run=data[RUN_MIME])
