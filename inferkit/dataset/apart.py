"""Decode in a process of its own: JPEG files whose subsampling TurboJPEG, and so simplejpeg, does not name.

OpenCV decodes them, but tells of damage on the standard error alone, which is that of the whole process. Here the
process has nothing else to say, so whatever libjpeg writes there is about this file.
"""

import os
import struct
import subprocess
import sys
import weakref
from contextlib import suppress
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt

_SIZE = struct.Struct("<Q")
_REPLY = struct.Struct("<III")  # bytes of what libjpeg said; height and width, 0 without an image


class DecoderEnded(Exception):
    """The process ended before it answered."""


class Apart:
    """Decodes one file at a time in a helper process, which starts with the first file and ends with this object."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, data: bytes) -> npt.NDArray[np.uint8]:
        """Return the RGB pixels of a file as they are stored, shape (height, width, 3): not turned upright.

        Raises
        ------
        ValueError
            With what libjpeg said: also if it was only a warning.
        DecoderEnded
            If the process ended, because of this file or because something ended it.
        """
        process = self._process or self._start()
        try:
            return _ask(process, data)
        except (BrokenPipeError, struct.error) as error:
            self._process = None
            code = process.wait()
            message = f"the decoder ended with {f'signal {-code}' if code < 0 else f'exit code {code}'}"
            raise DecoderEnded(message) from error

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "inferkit.dataset.apart"]
        # In a session of its own Ctrl-C does not reach it; it ends when our end of the pipe is closed.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        weakref.finalize(self, _end, process)
        self._process = process
        return process


def _ask(process: subprocess.Popen[bytes], data: bytes) -> npt.NDArray[np.uint8]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(_SIZE.pack(len(data)))
    process.stdin.write(data)
    process.stdin.flush()
    told, height, width = _REPLY.unpack(process.stdout.read(_REPLY.size))
    said = process.stdout.read(told).decode(errors="replace").splitlines()
    if said:
        raise ValueError(said[0])
    pixels = process.stdout.read(height * width * 3)
    if len(pixels) != height * width * 3:
        message = "it ended amid its answer"
        raise struct.error(message)
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    process.wait()


def _serve(asked: BinaryIO, answers: BinaryIO, stderr: int) -> None:
    """Answer until nobody asks any more."""
    while head := asked.read(_SIZE.size):
        data = asked.read(*_SIZE.unpack(head))
        os.ftruncate(stderr, 0)
        os.lseek(stderr, 0, os.SEEK_SET)
        pixels, said = _decode(data)
        said = os.pread(stderr, 4096, 0) or said
        answers.write(_REPLY.pack(len(said), *((0, 0) if said else pixels.shape[:2])) + said)
        answers.write(b"" if said else pixels.data)
        answers.flush()


def _decode(data: bytes) -> tuple[npt.NDArray[np.uint8], bytes]:
    none = np.empty((0, 0, 3), np.uint8)
    try:
        found: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except (cv2.error, MemoryError) as error:
        return none, str(error).encode()
    return (none, b"libjpeg finds no image in it") if found is None else (np.ascontiguousarray(found), b"")


def main() -> None:
    """Serve on the standard input and output, with the standard error in memory."""
    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    stderr = os.memfd_create("stderr")
    os.dup2(stderr, 2)
    with os.fdopen(0, "rb") as asked, os.fdopen(1, "wb") as answers:
        _serve(asked, answers, stderr)


if __name__ == "__main__":
    main()
