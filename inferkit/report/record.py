"""Show a Run in a notebook: the record itself, and a table and a text that people read."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from inferkit.errors import RecordError
from inferkit.records.figures import Json, Repeat, Stage
from inferkit.records.packed import Packer
from inferkit.records.run import MIME, Peer, Run, rounded
from inferkit.report import tables
from inferkit.report.decoding import decoding_rows
from inferkit.report.direct_storage import way_rows
from inferkit.report.gpus import gpus_text
from inferkit.report.labels import (
    DEMO_REASON,
    NOT_FOR_QUOTING,
    error_text,
    figure_text,
    flatten,
    measured_text,
    number_text,
    point_text,
    reached_text,
    share_text,
    title,
    verdict_text,
)
from inferkit.report.palette import VERDICT_COLOURS, stage_order
from inferkit.report.storage import storage_rows
from inferkit.text import text_table
from inferkit.units import bandwidth, duration

TOLD = ("batches", "layers_ms", "reading", "decoders", "pixels", "top1_agreement", "gpus", "fingerprint")
"""Facts that a chart or a row of the summary tells, and one that says nothing to people."""
FACTS = "Facts that are the same wherever they were found (all others: inferkit show --json)"


def bundle(run: Run, packer: Packer | None = None) -> dict[str, Json]:
    """Return the MIME bundle of a run.

    The record is under ``application/vnd.inferkit.run+json``; ``text/html`` is a line that opens on a click, which an
    untrusted notebook shows too, and ``text/plain`` that line. What all points of a notebook have in common is shown
    once (:func:`about`). What identifies a machine or a person is in the record alone, so that it can be taken out of
    one place.

    Parameters
    ----------
    packer
        Packs the record, as one of those that its cell displays; None: it stands whole.
    """
    record = run.to_dict()
    return {MIME: packer.pack(record) if packer else record, "text/html": _html(run), "text/plain": _line(run)}


def show(run: Run, packer: Packer | None = None) -> Run:
    """Display a run in the notebook's cell and return it; see :func:`bundle`."""
    from IPython.display import display  # the only need for IPython: reading records must not wait for it

    display(bundle(run, packer), raw=True)
    return run


def raise_for_failures(runs: Iterable[Run]) -> None:
    """Fail the notebook if a point failed; the last cell calls this, when every record has been shown.

    Raises
    ------
    RecordError
        Naming each FAILED point. An INVALID one is a result and does not raise.
    """
    failed = [
        f"- {' · '.join(filter(None, (title(run), point_text(run))))}: {verdict_text(run)}"
        for run in runs
        if run.verdict == "FAILED"
    ]
    if failed:
        message = f"{len(failed)} point(s) failed; their records above hold the details:\n" + "\n".join(failed)
        raise RecordError(message)


def summary_rows(run: Run) -> list[tuple[str, str]]:
    """Return what a run found, as rows of name and text."""
    rows = [("measured", measured_text(run))]
    if error := error_text(run.measured):
        rows.append(("error", error))
    if run.predicted is not None:
        rows += [("predicted", figure_text(run.predicted)), ("reached", reached_text(run) or "–")]
    if run.bottleneck:
        rows.append(("bottleneck", run.bottleneck))
    if reading := _reading(run.facts.get("reading") or {}):
        rows.append(("reader threads", reading))
    rows += [*storage_rows(run), *decoding_rows(run), *way_rows(run)]
    if run.cores is not None:
        rows.append(("CPU", f"{run.cores:.2f} cores"))
    if gpus := gpus_text(run.facts.get("gpus")):
        rows.append(("GPUs", gpus))
    if "top1_agreement" in run.facts:
        share = share_text(run.facts["top1_agreement"])
        rows.append(("as in float32", f"same class for {share} of images not used for calibration (ONNX Runtime)"))
    return rows + [(f"{name} alone", figure_text(run.ceilings[name])) for name in stage_order(run.ceilings)]


def _reading(facts: dict[str, Json]) -> str:
    """Word what the reader threads did: when the first and the last had read their share once, balance, CPU time."""
    first, last, balance, cpu = (
        facts.get(k) for k in ("first_done_s", "last_done_s", "balance", "thread_cpu_s_per_gb")
    )
    words = [
        f"first share done after {duration(first)}" if first is not None else "",
        f"last after {duration(last)}" if last is not None else "",
        f"least ÷ most read {share_text(balance)}" if balance is not None else "",
        f"{cpu:.3f} CPU s of these threads per GB" if cpu is not None else "",
    ]
    return " · ".join(filter(None, words))


def remarks(run: Run) -> Iterator[tuple[str, str]]:
    """Yield everything that qualifies a figure, as kind and text."""
    if run.failure is not None:
        yield "failure", f"{run.failure.kind}: {run.failure.message}"
    yield from (("reason", text) for text in run.reasons)
    yield from (("warning", text) for text in run.warnings)
    yield from (("unverified", text) for text in run.unverified)
    if run.profile == "demo":
        yield NOT_FOR_QUOTING, DEMO_REASON


