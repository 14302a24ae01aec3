"""Arguments that name a file, a folder or objects: an empty one is refused, not taken for the current folder."""

from pathlib import Path
from typing import Any

import click

from inferkit.objects.place import is_other_url, is_url


class _Named(click.ParamType):
    """What names something; ``kind`` is what the command gets, and objects count where it takes them."""

    name = "path"

    def __init__(self, kind: type[Path] | type[str], *, objects: bool = False) -> None:
        self._kind = kind
        self._objects = objects

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = str(value)
        expected = "a folder or s3://bucket/prefix" if self._objects else "a path"
        if not text.strip():
            self.fail(f"expected {expected}, found an empty text", param, ctx)
        if is_other_url(text) or (is_url(text) and not self._objects):
            self.fail(f"expected {expected}, found a URL (a folder of that name: begin with ./)", param, ctx)
        return self._kind(text)


PATH = _Named(Path)
CONFIG = _Named(str)
PLACE = _Named(str, objects=True)
