"""Where a parameter file's paths lead, and what a dry run assumes."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from inferkit.cli.configure import Configuration, configure
from inferkit.cli.init import lay_out
from inferkit.cli.parameter_files import configurations
from inferkit.cli.run import show_plan
from inferkit.errors import InferkitError, ParameterError
from inferkit.records.host import Host
from inferkit.records.project import PARTS
from tests.cli.conftest import WriteConfig, invoke


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan on a laptop that has no GPU."""
    monkeypatch.setattr("inferkit.plan.devices.facts", Host)


@pytest.fixture
def no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("inferkit.engines.tensorrt")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder that belongs to no project."""
    folder = tmp_path / "away"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for part in PARTS:
        (tmp_path / "own" / part).mkdir(parents=True)
    return tmp_path / "own"


def write(path: Path, **values: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"engines": ["null"], "data": "data/set", "limit": 10, "size": 8, **values}))
    return path


def places(configuration: Configuration) -> tuple[Path, Path]:
    return Path(configuration.data), configuration.out


@pytest.mark.parametrize("name", ["parameters/mine.yaml", "mine.yaml", "runs/old/mine.yaml"])
def test_paths_resolve_against_the_file_s_project(own: Path, away: Path, name: str) -> None:
    assert places(configure(str(write(own / name)))) == (own / "data" / "set", own / "runs")


def test_paths_of_a_file_outside_any_project_resolve_against_its_folder(tmp_path: Path, away: Path) -> None:
    path = write(tmp_path / "bench" / "mine.yaml")
    beside = (path.parent / "data" / "set", path.parent / "runs")
    assert places(configure(str(path))) == beside
    assert places(configure("../bench/mine.yaml")) == beside
    (away / "link.yaml").symlink_to(path)
    assert places(configure("link.yaml")) == (away / "data" / "set", away / "runs")


def test_what_came_with_inferkit_works_in_the_current_folder(away: Path) -> None:
    assert places(configure("quickstart")) == (away / "data" / "quickstart", away / "runs")


def test_a_named_file_is_the_project_s_if_it_has_one(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    assert configure("quickstart").data == str(own / "data" / "quickstart")
    write(own / "parameters" / "quickstart.yaml", data="data/mine")
    assert configurations()["quickstart"] == own / "parameters" / "quickstart.yaml"
    assert configure("quickstart").data == str(own / "data" / "mine")


def test_out_is_named_from_where_one_is(own: Path, away: Path) -> None:
    assert configure(str(write(own / "mine.yaml")), out=Path("here")).out == away / "here"


@pytest.mark.parametrize("images", ["", "demo"])
def test_all_that_is_made_unasked_lies_in_the_file_s_project(own: Path, away: Path, images: str) -> None:
    path = write(own / "mine.yaml", data="", images=images, readers=["jpeg" if images else "buffered"])
    configured = configure(str(path), dry=True)
    planned = {plan.dataset.folder for name, plan in configured.plans.items() if plan.dataset and name != "01"}
    assert planned == {own / "data" / ("photographs" if images else "synthetic-uint8-3x224x224")}
    assert not (own / "data").exists()


def test_where_everything_goes_is_told_in_a_line_before_it_runs(own: Path, away: Path) -> None:
    done = invoke("run", write(own / "mine.yaml"), "--dry-run", cwd=away)
    first = done.stdout.splitlines()[0]
    assert first == f"mine ({own}/mine.yaml): data set {own}/data/set, executed notebooks {own}/runs/mine/"
    assert not list(away.iterdir())


@pytest.mark.parametrize("name", ["hps", "nas", "nvme", "s3", "shm", "synthetic", "quickstart", "examples/recipe_grid"])
def test_a_dry_run_plans_whatever_is_not_here(name: str, away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://no.host.invalid")
    changes = {"engines": ["null", "tensorrt"], "precisions": ["float32"], "models": ["sensor_net"]}
    configured = configure(name, changes=changes | {"grid": [], "shape": [1, 1, 784], "images": ""}, dry=True)
    assert all(plan.points for stage, plan in configured.plans.items() if stage != "01")
    assert not list(away.iterdir())


def test_a_dry_run_compares_ways_to_store_without_gpu_photographs_and_libraries(away: Path) -> None:
    configured = configure("jpeg", changes={"engines": ["null"]}, dry=True)
    points = configured.plans["03b"].points
    pipelines = [(point.axes["reader"], point.axes["threads"]) for point in points if point.measure == "pipeline"]
    assert pipelines == [("jpeg", 16), ("nvjpeg", 4), ("direct", 4), ("mapped", 1)]
    assert [point.measure for point in points].count("decode") == 1
    assert {"folder /mnt/nvme/photographs, for images", "JPEG files of 50.2 kB"} <= set(configured.assumed)
    assert not list(away.iterdir())


def test_a_device_without_a_decoder_is_refused_by_a_dry_run_too(away: Path) -> None:
    with pytest.raises(InferkitError, match=r"readers: nvjpeg leave decoding to the device, but device is cpu"):
        configure("jpeg", changes={"engines": ["null"], "device": "cpu"}, dry=True)


def test_what_is_assumed_is_told(away: Path) -> None:
    nvme = configure("nvme", only=["01", "02", "03a"], dry=True)
    assert nvme.assumed == ("folder /mnt/nvme, for data", "1 GPU, of which none is here")
    assert "100,000 images, 15.1 GB, yet to be made" in str(nvme.plans["03a"])
    (data,) = configure("nvme", only=["03a"], dry=True).assumed
    assert data == "data set /mnt/nvme/inferkit, as notebook 01 would make it"


@pytest.mark.usefixtures("no_tensorrt")
def test_a_dry_run_needs_no_library_of_an_engine(config: WriteConfig) -> None:
    path = config(device="cuda", engines=["tensorrt"], models=["sensor_net"], data="", shape=[1, 1, 784])
    configured = configure(str(path), only=["03b"], dry=True)
    told = ("1 GPU, of which none is here", "engine tensorrt, whose library is not installed")
    assert configured.assumed == told
    assert [point.measure for point in configured.plans["03b"].points].count("infer") == 1
    with pytest.raises(InferkitError):
        configure(str(path), only=["03b"])


def test_a_dry_run_takes_as_many_gpus_to_be_here_as_are_named(config: WriteConfig) -> None:
    path = config(device="cuda", gpus=[2, 5], gpu_counts=[1, 2])
    configured = configure(str(path), only=["02", "03b", "03c"], dry=True)
    assert configured.assumed == ("6 GPUs, of which none is here",)
    assert {point.axes.get("gpu") for point in configured.plans["03b"].points} == {None, 2, "2+5"}
    with pytest.raises(InferkitError, match="no NVIDIA GPU"):
        configure(str(path))


def test_a_dry_run_takes_to_be_here_what_placement_names(config: WriteConfig) -> None:
    line = "rank=1 gpus=7 cpus=1000-1003 node=99"
    path = config(device="cuda", ranks=[2], gpu_counts=[2], placement=[line])
    configured = configure(str(path), only=["03c"], dry=True)
    told = ["gpus 7", "cpus 1000-1003", "node 99"]
    assert {f"{what}, as placement names" for what in told} <= set(configured.assumed)
    (plan,) = configured.plans["03c"].placements
    assert (plan.places[1].gpus, plan.places[1].node) == ((7,), 99)
    for wrong in ("rank=1 cpus=x", "rank=1 gpu=7", "gpus=7"):
        with pytest.raises(ParameterError, match="placement"):
            configure(str(path), only=["03c"], changes={"placement": [wrong]}, dry=True)


def test_a_dry_run_takes_a_scheduler_to_be_there_and_says_so(
    config: WriteConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("inferkit.cluster.workers.CONNECT_S", 0.2)
    path = str(config(scheduler="tcp://127.0.0.1:9"))
    with pytest.raises(ParameterError, match=r"scheduler tcp://127\.0\.0\.1:9 cannot be reached"):
        configure(path, only=["03d"])
    found = configure(path, only=["03d"], dry=True)
    assert "scheduler tcp://127.0.0.1:9 cannot be reached" in "".join(found.assumed)
    show_plan(found)
    assert "planned by its machines, once they have come" in capsys.readouterr().out


def test_a_dry_run_needs_no_network_of_the_user(config: WriteConfig, tmp_path: Path) -> None:
    path = config(models=[str(tmp_path / "mine.onnx")], engines=["onnx"])
    (told,) = configure(str(path), only=["03b"], dry=True).assumed
    assert told == f"network {tmp_path}/mine.onnx, which takes such images"
    with pytest.raises(InferkitError, match="mine"):
        configure(str(path), only=["03b"])


def test_a_dry_run_needs_no_photographs(away: Path) -> None:
    changes: dict[str, Any] = {"images": "/photos", "limit": 7}
    assert configure("quickstart", changes=changes, dry=True).assumed == ("folder /photos, for images",)
    jpeg = configure("quickstart", only=["03a"], changes=changes | {"readers": ["jpeg"], "data": ""}, dry=True)
    assert jpeg.assumed == ("folder /photos, for images",)
    with pytest.raises(ParameterError, match="/photos is no folder"):
        configure("quickstart", changes=changes)


def test_photographs_that_are_here_are_counted(away: Path) -> None:
    for number in range(3):
        (away / f"{number}.jpg").touch()
    changes = {"images": str(away), "size": 32}
    assert "3 images, 9.22 kB, yet to be made" in str(configure("quickstart", changes=changes, dry=True).plans["03a"])


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize("only", [["01"], ["03a"], []])
@pytest.mark.parametrize("data", ["file", "file/below"])
def test_data_that_is_no_folder_is_refused_in_a_dry_run_as_well(
    away: Path, data: str, only: list[str], dry: bool
) -> None:
    (away / "file").touch()
    with pytest.raises(InferkitError, match=r"no folder|not a folder|holds no data set"):
        configure("quickstart", changes={"data": data, "images": ""}, only=only, dry=dry)


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize("changes", [{"images": "file"}, {"models": ["nope"]}, {"gpus": [1]}, {"readers": ["nope"]}])
def test_what_is_wrong_anywhere_is_refused_in_a_dry_run_as_well(away: Path, changes: dict[str, Any], dry: bool) -> None:
    (away / "file").touch()
    with pytest.raises(InferkitError):
        configure("quickstart", changes=changes, dry=dry)


def test_out_that_is_no_folder_is_refused_before_anything_runs(away: Path) -> None:
    (away / "file").touch()
    for dry in (True, False):
        with pytest.raises(ParameterError, match="--out: "):
            configure("quickstart", out=Path("file/runs"), dry=dry)


def test_a_file_that_cannot_be_read_is_refused(away: Path) -> None:
    (away / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParameterError, match=r"bytes\.yaml"):
        configure("bytes.yaml")


def test_a_project_that_was_laid_out_keeps_to_itself(tmp_path: Path, away: Path) -> None:
    lay_out(tmp_path / "mine")
    shutil.rmtree(tmp_path / "mine" / "notebooks")
    assert configure(str(tmp_path / "mine/parameters/shm.yaml"), dry=True).out == tmp_path / "mine/parameters/runs"
