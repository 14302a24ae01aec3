"""Other programs that do a part of the same work: whether they are there, how to get them, what they say."""

import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from inferkit.errors import PeerError
from inferkit.linux.parent import leashed
from inferkit.machine.affinity import binding, environment, inherited
from inferkit.machine.facts import os_release
from inferkit.records.place import Place

_INSTALLERS = {"debian": "apt-get install", "fedora": "dnf install", "rhel": "dnf install", "suse": "zypper install"}
_ELSEWHERE = {
    "nvbandwidth": "build github.com/NVIDIA/nvbandwidth (CMake, CUDA toolkit, boost-program-options); put it on PATH",
    "trtexec": "put bin of TensorRT's tar file, or /usr/src/tensorrt/bin of its packages, on PATH; pip has none",
    "tensorrt_rtx": "put bin of TensorRT-RTX's tar file on PATH; pip has none",
}
"""How to get what no distribution packages under its name."""
SHOWN_PART = 200
"""Characters from which on a part of a command, such as a list of files, is cut where it is shown."""
SAID = 300
"""Characters that are told of what a program said when it failed."""
KILLED_S = 5.0
"""Seconds that a killed program has to end."""


def install(name: str) -> str:
    """Return how to get a program here: the package manager's command where it has it, else where it comes from."""
    if name in _ELSEWHERE:
        return _ELSEWHERE[name]
    release = os_release()
    families = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    known = (_INSTALLERS[family] for family in families if family in _INSTALLERS)
    return f"{next(known, 'apt-get install or dnf install')} {name}"


def missing(name: str) -> str:
    """Return why a program cannot run here, and how to get it; empty if it is on PATH."""
    return "" if shutil.which(name) else f"{name} is not installed: {install(name)}"


def first_words(output: str, errors: str) -> str:
    """Return the beginning of what a program said: of its errors, where there are any."""
    return " ".join((errors or output).split())[:SAID]


def output_of(
    command: Sequence[str],
    *,
    timeout_s: float,
    place: Place = Place(),  # noqa: B008 - immutable
    variables: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
    together: bool = False,
    reason: Callable[[str, str], str] = first_words,
) -> str:
    """Run a program and return its standard output; it ends with this process, however that ends.

    Parameters
    ----------
    command
        The program and its arguments.
    timeout_s
        Longest time that it may take, in seconds.
    place
        The GPUs that it sees, counted as NVML does, and the CPUs and memory that it is bound to.
    variables
        Further ones of its environment.
    descriptors
        Open files that it inherits.
    together
        Return what it writes to standard error as well, as it comes.
    reason
        Finds in its output and errors why it failed.

    Raises
    ------
    PeerError
        If it cannot be started, takes too long, or ends with another exit code than 0, with what it said.
    """
    bound = binding(place)
    try:
        with inherited(bound.cpus):
            process = subprocess.Popen(
                leashed([*bound.prefix, *command]),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if together else subprocess.PIPE,
                text=True,
                errors="replace",
                env=environment(place) | dict(variables or {}),
                pass_fds=descriptors,
            )
    except OSError as error:
        message = f"{command[0]} did not run: {error}"
        raise PeerError(message) from error
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        message = f"{command[0]} was ended: it had not finished after {timeout_s:g} s"
        raise PeerError(message) from error
    finally:
        _end(process)
    if process.returncode:
        message = f"{command[0]} ended with exit code {process.returncode}: {reason(output, errors or '')}"
        raise PeerError(message)
    return output


def _end(process: "subprocess.Popen[str]") -> None:
    """End a program that has not ended; storage that never answers holds even one that was killed: it is left."""
    if process.poll() is None:
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=KILLED_S)


def words(
    command: Sequence[str],
    place: Place = Place(),  # noqa: B008 - immutable
    variables: Mapping[str, str] | None = None,
) -> str:
    """Write a call as a person would type it, with what binds it; long parts, such as lists of files, are cut."""
    shown = environment(place)
    gpus = {name: shown[name] for name in ("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES")} if place.gpus else {}
    lead = [f"{name}={value}" for name, value in (gpus | dict(variables or {})).items()]
    parts = (part if len(part) <= SHOWN_PART else f"{part[: SHOWN_PART - 20]}…" for part in command)
    return shlex.join([*lead, *binding(place).prefix, *parts])
