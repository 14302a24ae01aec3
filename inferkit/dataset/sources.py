"""Where the JPEG files of a notebook lie, and the shape of the images that they become."""

from pathlib import Path

from inferkit.errors import ParameterError
from inferkit.objects.place import Folder
from inferkit.records.groups import Photographs
from inferkit.records.project import project_root

DEMO = "demo"
PHOTOGRAPHS = 400


def named_folder(params: Photographs) -> Folder:
    """Return the folder of JPEG files that the parameters name, whether or not it is there.

    Raises
    ------
    ParameterError
        If none is named.
    """
    if not params.images:
        message = "images is empty, but readers jpeg and nvjpeg read JPEG files: name their folder, or demo"
        raise ParameterError(message)
    return project_root() / "data" / "photographs" if params.images == DEMO else params.place(params.images)


def photographs_folder(params: Photographs) -> Folder:
    """Return the folder of JPEG files that the parameters name. ``demo`` makes photographs unless they are there.

    Raises
    ------
    ParameterError
        If none is named, or ``demo`` needs scikit-image and it is not installed.
    DatasetError
        If the photographs cannot be written.
    """
    folder = named_folder(params)
    if params.images == DEMO:
        from inferkit.dataset.photographs import make_photographs

        assert isinstance(folder, Path)
        make_photographs(folder, count=PHOTOGRAPHS)
    return folder


def decoded_shape(params: Photographs) -> tuple[int, ...]:
    """Return the shape of the images that JPEG files become."""
    return (3, params.size, params.size)
