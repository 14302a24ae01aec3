"""Parameter files, papermill, exit codes, and Ctrl-C."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbformat.sign import NotebookNotary

from inferkit.cli.configure import configure
from inferkit.cli.whole import NOTEBOOKS
from inferkit.errors import InferkitError, ParameterError
from inferkit.machine.watched import descendants
from inferkit.models.agreement import NetworkPair
from inferkit.models.model_file import ModelFile
from inferkit.plan.networks import Networks
from inferkit.readers.memory import in_memory
from inferkit.records.host import Host
from inferkit.records.job import PipelineJob
from inferkit.records.notebooks import load_runs, read_notebook
from inferkit.records.params import SingleProcess
from inferkit.records.project import project_root
from tests.cli.conftest import Executed, WriteConfig, inferkit, invoke
from tests.processes import alive, ranks_below, wait_for
from tests.verdicts import verdict

NAMES = sorted(path.stem for path in (project_root() / "parameters").glob("*.yaml"))


def test_all_parameter_files_are_there() -> None:
    assert NAMES == ["hps", "jpeg", "nas", "nvme", "quickstart", "s3", "shm", "synthetic"]


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_file_is_valid_whatever_this_machine_has(name: str) -> None:
    """Take the hardware away from each: on the CPU, with a data folder that can be made, every file can be planned."""
    there = {"device": "cpu", "engines": ["null"], "data": "data/nothing-yet", "images": "", "source": "memory"}
    there |= {"readers": ["buffered"]} if name in {"s3", "jpeg"} else {}
    configuration = configure(name, changes=there)
    assert configuration.name == name
    assert all(plan.points for stage, plan in configuration.plans.items() if stage != "01")


@pytest.mark.parametrize(("name", "reason"), [("synthetic", "GPU"), ("nvme", "/mnt/nvme"), ("nas", "/mnt/nas")])
def test_missing_hardware_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(InferkitError) as caught:
        configure(name)
    assert reason in str(caught.value)
    assert f"{name}.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bacth_sizes: [1]\n", "did you mean 'batch_sizes'"),
        ("on: 1\n", "YAML takes on, off"),
        ("seed: 1e6\n", "YAML reads 1e6 as text"),
        ("threads: [0]\n", "threads.0 is 0"),
        ("]\n", "is not YAML"),
    ],
)
def test_a_bad_file_is_refused_naming_file_and_key(config: WriteConfig, text: str, told: str) -> None:
    with pytest.raises(ParameterError) as caught:
        configure(str(config(text)))
    assert told in str(caught.value)
    assert "disk.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"threads": "x"}, "--set: threads is 'x'"),
        ({"batch_sizes": [0]}, "--set: batch_sizes.0 is 0"),
        ({"bacth_sizes": [8]}, "--set: 'bacth_sizes' is not a parameter: did you mean 'batch_sizes'?"),
        ({"models": ["nope"], "engines": ["onnx"]}, "disk.yaml with --set models, engines: "),
    ],
)
def test_a_bad_value_of_an_option_is_blamed_on_the_option(
    config: WriteConfig, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(InferkitError) as caught:
        configure(str(config()), changes=changes)
    assert told in str(caught.value)
    assert ("disk.yaml" in str(caught.value)) == ("disk.yaml" in told)


def test_what_the_file_says_badly_is_blamed_on_the_file_unless_an_option_replaces_it(config: WriteConfig) -> None:
    path = config("threads: [0]\n")
    with pytest.raises(ParameterError, match=r"disk\.yaml: threads\.0 is 0"):
        configure(str(path), changes={"seed": 1})
    assert configure(str(path), changes={"threads": [1]}).notebooks


def test_a_folder_for_notebooks_that_cannot_be_made_is_refused(config: WriteConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = invoke("run", config(), "--only", "03a", "--out", tmp_path / "file")
    assert (done.exit_code, "--out: " in done.stderr, "is no folder" in done.stderr) == (2, True, True)


@pytest.mark.xdist_group("executed")
def test_a_notebook_is_given_what_differs_from_its_defaults_alone(executed: Executed) -> None:
    cells = nbformat.read(executed.notebook("03b"), as_version=4).cells
    (injected,) = (cell.source for cell in cells if "injected-parameters" in cell.metadata.get("tags", ()))
    given = dict(line.partition(" = ")[::2] for line in injected.splitlines() if " = " in line)
    assert given["batch_sizes"] == "[8]"
    assert {"storage", "data", "engines", "warmup_s"} <= set(given)
    defaults = {name: repr(field.default) for name, field in SingleProcess.model_fields.items()}
    assert not [name for name, value in given.items() if value.replace('"', "'") == defaults[name]]


def test_a_missing_data_folder_is_refused_unless_an_earlier_stage_makes_it(config: WriteConfig, tmp_path: Path) -> None:
    path = config(data=str(tmp_path / "new"))
    assert "01" in configure(str(path)).notebooks
    with pytest.raises(InferkitError, match="new"):
        configure(str(path), only=["03a"])


def test_a_stage_that_does_not_apply_is_left_out_with_the_reason(config: WriteConfig) -> None:
    configuration = configure(str(config(readers=["memory"])))
    assert set(configuration.notebooks) == {"02", "03b"}
    assert set(configuration.skipped) == {"01", "03a", "03c", "03d"}


def test_dry_run_shows_the_points_and_runs_nothing(config: WriteConfig, tmp_path: Path) -> None:
    done = invoke("run", config(), "--dry-run", "--out", tmp_path / "runs")
    assert done.exit_code == 0, done.stderr
    assert "pipeline" in done.stdout
    assert "50 images" in done.stdout
    assert not (tmp_path / "runs").exists()


@pytest.mark.xdist_group("executed")
def test_run_executes_signs_and_answers(executed: Executed) -> None:
    done = executed.done
    assert done.returncode == 0, done.stdout + done.stderr
    runs = [stored.run for stored in load_runs(executed.out)]
    assert {run.notebook for run in runs} == {"02", "03a", "03b"}
    assert {run.point.get("threads") for run in runs if run.measure == "pipeline"} == {3}
    assert "not for quoting" in done.stdout
    named = [run for run in runs if run.bottleneck and run.verdict == "VALID"]  # none on a noisy machine
    assert not named or "bottleneck" in done.stdout
    for path in executed.out.rglob("*.ipynb"):
        notary = NotebookNotary()
        assert notary.check_signature(nbformat.read(path, as_version=4))
        notary.store.close()
        assert str(path) in done.stderr + done.stdout or path.parent.as_posix() in done.stdout


@pytest.mark.slow
def test_an_invalid_point_exits_3(config: WriteConfig, tmp_path: Path) -> None:
    done = inferkit("run", config(source="storage"), "--only", "03a", "--out", tmp_path / "runs")
    assert done.returncode == 3, done.stdout + done.stderr


@pytest.mark.usefixtures("undrawn")
def test_a_failed_point_exits_1_and_is_in_the_notebook(config: WriteConfig, data: str, tmp_path: Path) -> None:
    path = config(readers=["buffered"], threads=[1])
    file = sorted(Path(data).glob("*.tensors"))[0]
    content = bytearray(file.read_bytes())
    content[0] ^= 255
    file.write_bytes(content)
    done = inferkit("run", path, "--only", "03a", "--out", tmp_path / "runs")
    assert done.returncode == 1, done.stdout + done.stderr
    (stored,) = load_runs(tmp_path / "runs")
    assert stored.run.verdict == "FAILED"
    assert "image 0 " in " ".join(done.stdout.split())


def test_a_refusal_exits_2_before_anything_runs(config: WriteConfig, tmp_path: Path) -> None:
    done = invoke("run", config(), "nowhere", "--out", tmp_path / "runs")
    assert done.exit_code == 2
    assert "nowhere" in done.stderr
    assert not (tmp_path / "runs").exists()


def start(*arguments: Any) -> subprocess.Popen[str]:
    """Start a command in a session of its own, as a terminal does."""
    command = [sys.executable, "-m", "inferkit.cli.main", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


@pytest.mark.usefixtures("undrawn")
def test_ctrl_c_finishes_the_point_writes_everything_and_runs_no_more(config: WriteConfig, tmp_path: Path) -> None:
    path = config(threads=[1, 2, 3], duration_s=0.3)
    with start("run", path, path, "--only", "03a,03b", "--out", tmp_path / "runs") as running:
        wait_for(lambda: ranks_below(running.pid), 60)
        os.killpg(running.pid, signal.SIGINT)
        out, _ = running.communicate(timeout=60)
    assert running.returncode == 1, out
    measured, left = [stored.run for stored in load_runs(tmp_path / "runs")]
    assert verdict(measured) == "VALID"
    assert left.failure is not None
    assert left.failure.message.startswith("stopped by the user: 2 points were not measured")
    (notebook,) = (tmp_path / "runs").rglob("*.ipynb")
    (answer,) = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.source == "conclude(runs)"]
    assert answer.outputs


@pytest.mark.usefixtures("undrawn")
def test_a_second_ctrl_c_stops_at_once_and_nothing_is_left(config: WriteConfig, tmp_path: Path) -> None:
    with start("run", config(duration_s=60.0, threads=[1]), "--only", "03a", "--out", tmp_path / "runs") as running:
        wait_for(lambda: ranks_below(running.pid), 60)
        family = descendants(running.pid)
        for _ in range(2):
            os.killpg(running.pid, signal.SIGINT)
            time.sleep(0.5)
        out, _ = running.communicate(timeout=60)
    assert running.returncode == 1, out
    (stored,) = load_runs(tmp_path / "runs")
    assert stored.run.failure is not None
    assert stored.run.failure.kind == "KeyboardInterrupt"
    wait_for(lambda: not [pid for pid in family if alive(pid)], 20)


@pytest.mark.xdist_group("executed")
@pytest.mark.usefixtures("undrawn")
def test_rerun_measures_what_is_not_in_the_folder_and_says_so(executed: Executed, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    first = out / "before" / "03a.ipynb"
    first.parent.mkdir(parents=True)
    shutil.copy(executed.notebook("03a"), first)
    again: list[str | Path] = ["run", executed.config, "--only", "03a", "--out", out, "--set", "rerun=never"]
    assert "1 of 1 points were measured before" in invoke(*again, "--set", "threads=[3]", "--dry-run").stdout
    done = inferkit(*again, "--set", "threads=[3,4]")
    assert done.returncode == 0, done.stdout + done.stderr
    (second,) = set(out.rglob("*.ipynb")) - {first}
    shown, new = read_notebook(second)
    assert shown.id == read_notebook(first)[0].id
    assert shown.warnings[0].startswith(f"not measured again: from {first} (")
    assert new.point["threads"] == 4


def test_models_that_take_no_photographs_get_images_of_their_shape(config: WriteConfig) -> None:
    path = config(data="", engines=["onnx"], models=["sensor_net"])
    configuration = configure(str(path), only=["03a", "03b"])
    assert {plan.dataset.shape for plan in configuration.plans.values() if plan.dataset} == {(1, 1, 784)}


def test_models_that_do_not_fit_the_data_set_are_refused_with_its_shape(config: WriteConfig) -> None:
    with pytest.raises(InferkitError, match=r"'sensor_net' cannot take images of \(3, 16, 16\).*shape: \[1, 1, 784\]"):
        configure(str(config(engines=["onnx"], models=["sensor_net"])))


def test_the_recipes_grid_has_24_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 4 numbers of GPUs × 3 networks × 5 batch sizes; a dry run takes 8 GPUs to be here, and builds no network."""

    def named(networks: Networks, engine: str, model: str, precision: str) -> NetworkPair:
        file = ModelFile(Path(model), model, model, "input", "uint8", (3, 224, 224), (1000,), precision, None)
        return NetworkPair(file, file, in_memory((3, 224, 224), "uint8"))

    monkeypatch.setattr("inferkit.plan.devices.facts", Host)
    monkeypatch.setattr(Networks, "get", named)
    example = project_root() / "parameters" / "examples" / "recipe_grid.yaml"
    configuration = configure(str(example), only=["03b"], dry=True)
    assert "8 GPUs, of which none is here" in configuration.assumed
    planned = configuration.plans["03b"]
    pipelines = [point for point in planned.points if point.measure == "pipeline"]
    assert len(pipelines) == 24
    assert "36 points of the product are left out" in str(planned)
    batches = {"alexnet_owt": 500, "resnet152": 250, "resnet50": 300}
    assert Counter(str(point.axes["model"]) for point in pipelines) == dict.fromkeys(batches, 8)
    jobs = [point.job for point in pipelines if isinstance(point.job, PipelineJob)]
    assert Counter(len(job.device.numbers) for job in jobs) == dict.fromkeys((1, 2, 4, 8), 6)
    for point, job in zip(pipelines, jobs, strict=True):
        assert job.inference.model == point.axes["model"]
        per_batch = job.reading.batch_size * len(job.device.numbers)
        assert job.window.images == batches[job.inference.model] * per_batch
    assert {point.key for point in planned.points} >= {c.key for point in pipelines for c in point.ceilings.values()}


