"""What is asked: one model per notebook, put together from groups so that a name means the same everywhere.

A notebook's parameters cell holds the same names, annotations and defaults as literals; a parameter file holds values
for any of them. Types are strict: papermill's YAML reads ``1e6`` as text, and ``-p`` passes text.
"""

import difflib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from inferkit.errors import ParameterError

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(ge=0)]
# YAML reads a bare null as None; the engine of that name is meant.
EngineName = Annotated[str, BeforeValidator(lambda value: "null" if value is None else value)]

# `ranks: 2` and `ranks: auto` are as good as lists.
Counts = Annotated[list[Positive], BeforeValidator(lambda value: _counts(value))]


# `peer: fio` is as good as a list; so that one file serves all notebooks, each takes those that do its own work.
PeerNames = Annotated[list[Literal["fio", "nvbandwidth", "trtexec"]], BeforeValidator(lambda value: _names(value))]


def _names(value: object) -> object:
    if value == "":
        return []
    return [value] if isinstance(value, str) else value


def _counts(value: object) -> object:
    if value == "auto":
        return []
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


def _no_path(value: str) -> str:
    """Refuse what would put a storage's notebooks elsewhere than below the folder for all runs."""
    if value in {".", ".."} or set(value) & set("/\\\0"):
        message = "expected a name, not a path: it names the folder of the executed notebooks"
        raise ValueError(message)
    return value


Label = Annotated[str, AfterValidator(_no_path)]


