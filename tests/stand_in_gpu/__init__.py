"""A GPU that is not there: a driver made of host memory, under NVIDIA's own bindings and, where installed, PyCUDA.

A process begun in the environment of :func:`stand_in_gpu` finds it as it would find a real one.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import inferkit

HERE = Path(__file__).parent
KERNEL = Path(inferkit.__file__).parent / "devices" / "resize.cu"
LIBRARIES = ("libcuda.so.1", "libnvidia-ml.so.1", "libnvrtc.so.12", "libnvrtc.so.13")
Environment = dict[str, str]


def stand_in_gpu(folder: Path) -> Environment:
    """Compile the driver into a folder, and return the environment in which processes see its GPU.

    PyCUDA itself is used where it is installed and loads; else what stands in for it.
    """
    if importlib.util.find_spec("cuda") is None:
        pytest.skip("cuda-bindings is not installed: pip install 'inferkit[dev]'")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or (shutil.which("g++") or shutil.which("clang++")) is None:
        pytest.skip("no compiler of C and C++ here: apt-get install g++")
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-pthread", f"-Wl,-soname,{LIBRARIES[0]}"]
    options += ["-ffp-contract=off", f'-DRESIZE_CU="{KERNEL}"']
    built = folder / LIBRARIES[0]
    subprocess.run(
        [compiler, *options, "-o", built, HERE / "libcuda.c", HERE / "kernels.cc", "-ldl", "-lstdc++", "-lm"],
        check=True,
    )
    for name in LIBRARIES[1:]:
        (folder / name).symlink_to(built.name)  # one library, so that it knows what it holds
    found = {**os.environ, "LD_LIBRARY_PATH": joined(str(folder), "LD_LIBRARY_PATH")}
    found = {name: value for name, value in found.items() if not name.startswith(("STAND_IN_", "CUDA_"))}
    loads = subprocess.run([sys.executable, "-c", "import pycuda.driver"], env=found, check=False, capture_output=True)
    return found if loads.returncode == 0 else found | {"PYTHONPATH": joined(str(HERE), "PYTHONPATH")}


def joined(first: str, variable: str) -> str:
    """Put a folder before those that a variable names."""
    return os.pathsep.join(filter(None, [first, os.environ.get(variable)]))
