"""The zoo: one line per model, with its published size and the function that builds it.

Published figures count a multiply-add as one and batch norm as two parameters a channel. Their sources:

- torchvision 0.29, ``weights.meta`` (``num_params``, ``_ops``): AlexNet, ResNet 18 to 152, VGG, GoogLeNet,
  Inception v3, MobileNet v3, EfficientNet, ConvNeXt, ViT. GoogLeNet and Inception v3 without auxiliary classifiers.
- TensorFlow's slim table of ResNet v1: the parameters of ResNet-200.
- imgclsmob's table, of the weights released by the authors: Inception v4.

The other figures are not published but added up, layer by layer: OverFeat from its paper's table 1, the multiply-adds
of ResNet-200 and both figures of ResNet-269 by the formula that gives torchvision's for the others (see the tests),
deep_mnist, acoustic_model, sensor_net and text_cnn from the descriptors of the dlbs benchmark.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches

import onnx
from spox import Var

from inferkit.errors import ModelError
from inferkit.models.alexnet import alexnet_owt
from inferkit.models.convnext import convnext_tiny
from inferkit.models.efficientnet import efficientnet_b0
from inferkit.models.googlenet import googlenet
from inferkit.models.inception import inception3, inception4
from inferkit.models.layers import GraphBuilder
from inferkit.models.mobilenet import mobilenet_v3_large
from inferkit.models.overfeat import overfeat
from inferkit.models.preprocessing import DTYPES
from inferkit.models.resnet import basic, bottleneck, resnet
from inferkit.models.small import acoustic_model, deep_mnist, sensor_net, text_cnn
from inferkit.models.vgg import vgg
from inferkit.models.vit import vit_b16

_IMAGE = (3, 224, 224)
_299 = (3, 299, 299)


@dataclass(frozen=True)
class ModelInfo:
    """What is known about a model of the zoo.

    Parameters
    ----------
    name
        As in parameter files.
    source
        First author, year and paper.
    define
        Adds the layers to a network and returns its logits.
    parameters
        Number of parameters, published or added up: see the head of this module.
    multiply_adds
        Number of multiply-adds for one image of `input_shape`, likewise.
    input_shape
        (channels, height, width) of the model's own images.
    classes
        Number of logits.
    smallest
        Smallest height and width that it accepts, in pixels; None if it takes only its own shape.
    """

    name: str
    source: str
    define: Callable[[GraphBuilder], Var] = field(repr=False)
    parameters: int
    multiply_adds: int
    input_shape: tuple[int, int, int] = _IMAGE
    classes: int = 1000
    smallest: int | None = None

    def build(self, *, dtype: str = "uint8", shape: tuple[int, ...] | None = None, seed: int = 0) -> onnx.ModelProto:
        """Build the graph with seeded weights.

        Parameters
        ----------
        dtype
            Of the input: ``"uint8"`` or ``"float32"``, both holding 0..255. The graph first casts (uint8),
            subtracts the mean and divides by the standard deviation of ImageNet.
        shape
            (channels, height, width) of the images; None takes the model's own. Networks that end in a global average
            take other heights and widths, the others refuse.
        seed
            Seeds the weights; the same seed gives the same bits.

        Returns
        -------
        ModelProto
            Input ``input`` of (N, channels, height, width), output ``output`` of (N, classes): float32 logits.

        Raises
        ------
        ModelError
            If the dtype or the shape does not fit.
        """
        if dtype not in DTYPES:
            message = f"model {self.name!r}: input dtype {dtype!r} is unknown; choose one of {', '.join(DTYPES)}"
            raise ModelError(message)
        net = GraphBuilder(self._accepted(shape), dtype=dtype, seed=seed)
        return net.model(self.name, self.define(net))

    def _accepted(self, shape: tuple[int, ...] | None) -> tuple[int, int, int]:
        own, smallest = self.input_shape, self.smallest
        if shape is None or tuple(shape) == own:
            return own
        if smallest is None:
            fix = (
                f"it takes images of {own} only (channels, height, width); make a data set with that shape "
                f"(shape: {list(own)})"
            )
        elif len(shape) != 3 or shape[0] != own[0] or min(shape[1:]) < smallest:
            fix = f"it takes images of ({own[0]}, height, width), {smallest} pixels or more each way; its own are {own}"
        else:
            return shape[0], shape[1], shape[2]
        message = f"model {self.name!r} cannot take images of {tuple(shape)}: {fix}"
        raise ModelError(message)


_HE = "He 2015, arXiv:1512.03385"
_HE_2016 = "He 2016, arXiv:1603.05027"
_HOWARD = "Howard 2019, arXiv:1905.02244"
_VGG = "Simonyan 2014, arXiv:1409.1556"
_DLBS = "HPE Deep Learning Benchmarking Suite (dlbs) 2017"

_ALL = (
    ModelInfo("alexnet_owt", "Krizhevsky 2014, arXiv:1404.5997", alexnet_owt, 61_100_840, 714_000_000),
    ModelInfo("resnet18", _HE, resnet(basic, 2, 2, 2, 2), 11_689_512, 1_814_000_000, smallest=32),
    ModelInfo("resnet34", _HE, resnet(basic, 3, 4, 6, 3), 21_797_672, 3_664_000_000, smallest=32),
    ModelInfo("resnet50", _HE, resnet(bottleneck, 3, 4, 6, 3), 25_557_032, 4_089_000_000, smallest=32),
    ModelInfo("resnet101", _HE, resnet(bottleneck, 3, 4, 23, 3), 44_549_160, 7_801_000_000, smallest=32),
    ModelInfo("resnet152", _HE, resnet(bottleneck, 3, 8, 36, 3), 60_192_808, 11_514_000_000, smallest=32),
    ModelInfo("resnet200", _HE_2016, resnet(bottleneck, 3, 24, 36, 3), 64_673_832, 15_007_481_856, smallest=32),
    ModelInfo("resnet269", _DLBS, resnet(bottleneck, 3, 30, 48, 8), 102_073_384, 20_029_898_752, smallest=32),
    ModelInfo("vgg11", _VGG, vgg(1, 1, 2, 2, 2), 132_863_336, 7_609_000_000),
    ModelInfo("vgg13", _VGG, vgg(2, 2, 2, 2, 2), 133_047_848, 11_308_000_000),
    ModelInfo("vgg16", _VGG, vgg(2, 2, 3, 3, 3), 138_357_544, 15_470_000_000),
    ModelInfo("vgg19", _VGG, vgg(2, 2, 4, 4, 4), 143_667_240, 19_632_000_000),
    ModelInfo("googlenet", "Szegedy 2014, arXiv:1409.4842", googlenet, 6_624_904, 1_498_000_000, smallest=32),
    ModelInfo("inception3", "Szegedy 2015, arXiv:1512.00567", inception3, 23_834_568, 5_713_000_000, _299, smallest=75),
    ModelInfo(
        "inception4", "Szegedy 2016, arXiv:1602.07261", inception4, 42_679_816, 12_304_930_000, _299, smallest=75
    ),
    ModelInfo("overfeat", "Sermanet 2013, arXiv:1312.6229", overfeat, 145_920_872, 2_801_403_904, (3, 231, 231)),
    ModelInfo("mobilenet_v3_large", _HOWARD, mobilenet_v3_large, 5_483_032, 217_000_000, smallest=32),
    ModelInfo("efficientnet_b0", "Tan 2019, arXiv:1905.11946", efficientnet_b0, 5_288_548, 386_000_000, smallest=32),
    ModelInfo("convnext_tiny", "Liu 2022, arXiv:2201.03545", convnext_tiny, 28_589_128, 4_456_000_000, smallest=32),
    ModelInfo("vit_b16", "Dosovitskiy 2020, arXiv:2010.11929", vit_b16, 86_567_656, 17_564_000_000),
    ModelInfo("deep_mnist", _DLBS, deep_mnist, 11_972_510, 11_965_000, (1, 28, 28), 10),
    ModelInfo("acoustic_model", _DLBS, acoustic_model, 34_678_784, 34_660_352, (1, 1, 540), 8192),
    ModelInfo("sensor_net", _DLBS, sensor_net, 2_919_440, 2_916_352, (1, 1, 784), 16),
    ModelInfo("text_cnn", _DLBS, text_cnn, 151_690, 8_703_744, (1, 59, 128), 10),
)

MODELS: dict[str, ModelInfo] = {info.name: info for info in _ALL}


def find_model(name: str) -> ModelInfo:
    """Look a model up.

    Raises
    ------
    ModelError
        If the zoo has no such model; the message names those it has, and the nearest one.
    """
    if name in MODELS:
        return MODELS[name]
    near = get_close_matches(name, MODELS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    message = f"model {name!r} is unknown: {hint}choose one of {', '.join(MODELS)}, or give the path of an .onnx file"
    raise ModelError(message)
