"""What `inferkit run` does: the plan of each configuration or its notebooks, the answer, and how the command ends."""

import re
from itertools import takewhile
from pathlib import Path
from typing import Any

import click

from inferkit.cli.refusals import FAILED, INVALID, OK, say
from inferkit.errors import InferkitError, ParameterError
from inferkit.text import plain, quoted, shortened
from inferkit.units import duration


def feed_to(descriptor: int) -> Any:
    """Return what writes events as JSON lines to a file descriptor."""
    from inferkit.cli.feed import Feed

    return Feed(descriptor)


def about(name: str, path: Path) -> list[str]:
    """Return a parameter file's name, whose it is, and what it says of itself: the first sentence of its comment."""
    from inferkit.records.project import came_along, project_root

    whose = "inferkit" if came_along(path, project_root()) else "this project"
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return [name, whose, f"cannot be read: {error.strerror}"]
    comment = " ".join(line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), lines))
    return [name, whose, re.split(r"(?<=[.?!])\s", comment, maxsplit=1)[0]]


def places(configuration: Any) -> str:
    """Say in one line where everything comes from and goes to."""
    from inferkit.records.project import came_along

    origin = "came with inferkit" if came_along(configuration.file, configuration.root) else configuration.file
    data = f"data set {configuration.data}, " if configuration.data else ""
    return f"{configuration.name} ({origin}): {data}executed notebooks {configuration.out / configuration.name}/"


def change(text: str) -> tuple[str, Any]:
    """Return key and value of an option ``--set KEY=VALUE``; the value is YAML."""
    from inferkit.cli.plain_yaml import plain_yaml

    key, equals, value = text.partition("=")
    if not equals:
        message = f"--set {shortened(text, 80)}: write KEY=VALUE, such as --set batch_sizes=[128,256]"
        raise ParameterError(message)
    try:
        return key, plain_yaml(value) if value else ""
    except ParameterError as error:
        message = f"--set {shortened(key, 80)}: {quoted(value)} {error}"
        raise ParameterError(message) from error


def show_plan(configuration: Any) -> None:
    """Print what a configuration would measure, what it takes, and what is assumed."""
    from inferkit.plan.points import LATER, size_told
    from inferkit.records.params import MakeDataset

    for notebook in configuration.notebooks:
        plan = configuration.plans[notebook]
        click.secho(f"{configuration.name} {notebook}", bold=True)
        makes = notebook == MakeDataset.notebook
        say(f"makes {plan.dataset.folder}: {size_told(plan.dataset)}" if makes else str(plan) if plan.points else LATER)
    for notebook, why in configuration.skipped.items():
        say(f"{configuration.name} {notebook} does not run: {why}")
    for what in configuration.assumed:
        say(f"assumed: {what}")
    say(f"{configuration.name}: at least {duration(sum(plan.seconds for plan in configuration.plans.values()))}\n")


def execute_all(planned: list[Any], feed: Any = None) -> int:
    """Execute configurations, print the answer, and return the exit code."""
    from inferkit.cli.execute import execute
    from inferkit.measure.progress import terminal_sink
    from inferkit.report.screen import screen

    done: list[tuple[Any, Any]] = []
    refused = False
    for configuration in planned:
        for notebook, why in configuration.skipped.items():
            say(f"{configuration.name} {notebook} does not run: {why}", err=True)
        sink = terminal_sink(configuration.name)
        try:
            for executed in execute(configuration, configuration.out, sink, feed):
                error = f"\n  {executed.error}" if executed.error else ""
                sink.write(plain(f"{configuration.name}: {executed.notebook}{error}", lines=True))
                done.append((configuration, executed))
        except InferkitError as error:  # of the folder for its notebooks; what was measured before is told
            if not done:
                raise
            refused = True
            sink.write(plain(f"{configuration.name}: {error}", lines=True))
        finally:
            sink.close()
        if refused or (done and done[-1][1].stopped):
            break
    runs = [run for _, executed in done for run in executed.runs]
    left = [f"{own.name} {notebook}" for own in planned for notebook in own.notebooks][len(done) :]
    own = [
        [run for configuration, executed in done if configuration is each for run in executed.runs] for each in planned
    ]
    told = [screen(found, name) for name, found in zip(_names(planned), own, strict=True) if found]
    say("\n" + ("\n\n".join(told) or screen([])))
    if left:
        say(f"\nStopped: {', '.join(left)} did not run.")
    folders = sorted({str(executed.notebook.parent) for _, executed in done})
    say(
        "\nExecuted notebooks: " + ", ".join(folders) + "\nOpen them in JupyterLab, or share them as they are.\n"
        "Without names and paths: inferkit export NOTEBOOK… --to ipynb --anonymize"
    )
    noisy = sum(run.noisy for run in runs)
    if noisy:
        say(f"\nThe machine was noisy: {noisy} of {len(runs)} figures varied too much to be told, see above.")
    ended_early = refused or any(executed.error or executed.stopped for _, executed in done)
    return FAILED if ended_early else exit_code(runs)


def _names(planned: list[Any]) -> list[str]:
    """Return the name of each configuration, with its file where another has the same."""
    names = [each.name for each in planned]
    return [f"{each.name} ({each.file})" if names.count(each.name) > 1 else each.name for each in planned]


def exit_code(runs: list[Any]) -> int:
    """Return how the command ends by what was measured; a noisy machine is no failure of the demo."""
    verdicts = {run.verdict for run in runs if not run.noisy}
    if "FAILED" in verdicts:
        return FAILED
    return INVALID if "INVALID" in verdicts else OK
