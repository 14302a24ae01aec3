"""What is asked: one model per notebook, put together from groups so that a name means the same everywhere.

A notebook's parameters cell holds the same names, annotations and defaults as literals; a parameter file holds values
for any of them. Types are strict: papermill's YAML reads ``1e6`` as text, and ``-p`` passes text.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from inferkit.errors import ParameterError
from inferkit.objects.place import Folder, Store, check_endpoint, is_url, object_path
from inferkit.records.faults import refusals, unknown_parameter
from inferkit.records.project import resolve
from inferkit.records.values import (
    Batch,
    Batches,
    Contexts,
    CopyBytes,
    Counts,
    Cpus,
    EngineName,
    Factor,
    FilePath,
    Gpu,
    GpuCount,
    GpuName,
    Images,
    ImagesOfFile,
    Label,
    Machines,
    MachinesOrNone,
    ModelName,
    Name,
    PeerNames,
    Ranks,
    Repeats,
    Seconds,
    Seed,
    Several,
    Shape,
    Shift,
    Side,
    Slots,
    Text,
    Threads,
)


class Group(BaseModel):
    """Base of all groups of parameters, and of the notebooks' models that are put together from them."""

    model_config = ConfigDict(defer_build=True, extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
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
        begun_with = _begun_with(namespace)
        for name, value in namespace.items():
            if (
                _is_literal(name, value)
                and name not in known
                and not (name in begun_with and begun_with[name] is value)
            ):
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
            raise ParameterError(refusals(error, cls.model_fields.keys(), place)) from error


class Parameters(Group):
    """What every notebook declares that writes records."""

    storage: Label = Field(default="", description="name of the storage configuration, for the record")
    profile: Literal["demo", "quick", "mlperf"] = Field(
        default="demo", description="demo, quick or mlperf: how long to measure"
    )


class ObjectStores(Parameters):
    """How to speak to a store where ``data`` or ``images`` is ``s3://bucket/prefix``; credentials are no parameters."""

    s3_endpoint: Annotated[Text, AfterValidator(check_endpoint)] = Field(
        default="", description='such as http://10.0.0.7:9000; "": $AWS_ENDPOINT_URL, else Amazon\'s'
    )
    s3_region: Text = Field(
        default="", description='region of the bucket; "": $AWS_REGION or the profile\'s, else us-east-1'
    )
    s3_path_style: bool = Field(
        default=True, description="address objects as endpoint/bucket/key, not bucket.endpoint/key"
    )
    s3_profile: Text = Field(
        default="", description='section of ~/.aws/credentials; "": $AWS_ACCESS_KEY_ID …, else default'
    )

    @property
    def store(self) -> Store:
        """The store that these name."""
        return Store(self.s3_endpoint, self.s3_region, self.s3_path_style, self.s3_profile)

    def place(self, text: str) -> Folder:
        """Return the folder that a parameter names, or the objects.

        Raises
        ------
        ParameterError
            If it is a URL that names no bucket.
        """
        return object_path(text, self.store) if is_url(text) else resolve(text)


class Tensors(ObjectStores):
    """A folder of raw tensors, and the seed by which it is made and read."""

    data: FilePath = Field(
        default="", description='folder of *.tensors files, or s3://bucket/prefix; "": a small set of random images'
    )
    dtype: Literal["", "uint8", "float32"] = Field(
        default="", description='uint8 or float32; "": as the manifest says, uint8 if made here'
    )
    shape: Shape = Field(
        default=[], description="channels, height, width; empty: as the manifest says, or as models need"
    )
    seed: Seed = Field(default=0, description="seed of everything random")


class Data(Tensors):
    """Where images lie, and what is known of them."""

    source: Literal["storage", "memory"] = Field(
        default="memory", description="storage or memory: where the bytes are declared to come from"
    )


class Photographs(ObjectStores):
    """JPEG files, and how they become images: beforehand (stage 01), or on the fly (reader jpeg)."""

    images: FilePath = Field(
        default="",
        description='folder of JPEG files, or s3://bucket/prefix; "demo": some that are shipped; "": random images',
    )
    size: Side = Field(default=224, description="height and width that JPEG files are resized to")
    resize: Literal["stretch", "crop"] = Field(
        default="stretch", description="stretch, or resize the short side and crop the centre"
    )
    fast: bool = Field(default=False, description="decode at 1/2, 1/4 or 1/8 where that stays near the size or above")


class Reading(Data, Photographs):
    """How images are read."""

    readers: Several[Name] = Field(default=["buffered"], min_length=1, description="readers to compare")
    threads: Several[Threads] = Field(
        default=[2], min_length=1, description="reader threads per process, and per GPU where it feeds several"
    )
    batch_sizes: Several[Batch] = Field(default=[32], min_length=1, description="images per batch and GPU")
    split: Literal["uniform", "all"] = Field(
        default="uniform", description="uniform: each image once per epoch; all: by each thread"
    )
    evict: bool = Field(
        default=False, description="drop pages from the page cache behind each batch (readers buffered, jpeg, nvjpeg)"
    )
    host_batches: Batches = Field(
        default=0, description="batch buffers in host memory; 0: enough for the threads and slots"
    )
    verify_batches: Batches = Field(default=4, description="batches whose images are hashed before measuring")


class Hardware(Parameters):
    """Which device receives the images."""

    device: Literal["cpu", "cuda"] = Field(default="cpu", description="cpu or cuda")
    gpus: Several[Gpu | GpuName] = Field(
        default=[], description="numbers or UUIDs of the GPUs, or MIG instances, to use; empty: all"
    )


class Networks(Parameters):
    """What infers, and how."""

    engines: Several[EngineName] = Field(
        default=["null", "onnx"], min_length=1, description="null (no inference), onnx or tensorrt"
    )
    models: Several[ModelName] = Field(
        default=["resnet18"], min_length=1, description="names from inferkit models, ONNX files, or plans of TensorRT"
    )
    precisions: Several[Name] = Field(default=["float32"], min_length=1, description="float32, float16, int8 or fp8")
    mean: Several[Shift] = Field(default=[], description="subtracted per channel in a user's model; empty: nothing")
    std: Several[Factor] = Field(default=[], description="divisor per channel in a user's model; empty: nothing")
    scale: Factor = Field(default=1.0, description="factor on pixels before mean and std, such as 0.00392156862745098")
    layout: Literal["", "NCHW", "NHWC"] = Field(
        default="", description='where a user\'s model has its channels: NCHW or NHWC; "": its shape tells'
    )
    engine_threads: Cpus = Field(default=0, description="threads of the onnx engine; 0: one per core")
    contexts: Contexts = Field(default=2, description="batches that a GPU infers side by side")
    decoders: Contexts = Field(
        default=1,
        description="batches of JPEG files that a GPU decodes side by side (readers nvjpeg …), a core each",
    )
    cuda_graph: bool = Field(default=True, description="launch each batch as one CUDA graph")
    layer_profile: bool = Field(default=False, description="time each layer of the network")
    slots: Slots = Field(default=3, description="batches on the device at a time, per context")
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
    repeats: Repeats = Field(default=0, description="windows, each in a process of its own; 0: the profile's")
    rerun: Literal["never", "failed", "always"] = Field(
        default="always", description="points measured before: never again, failed or invalid ones again, always again"
    )
    earlier: FilePath = Field(default="runs", description="folder of executed notebooks in which rerun looks for them")
    batch_log: FilePath = Field(
        default="", description='folder for parquet files with every batch; "": none are written'
    )


class MakeDataset(Tensors, Photographs):
    """Notebook 01: make a data set of tensors."""

    notebook: ClassVar[str] = "01"
    file_stem: ClassVar[str] = "01_dataset"

    shuffle: bool = Field(default=False, description="shuffle the files with the seed")
    limit: Images = Field(default=0, description="images to make; 0: all (random images: 1000)")
    images_per_file: ImagesOfFile = Field(default=250, description="images per output file")
    workers: Cpus = Field(default=0, description="decoding processes; 0: one per core")


class HostToDevice(Windows, Beside, Hardware):
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


class StorageToHost(Windows, Beside, Reading):
    """Notebook 03a: reading alone."""

    notebook: ClassVar[str] = "03a"
    file_stem: ClassVar[str] = "03a_storage_to_host"


class SingleProcess(Windows, Beside, Networks, Hardware, Reading):
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


class Compare(Group):
    """Notebook compare: storages side by side, and each over time."""

    notebook: ClassVar[str] = "compare"
    file_stem: ClassVar[str] = "compare"

    paths: Several[FilePath] = Field(
        default=["runs"], min_length=1, description="executed notebooks, or folders of them"
    )
    since: Text = Field(default="", description='leave out runs begun before this date (UTC); "": the newest of each')
    best: bool = Field(default=False, description="take the fastest run of each point, not the newest ones")


MEASURING: dict[str, type[Parameters]] = {
    model.notebook: model for model in (MakeDataset, HostToDevice, StorageToHost, SingleProcess, MultiProcess, Cluster)
}
"""The notebooks that write records, in the order in which they are run."""
NOTEBOOKS: dict[str, type[Group]] = {**MEASURING, Compare.notebook: Compare}


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