class Group(BaseModel):
    """Base of all groups of parameters, and of the notebooks' models that are put together from them."""

    model_config = ConfigDict(defer_build=True, extra="forbid", strict=True, frozen=True)
    notebook: ClassVar[str]
    file_stem: ClassVar[str]

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
        for name, value in namespace.items():
            if _is_literal(name, value) and name not in known:
                raise ParameterError(unknown_parameter(name, known, f"notebook {cls.file_stem}"))
        return cls.check({name: namespace[name] for name in cls.model_fields if name in namespace})

    @classmethod
    def check(cls, values: Mapping[str, Any], *, where: str = "") -> Self:
        """Validate values.

        Parameters
        ----------
        values
            Parameters by name; what is left out keeps its default.
        where
            The file that they come from, for the message.

        Raises
        ------
        ParameterError
            Naming file, key, the value found and what is allowed.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            place = where or f"notebook {cls.file_stem}"
            told = [
                unknown_parameter(_name(detail), set(cls.model_fields), place)
                if detail["type"] == "extra_forbidden"
                else f"{place}: {_name(detail)} is {_refusal(place, detail)}"
                for detail in error.errors()
            ]
            raise ParameterError("\n".join(told)) from error


class Parameters(Group):
    """What every notebook declares that writes records."""

    storage: Label = Field(default="", description="name of the storage configuration, for the record")
    profile: Literal["demo", "quick", "mlperf"] = Field(
        default="demo", description="demo, quick or mlperf: how long to measure"
    )


class Tensors(Parameters):
    """A folder of raw tensors, and the seed by which it is made and read."""

    data: str = Field(default="", description='folder of *.tensors files; "": a small set of random images')
    dtype: Literal["", "uint8", "float32"] = Field(
        default="", description='uint8 or float32; "": as the manifest says, uint8 if made here'
    )
    shape: list[Positive] = Field(
        default=[], description="channels, height, width; empty: as the manifest says, or as models need"
    )
    seed: Count = Field(default=0, description="seed of everything random")


class Data(Tensors):
    """Where images lie, and what is known of them."""

    source: Literal["storage", "memory"] = Field(
        default="memory", description="storage or memory: where the bytes are declared to come from"
    )


class Photographs(Parameters):
    """JPEG files, and how they become images: beforehand (stage 01), or on the fly (reader jpeg)."""

    images: str = Field(
        default="", description='folder of JPEG files; "demo": photographs that scikit-image ships; "": random images'
    )
    size: Positive = Field(default=224, description="height and width that JPEG files are resized to")
    resize: Literal["stretch", "crop"] = Field(
        default="stretch", description="stretch, or resize the short side and crop the centre"
    )
    fast: bool = Field(default=False, description="decode at 1/2, 1/4 or 1/8 where that stays near the size or above")


class Reading(Data, Photographs):
    """How images are read."""

    readers: list[str] = Field(default=["buffered"], min_length=1, description="readers to compare")
    threads: list[Positive] = Field(
        default=[2], min_length=1, description="reader threads per process, and per GPU where it feeds several"
    )
    batch_sizes: list[Positive] = Field(default=[32], min_length=1, description="images per batch and GPU")
    split: Literal["uniform", "all"] = Field(
        default="uniform", description="uniform: each image once per epoch; all: by each thread"
    )
    evict: bool = Field(
        default=False, description="drop pages from the page cache behind each batch (readers buffered, jpeg, nvjpeg)"
    )
    host_batches: Count = Field(
        default=0, description="batch buffers in host memory; 0: enough for the threads and slots"
    )
    verify_batches: Count = Field(default=4, description="batches whose images are hashed before measuring")


class Hardware(Parameters):
    """Which device receives the images."""

    device: Literal["cpu", "cuda"] = Field(default="cpu", description="cpu or cuda")
    gpus: list[Count] = Field(default=[], description="ids of the GPUs to use; empty: all")


class Networks(Parameters):
    """What infers, and how."""

    engines: list[EngineName] = Field(
        default=["null", "onnx"], min_length=1, description="null (no inference), onnx or tensorrt"
    )
    models: list[str] = Field(
        default=["resnet18"], min_length=1, description="names from inferkit models, or ONNX files"
    )
    precisions: list[str] = Field(default=["float32"], min_length=1, description="float32, float16, int8 or fp8")
    mean: list[float] = Field(default=[], description="subtracted per channel in a user's model; empty: nothing")
    std: list[float] = Field(default=[], description="divisor per channel in a user's model; empty: nothing")
    scale: float = Field(
        default=1.0, gt=0, description="factor on pixels before mean and std, such as 0.00392156862745098"
    )
    engine_threads: Count = Field(default=0, description="threads of the onnx engine; 0: one per core")
    contexts: Positive = Field(default=2, description="batches that a GPU infers side by side")
    decoders: Positive = Field(
        default=1,
        description="batches of JPEG files that a GPU decodes side by side (readers nvjpeg …), a core each",
    )
    cuda_graph: bool = Field(default=True, description="launch each batch as one CUDA graph")
    layer_profile: bool = Field(default=False, description="time each layer of the network")
    slots: Positive = Field(default=3, description="batches on the device at a time, per context")
    overlap: bool = Field(default=True, description="copy the next batch while one is inferred")


class Beside(Parameters):
    """What is measured beside."""

    peer: PeerNames = Field(
        default=[],
        description="programs to measure beside: fio (reading alone), nvbandwidth (copies), trtexec (inference alone)",
    )


class Windows(Parameters):
    """How long to measure (0 takes the profile's value), and what not to measure again."""

    warmup_s: Seconds = Field(default=0.0, description="seconds before the first window; 0: the profile's")
    duration_s: Seconds = Field(default=0.0, description="seconds of each window; 0: the profile's")
    repeats: Count = Field(default=0, description="windows; 0: the profile's")
    rerun: Literal["never", "failed", "always"] = Field(
        default="always", description="points measured before: never again, failed or invalid ones again, always again"
    )
    earlier: str = Field(default="runs", description="folder of executed notebooks in which rerun looks for them")
    batch_log: str = Field(default="", description='folder for parquet files with every batch; "": none are written')


class MakeDataset(Tensors, Photographs):
    """Notebook 01: make a data set of tensors."""

    notebook: ClassVar[str] = "01"
    file_stem: ClassVar[str] = "01_dataset"

    shuffle: bool = Field(default=False, description="shuffle the files with the seed")
    limit: Count = Field(default=0, description="images to make; 0: all (random images: 1000)")
    images_per_file: Positive = Field(default=250, description="images per output file")
    workers: Count = Field(default=0, description="decoding processes; 0: one per core")


class HostToDevice(Windows, Beside, Hardware):
    """Notebook 02: copies from host to device, alone."""

    notebook: ClassVar[str] = "02"
    file_stem: ClassVar[str] = "02_host_to_device"

    transfer_bytes: list[Positive] = Field(
        default=[65536, 1048576, 4816896, 16777216, 67108864], min_length=1, description="bytes per copy"
    )
    directions: list[Literal["in", "out", "both"]] = Field(
        default=["in"], min_length=1, description="in: to the device; out: from it; both: to it while results go back"
    )
    memories: list[Literal["pinned", "pageable", "mapped"]] = Field(
        default=[], description="kinds of host memory; empty: all that the device has"
    )


class StorageToHost(Windows, Beside, Reading):
    """Notebook 03a: reading alone."""

    notebook: ClassVar[str] = "03a"
    file_stem: ClassVar[str] = "03a_storage_to_host"


class SingleProcess(Windows, Beside, Networks, Hardware, Reading):
    """Notebook 03b: read, copy and infer in one process."""

    notebook: ClassVar[str] = "03b"
    file_stem: ClassVar[str] = "03b_single_process"

    gpu_counts: Counts = Field(
        default=[], description="numbers of GPUs to compare; empty: all of gpus (in 03c also 1, 2, 4 … of them)"
    )
    grid: list[dict[str, Any]] = Field(
        default=[], description="rules that skip or set points of the product: when, set, skip"
    )


class MultiProcess(SingleProcess):
    """Notebook 03c: several pinned processes as one measurement."""

    notebook: ClassVar[str] = "03c"
    file_stem: ClassVar[str] = "03c_multi_process"

    ranks: Counts = Field(default=[], description="numbers of processes to compare; empty: 1, 2, 4 … per GPU or core")
    cores: Count = Field(default=0, description="physical cores per process; 0: all, shared out evenly")
    placement: list[str] = Field(default=[], description="overrides of the plan of ranks, a line each (see the README)")


class Compare(Group):
    """Notebook compare: storages side by side, and each over time."""

    notebook: ClassVar[str] = "compare"
    file_stem: ClassVar[str] = "compare"

    paths: list[str] = Field(default=["runs"], min_length=1, description="executed notebooks, or folders of them")
    since: str = Field(default="", description='leave out runs begun before this date (UTC); "": the newest of each')
    best: bool = Field(default=False, description="take the fastest run of each point, not the newest ones")


MEASURING: dict[str, type[Parameters]] = {
    model.notebook: model for model in (MakeDataset, HostToDevice, StorageToHost, SingleProcess, MultiProcess)
}
"""The notebooks that write records, in the order in which they are run."""
NOTEBOOKS: dict[str, type[Group]] = {**MEASURING, Compare.notebook: Compare}


def _is_literal(name: str, value: object) -> bool:
    """Tell a parameter from imports, functions and what IPython puts into a notebook's namespace."""
    return (
        not name.startswith("_")
        and name not in {"In", "Out"}
        and isinstance(value, str | int | float | list | dict | None)
    )


def unknown_parameter(name: str, known: set[str], place: str) -> str:
    """Word the refusal of a name that nobody declares, with the nearest that somebody does."""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
    return f"{place}: {name!r} is not a parameter: {hint}"


def faults(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """Say what is wrong with values, whichever notebooks declare them.

    Returns
    -------
    dict
        By parameter: what was found and what is allowed; of a list, by item, the first being 1. Empty if all is well.
    """
    found: dict[str, dict[str, None]] = {}
    for model in MEASURING.values():
        try:
            model.model_validate({name: value for name, value in values.items() if name in model.model_fields})
        except ValidationError as error:
            for detail in error.errors():
                item = "".join(f"item {part + 1}: " for part in detail["loc"][1:2] if isinstance(part, int))
                number = " (write 1000000, not 1e6)" if _reads_as_number(detail["input"]) else ""
                said = f"{item}{detail['input']!r}: {detail['msg']}{number}"
                found.setdefault(str(detail["loc"][0]), {})[said] = None
    return {name: list(texts) for name, texts in found.items()}


def _reads_as_number(found: object) -> bool:
    return isinstance(found, str) and re.fullmatch(r"[0-9.]+[eE][0-9]+", found) is not None


def _name(detail: ErrorDetails) -> str:
    return ".".join(str(part) for part in detail["loc"])


def _refusal(place: str, detail: ErrorDetails) -> str:
    """Word what was found and why it is refused."""
    found = detail["input"]
    hint = ""
    if detail["type"] == "list_type" and not str(found).startswith("["):
        hint = f": write {_as_list(_name(detail), found, place)}"
    elif isinstance(found, str) and "string" not in detail["type"] and detail["type"] != "literal_error":
        hint = " (text: YAML reads 1e6 as text, write 1.0e+6 or 1000000; papermill -p passes text, use -y)"
    return f"{found!r}: {detail['msg']}{hint}"


def _as_list(name: str, value: object, place: str) -> str:
    """Write a value as the list that it was to be: in YAML, or in Python where a notebook says so."""
    if place.startswith("notebook "):
        return f"{name} = [{value!r}]"
    plain = isinstance(value, str) and re.fullmatch(r"[\w./,-]+", value)
    return f"{name}{'=' if place.startswith('--') else ': '}[{value if plain else json.dumps(value, default=str)}]"
