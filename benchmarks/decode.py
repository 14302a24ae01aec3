"""JPEG files to CHW uint8 images: inferkit's decoder and its reader jpeg against bare loops, one core each.

The bare loops are what most code does with OpenCV, and with simplejpeg (libjpeg-turbo without a copy); none of them
looks for damage. Each side runs in a process of its own, in alternation, on the same files and into a batch of the same
size; reading the file is part of the time. Rates are per second of CPU time, so that other programs matter little.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from inferkit.batch import Piece
from inferkit.dataset.decode import Decoder
from inferkit.dataset.images import find_images
from inferkit.dataset.photographs import make_photographs
from inferkit.devices.cpu import CpuDevice
from inferkit.readers.jpeg import JpegReader
from inferkit.records.job import ReadOptions

BATCH = 64
Pixels = npt.NDArray[np.uint8]
DecodeInto = Callable[[Sequence[Path], Pixels], object]
"""Decodes files into the places of a batch."""


def opencv(size: int) -> DecodeInto:
    """Decode as most code does: imread, resize, to RGB, transpose."""

    def decode(paths: Sequence[Path], batch: Pixels) -> None:
        for path, out in zip(paths, batch, strict=False):
            image: Any = cv2.imread(str(path), cv2.IMREAD_COLOR)
            small = cv2.resize(image, (size, size))
            out[...] = cv2.cvtColor(small, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)

    return decode


def bare(size: int) -> DecodeInto:
    """Decode by simplejpeg, resize by OpenCV, lay the colours apart."""

    def decode(paths: Sequence[Path], batch: Pixels) -> None:
        for path, out in zip(paths, batch, strict=False):
            image = simplejpeg.decode_jpeg(path.read_bytes(), "RGB")
            out[...] = cv2.resize(image, (size, size)).transpose(2, 0, 1)

    return decode


def inferkit(size: int, *, fast: bool) -> DecodeInto:
    """Decode as inferkit makes data sets."""
    decoder = Decoder(size, fast=fast)

    def decode(paths: Sequence[Path], batch: Pixels) -> None:
        for path, out in zip(paths, batch, strict=False):
            decoder.decode(path.read_bytes(), out)

    return decode


def reader(size: int) -> DecodeInto:
    """Read and decode batches by reader jpeg, as a pipeline's thread does; all files are of one folder."""
    device = CpuDevice()
    buffer = device.allocate(BATCH * 3 * size * size)

    @cache
    def opened(folder: Path) -> tuple[JpegReader, dict[str, int]]:
        options = ReadOptions(reader="jpeg", folder=str(folder), dtype="uint8", shape=(3, size, size))
        own = JpegReader.open(options, device)
        return own, {file.name: index for index, file in enumerate(own.dataset.files)}

    def decode(paths: Sequence[Path], batch: Pixels) -> None:
        own, numbers = opened(paths[0].parent)
        pieces = [Piece(numbers[path.name], 0, 1, numbers[path.name]) for path in paths]
        own.decode(own.load(pieces), pieces, buffer)
        if len(paths) == 1:
            batch[0] = buffer.array[: batch[0].size].reshape(batch[0].shape)

    return decode


SIDES: dict[str, Callable[[int], DecodeInto]] = {
    "opencv": opencv,
    "bare": bare,
    "full": lambda size: inferkit(size, fast=False),
    "fast": lambda size: inferkit(size, fast=True),
    "reader": reader,
}


def measure(side: str, paths: list[Path], size: int, seconds: float) -> float:
    """Images per CPU second of one side on one core, over whole passes of at least that long after one to warm up."""
    cv2.setNumThreads(1)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    decode = SIDES[side](size)
    batch = np.zeros((BATCH, 3, size, size), np.uint8)
    images, started = 0, 0.0
    while not started or time.process_time() - started < seconds:
        for first in range(0, len(paths), BATCH):
            decode(paths[first : first + BATCH], batch)
        images += len(paths) if started else 0
        started = started or time.process_time()
    return images / (time.process_time() - started)


