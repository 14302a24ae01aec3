"""A user's ONNX file and its external data: nothing is read that is no file, lies outside its folder or is too large.

Tensors with external data may stand anywhere: among the weights, in attributes of nodes, in the graphs of If and Loop,
in functions. What lies in another file belongs to the network as much as what lies in this one.
"""

import errno
import os
from collections.abc import Iterator
from math import prod
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import onnx
import xxhash
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import TensorProto

from inferkit.errors import ModelError
from inferkit.files import open_regular, read_regular

LARGEST = 2**31 - 2**20
"""Bytes of a network with its weights: a protobuf message holds 2 GiB, of which some are left for what is added."""
_BLOCK = 2**22


_VALUES = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
"""Where a tensor's values may lie instead of in ``raw_data`` (onnx.proto, TensorProto)."""


class _Part(NamedTuple):
    """The bytes of a tensor in another file."""

    location: str
    offset: int
    length: int | None


def load_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX file, with its external data inside.

    Raises
    ------
    ModelError
        If it is missing, is no ONNX, is larger than :data:`LARGEST` with its weights, has a tensor of fewer values than
        its shape says, or names external data that are not there, are no regular file beside it, or are fewer than it
        says.
    """
    model = _parsed(path)
    nbytes = model.ByteSize()
    for tensor in _tensors(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            _check_filled(path, tensor)
            continue
        part = _part(path, tensor)
        nbytes += _length(path, part)
        if nbytes > LARGEST:
            raise _too_large(path, nbytes)
        tensor.raw_data = _read(path, part)
        del tensor.external_data[:]
        tensor.data_location = TensorProto.DEFAULT
    return model


def digest_of(path: Path) -> str:
    """Return 32 hexadecimal digits of all bytes that make a network: those of the file and of its external data.

    Raises
    ------
    ModelError
        As of :func:`load_model`, but that what is larger is refused by the size of each file alone.
    """
    digest = xxhash.xxh3_128(_content(path))
    for location in sorted({_part(path, tensor).location for tensor in _external(path)}):
        digest.update(b"\0" + os.fsencode(location) + b"\0")
        with os.fdopen(_opened(path, location), "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    try:
        return read_regular(path, LARGEST)
    except (OSError, ValueError) as error:  # the latter of a name with a null character
        raise _unreadable(path, error) from error


def _parsed(path: Path) -> onnx.ModelProto:
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(_content(path))
    except DecodeError as error:
        raise _unreadable(path, error) from error
    return model


def _unreadable(path: Path, error: Exception) -> ModelError:
    why = error.strerror if isinstance(error, OSError) else error
    return ModelError(f"{path}: not a valid ONNX file ({why}); expected a model exported to .onnx, with all its files")


def _too_large(path: Path, nbytes: int) -> ModelError:
    message = f"{path}: {nbytes:,} bytes with its weights; at most {LARGEST:,} are handled: export float16"
    return ModelError(message)


def _tensors(message: Message) -> Iterator[TensorProto]:
    """Yield every tensor of a message, however deep."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for each in (value,) if isinstance(value, Message) else value:
            if isinstance(each, TensorProto):
                yield each
            else:
                yield from _tensors(each)


def _external(path: Path) -> Iterator[TensorProto]:
    """Yield every tensor of a file whose data lie in another file."""
    return (tensor for tensor in _tensors(_parsed(path)) if tensor.data_location == TensorProto.EXTERNAL)


def _check_filled(path: Path, tensor: TensorProto) -> None:
    """Refuse a tensor of a few bytes whose shape would have libraries take all memory; a value has a bit at least."""
    stated = prod(tensor.dims)
    held = 8 * (len(tensor.raw_data) or sum(len(getattr(tensor, name)) for name in _VALUES))
    if stated > held:
        message = (
            f"{path}: tensor {tensor.name!r} has shape {list(tensor.dims)}, {stated:,} values, but holds {held // 8:,} "
            "bytes or numbers: export the network again"
        )
        raise ModelError(message)


def _part(path: Path, tensor: TensorProto) -> _Part:
    """Return where a tensor's bytes are said to lie: strictly inside the folder of its network."""
    told = {entry.key: entry.value for entry in tensor.external_data}
    location = told.get("location", "")
    inside = PurePosixPath(location)
    if not inside.parts or inside.is_absolute() or ".." in inside.parts or "\0" in location:
        message = (
            f"{path}: tensor {tensor.name!r} has its data in {location!r}, which is not below the model's own folder: "
            "save it again with its external data beside it (onnx.save, save_as_external_data=True, location=...)"
        )
        raise ModelError(message)
    try:
        numbers = [int(told[name]) if told.get(name) else None for name in ("offset", "length")]
    except ValueError as error:
        message = f"{path}: tensor {tensor.name!r} has external data at no number of bytes ({error}): export it again"
        raise ModelError(message) from error
    if any(number is not None and number < 0 for number in numbers):
        message = f"{path}: tensor {tensor.name!r} has external data at offset and length {numbers}: export it again"
        raise ModelError(message)
    return _Part(location, numbers[0] or 0, numbers[1])


def _opened(path: Path, location: str) -> int:
    try:
        return open_regular(path.parent / location, LARGEST)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise _too_large(path, (path.parent / location).stat().st_size) from error
        message = (
            f"{path.parent / location}: cannot be read ({error.strerror}); a model's external data must lie beside it"
        )
        raise ModelError(message) from error


def _length(path: Path, part: _Part) -> int:
    """Return how many bytes a tensor has, which the file must hold."""
    descriptor = _opened(path, part.location)
    try:
        there = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    length = there - part.offset if part.length is None else part.length
    if length < 0 or part.offset + length > there:
        message = (
            f"{path.parent / part.location}: holds {there:,} bytes, but {path.name} has a tensor at {part.offset:,} + "
            f"{max(length, 0):,} of it: copy the whole file again, or export the model again"
        )
        raise ModelError(message)
    return length


def _read(path: Path, part: _Part) -> bytes:
    with os.fdopen(_opened(path, part.location), "rb") as file:
        file.seek(part.offset)
        return file.read(_length(path, part))
