"""The runtime half of engine tensorrt against the classes of real libraries, as far as they load without a GPU.

The full TensorRT is on no public index, its lean runtime is, with the same classes:
``pip install --target lean tensorrt-lean-cu13-libs==11.4.0.106 tensorrt-lean-cu13-bindings==11.4.0.106
nvidia-cuda-runtime`` and ``PYTHONPATH=lean``; 10.16.1.11 likewise.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import inferkit.engines

LIBRARIES = ("tensorrt", "tensorrt_rtx", "tensorrt_lean_bindings")
ENGINES = Path(inferkit.engines.__file__).parent
SOURCES = ("tensorrt.py", "tensorrt_lane.py", "tensorrt_own.py", "tensorrt_library.py")
CLASSES = {
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "runtime": "Runtime",
    "inspector": "EngineInspector",
}
"""What the names of our variables, with or without an underscore before them, hold."""
OURS = {"device_memory", "close", "enqueue"}
RTX_ALONE = {
    ("IExecutionContext", "is_stream_capturable"),  # asked under RTX alone
    ("trt", "DynamicShapesKernelSpecializationStrategy"),  # by getattr
}
DUMP = """
import importlib, json, sys
library = importlib.import_module(sys.argv[1])
told = {"trt": {name: "" for name in dir(library)}}
for name in sys.argv[2:]:
    kind = getattr(library, name, None)
    told[name] = {at: getattr(kind, at).__doc__ or "" for at in dir(kind)} if kind else {}
json.dump([library.__version__, told], sys.stdout)
"""
"""Runs in a process of its own: two of these libraries in one register the same classes."""
RUNTIME = """
import importlib, sys
sys.modules["tensorrt"] = importlib.import_module(sys.argv[1])
from inferkit.engines.tensorrt_library import open_runtime
from inferkit.errors import EngineError
try:
    assert open_runtime().deserialize_cuda_engine(b"no plan at all" * 99) is None
except EngineError as error:
    print(error)
"""


def asked(library: str, script: str, *words: str) -> str:
    """Run a script that imports a library; skip, with the reason, where that is not to be had."""
    command = [sys.executable, "-c", script, library, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if "ModuleNotFoundError" in done.stderr or "ImportError" in done.stderr:
        pytest.skip(f"{library}: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, f"{done.returncode} {done.stderr}"
    return done.stdout


@cache
def classes(library: str) -> tuple[str, dict[str, dict[str, str]]]:
    """Return a library's version, and of each class the documentation of what it has."""
    version, told = json.loads(asked(library, DUMP, *CLASSES.values(), "IRuntimeConfig"))
    return version, told


def used() -> Iterator[tuple[str, str, int | None]]:
    """Yield class, attribute, and with how many arguments it is called, of everything that the engine asks of these."""
    for source in SOURCES:
        tree = ast.parse((ENGINES / source).read_text())
        calls = {id(node.func): len(node.args) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and (holder := held(node.value)):
                yield holder, node.attr, calls.get(id(node))


def held(node: ast.expr) -> str:
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return "trt" if name == "trt" else CLASSES.get(name.lstrip("_"), "")


def takes(documentation: str, count: int) -> bool:
    """Tell whether one of a method's signatures, which pybind11 writes down, takes so many arguments besides self."""
    signatures = re.findall(r"^(?:\d+\. )?\w+\((.*)\) -> ", documentation, re.MULTILINE)
    plain = [re.sub(r"\[[^\[\]]*\]", "", signature) for signature in signatures]
    bounds = [(sum("=" not in part for part in text.split(", ")) - 1, text.count(", ")) for text in plain]
    return any(least <= count <= most for least, most in bounds)


def test_we_look_at_something() -> None:
    found = {(holder, name) for holder, name, _ in used()}
    assert {("IExecutionContext", "execute_async_v3"), ("ICudaEngine", "get_tensor_profile_shape")} <= found
    assert ("Runtime", "deserialize_cuda_engine") in found
    assert takes("f(self: a.B, name: str, shape: tuple[int, int]) -> bool", 2)
    assert takes("f(*args)\n1. f(self: a.B) -> None\n2. f(self: a.B, x: int = 0) -> None", 1)
    assert not takes("f(self: a.B, name: str) -> bool", 2)


@pytest.mark.parametrize("library", LIBRARIES)
def test_all_that_the_engine_asks_of_a_library_is_there_and_takes_these_arguments(library: str) -> None:
    version, told = classes(library)
    lacking = []
    for holder, name, count in used():
        if (holder, name) in RTX_ALONE and library != "tensorrt_rtx":
            continue
        if not told[holder] and "lean" in library:  # it has no inspector
            continue
        documentation: Any = told[holder].get(name)
        if documentation is None or (holder != "trt" and count is not None and not takes(documentation, count)):
            lacking.append((holder, name, count, documentation))
    assert not lacking, version


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_runtime_that_does_not_start_is_refused_where_it_would_end_the_process(library: str) -> None:
    said = asked(library, RUNTIME)
    assert not said or "does not start" in said
