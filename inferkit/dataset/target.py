"""What the parameters of a make ask for: the folder, and the dtype and shape of the images."""

from pathlib import Path
from typing import Any

from inferkit.dataset.manifest import DType
from inferkit.dataset.sources import decoded_shape
from inferkit.files import cache_folder
from inferkit.objects.place import Folder
from inferkit.records.params import MakeDataset
from inferkit.records.project import project_root


def target(params: MakeDataset) -> Folder:
    """Return the folder that is made."""
    return params.place(params.data) if params.data else synthetic_folder(dtype_of(params), shape_of(params))


def where(params: MakeDataset) -> dict[str, Any]:
    """Return where a recipe is made: in a folder, or for an object store."""
    place = target(params)
    return {"folder": place} if isinstance(place, Path) else {"folder": cache_folder("made"), "place": place}


def synthetic_folder(dtype: str, shape: tuple[int, ...]) -> Path:
    """Return the folder of random images if no parameter names one."""
    return project_root() / "data" / f"synthetic-{dtype}-{'x'.join(map(str, shape))}"


def dtype_of(params: MakeDataset) -> DType:
    """Return the dtype of the images that are made."""
    return params.dtype or "uint8"


def shape_of(params: MakeDataset) -> tuple[int, ...]:
    """Return the shape of one image that is made."""
    return tuple(params.shape) or decoded_shape(params)
