import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]


def photograph(index: int = 0, height: int = 90, width: int = 120) -> Pixels:
    """Smooth content that depends on position, colour and index, so that a shift or a swap shows."""
    rows, columns = np.mgrid[0:height, 0:width]
    red = 255 * columns / width
    green = 255 * rows / height
    blue = 127 + 120 * np.sin(rows / 17 + index) * np.cos(columns / 23 + 2 * index)
    return np.stack([red, green, blue], axis=2).astype(np.uint8)


def jpeg(pixels: Pixels, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **({"quality": 95} | options))
    return buffer.getvalue()


def folder_of(folder: Path, count: int) -> Path:
    """Write ``count`` distinct JPEG files into sub-folders, with both suffixes."""
    for index in range(count):
        path = folder / f"class-{index % 2}" / f"{index:03d}.{('jpg', 'JPEG')[index % 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(photograph(index)))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, hidden ones included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
