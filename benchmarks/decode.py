"""JPEG files to CHW uint8 images: inferkit's decoder against naive OpenCV, one core each.

Each side runs in a process of its own, in alternation, on the same files and into a batch of the same size. Reading
the file is part of the time on both sides.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from inferkit.dataset.decode import Decoder
from inferkit.dataset.images import find_images
from inferkit.dataset.photographs import make_photographs

BATCH = 64
Pixels = npt.NDArray[np.uint8]
DecodeInto = Callable[[Path, Pixels], object]


def opencv(size: int) -> DecodeInto:
    """Decode as most code does: imread, resize, to RGB, transpose."""

    def decode(path: Path, out: Pixels) -> None:
        image: Any = cv2.imread(str(path), cv2.IMREAD_COLOR)
        small = cv2.resize(image, (size, size))
        out[...] = cv2.cvtColor(small, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)

    return decode


def inferkit(size: int, *, fast: bool) -> DecodeInto:
    """Decode as inferkit makes data sets."""
    decoder = Decoder(size, fast=fast)
    return lambda path, out: decoder.decode(path.read_bytes(), out)


SIDES: dict[str, Callable[[int], DecodeInto]] = {
    "opencv": opencv,
    "full": lambda size: inferkit(size, fast=False),
    "fast": lambda size: inferkit(size, fast=True),
}


def measure(side: str, paths: list[Path], size: int, seconds: float) -> float:
    """Images a second of one side on one core, over whole passes of at least ``seconds`` after a pass to warm up."""
    cv2.setNumThreads(1)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    decode = SIDES[side](size)
    batch = np.zeros((BATCH, 3, size, size), np.uint8)
    images, started = 0, 0.0
    while not started or time.perf_counter() - started < seconds:
        for index, path in enumerate(paths):
            decode(path, batch[index % BATCH])
        images += len(paths) if started else 0
        started = started or time.perf_counter()
    return images / (time.perf_counter() - started)


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
            make(size)(path, out)
            sums[side] += float(np.abs(reference - out).mean())
    return {side: total / len(paths) for side, total in sums.items()}


def compare(title: str, arguments: argparse.Namespace, folder: Path) -> list[str]:
    """Run all sides in alternation, print their table, and return the result lines."""
    paths = [folder / name for name in find_images(folder)]
    rounds = [{side: measure_apart(side, arguments, folder) for side in SIDES} for _ in range(max(arguments.rounds, 1))]
    pixels = differences(paths[:100], arguments.size)
    print(f"\n{title}: {len(paths)} files to {arguments.size} × {arguments.size}, one core, {len(rounds)} rounds")
    print(f"{'side':8} {'images/s':>9} {'lowest':>8} {'highest':>8} {'÷ opencv':>9} {'pixel difference':>17}")
    lines = []
    prefix = "decode" if title == "500x375" else f"decode_{title}"
    for side in SIDES:
        rates = [each[side] for each in rounds]
        median, ratio = statistics.median(rates), statistics.median(each[side] / each["opencv"] for each in rounds)
        print(f"{side:8} {median:9.0f} {min(rates):8.0f} {max(rates):8.0f} {ratio:9.2f} {pixels[side]:17.2f}")
        lines.append(f"result {prefix}_{side} {median:.0f} images/s")
        lines.append(f"result {prefix}_{side}_pixel_difference {pixels[side]:.2f} of_255")
        lines += [f"result {prefix}_{side}_vs_opencv {ratio:.2f} ratio"] if side != "opencv" else []
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
