"""TensorRT or TensorRT-RTX, whichever is installed. This is the only file that imports them."""

import ctypes
from collections import deque
from importlib import import_module
from typing import Any

from inferkit.errors import EngineError


def _library() -> Any:
    reasons = []
    for name in ("tensorrt", "tensorrt_rtx"):
        try:
            return import_module(name)
        except (ImportError, OSError, RuntimeError) as error:  # PyPI's placeholder packages raise the latter
            reasons.append(f"{name}: {error}")
    message = (
        f"engine tensorrt needs TensorRT ({'; '.join(reasons)}): pip install 'inferkit[tensorrt]' or [tensorrt-rtx]"
    )
    raise EngineError(message)


trt = _library()
RTX: bool = trt.__name__ == "tensorrt_rtx"


_ILogger: Any = trt.ILogger


class _Log(_ILogger):  # type: ignore[misc]
    """Keeps the last errors, for messages. TensorRT takes one logger per process and ignores others."""

    def __init__(self) -> None:
        _ILogger.__init__(self)  # pybind11 wants it called so
        self._errors: deque[str] = deque(maxlen=4)

    def log(self, severity: Any, message: str) -> None:
        """Keep an error; TensorRT calls this, from any thread."""
        if severity <= trt.ILogger.Severity.ERROR:
            self._errors.append(message.strip())

    @property
    def heard(self) -> bool:
        """Whether there were errors."""
        return bool(self._errors)

    def forget(self) -> None:
        """Forget the errors."""
        self._errors.clear()

    def take(self) -> str:
        """Return the errors that were kept, and forget them."""
        errors = list(self._errors)
        self.forget()
        return "; ".join(errors) or f"{trt.__name__} gave no reason"


LOG = _Log()


def open_runtime() -> Any:
    """Return a runtime.

    TensorRT 10 and 11 give one as well where CUDA failed to start, which ends the process when it is used or freed.

    Raises
    ------
    EngineError
        If CUDA does not start, or the driver is too old for this library.
    """
    LOG.forget()
    runtime = trt.Runtime(LOG)
    if LOG.heard:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(runtime))  # so that it is never freed
        message = (
            f"{trt.__name__} {trt.__version__} does not start: {LOG.take()}; it may need a newer driver, or be of "
            "another CUDA than the driver's"
        )
        raise EngineError(message)
    return runtime
