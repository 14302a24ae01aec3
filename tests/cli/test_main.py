"""Every command has help and is in the README; what it prints is what lies there."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from PIL import Image

from inferkit.cli.main import main
from inferkit.cli.run import exit_code
from inferkit.errors import ParameterError
from inferkit.records.host import Host
from inferkit.records.params import MakeDataset
from inferkit.records.project import project_root
from inferkit.records.run import UNSTEADY, Run
from tests.cli.conftest import Executed


def commands(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found |= commands(command, f"{prefix}{name} ") if isinstance(command, click.Group) else {prefix + name: command}
    return found


COMMANDS = commands(main)


def test_random_images_of_any_shape_are_made(tmp_path: Path) -> None:
    out = tmp_path / "set"
    done = CliRunner().invoke(main, ["dataset", "make", "", str(out), "--shape", "1,1,540", "--limit", "6"])
    assert done.exit_code == 0, done.output
    assert "6 images uint8 (1, 1, 540)" in CliRunner().invoke(main, ["dataset", "info", str(out)]).output


@pytest.mark.parametrize(("shape", "told"), [("1,x", "'x'"), ("1,0,3", "greater than 0")])
def test_a_shape_that_is_none_is_refused(tmp_path: Path, shape: str, told: str) -> None:
    done = CliRunner().invoke(main, ["dataset", "make", "", str(tmp_path / "set"), "--shape", shape])
    assert done.exit_code == 2
    assert told in done.output


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--size=0", "size is 0"),
        ("--limit=-1", "limit is -1"),
        ("--workers=-1", "workers is -1"),
        ("--seed=-1", "seed is -1"),
        ("--images-per-file=0", "images_per_file is 0"),
        ("--dtype=float16", "not one of 'uint8', 'float32'"),
        ("--resize=squash", "not one of 'stretch', 'crop'"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(tmp_path: Path, option: str, told: str) -> None:
    done = CliRunner().invoke(main, ["dataset", "make", "", str(tmp_path / "set"), option])
    assert done.exit_code == 2
    assert told in done.output
    assert not (tmp_path / "set").exists()


def test_what_is_not_given_is_as_in_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[MakeDataset] = []

    def make(params: MakeDataset, *_: object, **__: object) -> None:
        asked.append(params)
        raise ParameterError

    monkeypatch.setattr("inferkit.dataset.record.make_dataset", make)
    CliRunner().invoke(main, ["dataset", "make", "", str(tmp_path / "set"), "--limit", "3"])
    assert asked == [MakeDataset(data=str(tmp_path / "set"), limit=3)]


def test_jpeg_files_take_no_other_shape_than_their_size(tmp_path: Path, images: Path) -> None:
    done = CliRunner().invoke(
        main, ["dataset", "make", str(images), str(tmp_path / "set"), "--shape", "1,28,28", "--size", "28"]
    )
    assert done.exit_code == 2
    assert "JPEG files become images of (3, 28, 28) here, not (1, 28, 28)" in done.output


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help_and_is_documented(name: str) -> None:
    done = CliRunner().invoke(main, [*name.split(), "--help"])
    assert done.exit_code == 0
    assert COMMANDS[name].help
    assert f"inferkit {name}" in (project_root() / "README.md").read_text()


@pytest.mark.parametrize(
    ("within", "code"), [("24h", 0), ("90s", 0), ("1.5d", 0), ("24", 2), ("x", 2), ("-1h", 2), ("nanh", 2)]
)
def test_a_target_is_planned_for_from_records(within: str, code: int) -> None:
    notebook = project_root() / "tests" / "fixtures" / "schema_1" / "03b_single_process.ipynb"
    done = CliRunner().invoke(main, ["plan", str(notebook), "--images", "1e9", "--within", within])
    assert done.exit_code == code, done.output
    assert ("Assumed:" if code == 0 else "such as 24h") in done.output


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(7):
        Image.new("RGB", (60, 40), (number * 30, 90, 10)).save(folder / f"{number}.jpg")
    (folder / "empty.jpg").touch()
    return folder


def test_make_verify_and_info(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = CliRunner().invoke(
        main, ["dataset", "make", str(images), str(out), "--size", "32", "--images-per-file", "3"]
    )
    assert made.exit_code == 0, made.output
    assert "7 images" in made.output
    assert "skipped empty.jpg" in made.output
    assert CliRunner().invoke(main, ["dataset", "verify", str(out)]).exit_code == 0
    assert "(3, 32, 32)" in CliRunner().invoke(main, ["dataset", "info", str(out)]).output
    file = sorted(out.glob("*.tensors"))[1]
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    verified = CliRunner().invoke(main, ["dataset", "verify", str(out)])
    assert verified.exit_code == 1
    assert f"altered: image 1 of {file.name}" in verified.output or file.name in verified.output


def test_another_make_in_the_same_folder_is_refused_unless_told(images: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    assert CliRunner().invoke(main, ["dataset", "make", str(images), out, "--size", "32"]).exit_code == 0
    again = CliRunner().invoke(main, ["dataset", "make", str(images), out, "--size", "16"])
    assert again.exit_code == 2
    assert "--overwrite" in again.output
    assert CliRunner().invoke(main, ["dataset", "make", str(images), out, "--size", "16", "--overwrite"]).exit_code == 0


def test_our_own_errors_exit_2_without_a_traceback(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["dataset", "info", str(tmp_path / "nothing")])
    assert done.exit_code == 2
    assert "nothing" in done.output
    assert "Traceback" not in done.output


def test_models_lists_the_zoo() -> None:
    output = CliRunner().invoke(main, ["models"]).output
    assert "resnet50" in output
    assert "25.56 M" in output


def test_doctor_tells_what_is_there_and_how_to_fix_the_rest(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["doctor", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "O_DIRECT" in done.output


def test_set_without_a_value_is_a_usage_error() -> None:
    done = CliRunner().invoke(main, ["run", "quickstart", "--set", "threads"])
    assert done.exit_code == 2
    assert "KEY=VALUE" in done.output


@pytest.mark.xdist_group("executed")
def test_show_export_and_compare_read_an_executed_notebook(executed: Executed, tmp_path: Path) -> None:
    notebook = executed.notebook("03b")
    assert "pipeline" in CliRunner().invoke(main, ["show", str(notebook)]).output
    records = json.loads(CliRunner().invoke(main, ["show", str(notebook), "--json"]).output)
    assert [record["measure"] for record in records] == ["read", "copy", "pipeline"]
    assert "disk" in CliRunner().invoke(main, ["compare", str(executed.out)]).output
    copy = tmp_path / "copy.ipynb"
    copy.write_bytes(notebook.read_bytes())
    exported = CliRunner().invoke(main, ["export", str(copy), "--to", "json", "--anonymize"])
    assert exported.exit_code == 0, exported.output
    assert copy.with_suffix(".anonymous.json").exists()


UNSTEADY_REASON = f"{UNSTEADY}: ± 31.0 % after 9 s, profile demo wants ± 10.0 %"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"verdict": "VALID"}, 0),
        ({"verdict": "INVALID", "reasons": [UNSTEADY_REASON]}, 0),
        ({"verdict": "INVALID", "reasons": [UNSTEADY_REASON], "profile": "quick"}, 3),
        ({"verdict": "INVALID", "reasons": [UNSTEADY_REASON, "the page cache answered"]}, 3),
        ({"verdict": "FAILED"}, 1),
    ],
)
def test_a_noisy_machine_is_no_failure_of_the_demo(changes: dict[str, Any], code: int) -> None:
    good = Run(notebook="03b", measure="pipeline", host=Host(), verdict="VALID")
    assert exit_code([good, Run.model_validate({**good.to_dict(), **changes})]) == code


def test_run_alone_lists_what_can_be_run() -> None:
    done = CliRunner().invoke(main, ["run"])
    assert done.exit_code == 0
    lines = [line.split("  ") for line in done.output.splitlines() if line[0] != " "]
    names = [name for name, *_ in lines]
    assert names == ["hps", "jpeg", "nas", "nvme", "quickstart", "s3", "shm", "synthetic", "examples/recipe_grid"]
    assert all(about for *_, about in lines)


def test_a_name_that_is_nearly_one_is_asked_for() -> None:
    done = CliRunner().invoke(main, ["run", "quickstrt"])
    assert done.exit_code == 2
    assert "did you mean 'quickstart'?" in done.output


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a\\b", "..", "a\0b"])
def test_a_storage_has_a_name_and_no_path(name: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main, ["run", "quickstart", "--out", str(tmp_path / "runs"), "--set", f"storage={json.dumps(name)}"]
    )
    assert done.exit_code == 2
    assert ("expected one line of characters" if "\0" in name else "expected a name, not a path") in done.output
    assert not list(tmp_path.rglob("*.ipynb"))


def test_the_doctor_looks_at_no_other_place_than_was_asked_for(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["doctor", str(tmp_path / "missing")])
    assert done.exit_code == 2
    assert "does not exist" in done.output


def test_the_schema_is_printed_as_json() -> None:
    done = CliRunner().invoke(main, ["schema"])
    assert json.loads(done.output)["$schema"].startswith("https://json-schema.org/")


@pytest.mark.parametrize("name", main.commands)
def test_help_is_text(name: str) -> None:
    """Click's mark for lines that stay as they are, in a raw docstring, is a backslash and a letter."""
    told = CliRunner().invoke(main, [name, "--help"]).output
    assert told.startswith("Usage:")
    assert "\\" not in told
