"""What the dynamic linker is told to load into a program before all else (ld.so(8)): allocators, or other clocks."""

import os
import re
from pathlib import Path

from inferkit.linux.procfs import ROOT, text


def preloaded(root: Path = ROOT) -> list[str]:
    """Return the names of libraries that were loaded before all others; their folders may name a person."""
    named = f"{os.environ.get('LD_PRELOAD', '')}\n{text(root / 'etc/ld.so.preload') or ''}"
    return sorted({Path(library).name for library in re.split(r"[\s:]+", named) if library})
