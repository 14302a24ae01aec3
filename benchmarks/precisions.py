"""What a network gains by less precision, and how often it then names the same class.

For each network and precision: the engine's compute ceiling (images lie on the device; a process of its own), and the
share of images for which the engine names the same class as the float32 network in ONNX Runtime. `int8` and `fp8` are
calibrated on other images of the same data set. Where there is no GPU, engine onnx is measured.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from inferkit.batch import Segment
from inferkit.dataset.format import open_dataset
from inferkit.dataset.sample import sample
from inferkit.dataset.tensors import Dataset
from inferkit.devices import open_device
from inferkit.engines import engine_class
from inferkit.errors import InferkitError
from inferkit.host import facts
from inferkit.models.cache import ModelFile, model_path
from inferkit.models.chosen import shape_for
from inferkit.pipeline.job import Job, Window
from inferkit.pipeline.launch import launch
from inferkit.readers.memory import in_memory
from inferkit.run import figure_of

ENGINES = {"cpu": "onnx", "cuda": "tensorrt"}


def ceiling(model: ModelFile, device: str, batch_size: int, seconds: float) -> float:
    """Return images per second of inference alone."""
    job = Job(
        work="infer",
        window=Window(warmup_s=seconds / 2, duration_s=seconds / 2, repeats=2),
        device=device,
        dtype=model.input_dtype,
        shape=model.input_shape,
        batch_size=batch_size,
        engine=ENGINES[device],
        model=str(model.path),
        contexts=2 if device == "cuda" else 1,
        cuda_graph=device == "cuda",
    )
    with launch(job) as rank:
        while not rank.ready():
            rank.wait(0.1)
        rank.start()
        figure = figure_of(rank.result(timeout_s=600).repeats)
    assert figure is not None
    assert figure.images_per_s is not None
    return figure.images_per_s


def classes_of_engine(model: ModelFile, device: str, batch_size: int, images: Any) -> Any:
    """Return the class that the engine names for each image."""
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
            found.append(output[: len(batch)].argmax(1))
        memory.close()
    return np.concatenate(found)


def classes_of_reference(model: ModelFile, images: Any) -> Any:
    """Return the class that ONNX Runtime names for each image."""
    session = ort.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    outputs = [session.run(None, {model.input_name: images[k : k + 8]})[0] for k in range(0, len(images), 8)]
    return np.concatenate(outputs).argmax(1)


def main() -> None:
    """Measure each network in each precision and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="resnet50,vit_b16")
    parser.add_argument("--precisions", default="float32,float16,fp8,int8")
    parser.add_argument("--batch-size", type=int, default=128 if facts().gpus else 8)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--device", choices=list(ENGINES), default="cuda" if facts().gpus else "cpu")
    parser.add_argument("--data", type=Path, help="data set of uint8 images (default: random images)")
    arguments = parser.parse_args()
    lines = []
    print(f"{'model':12} {'precision':10} {'images/s':>10} {'÷ float32':>10} {'same class':>11}")
    for name in arguments.models.split(","):
        dataset: Dataset = open_dataset(arguments.data) if arguments.data else in_memory(shape_for([name]), "uint8")
        images = sample(dataset, held_out=True)
        reference = model_path(name, dtype=dataset.dtype, shape=dataset.shape)
        expected = classes_of_reference(reference, images)
        base = 0.0
        for precision in arguments.precisions.split(","):
            if why := engine_class(ENGINES[arguments.device]).lacks.get(precision):
                print(f"{name:12} {precision:10} {why}")
                continue
            try:
                model = model_path(
                    name, precision=precision, dtype=dataset.dtype, shape=dataset.shape, calibration=dataset
                )
                rate = ceiling(model, arguments.device, arguments.batch_size, arguments.seconds)
                same = float(
                    (classes_of_engine(model, arguments.device, arguments.batch_size, images) == expected).mean()
                )
            except InferkitError as error:
                print(f"{name:12} {precision:10} {str(error).splitlines()[0]}", flush=True)
                continue
            base = base or rate
            print(f"{name:12} {precision:10} {rate:10,.0f} {rate / base:10.2f} {same:11.3f}", flush=True)
            lines.append(f"result precision_{name}_{precision} {rate:.6g} images/s")
            lines.append(f"result precision_{name}_{precision}_top1_agreement {same:.4f} ratio")
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
