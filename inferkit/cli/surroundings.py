"""What the command inherits from whoever starts it, made usable: the terminal's letters, the umask."""

import io
import os
import sys

OWNER = 0o700
"""Rights of a file's owner."""


def settle() -> None:
    """Make the best of what this process and all that it starts inherit.

    A terminal may know few letters: others are shown as question marks, for an answer must not fail on a dash. A umask
    that takes files from their owner would make them unreadable to the next process. pydantic looks for plugins in the
    metadata of all that is installed, in each process anew: a tenth of what a rank or a kernel takes to start.
    """
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    os.umask(os.umask(OWNER) & ~OWNER)
