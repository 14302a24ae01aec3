"""Engines infer a batch that lies on a device. To add one: a file, a test and a line here.

An engine's library is imported when that engine is asked for, so that a machine needs only what it uses.
"""

from importlib import import_module

from inferkit.engines.base import Engine
from inferkit.errors import ParameterError

ENGINES = {
    "null": "inferkit.engines.null:NullEngine",
    "onnx": "inferkit.engines.onnx:OnnxEngine",
    "tensorrt": "inferkit.engines.tensorrt:TensorRTEngine",
}


def engine_class(name: str) -> type[Engine]:
    """Return an engine's class.

    Raises
    ------
    ParameterError
        If no engine has that name.
    """
    if name not in ENGINES:
        message = f"engines: {name!r} is none: use one of {', '.join(ENGINES)}"
        raise ParameterError(message)
    module, cls = ENGINES[name].split(":")
    found: type[Engine] = getattr(import_module(module), cls)
    return found
