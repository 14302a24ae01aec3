"""What TensorRT's builder gets besides the network: a progress monitor, and what earlier builds found out."""

from typing import Any

from inferkit.engines.engine_cache import PROGRESS, EngineFile
from inferkit.engines.tensorrt_library import RTX, trt

_IProgressMonitor: Any = trt.IProgressMonitor


class BuildProgress(_IProgressMonitor):  # type: ignore[misc]
    """Logs how far a build is; the measuring process shows it.

    Parameters
    ----------
    name
        What is built.
    """

    def __init__(self, name: str) -> None:
        _IProgressMonitor.__init__(self)  # pybind11 wants it called so
        self._name = name
        self._steps: dict[str, int] = {}

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """Note that a phase begins; TensorRT calls this."""
        self._steps[phase_name] = max(num_steps, 1)
        PROGRESS.info("building %s: %s", self._name, phase_name)

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Note that a step of a phase is done; TensorRT calls this. True lets the build go on."""
        PROGRESS.info("building %s: %s %.0f %%", self._name, phase_name, 100 * step / self._steps.get(phase_name, 1))
        return True

    def phase_finish(self, phase_name: str) -> None:
        """Note that a phase has ended; TensorRT calls this."""
        self._steps.pop(phase_name, None)


class TimingCache:
    """Kernel times that earlier builds found out. Only TensorRT has them: TensorRT-RTX tries no kernels when it builds.

    Parameters
    ----------
    config
        The configuration of the builder that uses them.
    """

    def __init__(self, config: Any) -> None:
        self._file = None if RTX else EngineFile("timing", {"library": trt.__name__, "version": trt.__version__})
        if self._file is None:
            return
        with self._file.locked():
            known = self._file.read_or_begin() or b""
        self._cache = config.create_timing_cache(known)
        config.set_timing_cache(self._cache, ignore_mismatch=False)

    def keep(self) -> None:
        """Write what is known now."""
        if self._file is not None:
            with self._file.locked():
                self._file.write(bytes(self._cache.serialize()))