def measure_apart(side: str, arguments: argparse.Namespace, folder: Path) -> float:
    """Run :func:`measure` in a fresh process."""
    options = {"side": side, "images": folder, "size": arguments.size, "seconds": arguments.seconds}
    command = [sys.executable, __file__, *(f"--{name}={value}" for name, value in options.items())]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def differences(paths: list[Path], size: int) -> dict[str, float]:
    """Mean absolute difference (of 255) of each side to Pillow's antialiased bilinear resize."""
    sums = dict.fromkeys(SIDES, 0.0)
    out = np.empty((3, size, size), np.uint8)
    for path in paths:
        with Image.open(path) as image:
            small = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        reference = np.asarray(small, np.int16).transpose(2, 0, 1)
        for side, make in SIDES.items():
            make(size)([path], out[None])
            sums[side] += float(np.abs(reference - out).mean())
    return {side: total / len(paths) for side, total in sums.items()}


def compare(title: str, arguments: argparse.Namespace, folder: Path) -> list[str]:
    """Run all sides in alternation, print their table, and return the result lines."""
    paths = [folder / name for name in find_images(folder)]
    rounds = [{side: measure_apart(side, arguments, folder) for side in SIDES} for _ in range(max(arguments.rounds, 1))]
    pixels = differences(paths[:100], arguments.size)
    print(f"\n{title}: {len(paths)} files to {arguments.size} × {arguments.size}, one core, {len(rounds)} rounds")
    print(f"{'side':8} {'images/s':>9} {'lowest':>8} {'highest':>8} {'÷ opencv':>9} {'÷ bare':>7} {'difference':>10}")
    lines = []
    prefix = "decode" if title == "500x375" else f"decode_{title}"
    for side in SIDES:
        rates = [each[side] for each in rounds]
        median = statistics.median(rates)
        ratio, to_bare = (statistics.median(each[side] / each[peer] for each in rounds) for peer in ("opencv", "bare"))
        spread = f"{median:9.0f} {min(rates):8.0f} {max(rates):8.0f}"
        print(f"{side:8} {spread} {ratio:9.2f} {to_bare:7.3f} {pixels[side]:10.2f}")
        lines.append(f"result {prefix}_{side} {median:.0f} images/s")
        lines.append(f"result {prefix}_{side}_pixel_difference {pixels[side]:.2f} of_255")
        lines += [f"result {prefix}_{side}_vs_opencv {ratio:.2f} ratio"] if side != "opencv" else []
        lines += [f"result {prefix}_{side}_vs_bare {to_bare:.3f} ratio"] if side in {"full", "reader"} else []
    return lines


def make_sets(folder: Path, count: int) -> dict[str, Path]:
    """Make photographs of mixed sizes, those of them that are 500 × 375, and these at twice their size.

    OpenCV's rate depends on it: where all files are of one size, glibc may give every image's memory back and take
    it again (see mallopt, M_MMAP_THRESHOLD); among mixed sizes it does not.
    """
    sets = {name: folder / name for name in ("large", "mixed", "500x375")}
    make_photographs(sets["mixed"], count=count)
    sets["large"].mkdir()
    sets["500x375"].mkdir()
    for path in sorted(sets["mixed"].iterdir()):
        image: Any = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if sorted(image.shape[:2]) == [375, 500]:
            shutil.copy(path, sets["500x375"])
            double = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(sets["large"] / path.name), double, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return sets


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of JPEG files; three sets are made if left out")
    parser.add_argument("--count", type=int, default=400, help="photographs to make (default 400)")
    parser.add_argument("--size", type=int, default=224, help="height and width of the result in pixels")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds, three or more to quote")
    parser.add_argument("--seconds", type=float, default=1.0, help="seconds per side and round")
    parser.add_argument("--side", choices=SIDES, help="measure one side only, in this process")
    arguments = parser.parse_args()
    if arguments.side:
        paths = [arguments.images / name for name in find_images(arguments.images)]
        print(json.dumps(measure(arguments.side, paths, arguments.size, arguments.seconds)))
        return
    with tempfile.TemporaryDirectory() as folder:
        sets = {"given": arguments.images} if arguments.images else make_sets(Path(folder), arguments.count)
        lines = [line for title, images in sets.items() for line in compare(title, arguments, images)]
    print("\npixel difference: mean absolute difference of 255 to Pillow's antialiased bilinear resize")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
