"""Linux: one kernel interface per file. What the kernel does not say is None, never a guess."""

import sys

from inferkit.errors import ParameterError

if sys.platform != "linux":
    message = f"this is {sys.platform}: measuring needs Linux; show, compare and export work here too"
    raise ParameterError(message)
