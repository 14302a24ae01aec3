"""A user's own plan: an engine that TensorRT or TensorRT-RTX built, run as it is.

It is code, and opaque: what it takes is known once a GPU has it.
"""

import os
from pathlib import Path

from inferkit.errors import EngineError
from inferkit.files import open_regular
from inferkit.linux.ownership import may_be_trusted

PLAN = ".plan"
"""Ends the names of such files."""
LARGEST = 2**36
"""Bytes of a plan, with the weights of the largest networks that a GPU holds."""


def plan_content(path: Path) -> bytes:
    """Read a plan.

    Raises
    ------
    EngineError
        If it cannot be read, is empty, or others than this user may have written it.
    """
    try:
        with os.fdopen(open_regular(path, LARGEST), "rb") as file:
            trusted, content = may_be_trusted(os.fstat(file.fileno())), file.read()
    except (OSError, ValueError) as error:  # the latter of a name with a null character
        why = error.strerror if isinstance(error, OSError) else error
        message = f"{path}: cannot be read ({why}); expected a plan that TensorRT built"
        raise EngineError(message) from error
    if not trusted:
        message = (
            f"{path}: is another user's, or others may write to it, and a plan is code: make a copy of your own of one "
            "that you trust (chmod go-w)"
        )
        raise EngineError(message)
    if not content:
        message = f"{path}: is empty; expected a plan that TensorRT built"
        raise EngineError(message)
    return content
