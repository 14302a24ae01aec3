"""What a dry run takes to be here although it is not: it plans for a server on any laptop, and says what it assumed."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from inferkit.engines import engine_class
from inferkit.engines.base import Engine
from inferkit.errors import EngineError
from inferkit.records.groups import Parameters


@dataclass(frozen=True)
class Assumed:
    """What a dry run assumes. Where there is none of these, nothing may be assumed: then what lacks is refused.

    Parameters
    ----------
    gpus
        GPUs that the server has at the least.
    told
        What was assumed so far, in words, more than once perhaps.
    """

    gpus: int = 1
    told: list[str] = field(default_factory=list)

    def numbers(self, there: int) -> list[int]:
        """Return the numbers of the GPUs that are assumed where there are fewer here; none where there are enough."""
        if there >= self.gpus:
            return []
        self.told.append(f"{self.gpus} GPU{'s' if self.gpus > 1 else ''}, of which {there or 'none'} is here")
        return list(range(self.gpus))


def gpus_named(notebooks: Iterable[Parameters]) -> int:
    """Return how many GPUs a server has at the least on which notebooks are to run: one, unless they name more."""
    counts = [1]
    for params in notebooks:
        counts += getattr(params, "gpu_counts", [])
        named = getattr(params, "gpus", [])
        counts += [len(named), *(number + 1 for number in named if isinstance(number, int))]
    return max(counts)


def engine_traits(name: str, assumed: Assumed | None) -> type[Engine]:
    """Return an engine's class; of one whose library is not here, what a dry run needs to know of it.

    Raises
    ------
    ParameterError, EngineError
        If no engine has that name, or its library is not here and nothing may be assumed.
    """
    try:
        return engine_class(name)
    except EngineError:
        if assumed is None:
            raise
    assumed.told.append(f"engine {name}, whose library is not installed")
    return Engine
