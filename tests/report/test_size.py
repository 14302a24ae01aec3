"""A notebook of a hundred points on NVMe drives and up to eight GPUs, executed by papermill alone: below a megabyte."""

import json
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from inferkit.measure.recording import kept_series
from inferkit.pipeline.batch_sample import SAMPLE
from inferkit.pipeline.durations import Durations
from inferkit.records.figures import Figure, Repeat, Series, Stage
from inferkit.records.host import Gpu, Host
from inferkit.records.notebooks import read_notebook
from inferkit.records.params import SingleProcess
from inferkit.records.project import project_root
from inferkit.records.run import Run

MOST_BYTES = 1_000_000
WINDOW_S = 30.0
TOOK_S = {"read": 5e-3, "copy": 1e-3, "infer": 6e-3, "out": 1e-4}
"""Seconds that a batch takes in each stage."""
SAMPLED = {"busy": 0.9, "power_w": 600.0, "clock_hz": 1.98e9, "temperature_c": 60.0, "pcie_in": 5e10, "pcie_out": 1e8}
RNG = np.random.default_rng(1)


def noisy(mean: float, n: int, sigma: float = 0.2) -> list[float]:
    values: list[float] = RNG.lognormal(np.log(mean), sigma, n).tolist()
    return values


def stage(name: str) -> Stage:
    took = Durations()
    took.add((np.array(noisy(TOOK_S[name], 4000)) * 1e9).astype(np.int64))
    rates = {"images_per_s": 256 / TOOK_S[name], "bytes_per_s": 256 / TOOK_S[name] * 150_528, "busy": 0.9123456}
    return Stage(**rates, quantiles=took.quantiles(), histogram=took.histogram(), workers=4)


def batches() -> dict[str, str]:
    starts = np.cumsum(RNG.integers(4000, 6000, SAMPLE))
    lengths = {name: noisy(mean * 1e6, SAMPLE) for name, mean in TOOK_S.items()}
    return {name: " ".join(f"{a}+{b:.0f}" for a, b in zip(starts, own, strict=True)) for name, own in lengths.items()}


def figure(rate: float) -> Figure:
    return Figure(images_per_s=rate, bytes_per_s=rate * 150_528, half_width=0.00123456, block_s=1.234567)


GPU = Gpu(
    index=0,
    name="NVIDIA H100 80GB HBM3",
    memory_bytes=85_520_809_984,
    pci_bus_id="0000:1b:00.0",
    numa_node=0,
    driver="570.86.15",
    compute_capability="9.0",
    pcie_generation=5,
    pcie_width=16,
    power_limit_w=700.0,
    ecc=True,
    mig=False,
)


def watched() -> dict[str, Any]:
    """Return what is told of a GPU of which all is known."""
    medians = {f"{name}_median": noisy(mean, 1, 0.01)[0] for name, mean in SAMPLED.items() if name != "temperature_c"}
    most = {"temperature_c_max": 64.0, "pcie_generation_max": 5.0, "pcie_width_max": 16.0}
    power = {"slowed_by": [], "power_capped": True, "mean_power_w": noisy(600.0, 1, 0.01)[0]}
    return {"others": [], **medians, **most, **power}


