"""A network on disk, ready for an engine, and what is known about it in a file beside it."""

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import xxhash

from inferkit.errors import ModelError
from inferkit.files import read_regular, write_whole
from inferkit.linux.ownership import may_be_trusted
from inferkit.models.probe import Probe
from inferkit.os_errors import explained

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_DTYPES = {onnx.TensorProto.UINT8: "uint8", onnx.TensorProto.FLOAT: "float32"}
_MOST_FACTS = 2**20
"""Bytes of what is known about a network: a few hundred, and as much as ONNX Runtime says of what it lacks."""
_MOST_WORDS = 2000
"""Characters of what a library says of a network."""


@dataclass(frozen=True)
class ModelFile:
    """A model ready for an engine: one ONNX file without external data.

    Parameters
    ----------
    path
        The file in the cache.
    source
        What it was made of: ``zoo:`` and a name, or xxh3-128 of a user's files, as 32 hexadecimal digits.
    digest
        xxh3-128 of the file, as 32 hexadecimal digits.
    input_name, input_dtype
        Name and dtype of the only input: ``"uint8"`` or ``"float32"``.
    input_shape
        (channels, height, width).
    output_shape
        Shape of the first output, without the batch.
    precision
        The precision that it computes in.
    batch
        Images in a batch if the graph fixes them; None if it takes any number.
    lacking
        Why ONNX Runtime cannot run it, which other engines may; empty if it can.
    """

    path: Path
    source: str
    digest: str
    input_name: str
    input_dtype: str
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, ...]
    precision: str
    batch: int | None = None
    lacking: str = ""


@cache
def _facts() -> "TypeAdapter[ModelFile]":
    """Return what checks facts that were written; a process that adapts a network (apart.py) writes them alone."""
    from pydantic import TypeAdapter

    return TypeAdapter(ModelFile)


def find(path: Path) -> ModelFile | None:
    """Return the network at `path` if it is there, this user's alone, and nothing of it is damaged."""
    try:
        if not all(may_be_trusted(file.stat()) for file in (path, path.with_suffix(".json"))):
            return None
        known = json.loads(read_regular(path.with_suffix(".json"), _MOST_FACTS))
        found = _facts().validate_python({**known, "path": path})
        digest = xxhash.xxh3_128_hexdigest(read_regular(path, 2**31))
    except (OSError, ValueError, TypeError, RecursionError):  # not there, or what was written there is no such facts
        return None
    return found if found.digest == digest else None


def store(path: Path, model: onnx.ModelProto, source: str, precision: str, probe: Probe) -> ModelFile:
    """Write a network, then what is known about it; each file appears whole or not at all.

    Raises
    ------
    ModelError
        If they cannot be written.
    """
    content = model.SerializeToString(deterministic=True)
    image = model.graph.input[0]
    batch, channels, height, width = (dim.dim_value or None for dim in image.type.tensor_type.shape.dim)
    assert channels is not None
    assert height is not None
    assert width is not None
    made = ModelFile(
        path,
        source,
        xxhash.xxh3_128_hexdigest(content),
        image.name,
        _DTYPES[image.type.tensor_type.elem_type],
        (channels, height, width),
        probe.output_shape,
        precision,
        batch,
        probe.lacking[:_MOST_WORDS],
    )
    facts = {name: value for name, value in asdict(made).items() if name != "path"}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content, mode=0o600)
        write_whole(path.with_suffix(".json"), json.dumps(facts).encode(), mode=0o600)
    except OSError as error:
        message = f"{path}: cannot be written: {explained(error)} (XDG_CACHE_HOME)"
        raise ModelError(message) from error
    return made
