"""Every notebook, executed by papermill with tiny parameters; what is asserted is the recorded Run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import papermill
import pytest

from inferkit.dataset.synthetic import make_synthetic
from inferkit.errors import RecordError
from inferkit.measure.measure import measure
from inferkit.plan.build import prepare
from inferkit.records.notebooks import read_notebook
from inferkit.records.params import MakeDataset, StorageToHost
from inferkit.records.project import project_root
from inferkit.records.run import Run
from inferkit.report.record import raise_for_failures
from tests.notebooks.conftest import TINY
from tests.stand_ins import stand_in
from tests.verdicts import verdict

pytestmark = pytest.mark.filterwarnings("default")  # papermill and its kernels warn of their own


@pytest.fixture
def data(tmp_path: Path) -> str:
    folder = tmp_path / "tensors"
    make_synthetic(MakeDataset(data=str(folder), limit=50, shape=[3, 32, 32], images_per_file=17))
    return str(folder)


def by_measure(runs: list[Run], measure: str) -> list[Run]:
    return [run for run in runs if run.measure == measure]


def test_01_makes_a_data_set_and_says_what_it_skipped(execute: Any, tmp_path: Path) -> None:
    from PIL import Image

    images = tmp_path / "images"
    images.mkdir()
    for number in range(5):
        Image.new("RGB", (40 + number, 30), (number * 40, 10, 200)).save(images / f"{number}.JPG", "JPEG")
    (images / "broken.jpeg").write_bytes(b"\xff\xd8 not much")
    (run,) = execute("01", images=str(images), data=str(tmp_path / "out"), size=16, images_per_file=2)
    assert verdict(run) == "VALID"
    assert run.facts["images"] == 5
    assert list(run.facts["skipped"]) == ["broken.jpeg"]
    assert run.measured is not None
    assert run.measured.images_per_s
    assert (tmp_path / "out" / "dataset.json").exists()


@pytest.mark.usefixtures("undrawn")
def test_02_is_never_labelled_a_gpu_figure_without_a_gpu(
    execute: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = stand_in(tmp_path, "nvbandwidth", monkeypatch)
    sizes = {"transfer_bytes": [4096, 65537], "memories": ["pageable", "mapped"]}
    *runs, memory = execute("02", peer="nvbandwidth", **sizes, **TINY)
    assert (memory.measure, memory.scope, verdict(memory)) == ("memory", "server", "VALID")
    assert [(run.point["memory"], run.point["transfer_bytes"]) for run in runs] == [
        ("pageable", 4096),
        ("pageable", 65537),
        ("mapped", 4096),
        ("mapped", 65537),
    ]
    for run in runs:
        assert verdict(run) == "VALID"
        assert run.point["device"] == "cpu"
        assert run.measured is not None
        assert run.measured.bytes_per_s
        assert run.measured.images_per_s is None
        assert run.params["peer"] == ["nvbandwidth"]
        (peer,) = run.peers
        assert (peer.name, peer.figure) == ("nvbandwidth", None)
        assert "the device is cpu: set device: cuda" in peer.missing
    assert not there.calls


@pytest.mark.usefixtures("undrawn")
def test_03a_reads_every_reader(execute: Any, data: str) -> None:
    runs = execute("03a", data=data, readers=["buffered", "direct", "mapped"], threads=[1, 3], batch_sizes=[7], **TINY)
    assert len(runs) == 5  # mapped reads nothing, so that more threads would change nothing
    for run in runs:
        assert verdict(run) == "VALID", run.failure
        assert run.facts["verified_images"] == 4 * 7
        assert [repeat.warmup for repeat in run.repeats[:2]] == [True, False]
        assert all(repeat.images == repeat.batches * 7 for repeat in run.repeats)
        assert (run.measured is None) == (run.point["reader"] == "mapped")


def test_03b_names_the_bottleneck_and_reuses_ceilings(execute: Any, data: str, tiny_onnx: Path) -> None:
    runs = execute(
        "03b", data=data, models=[str(tiny_onnx)], engines=["null", "onnx"], batch_sizes=[4], threads=[2], **TINY
    )
    assert [run.measure for run in runs] == ["read", "copy", "infer", "pipeline", "pipeline"]
    ids = {run.measure: run.id for run in runs[:3]}
    null, onnx = by_measure(runs, "pipeline")
    assert null.ceilings_from == [ids["read"], ids["copy"]]
    assert onnx.ceilings_from == [ids["read"], ids["copy"], null.id, ids["infer"]]
    alone = {"read": runs[0], "copy": runs[1], "feed": null, "infer": runs[2]}
    valid = {name for name, run in alone.items() if run.verdict == "VALID"}  # else the machine was noisy
    assert set(null.ceilings) - {"cpu"} == {"read", "copy"} & valid
    assert set(onnx.ceilings) - {"cpu"} == valid
    for run, needed in ((null, {"read", "copy"}), (onnx, {"feed", "infer"})):
        assert verdict(run) == "VALID"
        assert (
            (run.predicted is None) == bool(needed - valid) == any("no prediction: " in text for text in run.warnings)
        )
        if run.predicted is None:
            continue
        assert run.reached is not None
        counting = {"infer", "cpu", "memory"} | ({"copy", "read"} if run is null else {"feed"})
        rates = [figure.images_per_s or 0 for name, figure in run.ceilings.items() if name in counting]
        assert run.predicted.images_per_s == min(rates)
        told = " ".join(run.warnings)
        assert (run.bottleneck is None) == ("not called the bottleneck" in told or "its own ceiling" in told), told
    assert set(null.stages) == {"read", "copy"}
    assert set(onnx.stages) == {"read", "copy", "infer"}


@pytest.mark.slow
def test_03b_with_its_defaults_makes_a_small_synthetic_set(execute: Any) -> None:
    runs = execute("03b", engines=["null"], **TINY)
    assert {verdict(run) for run in runs} == {"VALID"}, [(run.reasons, run.failure) for run in runs]
    assert len(runs) == 3


def test_a_vanished_folder_ends_in_a_record_and_an_error(tmp_path: Path) -> None:
    """As in the cells of 03a; that papermill fails then is seen where a point does."""
    (run,) = measure(prepare(StorageToHost.check({"data": str(tmp_path / "nothing"), **TINY})))
    assert run.verdict == "FAILED"
    assert run.failure is not None
    assert "nothing" in run.failure.message
    with pytest.raises(RecordError, match="nothing"):
        raise_for_failures([run])


@pytest.mark.usefixtures("undrawn")
def test_a_point_that_fails_is_a_record_and_the_rest_goes_on(execute: Any, tmp_path: Path) -> None:
    folder = Path("/dev/shm") / f"inferkit-test-{tmp_path.name}"
    try:
        make_synthetic(MakeDataset(data=str(folder), limit=8, shape=[3, 8, 8]))
        runs = execute("03a", fails=True, data=str(folder), readers=["direct", "buffered"], batch_sizes=[2], **TINY)
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    assert [verdict(run) for run in runs] == ["FAILED", "VALID"]
    assert runs[0].failure is not None
    assert "tmpfs" in runs[0].failure.message


def test_compare_reads_executed_notebooks(tmp_path: Path, plain: dict[str, Any]) -> None:
    executed = project_root() / "tests" / "fixtures" / "schema_1" / "03b_single_process.ipynb"
    source, out = project_root() / "notebooks" / "compare.ipynb", tmp_path / "compared.ipynb"
    (broken := tmp_path / "broken.ipynb").write_text("{")
    papermill.execute_notebook(source, out, parameters={"paths": [str(executed), str(broken)]}, **plain)
    shown = outputs_of(out)
    streams = [output for cell in json.loads(out.read_text())["cells"] for output in cell.get("outputs", ())]
    (said,) = (output for output in streams if output["output_type"] == "stream")
    assert said["name"] == "stdout"
    assert "".join(said["text"]).startswith(f"left out: {broken}")
    assert shown[0]["text/plain"].startswith("null: nothing to compare shm with")
    assert "<table" in shown[0]["text/html"]
    assert any("03b one process" in output.get("text/plain", "") for output in shown)
    assert any("no trend" in output.get("text/plain", "") for output in shown)


def outputs_of(notebook: Path) -> list[dict[str, str]]:
    cells = json.loads(notebook.read_text())["cells"]
    bundles = [output["data"] for cell in cells for output in cell.get("outputs", ()) if "data" in output]
    return [{kind: "".join(value) for kind, value in own.items() if kind.startswith("text/")} for own in bundles]


@pytest.mark.slow
def test_a_notebook_runs_under_nbconvert_as_well(tmp_path: Path) -> None:
    source = project_root() / "notebooks" / "02_host_to_device.ipynb"
    short = tmp_path / "short.ipynb"
    text = source.read_text()
    for name, value in {
        "duration_s: float = 0.0": "duration_s: float = 0.05",
        "repeats: int = 0": "repeats: int = 1",
        "[65536, 1048576, 4816896, 16777216, 67108864]": "[65536]",
    }.items():
        assert name in text
        text = text.replace(name, value)
    short.write_text(text)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "jupyter",
            "nbconvert",
            "--to",
            "notebook",
            "--execute",
            str(short),
            "--output",
            "done.ipynb",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    runs = read_notebook(tmp_path / "done.ipynb")
    assert len(runs) == 3  # two kinds of memory, and the host's own
    assert all(verdict(run) == "VALID" for run in runs)