def _line(run: Run) -> str:
    figure = measured_text(run) if run.measured else ""
    return " · ".join(filter(None, (run.verdict, title(run), point_text(run), figure)))


def _html(run: Run) -> str:
    style = f"color:#fff;background:{VERDICT_COLOURS[run.verdict]};padding:0 4px"  # readable in any theme
    mark = f'<b style="{style}">{run.verdict}</b>'
    words = " · ".join(filter(None, (run.measure, point_text(run), measured_text(run) if run.measured else "")))
    inside = "\n\n".join("\n".join(lines) for lines in _parts(run))
    return f"<details><summary>{mark} {escape(words)}</summary><pre>{escape(inside, quote=False)}</pre></details>"


def _parts(run: Run) -> Iterator[list[str]]:
    """Yield the lines of a record's tables, the most important first; the figure stands in the line above."""
    yield text_table([*summary_rows(run)[1:], *remarks(run)])
    if run.failure is not None and run.failure.detail:
        yield run.failure.detail.splitlines()
    if run.stages:
        rows = [_stage_row(name, run.stages[name]) for name in stage_order(run.stages)]
        yield text_table(rows, _STAGE_HEAD, numbers=range(1, len(_STAGE_HEAD)))
    if run.peers:
        yield text_table([_peer_row(peer) for peer in run.peers], ("peer", "figure", "ours ÷ peer", "command"))
    if run.repeats:
        unit = "images/s" if any(repeat.images for repeat in run.repeats) else "bytes/s"
        yield text_table(_windows(run.repeats), ("window", "length", unit, "batches"), numbers=(1, 2, 3))
    yield [f"id {run.id} · started {run.started} · scope {run.scope}"]


class About:
    """What all records of a notebook have in common: parameters, machine and facts; folded in a notebook."""

    def __init__(self, runs: Sequence[Run]) -> None:
        last = runs[-1] if runs else None
        host = last.host.model_dump(mode="json", exclude={"identity"}) if last else {}
        self.tables = {"Parameters": last.params if last else {}, "Machine": host, FACTS: _same(runs)}

    def __str__(self) -> str:
        return "\n".join(f"{name}\n" + "\n".join(text_table(flatten(told))) for name, told in self.tables.items())

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Return what a notebook shows (the name is IPython's)."""
        texts = {name: "\n".join(text_table(flatten(told))) for name, told in self.tables.items()}
        html = "".join(tables.folded(name, f"<pre>{escape(text)}</pre>") for name, text in texts.items())
        return {"text/html": html, "text/plain": "parameters and machine: in each record"}


def about(runs: Sequence[Run]) -> About:
    """Return parameters, machine and facts, to be shown once at the end of a notebook."""
    return About(runs)


def _same(runs: Sequence[Run]) -> dict[str, str]:
    """Return the facts that are the same in all records that have them, but for those that are told elsewhere."""
    found: dict[str, set[str]] = {}
    for run in runs:
        facts = {name: rounded(fact) for name, fact in run.facts.items() if name not in TOLD}
        for name, text in flatten(facts):
            found.setdefault(name, set()).add(text)
    return {name: texts.pop() for name, texts in found.items() if len(texts) == 1}


_STAGE_HEAD = ("at work", "images/s", "bytes/s", "busy", "workers", "p50", "p90", "p99", "p99.9")


def _stage_row(name: str, stage: Stage) -> list[str]:
    times = stage.quantiles
    speed = number_text(stage.images_per_s)
    nbytes = "–" if stage.bytes_per_s is None else bandwidth(stage.bytes_per_s)
    kept = () if times is None else (times.p50_s, times.p90_s, times.p99_s, times.p999_s)
    spans = [duration(t) for t in kept] or ["–"] * 4
    return [name, speed, nbytes, share_text(stage.busy), str(stage.workers), *spans]


def _windows(repeats: Sequence[Repeat]) -> Iterator[tuple[str, ...]]:
    """Yield the warm-up and each window: how long it was, its rate, and its batches."""
    for repeat in repeats:
        kind = "warm-up" if repeat.warmup else "measured"
        speed = number_text(repeat.images_per_s) if repeat.images else bandwidth(repeat.bytes_per_s)
        yield kind, duration(repeat.seconds), speed, f"{repeat.batches:,}"


def _peer_row(peer: Peer) -> list[str]:
    figure = f"none: {peer.missing}" if peer.figure is None else figure_text(peer.figure)
    ratio = "–" if peer.ratio is None else f"{peer.ratio:.2f}"
    if peer.interval is not None:
        ratio += f" ({peer.interval[0]:.2f} … {peer.interval[1]:.2f})"
    return [peer.name, figure, ratio, peer.command]
