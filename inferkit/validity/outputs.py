"""Whether outputs can be what a network says of its images: numbers, one for each, the same again, and anywhere."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferkit.batch import Piece, Segment
from inferkit.devices.base import Bytes, Device, HostMemory, Slot
from inferkit.engines.base import Engine, check_results
from inferkit.errors import EngineError
from inferkit.readers.base import Reader
from inferkit.readers.split import split
from inferkit.records.figures import OUTPUTS, Json

ROUNDING = 2.0**-10
"""Largest difference ÷ largest output that sums in another order explain, between two inferences of the same images.

float16 has 11 bits (IEEE 754); ONNX Runtime's and TensorRT's kernels mostly give the same bits again.
"""
MOVED = 2.0**-6
"""The same for an image at another place of its batch, where other kernels may compute it."""
BANDS = 4
"""Parts of an image's rows that are changed one at a time: a network that cuts off a border looks at some of each."""
FEW = 8
"""So many images are changed, where a network takes any number."""
UNSEEN = 2
"""So many parts that no output depends on are no border."""


def look_at_outputs(
    device: Device, engine: Engine, reader: Reader, slot: Slot, batch_size: int
) -> tuple[dict[str, Json], list[str]]:
    """Infer a whole batch of images from all over the data set, twice, and moved in it, and some with parts changed.

    Returns
    -------
    facts, warnings
        How many of the images differ, how many of their outputs do, and the largest difference ÷ the largest output
        between two inferences, and between places in the batch; how many parts of the images no output depends on;
        what of it speaks against the figure. Nothing of an engine that infers nothing.

    Raises
    ------
    EngineError
        If there is not one output for each image, or it is no number.
    """
    images = engine.fixed_batch or batch_size
    pieces = spread(reader, images)
    pixels = copy_to_slot(device, reader, slot, pieces).reshape(images, -1)
    first, second = (_inferred(engine, slot, images) for _ in range(2))
    copy_to_slot(device, reader, slot, [*pieces[1:], pieces[0]])
    moved = _inferred(engine, slot, images)
    if first is None or second is None or moved is None:
        return {}, []
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        message = (
            f"engine {engine.name} gives NaN or infinity for images of {reader.dataset.folder}: look at the model's "
            "weights and at what pixels it expects (mean, std, scale), or try precision float32"
        )
        raise EngineError(message)
    facts = {
        "different_images": _different(pixels),
        "different_outputs": _different(first),
        "repeat_difference": _difference(first, second),
        "place_difference": _difference(np.roll(first, -1, axis=0), moved),
        "unseen_parts": _unseen_parts(device, engine, reader, slot, pixels),
    }
    return facts, [OUTPUTS + text for text in _doubts(facts, whole=bool((first == np.round(first)).all()))]


def _doubts(facts: dict[str, Any], *, whole: bool) -> Iterator[str]:
    """Word what speaks against outputs; whole numbers may be those of classes, which images share."""
    images, outputs, difference = facts["different_images"], facts["different_outputs"], facts["repeat_difference"]
    if difference > ROUNDING:
        yield f"random: two inferences of the same images differ by {difference:.2g} of the largest output"
    elif images > outputs == 1:
        yield f"the same for {images} different images: does the network look at them?"
    elif images > outputs and not whole:
        yield f"only {outputs} different ones for {images} different images: does the network look at all of a batch?"
    elif facts["place_difference"] > MOVED:
        moved = facts["place_difference"]
        yield f"of places: the same images elsewhere in the batch differ by {moved:.2g} of the largest output"
    elif facts["unseen_parts"] >= UNSEEN and not whole:
        unseen = f"{facts['unseen_parts']} of {BANDS} parts of each image change and they do not"
        yield f"of a part of the images: {unseen}: does the network look at all of an image?"


def _unseen_parts(device: Device, engine: Engine, reader: Reader, slot: Slot, pixels: Bytes) -> int:
    """Return how many parts of the images can be changed, each in all images, without any output becoming another."""
    pixels = pixels[: engine.fixed_batch or FEW]
    images = pixels.view(reader.dataset.dtype).reshape(len(pixels), *reader.dataset.shape)
    parts = np.array_split(np.arange(reader.dataset.shape[-2]), BANDS)
    told = [images, *(changed for rows in parts if (changed := _changed(images, rows)).tobytes() != images.tobytes())]
    memory = device.allocate(pixels.nbytes)
    try:
        outputs, *others = (_inferred_of(each, device, engine, slot, memory) for each in told)
    finally:
        memory.close()
    return sum(outputs is not None and other is not None and np.array_equal(outputs, other) for other in others)


def _inferred_of(
    images: NDArray[Any], device: Device, engine: Engine, slot: Slot, memory: HostMemory
) -> NDArray[np.float64] | None:
    memory.array[:] = images.view(np.uint8).ravel()
    size = images.nbytes // len(images)
    places = range(memory.address, memory.address + images.nbytes, size)
    device.copy_in([Segment("ring", place, size, image, 1, 0) for image, place in enumerate(places)], slot).wait()
    return _inferred(engine, slot, len(images))


def _changed(images: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return images with some rows inverted; of what is no pixel (uint8), with those rows of the next image."""
    changed = images.copy()
    changed[:, :, rows] = ~images[:, :, rows] if images.dtype == np.uint8 else np.roll(images[:, :, rows], 1, axis=0)
    return changed


def _difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the largest difference ÷ the largest output."""
    return float(np.abs(one - other).max() / max(float(np.abs(one).max()), 1e-9))


def _inferred(engine: Engine, slot: Slot, images: int) -> NDArray[np.float64] | None:
    engine.infer(slot, images, None).wait()
    output = engine.output(slot)
    if output is None:
        return None
    check_results(engine.name, output.shape, images)
    return output.reshape(images, -1).astype(np.float64)


def _different(rows: NDArray[Any]) -> int:
    return len({row.tobytes() for row in rows})


def spread(reader: Reader, images: int) -> list[Piece]:
    """Return single images from all over the data set, some again where it has too few."""
    shares = split([file.images for file in reader.dataset.files], images, "uniform")
    return list(islice(cycle(share[0]._replace(images=1) for share in shares if share), images))


def copy_to_slot(device: Device, reader: Reader, slot: Slot, pieces: Sequence[Piece]) -> Bytes:
    """Read pieces, copy them to a slot, and return the bytes that arrived there."""
    buffer = reader.buffer(sum(piece.images for piece in pieces))
    try:
        segments = reader.read(pieces, buffer)
        device.copy_in(segments, slot).wait()
    finally:
        if buffer is not None:
            buffer.close()
    return device.read_back(slot, sum(piece.images for piece in pieces) * reader.dataset.image_bytes)
