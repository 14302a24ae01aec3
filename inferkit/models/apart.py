"""A user's network is read, adapted and tried in a process of its own: files of others crash libraries, loop or swell.

ONNX's checker, its shape inference and ONNX Runtime are C++ that trusts a graph's numbers. Here nothing that a file
says can end, block or fill the process that asked.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inferkit.errors import ModelError
from inferkit.models.adapt import adapt
from inferkit.models.model_file import ModelFile, find, store
from inferkit.models.onnx_file import load_model
from inferkit.models.preprocessing import Preprocessing
from inferkit.models.probe import probe

LONGEST_S = 300
"""Seconds: reading 2 GiB from a slow disk and inferring two images of them takes less than one of these minutes."""
LEAST_BYTES = 16 << 30
"""Address space: a network of 2 GiB is there some four times, and the libraries reserve more than they use."""
_PR_SET_PDEATHSIG = 1  # of prctl(2)
_SAID = 400


@dataclass(frozen=True)
class Asked:
    """Which network to adapt, to what, and where to put it.

    Parameters
    ----------
    given, path
        The user's file, and the one to make of it.
    source
        Digest of what the user's file is made of.
    dtype, shape, preprocessing
        As of :func:`inferkit.models.adapt.adapt`.
    """

    given: Path
    path: Path
    source: str
    dtype: str
    shape: tuple[int, ...] | None
    preprocessing: Preprocessing


def adapted_apart(asked: Asked) -> ModelFile:
    """Make a network of a user's file in another process.

    Raises
    ------
    ModelError
        If it cannot be made, or if the process crashed, took too much memory or did not come to an end.
    """
    command = [sys.executable, "-m", "inferkit.models.apart", str(os.getpid())]
    task = json.dumps(asdict(asked), default=os.fspath).encode()
    try:
        ended = subprocess.run(command, input=task, capture_output=True, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired as error:
        message = (
            f"{asked.given}: inferring two images with ONNX Runtime did not end within {LONGEST_S} s: has it a loop?"
        )
        raise ModelError(message) from error
    if ended.stdout:
        raise ModelError(ended.stdout.decode())
    made = find(asked.path) if ended.returncode == 0 else None
    if made is None:
        message = f"{asked.given}: the libraries of ONNX fail on it ({_how(ended)}): check it, or export it again"
        raise ModelError(message)
    return made


def _how(ended: "subprocess.CompletedProcess[bytes]") -> str:
    if ended.returncode < 0:
        return f"signal {signal.Signals(-ended.returncode).name}"
    lines = ended.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1][-_SAID:] if lines else f"exit code {ended.returncode}"


def make(asked: Asked) -> ModelFile:
    """Make a network of a user's file here.

    Raises
    ------
    ModelError
        If it cannot be made, with the file and the reason.
    """
    model = load_model(asked.given)
    try:
        adapted = adapt(model, dtype=asked.dtype, shape=asked.shape, preprocessing=asked.preprocessing)
        told = probe(adapted)
    except ModelError as error:
        message = f"{asked.given}: {error}"
        raise ModelError(message) from error
    except MemoryError as error:
        message = f"{asked.given}: trying it on two images takes more memory than there is ({error})"
        raise ModelError(message) from error
    return store(asked.path, adapted, asked.source, "float32", told)


def _asked(task: dict[str, Any]) -> Asked:
    shape = task["shape"] and tuple(task["shape"])
    paths = {name: Path(task[name]) for name in ("given", "path")}
    return Asked(**(task | paths | {"shape": shape, "preprocessing": Preprocessing(**task["preprocessing"])}))


def confine(asking: int) -> None:
    """End with the process that asked; be killed first where memory is short, and take no more than there is."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != asking:  # it ended while this process was starting
        os._exit(1)
    signal.alarm(2 * LONGEST_S)
    with suppress(OSError):  # there are containers without it
        Path("/proc/self/oom_score_adj").write_text("1000")
    most = max(LEAST_BYTES, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Make the network that standard input asks for; write to standard output why it cannot be made."""
    answer = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    confine(int(sys.argv[1]))
    try:
        make(_asked(json.load(sys.stdin.buffer)))
    except ModelError as error:
        os.write(answer, str(error).encode(errors="backslashreplace"))


if __name__ == "__main__":
    main()
