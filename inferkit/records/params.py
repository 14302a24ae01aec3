"""What is asked: one model per notebook, put together from the groups of :mod:`inferkit.records.groups`.

A notebook's parameters cell holds the same names, annotations and defaults as literals; a parameter file holds values
for any of them.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from inferkit.errors import ParameterError
from inferkit.records.faults import unknown_parameter
from inferkit.records.groups import (
    Beside,
    Group,
    Hardware,
    Networks,
    Parameters,
    Photographs,
    Reading,
    Tensors,
    Windows,
)
from inferkit.records.values import (
    CopyBytes,
    Counts,
    Cpus,
    FilePath,
    GpuCount,
    Images,
    ImagesOfFile,
    Machines,
    MachinesOrNone,
    Ranks,
    Seconds,
    Several,
    Text,
)


class Notebook(Group):
    """Base of the notebooks' models: their parameters lie in the notebook's namespace."""

    @classmethod
    def collect(cls, namespace: Mapping[str, Any]) -> Self:
        """Take this notebook's parameters out of its namespace and check them.

        Parameters
        ----------
        namespace
            The notebook's ``globals()``.

        Raises
        ------
        ParameterError
            If a value is refused, or if a literal lies there under a name that no notebook declares.
        """
        known = {name for model in NOTEBOOKS.values() for name in model.model_fields}
        begun_with = _begun_with(namespace)
        for name, value in namespace.items():
            if (
                _is_literal(name, value)
                and name not in known
                and not (name in begun_with and begun_with[name] is value)
            ):
                raise ParameterError(unknown_parameter(name, known, f"notebook {cls.file_stem}"))
        return cls.check({name: namespace[name] for name in cls.model_fields if name in namespace})


class Measuring(Parameters, Notebook):
    """Base of those of notebooks that write records."""


class MakeDataset(Tensors, Photographs, Measuring):
    """Notebook 01: make a data set of tensors."""

    notebook: ClassVar[str] = "01"
    file_stem: ClassVar[str] = "01_dataset"

    shuffle: bool = Field(default=False, description="shuffle the files with the seed")
    limit: Images = Field(default=0, description="images to make; 0: all (random images: 1000)")
    images_per_file: ImagesOfFile = Field(default=250, description="images per output file")
    workers: Cpus = Field(default=0, description="decoding processes; 0: one per core")


class HostToDevice(Windows, Beside, Hardware, Measuring):
    """Notebook 02: copies from host to device, alone."""

    notebook: ClassVar[str] = "02"
    file_stem: ClassVar[str] = "02_host_to_device"

    transfer_bytes: Several[CopyBytes] = Field(
        default=[65536, 1048576, 4816896, 16777216, 67108864], min_length=1, description="bytes per copy"
    )
    directions: Several[Literal["in", "out", "both"]] = Field(
        default=["in"], min_length=1, description="in: to the device; out: from it; both: to it while results go back"
    )
    memories: Several[Literal["pinned", "pageable", "mapped"]] = Field(
        default=[], description="kinds of host memory; empty: all that the device has"
    )


class StorageToHost(Windows, Beside, Reading, Measuring):
    """Notebook 03a: reading alone."""

    notebook: ClassVar[str] = "03a"
    file_stem: ClassVar[str] = "03a_storage_to_host"


class SingleProcess(Windows, Beside, Networks, Hardware, Reading, Measuring):
    """Notebook 03b: read, copy and infer in one process."""

    notebook: ClassVar[str] = "03b"
    file_stem: ClassVar[str] = "03b_single_process"

    gpu_counts: Counts[GpuCount] = Field(
        default=[], description="numbers of GPUs to compare; empty: all of gpus (in 03c also 1, 2, 4 … of them)"
    )
    grid: Several[dict[str, Any]] = Field(
        default=[], description="rules that skip or set points of the product: when, set, skip"
    )


class MultiProcess(SingleProcess):
    """Notebook 03c: several pinned processes as one measurement."""

    notebook: ClassVar[str] = "03c"
    file_stem: ClassVar[str] = "03c_multi_process"

    ranks: Counts[Ranks] = Field(
        default=[], description="numbers of processes to compare; empty: 1, 2, 4 … per GPU or core"
    )
    cores: Cpus = Field(default=0, description="physical cores per process; 0: all, shared out evenly")
    placement: Several[Text] = Field(
        default=[], description="overrides of the plan of ranks, a line each (see the README)"
    )


class Cluster(MultiProcess):
    """Notebook 03d: the pinned processes of several machines as one measurement."""

    notebook: ClassVar[str] = "03d"
    file_stem: ClassVar[str] = "03d_cluster"

    scheduler: Text = Field(
        default="", description='address or file of a Dask scheduler; "": none, so 03d does not run'
    )
    nodes: MachinesOrNone = Field(default=0, description="machines to measure with; 0: as node_counts says")
    node_counts: Counts[Machines] = Field(
        default=[], description="numbers of machines to compare; empty: 1, 2, 4 … and all"
    )
    wait_s: Seconds = Field(default=60.0, description="seconds to wait for so many machines")
    same_host: bool = Field(default=False, description="let several workers of one host be machines of their own")


class Compare(Notebook):
    """Notebook compare: storages side by side, and each over time."""

    notebook: ClassVar[str] = "compare"
    file_stem: ClassVar[str] = "compare"

    paths: Several[FilePath] = Field(
        default=["runs"], min_length=1, description="executed notebooks, or folders of them"
    )
    since: Text = Field(default="", description='leave out runs begun before this date (UTC); "": the newest of each')
    best: bool = Field(default=False, description="take the fastest run of each point, not the newest ones")


MEASURING: dict[str, type[Measuring]] = {
    model.notebook: model for model in (MakeDataset, HostToDevice, StorageToHost, SingleProcess, MultiProcess, Cluster)
}
"""The notebooks that write records, in the order in which they are run."""
NOTEBOOKS: dict[str, type[Notebook]] = {**MEASURING, Compare.notebook: Compare}


def _begun_with(namespace: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what IPython's start-up files had put into a notebook's namespace before its first cell ran."""
    shell = namespace["get_ipython"]() if callable(namespace.get("get_ipython")) else None
    return getattr(shell, "user_ns_hidden", {})


def _is_literal(name: str, value: object) -> bool:
    """Tell a parameter from imports, functions and what IPython puts into a notebook's namespace."""
    return (
        not name.startswith("_")
        and name not in {"In", "Out"}
        and isinstance(value, str | int | float | list | dict | None)
    )
