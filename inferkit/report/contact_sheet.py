"""Images read back from a data set's tensors, side by side: the eye sees swapped channels and torn rows at once."""

import io

import numpy as np
from IPython.display import Image as Picture
from PIL import Image

from inferkit.dataset.format import open_dataset
from inferkit.errors import ReadError
from inferkit.records.params import MakeDataset
from inferkit.records.run import Run

COLUMNS, ROWS = 8, 3
SIDE = 112
"""Height and width of a thumbnail in pixels."""


QUALITY = 85
"""Of the JPEG: a sheet is about 100 kB, so that the executed notebook stays small."""


def contact_sheet(run: Run) -> Picture | str:
    """Return thumbnails of images spread over the data set that a run of stage 01 made.

    Returns
    -------
    sheet
        A picture to display (a single channel is shown as grey); words where the run failed.
    """
    if run.verdict == "FAILED":
        return "no data set was made, so there is nothing to show"
    params = MakeDataset.check({name: run.params[name] for name in MakeDataset.model_fields if name in run.params})
    from inferkit.machine.watched import watched  # where nothing is made this is not needed, nor is there a /proc

    try:
        jpeg, alt = watched(lambda _: _sheet(params))
    except ReadError as error:
        return str(error)
    return Picture(data=jpeg, format="jpeg", alt=alt)


def _sheet(params: MakeDataset) -> tuple[bytes, str]:
    """Return the thumbnails as a JPEG file, and what they are."""
    dataset = open_dataset(params.place(params.data))
    count = min(dataset.images, COLUMNS * ROWS)
    rows = -(-count // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * SIDE, rows * SIDE), "white")
    for place, index in enumerate(np.linspace(0, dataset.images - 1, count).astype(int)):
        pixels = dataset.read_images(int(index), 1)[0].astype(np.uint8)
        pixels = np.moveaxis(pixels if len(pixels) == 3 else np.repeat(pixels[:1], 3, axis=0), 0, -1)
        thumbnail = Image.fromarray(pixels).resize((SIDE - 2, SIDE - 2))
        sheet.paste(thumbnail, (place % COLUMNS * SIDE, place // COLUMNS * SIDE))
    jpeg = io.BytesIO()
    sheet.save(jpeg, "JPEG", quality=QUALITY)
    return jpeg.getvalue(), f"{count} images read back from {dataset.folder}"
