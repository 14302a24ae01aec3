"""How often a network of lower precision names the same class as in float32, on images that it never saw.

ONNX Runtime computes both on the CPU, so that the figure belongs to the network and not to an engine.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import xxhash

from inferkit.dataset.sample import sample
from inferkit.dataset.tensors import Dataset
from inferkit.errors import ModelError
from inferkit.files import cache_folder, write_whole
from inferkit.linux.ownership import may_be_trusted
from inferkit.models.model_file import ModelFile
from inferkit.models.probe import RUNTIME_ERRORS
from inferkit.models.quantize import Images
from inferkit.models.reference import reference_session

_BATCH = 8


def top1_agreement(model: ModelFile, reference: ModelFile, images: Images | Dataset) -> float:
    """Return the share of images (0 … 1) for which two networks' strongest outputs are the same.

    Parameters
    ----------
    model, reference
        Two networks with the same input and output.
    images
        In the form that the networks take; of a data set, images that no calibration saw. The answer is cached.

    Raises
    ------
    ModelError
        If ONNX Runtime cannot run one of the networks.
    """
    seen = sample(images, held_out=True) if isinstance(images, Dataset) else images
    content = xxhash.xxh3_128_hexdigest(np.ascontiguousarray(seen).data)
    key = xxhash.xxh3_128_hexdigest(" ".join([model.digest, reference.digest, content, ort.__version__]).encode())
    path = cache_folder("models") / f"{model.path.stem[:100]}-{key}.agreement"
    if path.is_file() and may_be_trusted(path.stat()):
        share: float = json.loads(path.read_text())
        return share
    share = float(np.mean(_classes(model, seen) == _classes(reference, seen)))
    write_whole(path, json.dumps(share).encode(), mode=0o600)
    return share


def _classes(model: ModelFile, images: Images) -> npt.NDArray[np.intp]:
    """Return the index of the largest output for each image, or for each position in it if there are several."""
    batch = model.batch or _BATCH
    whole = np.resize(images, (-(-len(images) // batch) * batch, *images.shape[1:]))
    try:
        session = reference_session(model.path)
        outputs: list[Any] = [
            session.run(None, {model.input_name: whole[start : start + batch]})[0]
            for start in range(0, len(whole), batch)
        ]
    except RUNTIME_ERRORS as error:
        message = f"{model.path}: ONNX Runtime cannot run it: {error}"
        raise ModelError(message) from error
    found: npt.NDArray[np.intp] = np.concatenate(outputs)[: len(images)].argmax(axis=1)
    return found


@dataclass(frozen=True)
class NetworkPair:
    """A network of some precision, and the same of float32 that it is held against.

    Parameters
    ----------
    file, reference
        The same file where the precision is float32.
    dataset
        Whose images it takes.
    """

    file: ModelFile
    reference: ModelFile
    dataset: Dataset

    @property
    def top1_agreement(self) -> float | None:
        """Share of images on which both name the same class; None where there is nothing to compare.

        Raises
        ------
        ModelError
            If ONNX Runtime cannot run one of them.
        """
        if self.file == self.reference or not self.file.output_shape:
            return None
        return top1_agreement(self.file, self.reference, self.dataset)
