"""The kernel of a notebook that runs unattended: this interpreter, and nothing of the user's own set-up.

A kernel spec called python3 may lead to another interpreter; start-up files of IPython may do anything; its history and
its connection file want a home that can be written to. None of this may decide whether a server can be measured.
"""

import os
import signal
import sys
from typing import IO, Any

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from traitlets.config import Config
from zmq import ZMQError

from inferkit.errors import RankError
from inferkit.os_errors import explained, hinted

LAST_WORDS = 300
"""Characters of what a kernel said last."""
ERROR = "Error"
"""In the name of nearly every exception, and so in the last line of its traceback."""


def private(folder: str) -> Config:
    """Return the settings of a kernel that is spoken to through sockets in a folder, where its key lies as well."""
    return Config(
        {"ConnectionFileMixin": {"transport": "ipc", "ip": f"{folder}/kernel", "connection_file": f"{folder}/key.json"}}
    )


class _OwnSpec(KernelSpecManager):
    """Knows one kernel, whatever its name: this interpreter, with a profile of IPython's in a folder of its own."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="Python 3 (ipykernel)",
            language="python",
            env={"IPYTHONDIR": f"{self._folder}/ipython", "PYTHONSTARTUP": ""},
        )


class OwnKernelClient(PapermillNotebookClient):
    """A client whose kernel is ours; one that does not start, or dies, is told with its last words.

    Parameters
    ----------
    nb_man
        papermill's view of the notebook.
    folder
        Where the kernel's sockets and settings lie.

    Attributes
    ----------
    stuck_s
        How long the kernel had shown no sign of life when it was killed for that; 0: it was not.
    """

    def __init__(self, nb_man: Any, folder: str, **kwargs: Any) -> None:
        super().__init__(nb_man, config=private(folder), **kwargs)  # type: ignore[no-untyped-call]
        self._folder = folder
        self._said: IO[bytes] | None = None
        self.stuck_s = 0.0

    def create_kernel_manager(self) -> Any:
        """Make the manager of a kernel that is this interpreter."""
        manager = super().create_kernel_manager()
        manager.kernel_spec_manager = _OwnSpec(self._folder)
        return manager

    def start_new_kernel(self, **kwargs: Any) -> None:
        """Start the kernel; what it says on standard error is kept."""
        self._said = os.fdopen(os.memfd_create("what the kernel says"), "r+b")
        try:
            super().start_new_kernel(stderr=self._said, **kwargs)
        except (OSError, ZMQError) as error:
            raise self._failed(error) from error

    def start_new_kernel_client(self) -> Any:
        """Wait until the kernel answers."""
        try:
            return super().start_new_kernel_client()
        except (RuntimeError, OSError, ZMQError) as error:
            raise self._failed(error) from error

    def papermill_execute_cells(self) -> None:
        """Run all cells; if the kernel dies, say how."""
        try:
            super().papermill_execute_cells()  # type: ignore[no-untyped-call]
        except DeadKernelError as error:
            message = f"the notebook's kernel {self._end()}{self._last_words()}"
            raise DeadKernelError(message) from error

    def execute(self, **kwargs: Any) -> Any:
        """Run the notebook, and forget what the kernel said."""
        try:
            return super().execute(**kwargs)  # type: ignore[no-untyped-call]
        finally:
            if self._said is not None:
                self._said.close()

    def _failed(self, error: Exception) -> RankError:
        why = explained(error) if isinstance(error, OSError) else str(error)
        return RankError(f"the notebook's kernel did not start: {why}{self._last_words()}")

    def _end(self) -> str:
        """Say that it died, and by which signal; or that it was killed here."""
        if self.stuck_s:
            return f"gave no sign of life for {self.stuck_s:.0f} s and was killed: storage hangs, maybe the home"
        process = getattr(getattr(self.km, "provisioner", None), "process", None)
        code = None if process is None else process.poll()
        name = signal.Signals(-code).name if code is not None and code < 0 else ""
        return f"died by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}" if name else "died"

    def _last_words(self) -> str:
        """Return, after a colon, what the kernel said last of an error, and what to do about it; empty if nothing."""
        assert self._said is not None
        self._said.seek(0)
        lines = [line.strip() for line in self._said.read().decode(errors="replace").splitlines()]
        told = next((line for line in reversed(lines) if ERROR in line), next(reversed(lines), ""))
        return f": {hinted(told[-LAST_WORDS:])}" if told else ""
