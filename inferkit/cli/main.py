"""The command ``inferkit``: each command imports what it needs, so that the door opens fast."""

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from inferkit import __version__
from inferkit.cli import paths
from inferkit.cli.refusals import REFUSED, refusals, say, warn
from inferkit.cli.surroundings import settle
from inferkit.errors import InferkitError, ParameterError, RecordError
from inferkit.text import plain, text_table, wrapped


class _Command(click.Group):
    """The command, which first makes the best of what it inherits: its help has to be shown as well."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        settle()
        return super().main(*args, **kwargs)


@click.group(cls=_Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="inferkit")
def main() -> None:
    """Measure how many images a second this server infers from this storage, and name the limit."""


class _Dataset(click.Group):
    """The group ``dataset``, whose options come from the parameters' models: they are imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return self._loaded().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return self._loaded().get_command(ctx, cmd_name)

    def _loaded(self) -> click.Group:
        from inferkit.cli.dataset import dataset

        return dataset


main.add_command(_Dataset("dataset", help="Make and check data sets of raw tensors."))


@main.command()
@click.argument("folder", type=paths.path, metavar="DIR")
@refusals
def init(folder: Path) -> None:
    """Lay out notebooks/ and parameters/ in DIR, to be edited. Nothing that is there is replaced."""
    from inferkit.cli.init import lay_out
    from inferkit.report.asking import ask

    written = ask(lambda _: lay_out(folder))
    say("\n".join(map(str, written)))
    say(
        f"\nNext: cd {shlex.quote(str(folder))}; edit parameters/nvme.yaml (data: a folder on the storage to measure); "
        "inferkit run nvme --dry-run.\nRuns and data sets go to runs/ and data/ beside them."
    )


@main.command()
@click.argument("path", type=paths.path, default=".")
@refusals
def doctor(path: Path) -> None:
    """Say what this machine has and lacks, why it matters, and how to fix it. PATH: where data sets lie."""
    from inferkit.machine.doctor import examine, table
    from inferkit.machine.watched import watched

    def examined(_: object) -> Any:
        if not path.exists():
            message = f"{path} does not exist: name the folder where data sets lie"
            raise ParameterError(message)
        return examine(path)

    say(table(watched(examined)))


@main.command()
@click.argument("configs", nargs=-1, type=paths.named, metavar="CONFIG…")
@click.option("--only", default="", help="Notebooks to run, such as 02,03b.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Replace a value of the file (YAML).")
@click.option("--out", type=paths.path, help="Folder for executed notebooks [default: runs].")
@click.option("--dry-run", is_flag=True, help="Show the points, bytes and time, and run nothing.")
@click.option(
    "--feed",
    type=click.IntRange(0, 1 << 20),
    metavar="FD",
    help="Write what happens as JSON lines to this file descriptor.",
)
@refusals
def run(
    configs: tuple[str, ...], only: str, changes: tuple[str, ...], out: Path | None, *, dry_run: bool, feed: int | None
) -> None:
    """Run the notebooks of each CONFIG: a name in parameters/, the path of a parameter file, or - for standard input.

    Without one the names are listed.

    Exit code: 0 every point VALID, 1 a point failed, 2 refused before anything ran, 3 a result INVALID. In profile demo
    a result that is INVALID only because the machine was noisy (its reason begins with "unsteady") counts as 0: this is
    said. Ctrl-C finishes the point under way, writes everything and exits with 1; a second one stops at once.
    """
    from inferkit.cli.parameter_files import configurations
    from inferkit.cli.run import about, change, execute_all, feed_to, show_plan
    from inferkit.machine.watched import watched

    told = None if feed is None else feed_to(feed)
    if not configs:
        listed = watched(lambda _: [about(name, path) for name, path in configurations().items()])
        for name, whose, words in listed:
            say("\n".join(wrapped(words or "–", f"{plain(name):<20}  {whose:<12}  ", " " * 36)))
        return
    values = dict(change(text) for text in changes)
    notebooks = [notebook for notebook in only.split(",") if notebook]
    planned = []
    refused = False
    for config in configs:
        ask = partial(_planned, config, only=notebooks, changes=values, out=out, dry=dry_run)
        try:
            planned.append(watched(ask))
        except InferkitError as error:
            refused = True
            warn(str(error))
    if refused:
        sys.exit(REFUSED)
    for _, place in planned:
        say(place, err=not dry_run)
    if dry_run:
        for configuration, _ in planned:
            show_plan(configuration)
        return
    sys.exit(execute_all([configuration for configuration, _ in planned], told))


def _planned(config: str, _: object, **asked: Any) -> tuple[Any, str]:
    """Return a configuration and where everything comes from and goes to: all that has to be asked of storage."""
    from inferkit.cli.configure import configure
    from inferkit.cli.run import places

    return (found := configure(config, **asked)), places(found)


@main.command()
@refusals
def schema() -> None:
    """Print the JSON Schema of a record."""
    import json

    from inferkit.records.run import json_schema

    say(json.dumps(json_schema(), indent=2))


@main.command()
@refusals
def models() -> None:
    """List the built-in networks."""
    from inferkit.models.zoo import MODELS

    rows = []
    for name, model in MODELS.items():
        size = [f"{model.parameters / 1e6:.2f} M parameters", f"{model.multiply_adds / 1e9:.2f} G multiply-adds"]
        rows.append([name, "x".join(map(str, model.input_shape)), *size, model.source])
    say("\n".join(text_table(rows, numbers=[2, 3])))


