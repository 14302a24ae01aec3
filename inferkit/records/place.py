"""Where ranks lie on a machine: GPUs, CPUs, memory node and data of each."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from inferkit.text import text_table


class Place(BaseModel):
    """One rank's place on the machine.

    Parameters
    ----------
    rank, ranks
        Which of how many.
    gpus
        NVML's numbers of the GPUs that it sees, or UUIDs of MIG instances.
    cpus
        Logical CPUs that it is bound to, physical cores first; empty: not bound.
    node
        NUMA node that its memory is bound to; None: not bound.
    folder
        The data set, or the copy of it, that it reads; empty: as the parameters say.
    host
        The machine, where ranks on several measure together; empty: this one.
    """

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)
    rank: int = 0
    ranks: int = 1
    gpus: tuple[int | str, ...] = ()
    cpus: tuple[int, ...] = ()
    node: int | None = None
    folder: str = ""
    host: str = ""

    def __str__(self) -> str:
        """Name the rank by where it is: ``rank 1 (GPU 1, CPUs 8-15, node 1)``."""
        where = [f"GPU {gpu_names(self.gpus)}"] if self.gpus else []
        where += [f"CPUs {cpu_ranges(self.cpus)}"] if self.cpus else []
        where += [] if self.node is None else [f"node {self.node}"]
        return f"rank {self.rank}" + (f" ({', '.join(where)})" if where else "")


class Placement(BaseModel):
    """All ranks' places, and what could not be as it should."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)
    places: tuple[Place, ...]
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the plan as a plain table."""
        head = ["rank", "GPUs", "CPUs", "memory node", "data"]
        lines = text_table(map(_row, self.places), head)
        return "\n".join([*lines, *(f"! {remark}" for remark in self.remarks)])


def _row(place: Place) -> list[str]:
    node = "not bound" if place.node is None else str(place.node)
    return [str(place.rank), gpu_names(place.gpus) or "–", cpu_ranges(place.cpus) or "all", node, place.folder or "–"]


def gpu_names(gpus: Iterable[int | str]) -> str:
    """Write numbers of GPUs as the kernel does, and MIG instances behind them."""
    named = list(gpus)
    numbers = cpu_ranges(gpu for gpu in named if isinstance(gpu, int))
    return ",".join(filter(None, [numbers, *(gpu for gpu in named if isinstance(gpu, str))]))


def cpu_ranges(cpus: Iterable[int]) -> str:
    """Write numbers as the kernel does: ``0-3,8``."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)
