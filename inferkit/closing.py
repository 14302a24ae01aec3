"""What is closed at the end of a ``with`` block."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from inferkit.errors import InferkitError


def close_all(closers: Iterable[Callable[[], None]]) -> None:
    """Close several, whatever becomes of the others, then raise what failed first.

    An ExitStack that is closed while an error is handled forgets that error where closing fails too; this does not.
    """
    first: InferkitError | None = None
    for close in closers:
        try:
            close()
        except InferkitError as error:
            first = first or error
    if first is not None:
        raise first


class Closing(ABC):
    """Something to be closed: by ``close``, or by leaving a ``with`` block."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
