"""Runs to report of, notebooks that hold them, and a kernel in which cells are executed."""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from inferkit.machine import facts as host_module
from inferkit.records.figures import Figure, Histogram, Quantiles, Repeat, Series, Stage, figure_of
from inferkit.records.host import Host
from inferkit.records.run import Peer, Run
from inferkit.records.windows import PROFILES
from inferkit.report import record
from inferkit.report.charts.theme import Chart, Nothing

MakeRun = Callable[..., Run]
WriteNotebook = Callable[..., Path]
ExecuteCells = Callable[..., list[Any]]


def spec_of(chart: Chart) -> dict[str, Any]:
    """Return the Vega-Lite spec of a chart that draws something."""
    assert not isinstance(chart, Nothing), chart.why
    spec: dict[str, Any] = chart.to_dict()
    return spec


def why(chart: Chart) -> str:
    """Return why a chart draws nothing."""
    assert isinstance(chart, Nothing)
    return chart.why


@pytest.fixture(scope="session")
def host() -> Host:
    facts = getattr(host_module, "facts", None)
    found: Host = facts() if facts is not None else Host(cpu="x")
    return found


def windows(rate: float, *, image_bytes: int = 150_528, n: int = 3, seconds: float = 1.0) -> list[Repeat]:
    middle, step = int(rate * 1.01), int(rate * 0.01)
    sizes = [(0.0, int(rate * 0.7), True)] + [(1.0 + i, middle + (i - n // 2) * step, False) for i in range(n)]
    return [
        Repeat(
            start_s=start * seconds,
            seconds=seconds,
            images=round(images * seconds),
            nbytes=round(images * seconds) * image_bytes,
            batches=images // 8 or 1,
            warmup=warm,
        )
        for start, images, warm in sizes
    ]


def stage(rate: float, busy: float = 0.5) -> Stage:
    p50 = 8 / rate
    spans = {
        "p50_s": p50,
        "p90_s": p50 * 1.2,
        "p95_s": p50 * 1.3,
        "p99_s": p50 * 1.6,
        "p999_s": p50 * 2,
        "max_s": p50 * 3,
    }
    hist = Histogram(edges_s=[p50 / 2, p50, p50 * 4], counts=[3, 5])
    return Stage(
        images_per_s=rate,
        bytes_per_s=rate * 150_528,
        busy=busy,
        workers=2,
        quantiles=Quantiles(**spans),
        histogram=hist,
    )


@pytest.fixture
def make_run(host: Host) -> MakeRun:
    """Build a pipeline run whose figures follow from ``rate``, of its profile's windows; any field can be changed."""

    def make(rate: float = 58.0, **changes: Any) -> Run:
        profile = PROFILES[changes.get("profile", "demo")]
        repeats = windows(rate, n=profile.repeats, seconds=profile.duration_s)
        figure = figure_of(repeats)
        values: dict[str, Any] = {
            "notebook": "03b",
            "measure": "pipeline",
            "storage": "shm",
            "point": {
                "engine": "onnx",
                "model": "resnet18",
                "precision": "float32",
                "reader": "buffered",
                "batch_size": 32,
            },
            "params": {"dtype": "uint8", "shape": [3, 224, 224], "device": "cpu"},
            "host": host,
            "repeats": repeats,
            "measured": figure.model_copy(update={"half_width": 0.01, "block_s": 0.25}) if figure else None,
            "stages": {
                "infer": stage(rate * 1.05, 0.97),
                "read": stage(rate * 20, 0.05),
                "copy": stage(rate * 60, 0.02),
            },
            "ceilings": {"read": Figure(images_per_s=rate * 22), "infer": Figure(images_per_s=rate * 1.04)},
            "predicted": Figure(images_per_s=rate * 1.04),
            "bottleneck": "infer",
            "verdict": "VALID",
            "facts": {"resident_before": 0.98},
            "series": {"images_per_s": Series(unit="images/s", values=[rate * 0.7, rate, None, rate * 1.02])},
        }
        return Run(**{**values, **changes})

    return make


@pytest.fixture
def failed(make_run: MakeRun) -> Run:
    failure = {"kind": "EngineError", "message": "out of memory <b>", "detail": "Traceback …"}
    empty: dict[str, Any] = {
        "measured": None,
        "repeats": [],
        "stages": {},
        "ceilings": {},
        "predicted": None,
        "bottleneck": None,
        "series": {},
    }
    return make_run(verdict="FAILED", failure=failure, point={"engine": "onnx", "model": "vgg19"}, **empty)


@pytest.fixture
def make_copy(make_run: MakeRun) -> MakeRun:
    def make(nbytes: int, memory: str, bytes_per_s: float, device: str = "cpu", **changes: Any) -> Run:
        point = {"device": device, "memory": memory, "transfer_bytes": nbytes}
        own = {
            "notebook": "02",
            "measure": "copy",
            "point": point,
            "params": {},
            "stages": {"copy": Stage(bytes_per_s=bytes_per_s)},
            "ceilings": {},
            "predicted": None,
            "bottleneck": None,
        }
        return make_run(
            **{"measured": Figure(bytes_per_s=bytes_per_s, half_width=0.01, block_s=0.25), **own, **changes}
        )

    return make


@pytest.fixture
def make_read(make_run: MakeRun) -> MakeRun:
    def make(
        reader: str, threads: int, batch: int, bytes_per_s: float, fio: float | None = None, **changes: Any
    ) -> Run:
        point = {"reader": reader, "threads": threads, "batch_size": batch}
        peers = (
            []
            if fio is None
            else [Peer(name="fio psync", command="fio …", figure=Figure(bytes_per_s=fio), ratio=bytes_per_s / fio)]
        )
        figure = Figure(bytes_per_s=bytes_per_s, images_per_s=bytes_per_s / 150_528, half_width=0.02, block_s=0.25)
        own = {
            "notebook": "03a",
            "measure": "read",
            "point": point,
            "ceilings": {},
            "predicted": None,
            "bottleneck": None,
        }
        return make_run(**{"measured": figure, "peers": peers, **own, **changes})

    return make


DECODERS = [{"backend": "hardware", "lanes": 1, "decoded": 9000, "refused": 0}]
BYTES_PER_FILE = 110_000


@pytest.fixture
def make_way(make_run: MakeRun) -> MakeRun:
    """Build a pipeline on a GPU that reads JPEG files (readers jpeg …, nvjpeg …) or tensors of 3 × 224 × 224."""

    def make(reader: str, rate: float, ceilings: dict[str, float], **changes: Any) -> Run:
        facts: dict[str, Any] = {"dtype": "uint8", "shape": [3, 224, 224], "storage": {}}
        if "jpeg" in reader:
            facts["reader"] = {"bytes_per_file": BYTES_PER_FILE, "files_seen": 1000, "files_in_software": {}}
        if reader.startswith("nvjpeg"):
            facts["decoders"] = DECODERS
        point = {"engine": "tensorrt", "model": "resnet50", "precision": "float16", "reader": reader}
        own = {
            "point": point | changes.pop("axes", {}),
            "params": {"device": "cuda", "source": "storage", "data": "/mnt/nvme/set"},
            "measured": Figure(images_per_s=rate, half_width=0.01, block_s=0.25),
            "predicted": Figure(images_per_s=min(ceilings.values())),
            "ceilings": {name: Figure(images_per_s=value) for name, value in ceilings.items()},
            "bottleneck": min(ceilings, key=lambda name: ceilings[name]),
            "facts": facts | changes.pop("facts", {}),
            "stages": {name: stage(value) for name, value in ceilings.items() if name != "feed"},
        }
        return make_run(rate, **own | changes)

    return make


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> CapturingDisplayPublisher:
    """Stand in for a notebook: what is displayed lies in its ``outputs``."""
    publisher = CapturingDisplayPublisher()
    shell = SimpleNamespace(display_pub=publisher)
    monkeypatch.setattr(InteractiveShell, "initialized", classmethod(lambda cls: True))
    monkeypatch.setattr(InteractiveShell, "instance", classmethod(lambda cls: shell))
    return publisher


@pytest.fixture(scope="session")
def kernel() -> Iterator[AsyncKernelManager]:
    """Keep one kernel, which starts when the first cell is executed: to import what reports takes seconds."""
    manager = AsyncKernelManager(kernel_name="python3")
    yield manager
    run_sync(manager.shutdown_kernel)(now=True)


@pytest.fixture
def execute_cells(kernel: AsyncKernelManager) -> ExecuteCells:
    """Execute cells as a notebook of their own and return them, with their outputs."""

    def execute(*sources: str, raises: bool = False) -> list[Any]:
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        client = NotebookClient(notebook, km=kernel, timeout=300)
        with pytest.raises(CellExecutionError) if raises else nullcontext():
            client.execute()
        assert client.kc is not None
        client.kc.stop_channels()
        return list(notebook.cells)

    return execute


@pytest.fixture
def write_notebook(tmp_path: Path) -> WriteNotebook:
    """Write a notebook as a kernel would: one cell per run, with other outputs around the record."""

    def write(*runs: Run, name: str = "a.ipynb", folder: Path | None = None) -> Path:
        path = (folder or tmp_path) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(notebook_of(runs)), encoding="utf-8")
        return path

    return write


def notebook_of(runs: tuple[Run, ...]) -> dict[str, Any]:
    text = {"output_type": "stream", "name": "stdout", "text": ["images/s: 999999\n"]}
    code = {"cell_type": "code", "execution_count": 1, "metadata": {}, "source": ["show(run)"]}
    cells: list[dict[str, Any]] = [{"cell_type": "markdown", "id": "m", "metadata": {}, "source": ["# A question"]}]
    for number, run in enumerate(runs):
        shown = {"output_type": "display_data", "metadata": {}, "data": record.bundle(run)}
        cells.append({**code, "id": f"c{number}", "outputs": [text, shown]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
