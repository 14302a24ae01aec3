"""The command ``inferkit``."""

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import click
import yaml

from inferkit import __version__
from inferkit.errors import InferkitError
from inferkit.units import duration, gigabytes, rate

OK, FAILED, REFUSED, INVALID = 0, 1, 2, 3
P = ParamSpec("P")


def _refusals(command: Callable[P, None]) -> Callable[P, None]:
    """Turn our own errors into a message and exit code 2."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except InferkitError as error:
            click.echo(f"inferkit: {error}", err=True)
            sys.exit(REFUSED)

    return wrapped


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="inferkit")
def main() -> None:
    """Measure how many images a second this server infers from this storage, and what is the limit."""


@main.command()
@click.argument("path", type=click.Path(path_type=Path), default=".")
@_refusals
def doctor(path: Path) -> None:
    """Tell what this machine has and lacks, why it matters, and the fix. PATH: where data sets lie."""
    from inferkit.doctor import examine, table

    click.echo(table(examine(path)))


@main.command()
@click.argument("configs", nargs=-1, required=True, metavar="CONFIG…")
@click.option("--only", default="", help="Stages to run, such as 02,03b.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Replace a value of the file (YAML).")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for executed notebooks (default: runs).")
@click.option("--dry-run", is_flag=True, help="Show the points, bytes and time, and run nothing.")
@_refusals
def run(configs: tuple[str, ...], only: str, changes: tuple[str, ...], out: Path | None, *, dry_run: bool) -> None:
    """Run the stages of each CONFIG: a name in parameters/, or the path of a parameter file.

    Exit code: 0 every point VALID, 1 a point failed, 2 refused before anything ran, 3 a result INVALID. Ctrl-C finishes
    the point under way, writes everything and exits with 1; a second one stops at once.
    """
    from inferkit.execute import configure
    from inferkit.params import project_root

    values = dict(_change(text) for text in changes)
    stages = [stage for stage in only.split(",") if stage]
    planned = []
    refused = False
    for config in configs:
        try:
            planned.append(configure(config, only=stages, changes=values, out=out))
        except InferkitError as error:
            refused = True
            click.echo(f"inferkit: {error}", err=True)
    if refused:
        sys.exit(REFUSED)
    if dry_run:
        for configuration in planned:
            _show_plan(configuration)
        return
    sys.exit(_execute(planned, out or project_root() / "runs"))


def _change(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        msg = f"--set {text}: write KEY=VALUE, such as --set batch_sizes=[128,256]"
        raise click.UsageError(msg)
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        msg = f"--set {text}: {value!r} is no YAML: {error}"
        raise click.UsageError(msg) from error


def _show_plan(configuration: Any) -> None:
    for stage in configuration.stages:
        click.secho(f"{configuration.name} {stage}", bold=True)
        click.echo(str(configuration.plans[stage]) if configuration.plans[stage].points else "makes the data set")
    for stage, why in configuration.skipped.items():
        click.echo(f"{configuration.name} {stage} does not run: {why}")
    click.echo(
        f"{configuration.name}: at least {duration(sum(plan.seconds for plan in configuration.plans.values()))}\n"
    )


def _execute(planned: list[Any], out: Path) -> int:
    """Execute configurations, print the answer, and return the exit code."""
    from inferkit.execute import execute
    from inferkit.progress import TerminalSink
    from inferkit.report.conclusion import screen

    done = []
    for configuration in planned:
        for stage, why in configuration.skipped.items():
            click.echo(f"{configuration.name} {stage} does not run: {why}", err=True)
        sink = TerminalSink(configuration.name)
        try:
            for executed in execute(configuration, out, sink):
                sink.write(
                    f"{configuration.name}: {executed.notebook}" + (f"\n  {executed.error}" if executed.error else "")
                )
                done.append(executed)
        finally:
            sink.close()
        if done and done[-1].stopped:
            break
    runs = [run for executed in done for run in executed.runs]
    click.echo("\n" + screen(runs))
    folders = sorted({str(executed.notebook.parent) for executed in done})
    click.echo(
        "\nExecuted notebooks: " + ", ".join(folders) + "\nOpen them with `make lab`, or share them as they are."
    )
    verdicts = {run.verdict for run in runs}
    if "FAILED" in verdicts or any(executed.error or executed.stopped for executed in done):
        return FAILED
    return INVALID if "INVALID" in verdicts else OK


@main.group()
def dataset() -> None:
    """Make and check data sets of raw tensors."""


def _bar(name: str) -> Any:
    from inferkit.progress import Progress, TerminalSink

    return Progress(TerminalSink(name))


@dataset.command("make")
@click.argument("images")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--size", default=224, show_default=True, help="Height and width in pixels.")
@click.option("--shape", default="", help="Of random images, such as 1,28,28 (default: 3,size,size).")
@click.option("--dtype", type=click.Choice(["uint8", "float32"]), default="uint8", show_default=True)
@click.option("--resize", type=click.Choice(["stretch", "crop"]), default="stretch", show_default=True)
@click.option("--fast", is_flag=True, help="Decode at 1/2, 1/4 or 1/8 where that stays near the size or above.")
@click.option("--shuffle", is_flag=True, help="Shuffle the files with the seed.")
@click.option("--seed", default=0, show_default=True)
@click.option("--limit", default=0, help="Images to make; 0: all.")
@click.option("--images-per-file", default=250, show_default=True)
@click.option("--workers", default=0, help="Processes; 0: one per core.")
@click.option("--overwrite", is_flag=True, help="Replace a data set that was made otherwise.")
@_refusals
def make(images: str, out: Path, *, shape: str, overwrite: bool, **options: Any) -> None:
    """Make a data set in OUT of the JPEG files in IMAGES ("demo": photographs of scikit-image, "": random images)."""
    from inferkit.dataset.record import check_sources, make_dataset
    from inferkit.params import MakeDataset

    lengths = [int(length) if length.isdecimal() else length for length in shape.split(",") if length]
    source = images if images in ("", "demo") else str(Path(images).absolute())
    params = MakeDataset.check(
        {**options, "shape": lengths, "images": source, "data": str(out.absolute())}, where="inferkit dataset make"
    )
    check_sources(params)
    with _bar("make") as progress:
        made = make_dataset(params, progress.making, overwrite=overwrite)
    if made.failure is not None:
        click.echo(f"inferkit: {made.failure.message}", err=True)
        sys.exit(FAILED)
    for name, reason in made.facts["skipped"].items():
        click.echo(f"skipped {name}: {reason}", err=True)
    speed = f", {rate(made.measured.images_per_s)}" if made.measured and made.measured.images_per_s else ""
    click.echo(
        f"{out}: {made.facts['images']} images, {gigabytes(made.facts['dataset_bytes'])}, "
        f"{made.facts['made']} made now{speed}, {made.facts['skipped_count']} skipped"
    )


@dataset.command()
@click.argument("folder", type=click.Path(path_type=Path))
@_refusals
def verify(folder: Path) -> None:
    """Hash every image of FOLDER and compare with what was written when it was made."""
    from inferkit.dataset.format import open_dataset
    from inferkit.dataset.format import verify as verify_dataset

    opened = open_dataset(folder)
    with _bar("verify") as progress:
        report = verify_dataset(opened, progress.making)
    for name, index in report.altered:
        click.echo(f"altered: image {index} of {name}", err=True)
    click.echo(f"{folder}: {report.images} images checked, {len(report.altered)} altered")
    sys.exit(OK if report.ok else FAILED)


@dataset.command()
@click.argument("folder", type=click.Path(path_type=Path))
@_refusals
def info(folder: Path) -> None:
    """Tell what a data set holds."""
    from inferkit.dataset.format import open_dataset
    from inferkit.dataset.manifest import read_manifest

    opened = open_dataset(folder)
    manifest = read_manifest(folder)
    size = f"{gigabytes(opened.nbytes)} in {len(opened.files)} files"
    click.echo(f"{folder}: {opened.images} images {opened.dtype} {opened.shape}, {size}")
    if manifest is not None:
        told = manifest.model_dump(mode="json", exclude={"files", "skipped"}, exclude_none=True)
        click.echo(yaml.safe_dump(told, sort_keys=False, default_flow_style=None).rstrip())
        for skipped in manifest.skipped:
            click.echo(f"skipped {skipped.name}: {skipped.reason}")


@dataset.command("stage")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--to", "target", type=click.Path(path_type=Path), help="Folder in memory [default: in /dev/shm].")
@click.option("--per", type=click.Choice(["node", "gpu"]), default="node", show_default=True, help="A copy for each.")
@click.option("--separate", is_flag=True, help="A second copy on a node gets bytes of its own, not hard links.")
@_refusals
def stage_dataset(source: Path, target: Path | None, *, per: str, separate: bool) -> None:
    """Copy the data set SOURCE to memory, on each NUMA node, by processes bound to it."""
    from inferkit.dataset.staging import TARGET, stage

    with _bar("stage") as progress:
        staged = stage(source, target or TARGET, per=per, separate=separate, progress=progress.staging)
    click.echo(staged.table(target or TARGET))


@dataset.command("unstage")
@click.argument("target", type=click.Path(path_type=Path), required=False)
@_refusals
def unstage_dataset(target: Path | None) -> None:
    """Remove exactly what was staged in TARGET."""
    from inferkit.dataset.staging import TARGET, unstage

    removed, left = unstage(target or TARGET)
    for path in left:
        click.echo(f"left, since it was not staged: {path}", err=True)
    click.echo(f"{target or TARGET}: {removed} files removed")


@main.command()
def models() -> None:
    """List the networks that are built on the spot."""
    from inferkit.models.zoo import MODELS

    for name, model in MODELS.items():
        shape = "x".join(map(str, model.input_shape))
        size = f"{model.parameters / 1e6:7.2f} M parameters {model.multiply_adds / 1e9:6.2f} G multiply-adds"
        click.echo(f"{name:20} {shape:10} {size}  {model.source}")


@main.command()
@click.argument("notebook", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The records themselves.")
@_refusals
def show(notebook: Path, *, as_json: bool) -> None:
    """Show the records of an executed NOTEBOOK as a table."""
    from inferkit.report.conclusion import conclude
    from inferkit.report.store import read_notebook

    runs = read_notebook(notebook)
    if as_json:
        click.echo(json.dumps([run.to_dict() for run in runs], indent=1))
    else:
        from inferkit.report.overview import overview

        click.echo(overview(runs))
        click.echo("\n" + str(conclude(runs)))


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option("--allow-different", is_flag=True, help="Compare across machines and data sets as well, marked.")
@_refusals
def compare(paths: tuple[str, ...], *, allow_different: bool) -> None:
    """Put the storages in executed notebooks (or folders of them) side by side."""
    from inferkit.report import compare as comparison
    from inferkit.report.store import load

    click.echo(comparison.text(comparison.compare(load(paths), allow_different=allow_different)))


@main.command()
@click.argument("notebook", type=click.Path(path_type=Path))
@click.option("--to", "form", type=click.Choice(["html", "csv", "json"]), required=True)
@click.option("--out", type=click.Path(path_type=Path), help="File to write (default: beside the notebook).")
@click.option("--without-identity", is_flag=True, help="Leave out host name, user and serial numbers.")
@_refusals
def export(notebook: Path, form: Any, out: Path | None, *, without_identity: bool) -> None:
    """Export an executed NOTEBOOK; the HTML loads nothing from a network."""
    from inferkit.report.export import export as write

    click.echo(write(notebook, form, out or notebook.with_suffix(f".{form}"), identity=not without_identity))


if __name__ == "__main__":
    main()
