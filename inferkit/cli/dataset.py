"""The commands ``inferkit dataset …``."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, get_args

import click

from inferkit.cli import paths
from inferkit.cli.refusals import BEGUN, FAILED, OK, REFUSED, refusals, say, warn
from inferkit.errors import ParameterError
from inferkit.objects.place import Folder, is_other_url, is_url
from inferkit.records.groups import ObjectStores
from inferkit.records.params import MakeDataset
from inferkit.text import shortened
from inferkit.units import gigabytes, rate

P = ParamSpec("P")
_BEGUN = {kind.__name__ for own in BEGUN for kind in (own, *own.__subclasses__())}
"""The names of what goes wrong only once something runs."""


@click.group()
def dataset() -> None:
    """Make and check data sets of raw tensors."""
    from inferkit.linux.limits import raise_open_files

    raise_open_files()


def _bar(name: str) -> Any:
    from inferkit.measure.progress import Progress, terminal_sink

    return Progress(terminal_sink(name))


def _option(flag: str, **settings: Any) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Declare an option for the field of MakeDataset that has its name, with the field's default and words."""
    field = MakeDataset.model_fields[flag.removeprefix("--").replace("-", "_")]
    told: dict[str, Any] = {"default": None if field.default == "" else field.default, "show_default": True}
    if words := [word for word in get_args(field.annotation) if word]:
        told["type"] = click.Choice(words)
    return click.option(flag, **told | settings)


def _store_options(command: Callable[P, None]) -> Callable[P, None]:
    """Declare how to speak to an object store; of credentials there is no option."""
    for flag in ("--s3-profile", "--s3-region", "--s3-endpoint"):
        described = MakeDataset.model_fields[flag[2:].replace("-", "_")].description
        command = _option(flag, help=f"For s3://…: {described}")(command)
    words = "For s3://…: address objects as endpoint/bucket/key, or as bucket.endpoint/key."
    return click.option("--s3-path-style/--s3-host-style", default=True, show_default=True, help=words)(command)


def _place(text: str, options: dict[str, Any]) -> Folder:
    """Return the folder, or the objects, that an argument names."""
    given = {name: value for name, value in options.items() if value is not None}
    store = ObjectStores.check(given, where=click.get_current_context().command_path)
    return store.place(text) if is_url(text) else Path(text)


@dataset.command("make")
@click.argument("images")
@click.argument("out", type=paths.place)
@_option("--size", help="Height and width in pixels.")
@click.option("--shape", default="", help="Of random images, such as 1,28,28 (default: 3,size,size).")
@_option("--dtype", show_default="uint8")
@_option("--resize")
@_option("--fast", is_flag=True, help="Decode at 1/2, 1/4 or 1/8 where that is still near the size or above.")
@_option("--shuffle", is_flag=True, help="Shuffle the files with the seed.")
@_option("--seed")
@_option("--limit", help="Images to make; 0: all (random images: 1000).")
@_option("--images-per-file")
@_option("--workers", help="Processes; 0: one per core.")
@click.option("--overwrite", is_flag=True, help="Replace a data set that was made with other options.")
@_store_options
@refusals
def make(images: str, out: str, *, shape: str, overwrite: bool, **options: Any) -> None:
    """Make a data set in OUT from the JPEG files in IMAGES ("demo": scikit-image's photographs, "": random images).

    Both may be s3://bucket/prefix.
    """
    from inferkit.dataset.record import check_sources, make_dataset
    from inferkit.machine.watched import watched

    lengths = [int(part) if part.isdecimal() and len(part) < 20 else part for part in shape.split(",") if part]
    source = (
        images if images in ("", "demo") or is_url(images) or is_other_url(images) else str(Path(images).absolute())
    )
    given = {name: value for name, value in options.items() if value is not None}
    given |= {"shape": lengths, "images": source, "data": out if is_url(out) else str(Path(out).absolute())}
    params = MakeDataset.check(given, where="inferkit dataset make")
    watched(lambda _: check_sources(params))
    with _bar("make") as progress:
        made = make_dataset(params, progress.making, overwrite=overwrite)
    if made.failure is not None:
        warn(made.failure.message)
        sys.exit(FAILED if made.failure.kind in _BEGUN else REFUSED)
    for name, reason in made.facts["skipped"].items():
        say(f"skipped {name}: {reason}", err=True)
    if (more := made.facts["skipped_count"] - len(made.facts["skipped"])) > 0:
        say(f"skipped {more} more: {out}/dataset.json lists all", err=True)
    speed = f", {rate(made.measured.images_per_s)}" if made.measured and made.measured.images_per_s else ""
    say(
        f"{out}: {made.facts['images']} images, {gigabytes(made.facts['dataset_bytes'])}, "
        f"{made.facts['made']} made now{speed}, {made.facts['skipped_count']} skipped"
    )


