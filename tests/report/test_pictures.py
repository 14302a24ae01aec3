import io

import pytest
from PIL import Image, PngImagePlugin

from inferkit.report.pictures import bare

SECRET = b"/home/ada"


def picture(kind: str, mode: str = "RGB") -> bytes:
    image = Image.new(mode, (8, 8), 3 if mode == "P" else (10, 200, 30))
    out = io.BytesIO()
    if kind == "PNG":
        told = PngImagePlugin.PngInfo()
        told.add_text("Source", SECRET.decode())
        told.add_itxt("Author", SECRET.decode())
        image.save(out, "PNG", pnginfo=told)
    else:
        exif = Image.Exif()
        exif[0x013B] = SECRET.decode()
        image.save(out, "JPEG", exif=exif, comment=SECRET)
    return out.getvalue() + b"after the end: " + SECRET


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGB"), ("PNG", "P"), ("JPEG", "RGB")])
def test_pixels_stay_and_what_was_written_beside_them_goes(kind: str, mode: str) -> None:
    full = picture(kind, mode)
    assert SECRET in full
    clean = bare(full, f"image/{kind.lower()}")
    assert SECRET not in clean
    before, after = (Image.open(io.BytesIO(content)).convert("RGB") for content in (full, clean))
    assert before.tobytes() == after.tobytes()


@pytest.mark.parametrize(
    ("content", "kind"), [(b"", "image/png"), (b"GIF89a", "image/gif"), (picture("PNG")[:60], "image/png")]
)
def test_what_is_no_picture_is_refused(content: bytes, kind: str) -> None:
    with pytest.raises(ValueError, match=f"a picture is no {kind}"):
        bare(content, kind)
    with pytest.raises(ValueError, match="no image/jpeg"):
        bare(picture("PNG"), "image/jpeg")
