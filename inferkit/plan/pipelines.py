"""The points of notebooks 03b and 03c: settings × networks × ways to read, under the rules of ``grid``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from inferkit.devices import why_no_decoder
from inferkit.errors import ParameterError
from inferkit.plan.assumed import Assumed, engine_traits
from inferkit.plan.context import Context
from inferkit.plan.grid import Grid, windowed
from inferkit.plan.networks import Networks, aliases, distinct, is_plan, labels_of
from inferkit.plan.points import Point
from inferkit.plan.reading import (
    ReadChoice,
    are_cold,
    check_delivery,
    cold_point,
    read_choices,
    read_options,
    read_point,
    resident,
)
from inferkit.plan.settings import Setting
from inferkit.readers import reader_class
from inferkit.readers.nvjpeg import NvJpegReader
from inferkit.records.figures import Scalar
from inferkit.records.job import Images, InferJob, InferOptions, PipelineJob, ReadOptions
from inferkit.records.params import SingleProcess
from inferkit.records.windows import Window

if TYPE_CHECKING:
    from inferkit.models.agreement import NetworkPair


HELD = 4
"""Batches for each GPU that are decoded again and again where decoding is measured alone: one more than slots."""


class InferChoice(NamedTuple):
    """One way to infer; an engine that infers nothing has neither model nor precision. Points have the ``label``."""

    engine: str
    model: str
    precision: str
    label: str

    @property
    def axes(self) -> dict[str, Scalar]:
        """How points tell it."""
        return {"engine": self.engine, "model": self.label, "precision": self.precision}


def infer_choices(params: SingleProcess, assumed: Assumed | None = None) -> list[InferChoice]:
    """Return every way to infer that is asked for; engines that infer nothing first, for the others refer to them.

    Raises
    ------
    ParameterError
        If there is no such engine, or how pixels are normalised is said where no network asks for it.
    """
    if (params.mean or params.std or params.scale != 1.0 or params.layout) and not any(
        name.endswith(".onnx") for name in params.models
    ):
        message = (
            "mean, std, scale and layout are for ONNX files of yours, and models has none "
            f"({', '.join(params.models)}): "
            "built-in networks normalise pixels themselves, leave them out"
        )
        raise ParameterError(message)
    models = distinct(params.models)
    choices, labels = [], labels_of(models)
    traits = {name: engine_traits(name, assumed) for name in params.engines}
    for engine in sorted(params.engines, key=lambda name: traits[name].has_ceiling):
        if not traits[engine].has_ceiling:
            choices.append(InferChoice(engine, "", "", ""))
        else:
            pairs = dict.fromkeys(
                (model, "" if is_plan(model) else precision) for model, precision in product(models, params.precisions)
            )
            choices += [InferChoice(engine, model, precision, labels[model]) for model, precision in pairs]
    return choices


@dataclass(frozen=True)
class _Pipeline:
    """One combination, before it becomes points."""

    context: Context[SingleProcess]
    cold: bool
    setting: Setting
    infers: InferChoice
    reads: ReadChoice

    @property
    def device_axes(self) -> dict[str, Scalar]:
        return {**self.setting.axes, "batch_size": self.reads.batch_size}

    @property
    def axes(self) -> dict[str, Scalar]:
        return {**self.device_axes, **self.infers.axes, "reader": self.reads.reader, "threads": self.reads.threads}

    def inference(self, network: "NetworkPair | None") -> InferOptions:
        params = self.context.params
        return InferOptions(
            engine=self.infers.engine,
            model="" if network is None else str(network.file.path),
            threads=params.engine_threads,
            cuda_graph=params.cuda_graph,
            layer_profile=params.layer_profile,
            **self._lanes,
        )

    @property
    def _decoders(self) -> int:
        return self.context.params.decoders if reader_class(self.reads.reader).capabilities.on_device else 1

    @property
    def _lanes(self) -> dict[str, int]:
        """Batches on the device at a time: as many without a network as with one; one more for each decoder more."""
        params = self.context.params
        contexts = params.contexts if params.device == "cuda" else 1
        return {"contexts": contexts, "slots": params.slots + self._decoders - 1}

    def ceilings(self, network: "NetworkPair | None") -> dict[str, Point]:
        """Return the points that measure its stages alone, and some at once: all but the network, all but reading.

        What takes no time of its own has none. A pipeline without a network is itself the feed of those that have one.
        A device that decodes does so while it infers (``device``).
        """
        own = reader_class(self.reads.reader).capabilities
        ceilings = {}
        if own.has_ceiling:
            ceilings["read"] = read_point(self.context, self.reads, self.setting)
        elif own.has_files and self.cold:
            ceilings["read"] = cold_point(self.context, self.reads, self.setting)
        if own.on_device:
            ceilings["decode"] = self._decodes()
        if not own.to_device:
            ceilings["copy"] = self._copies()
        if network is None:
            return ceilings
        if own.has_files:  # else the feed is the copy alone
            ceilings["feed"] = self.feed
        ceilings["infer"] = self._infers(network)
        if own.on_device:
            ceilings["device"] = self._decodes(network)
        return ceilings

    @property
    def feed(self) -> Point:
        """The point that measures all but the network."""
        axes = {**self.device_axes, "reader": self.reads.reader, "threads": self.reads.threads}
        return Point("feed", axes, self.setting.jobs(self._fed(self._reading)))

    def _copies(self) -> Point:
        """Return the point that copies images that lie in host memory: such as the reader delivers, or encoded ones."""
        reading, axes = resident(self.context, self.reads.batch_size), self.device_axes
        if reader_class(self.reads.reader).capabilities.on_device:
            nbytes = self.context.file_bytes(self.reads.reader)
            reading = reading.changed(dtype="uint8", shape=(nbytes,))
            axes = {**axes, "image_bytes": nbytes}
        return Point("copy", axes, self.setting.jobs(self._fed(reading)))

    def _decodes(self, network: "NetworkPair | None" = None) -> Point:
        """Return the point that decodes files that lie in host memory, and infers if there is a network."""
        reading = read_options(self.context, self.reads._replace(reader=NvJpegReader.name, threads=1))
        reading = reading.changed(decoders=self._decoders, held=HELD * self.setting.gpus)
        if network is None:
            return Point("decode", self.device_axes, self.setting.jobs(self._fed(reading)))
        jobs = self.setting.jobs(self._job(self.inference(network), self.context.window, reading))
        return Point("device", {**self.device_axes, **self.infers.axes}, jobs, network=network)

    def _fed(self, reading: ReadOptions) -> PipelineJob:
        """Return what brings images to the device and infers nothing."""
        return self._job(InferOptions(**self._lanes), self.context.window, reading)

    def _infers(self, network: "NetworkPair") -> Point:
        context, dataset = self.context, self.context.dataset
        job = InferJob(
            window=context.window,
            batch_log=context.batch_log,
            device=self.setting.device,
            images=Images(dtype=dataset.dtype, shape=dataset.shape, batch_size=self.reads.batch_size),
            inference=self.inference(network),
        )
        return Point("infer", {**self.device_axes, **self.infers.axes}, self.setting.jobs(job), network=network)

    def point(self, network: "NetworkPair | None", changes: Mapping[str, float], ceilings: dict[str, Point]) -> Point:
        """Return the point that measures all stages at once; ``changes`` are what rules set."""
        window = windowed(self.context.window, changes, self.reads.batch_size * self.setting.gpus)
        jobs = self.setting.jobs(self._job(self.inference(network), window, self._reading))
        return Point("pipeline", self.axes, jobs, ceilings, network)

    @property
    def _reading(self) -> ReadOptions:
        return read_options(self.context, self.reads, self.setting.gpus).changed(decoders=self._decoders)

    def _job(self, inference: InferOptions, window: Window, reading: ReadOptions) -> PipelineJob:
        context = self.context
        return PipelineJob(
            window=window,
            batch_log=context.batch_log,
            device=self.setting.device,
            reading=reading,
            inference=inference,
            overlap=context.params.overlap,
        )


def _check_decoding(params: SingleProcess, *, assumed: bool) -> None:
    decoding = [name for name in params.readers if reader_class(name).capabilities.on_device]
    why = why_no_decoder(params.device, assumed=assumed) if decoding else ""
    if why:
        message = f"readers: {', '.join(decoding)} leave decoding to the device, but {why}; reader jpeg needs neither"
        raise ParameterError(message)


def pipeline_points(
    context: Context[SingleProcess], settings: Sequence[Setting]
) -> tuple[list[Point], tuple[str, ...]]:
    """Return ceilings, then the pipelines that refer to them, and what a reader should know of the rules.

    Parameters
    ----------
    context
        What all points share.
    settings
        The processes and devices to compare.

    Raises
    ------
    InferkitError
        If a rule is wrong or leaves nothing, or a network fits neither images nor engine.
    """
    params, grid = context.params, Grid(context.params.grid)
    _check_decoding(params, assumed=context.assumed is not None)
    check_delivery(context, settings)
    networks = Networks(params, context.dataset, context.assumed)
    ceilings: dict[str, Point] = {}
    pipelines: list[Point] = []
    feeds: dict[str, Point] = {}
    cold = params.device == "cpu" and are_cold(context)  # a GPU's driver loads what it is to copy from beforehand
    for combination in product(settings, infer_choices(params, context.assumed), read_choices(params)):
        pipeline = _Pipeline(context, cold, *combination)
        axes = {"gpus": pipeline.setting.gpus, "ranks": 1, **pipeline.axes}
        changes = grid.settle(axes, aliases(pipeline.infers.model))
        if changes is None:
            continue
        infers = pipeline.infers
        network = networks.get(infers.engine, infers.model, infers.precision)
        _check_batch(network, pipeline)
        own = {
            stage: feeds.get(point.key) or ceilings.setdefault(point.key, point)
            for stage, point in pipeline.ceilings(network).items()
        }
        pipelines.append(pipeline.point(network, changes, own))
        if network is None:
            feeds[pipeline.feed.key] = pipelines[-1]
    if not pipelines:
        message = f"grid: its rules leave out all {grid.skipped} points: let one of them bring some back (skip: false)"
        raise ParameterError(message)
    first = sorted(ceilings.values(), key=lambda point: not point.cold)  # nothing may have read the files before
    return [*first, *pipelines], grid.remarks


def _check_batch(network: "NetworkPair | None", pipeline: _Pipeline) -> None:
    """Refuse a batch that a network does not take, before anything runs."""
    fixed, asked = network.file.batch if network else None, pipeline.reads.batch_size
    if fixed is not None and fixed != asked:
        message = (
            f"batch_sizes: network {pipeline.infers.label} takes batches of {fixed} only, its graph fixes them; asked "
            f"is {asked}: set batch_sizes: [{fixed}], or export it with a dynamic batch"
        )
        raise ParameterError(message)