def storage(number: int) -> dict[str, Any]:
    """Return what is told of an NVMe drive's file system that a point has read."""
    nbytes, before = 200_000_000_000 + number * 150_528, 148_960_082_944_000 + number * 200_000_200_704
    return {
        "filesystem": "xfs",
        "options": [
            "rw",
            "noatime",
            "attr2",
            "inode64",
            "logbufs=8",
            "logbsize=32k",
            "sunit=256",
            "swidth=512",
            "noquota",
        ],
        "transport": "",
        "block_device": "nvme0n1p1",
        "holders": [
            {"kind": "disk", "on": "xfs on nvme0n1p1", "disks": ["nvme0n1"], "files": 400}
            | {"example": "images-00000.tensors"}
        ],
        "in_memory": False,
        "network": False,
        "fuse": False,
        "stacked": False,
        "disks": ["nvme0n1"],
        "empty": 0.0,
        "encoded": 0.0,
        "different_bytes": 15_052_800_000,
        "resident_before": 0.0,
        "resident_after": 0.0,
        "dataset_bytes": 15_052_800_000,
        "dataset_to_memory": 0.01401234,
        "delivered_bytes": nbytes,
        "read_bytes": nbytes + 38_535_168,
        "whole_bytes": nbytes + 38_535_168 * 2,
        "process_read_bytes": nbytes + 38_535_168 + 4096,
        "disk_counter": [before, before + nbytes + 40_000_000],
        "wire_counter": [None, None],
        "disk_bytes": nbytes + 40_000_000,
        "wire_bytes": None,
        "from_storage": 0.9998 + number / 1_000_000,
    }


