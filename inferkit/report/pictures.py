"""Pictures without what was written beside their pixels: comments, EXIF, places, programs, whatever follows the end."""

import io

from PIL import Image

FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG"}


def bare(content: bytes, kind: str) -> bytes:
    """Return a picture with its pixels alone.

    Parameters
    ----------
    content, kind
        A file, and its MIME type: ``image/png`` or ``image/jpeg``.

    Raises
    ------
    ValueError
        If it is no such picture.
    """
    name = FORMATS.get(kind)
    out = io.BytesIO()
    try:
        with Image.open(io.BytesIO(content), formats=[name or ""]) as picture:
            picture.load()
            told = picture.info.get("transparency")
            picture.info = {} if told is None else {"transparency": told}
            if name == "JPEG":
                picture.save(out, name, quality="keep")
            else:
                picture.save(out, name, optimize=True)
    except (OSError, SyntaxError, KeyError, Image.DecompressionBombError) as error:
        message = f"a picture is no {kind}"
        raise ValueError(message) from error
    return out.getvalue()