@dataset.command()
@click.argument("source", type=paths.path)
@click.argument("url", metavar="s3://BUCKET/PREFIX")
@click.option("--overwrite", is_flag=True, help="Replace another data set that lies there.")
@_store_options
@refusals
def push(source: Path, url: str, *, overwrite: bool, **options: Any) -> None:
    """Copy the data set (or the JPEG files) in SOURCE to an object store; an interrupted push goes on where it stopped.

    Credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or from a profile.
    """
    from inferkit.dataset.push import push as push_dataset
    from inferkit.machine.watched import watched

    place = _place(url, options)
    if isinstance(place, Path):
        message = f"{url} is no s3://bucket/prefix: to copy to a folder, use cp"
        raise ParameterError(message)
    with _bar("push") as progress:
        pushed = watched(lambda show: push_dataset(source, place, show, overwrite=overwrite), progress.staging)
    now = f"{pushed.sent_files} of {pushed.files} files ({gigabytes(pushed.sent_bytes)}) sent now"
    say(f"{place}: {gigabytes(pushed.nbytes)}, {now}, the rest was there")


@dataset.command()
@click.argument("folder", type=paths.place)
@_store_options
@refusals
def verify(folder: str, **options: Any) -> None:
    """Hash every image of FOLDER (or s3://bucket/prefix) and compare with the hashes written when it was made."""
    from inferkit.dataset.format import open_dataset
    from inferkit.dataset.format import verify as verify_dataset
    from inferkit.machine.watched import watched

    place = _place(folder, options)
    with _bar("verify") as progress:
        report = watched(lambda show: verify_dataset(open_dataset(place), show), progress.making)
    for name, index in report.altered:
        say(f"altered: image {index} of {name}", err=True)
    say(f"{folder}: {report.images} images checked, {len(report.altered)} altered")
    sys.exit(OK if report.ok else FAILED)


@dataset.command()
@click.argument("folder", type=paths.place)
@_store_options
@refusals
def info(folder: str, **options: Any) -> None:
    """Show what a data set in FOLDER (or s3://bucket/prefix) holds."""
    import yaml

    from inferkit.dataset.format import open_dataset
    from inferkit.dataset.manifest import read_manifest
    from inferkit.machine.watched import watched

    place = _place(folder, options)
    opened, manifest = watched(lambda _: (open_dataset(place), read_manifest(place)))
    size = f"{gigabytes(opened.nbytes)} in {len(opened.files)} files"
    say(f"{folder}: {opened.images} images {opened.dtype} {opened.shape}, {size}")
    if manifest is not None:
        told = manifest.model_dump(mode="json", exclude={"files", "skipped"}, exclude_none=True)
        say(yaml.safe_dump(told, sort_keys=False, default_flow_style=None).rstrip())
        for skipped in manifest.skipped:
            say(shortened(f"skipped {skipped.name}: {skipped.reason}"))


@dataset.command("stage")
@click.argument("source", type=paths.path)
@click.option("--to", "target", type=paths.path, help="Folder in memory [default: in /dev/shm].")
@click.option("--per", type=click.Choice(["node", "gpu"]), default="node", show_default=True, help="A copy for each.")
@click.option("--separate", is_flag=True, help="A second copy on a node gets bytes of its own, not hard links.")
@refusals
def stage_dataset(source: Path, target: Path | None, *, per: str, separate: bool) -> None:
    """Copy the data set SOURCE to memory on each NUMA node. Processes bound to the node copy it."""
    from inferkit.dataset.staging import TARGET, stage
    from inferkit.machine.watched import watched

    place = target or TARGET
    with _bar("stage") as progress:
        staged = watched(lambda show: stage(source, place, per=per, separate=separate, progress=show), progress.staging)
    say(staged.table(place))


@dataset.command("unstage")
@click.argument("target", type=paths.path, required=False)
@refusals
def unstage_dataset(target: Path | None) -> None:
    """Remove exactly what was staged in TARGET."""
    from inferkit.dataset.staging import TARGET, unstage
    from inferkit.machine.watched import watched

    removed, left = watched(lambda _: unstage(target or TARGET))
    for path in left:
        say(f"left, since it was not staged: {path}", err=True)
    say(f"{target or TARGET}: {removed} files removed")
