"""Whether an engine computes what the network says: its outputs beside ONNX Runtime's on the CPU."""

import numpy as np

from inferkit.batch import Piece
from inferkit.devices.base import Device, Slot
from inferkit.engines.base import Engine
from inferkit.errors import EngineError
from inferkit.models.reference import quantised_to, reference_session
from inferkit.readers.base import Reader
from inferkit.records.figures import Json
from inferkit.validity.outputs import copy_to_slot

TOLERANCES = {"float": 0.03, "int8": 0.06, "fp8": 0.15}
"""Largest difference ÷ largest output that precision explains.

float16, and TF32 in place of float32, have 11 bits, summed over layers. Of a quantised network a value may be rounded
the other way at every layer, so that two computations differ by no more than quantising itself does: against float32
that is 0.02 … 0.05 with int8 and 0.05 … 0.13 with fp8 (resnet50, alexnet_owt, mobilenet_v3_large and vit_b16 in ONNX
Runtime, on photographs; float16 0.001 … 0.003).
"""

IMAGES = 8
"""Enough to tell two ways to compute from one another, few enough for a CPU."""


def check_outputs(
    device: Device, engine: Engine, reader: Reader, slot: Slot, model: str, batch_size: int
) -> dict[str, Json]:
    """Infer the first images of the data set, and compare with ONNX Runtime.

    Returns
    -------
    facts
        Images compared, the largest difference ÷ the largest output, and the share of equal top-1.

    Raises
    ------
    EngineError
        If the outputs differ by more than the precision explains.
    """
    dataset = reader.dataset
    count = min(IMAGES, batch_size, dataset.files[0].images)
    pixels = copy_to_slot(device, reader, slot, [Piece(0, 0, count, 0)])
    engine.infer(slot, count, None).wait()
    found = engine.output(slot)
    assert found is not None
    session = reference_session(model)
    images = pixels.view(dataset.dtype).reshape(count, *dataset.shape)
    expected = np.asarray(session.run(None, {session.get_inputs()[0].name: images})[0], np.float32)
    expected, found = expected.reshape(count, -1), found[:count].reshape(count, -1)
    kind = quantised_to(model) or "float"
    tolerance = TOLERANCES[kind]
    difference = float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-9))
    agreement = float((found.argmax(1) == expected.argmax(1)).mean())
    if not np.isfinite(found).all() or difference > tolerance:
        message = (
            f"engine {engine.name} computes {model} ({kind}) differently from ONNX Runtime: outputs differ by "
            f"{difference:.3f} of the largest, {tolerance} is allowed; try another precision, and report the model"
        )
        raise EngineError(message)
    return {"images": count, "largest_difference": difference, "top1_agreement": agreement}
