"""How a command ends: its exit codes, and what it says where it refuses."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import click

from inferkit.errors import DeviceError, InferkitError, RankError, ReadError, UnfinishedError
from inferkit.os_errors import explained, system_refusal
from inferkit.text import plain, readable

OK, FAILED, REFUSED, INVALID = 0, 1, 2, 3
"""Exit codes: all VALID, something failed, refused before anything ran, something INVALID."""
MEASURE = "pip install 'inferkit[measure]'" if sys.platform == "linux" else "measure on Linux, read what it wrote here"
"""What to do where a module is missing that only measuring needs."""
BEGUN = (UnfinishedError, ReadError, DeviceError, RankError)
"""What goes wrong only once something runs."""
P = ParamSpec("P")


def say(text: object, *, err: bool = False) -> None:
    """Print what may hold words of others (records, names of files): it cannot command the terminal."""
    click.echo(plain(str(text), lines=True), err=err)


def warn(text: str) -> None:
    """Say beside the result what qualifies it."""
    say(f"inferkit: {readable(text)}", err=True)


def refusals(command: Callable[P, None]) -> Callable[P, None]:
    """Make a command report our own errors, the lack of what only measuring needs, and paths that cannot be used.

    It exits with code 2, for it was refused; with 1 where something had begun and failed, or the system has no memory
    or thread for it.
    """

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            return command(*args, **kwargs)
        except BEGUN as error:
            warn(str(error))
            sys.exit(FAILED)
        except (MemoryError, RuntimeError) as error:
            if (told := system_refusal(error)) is None:
                raise
            warn(told)
            sys.exit(FAILED)
        except InferkitError as error:
            message = str(error)
        except ModuleNotFoundError as error:
            if (error.name or "inferkit").partition(".")[0] == "inferkit":
                raise
            message = f"`{click.get_current_context().command_path}` needs {error.name}, which is not here: {MEASURE}"
        except BrokenPipeError:
            raise  # whoever reads has seen enough: click ends without a word
        except OSError as error:  # of a path that was given
            message = f"{error.filename or click.get_current_context().command_path}: {explained(error)}"
        warn(message)
        sys.exit(REFUSED)

    return wrapped
