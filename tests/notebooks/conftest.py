"""A small project of its own for each notebook test: nothing is written beside the templates."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import papermill
import pytest
from traitlets.config import Config

from inferkit.records.notebooks import read_notebook
from inferkit.records.params import NOTEBOOKS
from inferkit.records.project import project_root
from inferkit.records.run import Run
from tests.browser import lab, playwright

__all__ = ["lab", "playwright"]

TINY = {"warmup_s": 0.05, "duration_s": 0.1, "repeats": 1}


@pytest.fixture
def plain() -> Iterator[dict[str, Any]]:
    """Options of plain papermill whose kernel listens on sockets: two kernels that start at once may pick one port.

    It writes the notebook once it has ended, not twice a cell, which takes as long as to start a kernel.
    """
    with TemporaryDirectory(prefix="kernel-", dir="/tmp") as folder:
        sockets = Config({"ConnectionFileMixin": {"transport": "ipc", "ip": f"{folder}/kernel"}})
        rarely = {"progress_bar": False, "request_save_on_cell_execute": False}
        yield {"kernel_name": "python3", "config": sockets, **rarely}


@pytest.fixture
def execute(tmp_path: Path, plain: dict[str, Any]) -> Any:
    """Execute a notebook by plain papermill and return its records; the last cell may raise."""

    def run(notebook: str, *, fails: bool = False, **parameters: Any) -> list[Run]:
        name = NOTEBOOKS[notebook].file_stem
        if "earlier" in NOTEBOOKS[notebook].model_fields:  # what a demo measured in this checkout is of no matter
            parameters.setdefault("earlier", str(tmp_path / "earlier"))
        out = tmp_path / f"{name}.ipynb"
        source = project_root() / "notebooks" / f"{name}.ipynb"
        options = plain | {"cwd": tmp_path}
        if fails:
            with pytest.raises(papermill.PapermillExecutionError, match="RecordError"):
                papermill.execute_notebook(source, out, parameters=parameters, **options)
        else:
            papermill.execute_notebook(source, out, parameters=parameters, **options)
        return read_notebook(out)

    return run


@pytest.fixture
def tiny_onnx(tmp_path: Path) -> Path:
    """Write a small network of the user's own: float NCHW images of 3 x 32 x 32, fixed height and width."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(1).standard_normal((4, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], strides=[2, 2]),
            helper.make_node("GlobalAveragePool", ["c"], ["p"]),
            helper.make_node("Flatten", ["p"], ["y"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "tiny.onnx"
    onnx.save(model, path)
    return path