def test_a_notebook_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    assert papermill.iorw.papermill_io.get_handler(str(path)) is NOTEBOOKS
    papermill.iorw.write_ipynb(nbformat.v4.new_notebook(), str(path))
    with path.open() as reader:
        papermill.iorw.write_ipynb(nbformat.v4.new_notebook(metadata={"a": 1}), str(path))
        assert "a" not in nbformat.read(reader, as_version=4).metadata  # another file has taken its name
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ipynb"]


@pytest.mark.usefixtures("undrawn")
def test_a_killed_run_leaves_no_kernel_no_rank_and_no_file_where_it_ran(
    config: WriteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    here = tmp_path / "here"
    here.mkdir()
    command = [
        sys.executable,
        "-m",
        "inferkit.cli.main",
        "run",
        config(duration_s=60.0, threads=[1]),
        "--only",
        "03a",
        "--out",
        tmp_path / "runs",
    ]
    with subprocess.Popen(
        list(map(str, command)), cwd=here, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as running:
        wait_for(lambda: ranks_below(running.pid), 60)
        family = descendants(running.pid)
        running.kill()
    wait_for(lambda: not [pid for pid in family if alive(pid)], 30)
    assert not list(here.iterdir())
    assert not list(tmp_path.glob("*.json"))  # the kernel's key lies where the next run sweeps


def kernels_below(pid: int) -> list[int]:
    told = {child: Path(f"/proc/{child}/cmdline") for child in descendants(pid)}
    return [child for child, path in told.items() if path.exists() and b"ipykernel" in path.read_bytes()]


@pytest.mark.usefixtures("undrawn")
def test_a_kernel_is_not_waited_for_that_was_interrupted_while_it_starts(config: WriteConfig, tmp_path: Path) -> None:
    with start("run", config(threads=[1]), "--only", "03a", "--out", tmp_path / "runs") as running:
        wait_for(lambda: kernels_below(running.pid), 60)
        for _ in range(2):
            os.killpg(running.pid, signal.SIGINT)
            time.sleep(0.2)
        out, _ = running.communicate(timeout=60)
    assert running.returncode == 1, out
    assert "Traceback" not in out
    assert "the notebook's kernel" in out
