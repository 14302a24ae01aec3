"""Damaged and altered ONNX files: made at random, and tried each in a process of its own.

``python -m tests.models.onnx_fuzz SECONDS [SEED]`` tries as many as it can, and keeps those that it should not accept.
"""

import json
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from time import monotonic
from traceback import extract_tb
from typing import Any

import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]

from inferkit.errors import ModelError
from inferkit.models.apart import Asked, make
from inferkit.models.onnx_file import digest_of
from inferkit.models.preprocessing import Preprocessing
from tests.memory import limit_memory
from tests.models.odd_networks import REFUSED, RUN, SHAPE, network

LONGEST_S = 20
MOST_BYTES = 6 << 30
_SIZE = struct.Struct("<I")
TEXTS = (
    *(
        "",
        "image",
        "scores",
        "weight",
        "flat",
        "\0",
        "é" * 99,
        "w.bin",
        "pipe",
        "zero",
        "..",
        "/dev/zero",
        "-1",
        "9" * 30,
    ),
    *(
        "com.microsoft",
        "ai.onnx.ml",
        "Reshape",
        "Loop",
        "Scan",
        "Resize",
        "Gather",
        "Conv",
        "Einsum",
        "Range",
        "offset",
    ),
)
NUMBERS = (0, 1, -1, 2, 3, 7, 127, 255, 2**16, 2**31 - 1, -(2**31))
"""For every field of integers; 64-bit ones get larger ones besides."""
LARGE = (2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63))


def seeds() -> list[bytes]:
    """Return networks to begin with, one of them with external data."""
    external = network()
    tensor = external.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", "0"), ("length", str(4 * 144 * 5))):
        tensor.external_data.add(key=key, value=value)
    made = [*(make() for make in RUN.values()), *(make() for make, _ in REFUSED.values()), external]
    return [content for model in made if (content := model.SerializeToString())]


def mutated(random: Random, content: bytes) -> bytes:
    """Return a file with a few things changed: bytes, or fields of the message that it holds."""
    for _ in range(random.choice((1, 1, 2, 4))):
        change = random.choice((_flip, _cut, _double, _field, _field, _field, _field))
        content = change(random, content) or b"\0"
    return content


def _flip(random: Random, content: bytes) -> bytes:
    place = random.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << random.randrange(8)]) + content[place + 1 :]


def _cut(random: Random, content: bytes) -> bytes:
    return content[: random.randrange(len(content))]


def _double(random: Random, content: bytes) -> bytes:
    begin = random.randrange(len(content))
    end = min(len(content), begin + random.randrange(1, 64))
    return content[:end] + content[begin:end] + content[end:]


def _field(random: Random, content: bytes) -> bytes:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception:  # noqa: BLE001 - a damaged file has no fields
        return content
    fields = list(_fields(model))
    if not fields:
        return content
    message, field = random.choice(fields)
    value = getattr(message, field.name)
    if not isinstance(value, str | bytes | int | float | Message):  # repeated
        _change_list(random, value, field)
    elif isinstance(value, Message) or random.random() < 0.1:
        message.ClearField(field.name)
    else:
        with suppress(UnicodeDecodeError):  # a name that an earlier change made no text is bytes here
            setattr(message, field.name, _value(random, field, value))
    return bytes(model.SerializeToString())


def _fields(message: Message) -> Any:
    for field, value in message.ListFields():
        yield message, field
        if field.message_type is not None:
            for each in (value,) if isinstance(value, Message) else value:
                yield from _fields(each)


def _change_list(random: Random, values: Any, field: Any) -> None:
    place, what = random.randrange(len(values)), random.random()
    if what < 0.4:
        del values[place]
    elif field.message_type is not None:
        values.append(values[place]) if what < 0.8 else values.reverse()
    elif what < 0.8:
        values[place] = _value(random, field, values[place])
    else:
        values.append(_value(random, field, values[place]))


def _value(random: Random, field: Any, old: Any) -> Any:
    if isinstance(old, str):
        return random.choice(TEXTS)
    if isinstance(old, bytes):
        return random.choice((old[:-1], old + b"\0", b"", bytes(random.randrange(256) for _ in range(len(old) % 99))))
    if isinstance(old, float):
        return random.choice((0.0, -1.0, float("nan"), float("inf"), 1e30))
    if field.enum_type is not None:
        return random.choice([value.number for value in field.enum_type.values])
    wide = field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64)
    number = random.choice(NUMBERS + LARGE if wide else NUMBERS)
    return abs(number) % 2**32 if field.cpp_type in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64) else number


class Trials:
    """Tries files, each in a fork of one process that has the libraries loaded already."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.models.onnx_fuzz"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ended(self, content: bytes) -> str:
        """Return ``made``, ``refused: `` and why, ``raised `` and what, or ``signal `` and which."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(_SIZE.pack(len(content)) + content)
        self._process.stdin.flush()
        return str(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def _serve() -> None:
    with tempfile.TemporaryDirectory(prefix="inferkit-fuzz-") as folder:
        Path(folder, "w.bin").write_bytes(bytes(4 * 144 * 5))
        os.mkfifo(Path(folder, "pipe"))
        Path(folder, "zero").symlink_to("/dev/zero")
        while head := sys.stdin.buffer.read(_SIZE.size):
            content = sys.stdin.buffer.read(*_SIZE.unpack(head))
            print(json.dumps(_forked(Path(folder), content)), flush=True)  # noqa: T201 - the answer


def _forked(folder: Path, content: bytes) -> str:
    told = os.memfd_create("told")
    child = os.fork()
    if child == 0:
        for stream in (1, 2):  # libraries print to both
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        limit_memory(MOST_BYTES)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.alarm(LONGEST_S)
        os.write(told, _try(folder, content).encode(errors="backslashreplace"))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    said = os.pread(told, 2**16, 0).decode(errors="replace")
    os.close(told)
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else said


def _try(folder: Path, content: bytes) -> str:
    given = folder / "given.onnx"
    given.write_bytes(content)
    try:
        make(Asked(given, folder / "made.onnx", digest_of(given), "uint8", SHAPE, Preprocessing(scale=0.5)))
    except ModelError as error:
        return f"refused: {error}"
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        frames = " < ".join(f"{own.name} {own.lineno}" for own in reversed(extract_tb(error.__traceback__)[-4:]))
        return f"raised {type(error).__name__}: {error!r:.300} in {frames}"
    return "made"


def main(seconds: float, seed: int, kept: Path) -> None:
    """Try files for so long, and print how they ended; keep those that ended as they should not."""
    random, known, trials = Random(seed), seeds(), Trials()
    found: Counter[str] = Counter()
    end = monotonic() + seconds
    while monotonic() < end:
        content = mutated(random, random.choice(known))
        told = trials.ended(content)
        kind = told.partition(":")[0]
        found[kind] += 1
        if not told.startswith(("made", "refused: ")):
            kept.mkdir(exist_ok=True)
            (kept / f"{kind.replace(' ', '-')}-{found[kind]}.onnx").write_bytes(content)
            print(told, flush=True)  # noqa: T201
    trials.close()
    print(sum(found.values()), dict(found))  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0, Path("fuzz-found"))
    else:
        _serve()