@main.command()
@click.argument("notebook", type=paths.path)
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
@refusals
def show(notebook: Path, *, as_json: bool) -> None:
    """Show the records of an executed NOTEBOOK as a table."""
    import json

    from inferkit.records.notebooks import load_notebook
    from inferkit.report.asking import ask
    from inferkit.report.conclusion import conclude
    from inferkit.report.overview import overview

    runs = ask(partial(load_notebook, notebook), warn)
    if as_json:
        say(json.dumps([run.to_dict() for run in runs], indent=1))
    else:
        say(f"{overview(runs)}\n\n{conclude(runs)}")


@main.command()
@click.argument("paths", nargs=-1, required=True, type=paths.named, metavar="PATH…")
@click.option("--since", default="", metavar="DATE", help="Only runs begun since then; all of a point are repetitions.")
@click.option("--best", is_flag=True, help="The fastest run of each point, not the newest ones.")
@click.option("--tolerance", type=click.FloatRange(0, 100), default=5.0, help="Percent that make no difference.")
@click.option("--trend", is_flag=True, help="Each storage over its dates, not storages beside each other.")
@click.option(
    "--allow-different", is_flag=True, help="Compare across machines and data sets too, and mark what differs."
)
@refusals
def compare(
    paths: tuple[str, ...], *, since: str, best: bool, tolerance: float, trend: bool, allow_different: bool
) -> None:
    """Say which storage is faster, and by how much, from executed notebooks (or folders of them).

    One row per storage and machine: its best VALID point, of the longest profile. Its figure is the mean of the newest
    runs of that point (begun within 18 hours of each other, by one version of inferkit); n says how many.

    Another storage is the SAME where the ratio's 95 % interval lies within the tolerance, FASTER or SLOWER where that
    excludes 1, else AMBIGUOUS: the runs do not tell.

    Storages are refused whose CPU, GPU, device, images (dtype, shape) or settings differ, unless --allow-different
    marks them. Another profile, notebook, version of inferkit, size of the data set, reader, batch size or number of
    threads, processes or GPUs is marked. What is not VALID is shown, and compared with nothing. A notebook that cannot
    be read is named and left out.
    """
    from inferkit.records.notebooks import load_runs
    from inferkit.report.asking import ask
    from inferkit.report.dates import moment
    from inferkit.report.store import rows

    found = rows(ask(partial(load_runs, paths), warn))
    start = moment(since) if since else None
    if trend:
        from inferkit.report.trend import NOTHING, Trend, trends

        if not (lines := trends(found, since=start)):
            raise RecordError(NOTHING)
        say(str(Trend(lines)))
        return
    from inferkit.report.compare import compare as put_together
    from inferkit.report.side_by_side import View

    share = tolerance / 100
    say(str(View(put_together(found, since=start, best=best, tolerance=share, allow_different=allow_different))))


SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """Return the seconds of a time such as 90s, 30m, 24h or 7d."""
    try:
        seconds = float(value[:-1]) * SECONDS[value[-1:]]
    except (KeyError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        message = f"{value!r} is no time: write a number with s, m, h or d, such as 24h"
        raise click.BadParameter(message, ctx, param)
    return seconds


@main.command()
@click.argument("paths", nargs=-1, required=True, type=paths.named, metavar="RUN…")
@click.option("--images", type=click.FloatRange(1, 1e18), required=True, help="Images to infer, such as 1e9.")
@click.option("--within", callback=_seconds, required=True, metavar="TIME", help="In how long: 90s, 30m, 24h, 7d.")
@refusals
def plan(paths: tuple[str, ...], images: float, within: float) -> None:
    """Say how many servers, GPUs and bytes a second a target takes, from executed notebooks 03b, 03c or 03d.

    A law is fitted to how the storage's throughput grew with the servers, where at least three numbers of them were
    measured (03d). Every assumption is listed. Nothing is planned on a record that is not VALID.
    """
    from inferkit.records.notebooks import load_runs
    from inferkit.report.asking import ask
    from inferkit.report.sizing import size

    say(str(size([run for run, _ in ask(partial(load_runs, paths), warn)], images, within)))


@main.command()
@click.argument("folder", required=False, metavar="[DIR]", type=paths.path)
@refusals
def runs(folder: Path | None) -> None:
    """List the executed notebooks in DIR (the project's runs), each with its answer, the newest first.

    What cannot be read is named and left out.
    """
    from inferkit.records.project import project_root
    from inferkit.report.asking import ask
    from inferkit.report.index import Index, entries

    say(str(Index(entries(folder or ask(lambda _: project_root()) / "runs", warn))))


@main.command()
@click.argument("notebooks", nargs=-1, required=True, type=paths.path, metavar="NOTEBOOK…")
@click.option("--to", "form", type=click.Choice(["html", "pdf", "csv", "json", "ipynb"]), required=True)
@click.option("--out", type=paths.path, help="File, or folder for several [default: beside each].")
@click.option(
    "--anonymize", is_flag=True, help="Leave out names of host and user, paths, addresses and serial numbers."
)
@refusals
def export(notebooks: tuple[Path, ...], form: Any, out: Path | None, *, anonymize: bool) -> None:
    """Export executed notebooks; nothing runs in an exported page, and nothing is loaded from a network."""
    from inferkit.report.export import export as write

    say("\n".join(map(str, write(notebooks, form, out, anonymize=anonymize, tell=warn))))


if __name__ == "__main__":
    main()
