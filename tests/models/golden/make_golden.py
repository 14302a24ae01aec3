"""Write golden.json: what torchvision's models answer with the weights of our graphs.

Never run by the tests. It needs torch, torchvision and onnx, which inferkit does not, in an environment of its own::

    python make_golden.py FOLDER

FOLDER holds one ``<name>.onnx`` a model, as ``find_model(name).build()`` builds it.
"""

import argparse
import json
import re
from collections import defaultdict, deque
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch  # type: ignore[import-not-found]
import torchvision  # type: ignore[import-not-found]

TORCHVISION = {
    "alexnet_owt": "alexnet",
    **{name: name for name in ("resnet18", "resnet34", "resnet50", "vgg11", "googlenet", "mobilenet_v3_large")},
    **{name: name for name in ("efficientnet_b0", "convnext_tiny")},
    "inception3": "inception_v3",
    "vit_b16": "vit_b_16",
}
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
PARAMETERS = {"layer_scale": "scale", "class_token": "class_token", "pos_embedding": "positions"}
Weights = dict[str, deque[torch.Tensor]]


def images(height: int, width: int) -> Any:
    """Two images of noise; tests/models/test_zoo.py draws the same."""
    size = 2 * 3 * height * width
    return np.random.PCG64(1).random_raw((size + 7) // 8).view(np.uint8)[:size].reshape(2, 3, height, width)


def weights_of(model: onnx.ModelProto) -> Weights:
    """Queue the initialisers by kind: ``conv1.weight``, ``conv2.weight``, … all under ``conv.weight``."""
    queues: Weights = defaultdict(deque)
    for tensor in model.graph.initializer:
        kind = re.sub(r"\d+(?=\.|$)", "", tensor.name).replace("folded_", "")
        queues[kind].append(torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()))
    return queues


def fill(net: torch.nn.Module, queues: Weights) -> None:
    """Give every module of `net` its weights; a batch norm becomes the addition of the folded bias."""
    folded: deque[torch.Tensor] = deque()
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.copy_(queues["conv.weight"].popleft())
            folded.append(queues["conv.bias"].popleft())
            if module.bias is not None:
                module.bias.copy_(folded.pop())
        elif isinstance(module, torch.nn.BatchNorm2d):
            module.bias.copy_(folded.popleft())
            module.running_var.fill_(1 - module.eps)
        elif isinstance(module, torch.nn.LayerNorm):
            module.weight.copy_(queues["norm.weight"].popleft())
            module.bias.copy_(queues["norm.bias"].popleft())
        elif isinstance(module, torch.nn.MultiheadAttention):
            module.in_proj_weight.copy_(queues["linear.weight"].popleft().T)
            module.in_proj_bias.copy_(queues["linear.bias"].popleft())
        elif isinstance(module, torch.nn.Linear):
            fill_linear(module, queues)
    for name, parameter in net.named_parameters():
        if kind := PARAMETERS.get(name.split(".")[-1]):
            parameter.copy_(queues[kind].popleft())
    assert not folded
    assert not any(queues.values())


def fill_linear(module: torch.nn.Linear, queues: Weights) -> None:
    """Take a transposed matrix while there are any, else one as it is: the classifier, which comes last."""
    kind = "linear" if queues["linear.weight"] else "dense"
    weight = queues[f"{kind}.weight"].popleft()
    module.weight.copy_(weight.T if kind == "linear" else weight)
    module.bias.copy_(queues[f"{kind}.bias"].popleft())


def golden(name: str, folder: Path) -> list[list[float]]:
    """Return the first eight logits of both images."""
    kwargs = {"aux_logits": False, "init_weights": False} if name in ("googlenet", "inception3") else {}
    net = torchvision.models.get_model(TORCHVISION[name], weights=None, **kwargs).eval()
    model = onnx.load(folder / f"{name}.onnx")
    fill(net, weights_of(model))
    _, _, height, width = (dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim)
    pixels = torch.from_numpy(images(height, width)).float()
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    logits = net((pixels - mean) / std)
    return [[float(f"{value:.6g}") for value in row[:8]] for row in logits]


def main() -> None:
    """Write golden.json beside this script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    with torch.no_grad():
        values = {name: golden(name, folder) for name in TORCHVISION if (folder / f"{name}.onnx").is_file()}
    text = json.dumps({"torchvision": torchvision.__version__.split("+")[0], "logits": values}, indent=1)
    Path(__file__).with_name("golden.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
