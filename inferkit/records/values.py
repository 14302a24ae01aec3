"""The types of parameters: numbers within what a machine can have, texts that a path or a screen can hold."""

import math
import os
import re
from pathlib import PurePosixPath
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from inferkit.objects.place import is_other_url, is_url
from inferkit.records import bounds
from inferkit.text import plain

T = TypeVar("T")
Shaped = TypeVar("Shaped", list[int], tuple[int, ...])

Seed = Annotated[int, Field(ge=0, le=bounds.SEED)]
Images = Annotated[int, Field(ge=0, le=bounds.IMAGES)]
ImagesOfFile = Annotated[int, Field(gt=0, le=bounds.IMAGES)]
Batch = Annotated[int, Field(gt=0, le=bounds.BATCH)]
Side = Annotated[int, Field(gt=0, le=bounds.SIDE)]
Length = Annotated[int, Field(gt=0, le=bounds.IMAGE_ELEMENTS)]
Threads = Annotated[int, Field(gt=0, le=bounds.CPUS)]
Cpus = Annotated[int, Field(ge=0, le=bounds.CPUS)]
# As nvidia-smi -L writes them; CUDA takes their beginning too, and MIG-GPU-…/1/0 of older drivers.
_GPU_NAME = re.compile(r"(GPU|MIG)-[0-9A-Za-z/-]{1,80}")
GpuCount = Annotated[int, Field(gt=0, le=bounds.GPUS)]
Ranks = Annotated[int, Field(gt=0, le=bounds.RANKS)]
Machines = Annotated[int, Field(gt=0, le=bounds.MACHINES)]
MachinesOrNone = Annotated[int, Field(ge=0, le=bounds.MACHINES)]
Contexts = Annotated[int, Field(gt=0, le=bounds.CONTEXTS)]
Slots = Annotated[int, Field(gt=0, le=bounds.SLOTS)]
Batches = Annotated[int, Field(ge=0, le=bounds.SLOTS)]
CopyBytes = Annotated[int, Field(gt=0, le=bounds.COPY_BYTES)]
Seconds = Annotated[float, Field(ge=0, le=bounds.SECONDS)]
Repeats = Annotated[int, Field(ge=0, le=bounds.REPEATS)]
Shift = Annotated[float, Field(ge=-bounds.PIXEL, le=bounds.PIXEL)]
Factor = Annotated[float, Field(ge=1 / bounds.PIXEL, le=bounds.PIXEL)]


def _no_more_than_an_image(shape: Shaped) -> Shaped:
    if math.prod(shape) > bounds.IMAGE_ELEMENTS:
        message = f"an image of {math.prod(shape):,} values; at most {bounds.IMAGE_ELEMENTS:,} are possible"
        raise ValueError(message)
    return shape


Lengths = Annotated[tuple[Length, ...], Field(max_length=bounds.DIMENSIONS), AfterValidator(_no_more_than_an_image)]
"""The shape that a manifest tells."""
Shape = Annotated[
    list[Length],
    Field(max_length=bounds.DIMENSIONS),
    AfterValidator(_no_more_than_an_image),
]


def _printable(text: str) -> str:
    if plain(text) != text:
        message = "expected one line of characters that can be printed"
        raise ValueError(message)
    return text


def _fits(text: str) -> str:
    if any(len(os.fsencode(part)) > bounds.NAME for part in PurePosixPath(text).parts):
        message = f"expected names of at most {bounds.NAME} bytes between the slashes"
        raise ValueError(message)
    return text


def _gpu(value: object) -> object:
    named = isinstance(value, str) and _GPU_NAME.fullmatch(value)
    if not named and not (type(value) is int and 0 <= value < bounds.GPUS):
        message = f"expected a number from 0 to {bounds.GPUS - 1}, or a name such as GPU-… or MIG-…"
        raise ValueError(message)
    return value


def _no_blanks(text: str) -> str:
    if text and not text.strip():
        message = "expected a text, found nothing but blanks"
        raise ValueError(message)
    return text


def _no_url(path: str) -> str:
    if is_url(path) or is_other_url(path):
        message = f"expected a path, found a URL: write {path[7:]}" if path.startswith("file:///") else _NO_URL
        raise ValueError(message)
    return path


def _no_url_but_s3(place: str) -> str:
    if is_url(place):
        return place
    if is_other_url(place) and not place.startswith("file:///"):
        message = "expected a folder or s3://bucket/prefix, found another URL (a folder of that name: begin with ./)"
        raise ValueError(message)
    return _no_url(place)


_NO_URL = "expected a path, found a URL (a folder of that name: begin with ./)"

Gpu = Annotated[int | str, BeforeValidator(_gpu)]
Text = Annotated[str, Field(max_length=bounds.PATH), AfterValidator(_printable), AfterValidator(_no_blanks)]
Name = Annotated[
    str, Field(min_length=1, max_length=bounds.NAME), AfterValidator(_printable), AfterValidator(_no_blanks)
]
FilePath = Annotated[Text, AfterValidator(_fits), AfterValidator(_no_url)]
"""A path, empty where none is named."""
DataPlace = Annotated[Text, AfterValidator(_fits), AfterValidator(_no_url_but_s3)]
"""A folder, or ``s3://bucket/prefix``; empty where none is named."""


def _no_path(value: str) -> str:
    """Refuse what would put a storage's notebooks elsewhere than below the folder for all runs."""
    if value in {".", ".."} or set(value) & set("/\\\0"):
        message = "expected a name, not a path: it names the folder of the executed notebooks"
        raise ValueError(message)
    if value != value.strip():
        message = "expected a name without blanks at its ends: it names the folder of the executed notebooks"
        raise ValueError(message)
    return value


Label = Annotated[Text, AfterValidator(_no_path), AfterValidator(_fits)]
# YAML reads a bare null as None; the engine of that name is meant.
EngineName = Annotated[Name, BeforeValidator(lambda value: "null" if value is None else value)]


def _named(path: str) -> str:
    if not path.strip():
        message = "expected a name, found an empty text"
        raise ValueError(message)
    return path


ModelName = Annotated[FilePath, AfterValidator(_named)]
"""A network of the zoo, an ONNX file, or a plan of TensorRT."""


def _names(value: object) -> object:
    if value == "":
        return []
    return [value] if isinstance(value, str) else value


def _counts(value: object) -> object:
    if value == "auto":
        return []
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


PrecisionName = Literal["float32", "float16", "int8", "fp8"]
Several = Annotated[list[T], Field(max_length=bounds.ITEMS)]
# `ranks: 2` and `ranks: auto` are as good as lists.
Counts = Annotated[Several[T], BeforeValidator(_counts)]
# `peer: fio` is as good as a list; so that one file serves all notebooks, each takes those that do its own work.
PeerNames = Annotated[Several[Literal["fio", "nvbandwidth", "trtexec"]], BeforeValidator(_names)]