def told(number: int, threads: int, rate: float) -> dict[str, Any]:
    """Return what is told of the CPUs, the reader and its threads."""
    others = [{"name": name, "pid": 1000 + number, "share": 0.001234567} for name in ("firefox", "nvidia-smi")]
    used = {"contended": 0.0012345, "foreign": 0.01234567, "idle": 0.7123456, "kernel": 0.01528259, "ours": 0.2512345}
    cpus = {"on": "0-127", "other_runs": [], "others": others, **used, "seconds": 120.0123, "steal": 0.0}
    cpus |= {"stopped_s": 0.0, "swapped_pages": 0, "throttled": 0, "throttled_s": 0.0}
    pauses = {"usual_s": 0.005123456, "longest_s": 0.02123456, "stood_s": 0.0, "stood": 0.0}
    read = {"bytes_per_thread": [200_000_000_000 // threads + k for k in range(threads)], "balance": 0.9987654}
    reading = read | {"first_done_s": 0.4123456, "last_done_s": 0.4234567, "thread_cpu_s_per_gb": 0.1234567}
    reader = {"block": 512, "block_known_by": "statx DIOALIGN"}
    reader |= {"proved_by": "a probe read of dropped pages left none resident"}
    facts = {"cpus": cpus, "pauses": pauses, "reading": reading, "reader": reader, "storage": storage(number)}
    facts |= {"dtype": "uint8", "shape": [3, 224, 224], "verified_images": 1024, "fingerprint": f"{number:032x}"}
    return facts | {"processes": [rate * (1 + k / 1000) for k in (-1, 0, 1)]}


def record(number: int, host: Host, *, window_s: float = WINDOW_S, windows: int = 3) -> Run:
    """Return a record as a GPU server writes it: of a stage alone, or (two of five) of a pipeline."""
    rate = noisy(40_000, 1, 0.02)[0]
    pipeline = number % 5 < 2
    measure = "pipeline" if pipeline else ("read", "copy", "infer")[number % 5 - 2]
    gpu = {f"gpu{index}_{name}": mean for index in range(len(host.gpus)) for name, mean in SAMPLED.items()}
    series = {"images_per_s": rate, "host_cpu": 0.3, "foreign_cpu": 0.01} | gpu
    seconds = int(window_s * (windows + 1))
    bins = {name: Series(unit="unit", values=list(noisy(mean, seconds, 0.01))) for name, mean in series.items()}
    repeats = [
        Repeat(
            start_s=window_s * k + 0.123456,
            seconds=window_s + 0.012345,
            images=round(rate * (window_s + 0.012345)),
            nbytes=round(rate * (window_s + 0.012345)) * 150_528,
            batches=4000 + k,
            warmup=k == 0,
            cpu_s=31.23456,
        )
        for k in range(windows + 1)
    ]
    facts = told(number, 8 * (number % 5 + 1), rate)
    facts |= {"gpus": {str(gpu.index): watched() for gpu in host.gpus}} if host.gpus else {}
    own: dict[str, Any] = {}
    if pipeline:
        facts |= {"batches": batches(), "images_per_joule": 70.123456, "top1_agreement": 0.993}
        limits = {"read": 8.1, "copy": 4.0, "feed": 3.0, "infer": 1.05, "cpu": 2.0}
        own = {"ceilings": {name: figure(rate * times) for name, times in limits.items()}, "bottleneck": "infer"}
        own |= {"predicted": figure(rate * 1.05), "ceilings_from": [f"{number + k:016x}" for k in range(3)]}
    point = {"reader": "direct", "threads": number % 5 + 1, "batch_size": 2 ** (number // 10)}
    return Run(
        notebook="03b",
        measure=measure,
        storage="nvme",
        profile="quick",
        point=point
        if measure == "read"
        else point | {"engine": "tensorrt", "model": "resnet50", "precision": "float16"},
        params=SingleProcess(profile="quick").model_dump(mode="json"),
        host=host,
        repeats=repeats,
        measured=figure(rate),
        stages={name: stage(name) for name in (TOOK_S if pipeline else (measure,))},
        verdict="INVALID" if number % 10 == 0 else "VALID",
        reasons=["the window was 1.0 s long, profile quick demands 30 s"] if number % 10 == 0 else [],
        warnings=[
            f"other programs used {number} % of the CPU while the windows ran, most of it firefox (pid {number})"
        ],
        unverified=["where the bytes came from: the device's counters are not readable here"],
        facts=facts,
        series=kept_series(bins, measure),
        **own,
    )


def executed(path: Path, runs: list[Run], stem: str) -> Path:
    """Execute a notebook's cells over such records, but for the one that measures, and write it."""
    records = path.with_suffix(".json")
    records.write_text(json.dumps([run.to_dict() for run in runs]))
    notebook = nbformat.read(project_root() / "notebooks" / f"{stem}.ipynb", as_version=4)
    notebook.cells = [
        cell for cell in notebook.cells if "prepare(" not in cell.source and cell.source.strip() != "todo"
    ]
    for cell in notebook.cells:
        if "measure(todo" in cell.source:
            cell.source = (
                "import json\nfrom pathlib import Path\nfrom inferkit.records.run import Run\n"
                f"runs = answer.show_all(map(Run.from_dict, json.loads(Path({str(records)!r}).read_text())))"
            )
    NotebookClient(notebook, kernel_name="python3", timeout=600).execute()
    nbformat.write(notebook, path)  # as papermill does
    return path


@pytest.mark.slow
@pytest.mark.parametrize("gpus", [0, 1, 8])
def test_a_notebook_of_a_hundred_points_is_below_a_megabyte(gpus: int, host: Host, tmp_path: Path) -> None:
    server = host.model_copy(update={"gpus": [GPU.model_copy(update={"index": k}) for k in range(gpus)]})
    runs = [record(number, server) for number in range(100)]
    path = executed(tmp_path / "03b_single_process.ipynb", runs, "03b_single_process")
    assert [run.id for run in read_notebook(path)] == [run.id for run in runs]
    notebook = nbformat.read(path, as_version=4)
    pictures = [output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.data]
    assert len(pictures) >= 8
    assert path.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("gpus", [0, 8])
@pytest.mark.parametrize("number", range(5))
def test_a_record_of_hours_is_hardly_longer_than_one_of_minutes(number: int, gpus: int, host: Host) -> None:
    """Profile mlperf: 5 windows of 600 s, 12 at the most. So its notebooks, too, stay under a megabyte."""
    server = host.model_copy(update={"gpus": [GPU.model_copy(update={"index": k}) for k in range(gpus)]})
    quick, usual, longest = (
        len(record(number, server, window_s=window_s, windows=windows).to_json())
        for window_s, windows in ((WINDOW_S, 3), (600.0, 5), (600.0, 12))
    )
    assert usual <= quick + 600
    assert longest <= quick + 1600
