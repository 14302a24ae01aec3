"""What the notebooks ask for, by subject: a name means the same in all of them, and has its words and bounds here.

Types are strict: papermill's YAML reads ``1e6`` as text, and ``-p`` passes text.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from inferkit.errors import ParameterError
from inferkit.objects.place import Folder, Store, check_endpoint, is_url, object_path
from inferkit.records.faults import refusals
from inferkit.records.project import resolve
from inferkit.records.values import (
    Batch,
    Batches,
    Contexts,
    Cpus,
    DataPlace,
    EngineName,
    Factor,
    FilePath,
    Gpu,
    Label,
    ModelName,
    Name,
    PeerNames,
    PrecisionName,
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

    data: DataPlace = Field(
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

    images: DataPlace = Field(
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
    gpus: Several[Gpu] = Field(
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
    precisions: Several[PrecisionName] = Field(
        default=["float32"], min_length=1, description="float32, float16, int8 or fp8"
    )
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
