"""What a network gains by less precision, and what becomes of its outputs.

For each network and precision: the engine's compute ceiling (images lie on the device; a process of its own), the share
of images for which the engine names the same class as the float32 network in ONNX Runtime, and the largest difference
of outputs, as a share of the largest output: to that float32 network, and to the same graph in ONNX Runtime. `int8` and
`fp8` are calibrated on other images of the same data set. Where there is no GPU, engine onnx is measured.
"""

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from inferkit.batch import Segment
from inferkit.dataset.format import open_dataset
from inferkit.dataset.images import make_from_images
from inferkit.dataset.photographs import make_photographs
from inferkit.dataset.sample import sample
from inferkit.dataset.tensors import Dataset
from inferkit.devices import open_device
from inferkit.engines import engine_class
from inferkit.errors import InferkitError
from inferkit.machine.facts import facts
from inferkit.models.cache import model_path
from inferkit.models.model_file import ModelFile
from inferkit.models.reference import reference_session
from inferkit.plan.networks import DEFAULT_SHAPE, shape_for
from inferkit.ranks.launch import launch
from inferkit.readers.memory import in_memory
from inferkit.records.figures import figure_of
from inferkit.records.job import DeviceOptions, Images, InferJob, InferOptions
from inferkit.records.params import MakeDataset
from inferkit.records.windows import Window

ENGINES = {"cpu": "onnx", "cuda": "tensorrt"}
LINE = "{:18} {:10} {:>10} {:>8} {:>10} {:>12} {:>13}"
MADE = Path(tempfile.gettempdir()) / "inferkit-bench-precisions"


def ceiling(model: ModelFile, device: str, batch_size: int, seconds: float) -> float:
    """Return images per second of inference alone."""
    job = InferJob(
        window=Window(warmup_s=seconds / 2, duration_s=seconds / 2, repeats=2),
        device=DeviceOptions(kind=device),
        images=Images(dtype=model.input_dtype, shape=model.input_shape, batch_size=batch_size),
        inference=InferOptions(
            engine=ENGINES[device],
            model=str(model.path),
            contexts=2 if device == "cuda" else 1,
            cuda_graph=device == "cuda",
        ),
    )
    with launch(job) as rank:
        while not rank.ready():
            rank.wait(0.1)
        rank.start()
        figure = figure_of(rank.result(timeout_s=600).repeats)
    assert figure is not None
    assert figure.images_per_s is not None
    return figure.images_per_s


def outputs_of_engine(model: ModelFile, device: str, batch_size: int, images: Any) -> Any:
    """Return the engine's output for each image."""
    found = []
    with ExitStack() as stack:
        opened = stack.enter_context(open_device(device))
        engine = stack.enter_context(
            engine_class(ENGINES[device]).build(
                opened, str(model.path), batch_size, model.input_dtype, model.input_shape
            )
        )
        memory = opened.allocate(images[0].nbytes * batch_size)
        slot = opened.slot(images[0].nbytes * batch_size)
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            memory.array[: batch.nbytes] = np.ascontiguousarray(batch).reshape(-1).view(np.uint8)
            segment = Segment("memory", memory.address, batch.nbytes, start, len(batch), 0)
            engine.infer(slot, len(batch), opened.copy_in([segment], slot)).wait()
            output = engine.output(slot)
            assert output is not None
            found.append(output[: len(batch)])
        memory.close()
    return np.concatenate(found)


def outputs_of_reference(model: ModelFile, images: Any) -> Any:
    """Return ONNX Runtime's output for each image."""
    session = reference_session(model.path)
    outputs = [session.run(None, {model.input_name: images[k : k + 8]})[0] for k in range(0, len(images), 8)]
    return np.concatenate(outputs).astype(np.float32)


def difference(found: Any, expected: Any) -> float:
    """Return the largest difference as a share of the largest output."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def photographs(folder: Path) -> Dataset:
    """Open a data set of photographs; make it where there is none."""
    if not (folder / "tensors").exists():
        make_photographs(folder / "photographs", count=200)
        whole = folder.absolute()
        make_from_images(MakeDataset(images=str(whole / "photographs"), data=str(whole / "tensors")))
    return open_dataset(folder / "tensors")


def main() -> None:
    """Measure each network in each precision and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="resnet50,vit_b16")
    parser.add_argument("--precisions", default="float32,float16,fp8,int8")
    parser.add_argument("--batch-size", type=int, default=128 if facts().gpus else 8)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--device", choices=list(ENGINES), default="cuda" if facts().gpus else "cpu")
    parser.add_argument("--data", type=Path, help="data set of uint8 images (default: photographs, made if missing)")
    arguments = parser.parse_args()
    columns = ("model", "precision", "images/s", "÷ first", "same class", "off float32", "off its graph")
    print(LINE.format(*columns))
    lines = []
    for name in arguments.models.split(","):
        shape = shape_for([name])
        made = photographs(MADE) if shape == DEFAULT_SHAPE else in_memory(shape, "uint8")
        dataset = open_dataset(arguments.data) if arguments.data else made
        images = sample(dataset, held_out=True)
        expected = outputs_of_reference(model_path(name, dtype=dataset.dtype, shape=dataset.shape), images)
        base = 0.0
        for precision in arguments.precisions.split(","):
            if why := engine_class(ENGINES[arguments.device]).lacks.get(precision):
                print(f"{name} {precision}: {why}")
                continue
            try:
                model = model_path(
                    name, precision=precision, dtype=dataset.dtype, shape=dataset.shape, calibration=dataset
                )
                rate = ceiling(model, arguments.device, arguments.batch_size, arguments.seconds)
                found = outputs_of_engine(model, arguments.device, arguments.batch_size, images)
            except InferkitError as error:
                print(f"{name} {precision}: {str(error).splitlines()[0]}", flush=True)
                continue
            base = base or rate
            same = float((found.argmax(1) == expected.argmax(1)).mean())
            off, off_graph = difference(found, expected), difference(found, outputs_of_reference(model, images))
            numbers = (f"{rate:,.0f}", f"{rate / base:.2f}", *(f"{value:.3f}" for value in (same, off, off_graph)))
            print(LINE.format(name, precision, *numbers), flush=True)
            lines.append(f"result precision_{name}_{precision} {rate:.6g} images/s")
            lines.append(f"result precision_{name}_{precision}_top1_agreement {same:.4f} ratio")
            lines.append(f"result precision_{name}_{precision}_difference {off_graph:.4f} ratio")
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
