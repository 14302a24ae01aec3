"""CUDA graphs: work that is captured once and launched as a whole. PyCUDA has none, hence cuda.bindings."""

from collections.abc import Callable
from typing import Any

from cuda.bindings import driver as bindings

from inferkit.devices.cuda_errors import checked
from inferkit.errors import DeviceError, InferkitError

CAPTURING = "capturing a CUDA graph; cuda_graph: false does without"


def capture(stream: Any, work: Callable[[], None]) -> Any:
    """Capture what ``work`` queues on a stream, ready to be launched.

    Other threads may keep allocating memory meanwhile (mode THREAD_LOCAL).

    Raises
    ------
    DeviceError
        If something in it cannot be captured.
    """
    mode = bindings.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    checked(bindings.cuStreamBeginCapture(stream.handle, mode), CAPTURING)
    try:
        work()
    except InferkitError as error:
        _, unfinished = bindings.cuStreamEndCapture(stream.handle)
        if unfinished is not None:
            bindings.cuGraphDestroy(unfinished)
        message = f"{CAPTURING}: {error}"
        raise DeviceError(message) from error
    graph = checked(bindings.cuStreamEndCapture(stream.handle), CAPTURING)
    try:
        return checked(bindings.cuGraphInstantiate(graph, 0), CAPTURING)
    finally:
        bindings.cuGraphDestroy(graph)


def launch(graph: Any, stream: Any) -> None:
    """Queue a captured graph on a stream."""
    checked(bindings.cuGraphLaunch(graph, stream.handle), "launching a CUDA graph")


def destroy(graph: Any) -> None:
    """Free a captured graph that is not running."""
    checked(bindings.cuGraphExecDestroy(graph), "freeing a CUDA graph")
