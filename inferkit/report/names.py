"""Names that tell apart what is not the same, where records of several notebooks meet.

A network is what its files hold, and a storage is where the data lie: names are labels that people gave, and exporters
give ``model.onnx`` to all. What has one name and is not the same gets a name of its own, what is the same gets one.
Of what a record does not tell, as those of earlier versions do not, the label is all that is known.
"""

from collections import Counter
from collections.abc import Sequence

from inferkit.records.run import NETWORK, Run
from inferkit.report.labels import MODEL, axis_text

_ZOO = "zoo:"
_DIGITS = 6
UNNAMED = "a storage without a name"


def told_apart(runs: Sequence[Run], machines: Sequence[str]) -> list[Run]:
    """Return runs whose networks and storages have names that are equal only if they are the same.

    Parameters
    ----------
    runs
        All runs that are looked at together.
    machines
        The name of each run's machine: of a storage only names on one machine are held against each other.
    """
    labels = [axis_text(MODEL, run.point.get(MODEL, "")) for run in runs]
    contents = [str(run.facts.get(NETWORK) or "") for run in runs]
    models = _marked(_shortest(labels, contents), contents)
    places = [_place(run) for run in runs]
    storages = [(machine, run.storage) for run, machine in zip(runs, machines, strict=True)]
    several = Counter(storage for storage, place in set(zip(storages, places, strict=True)) if place)
    return [
        run.model_copy(
            update={
                "point": {**run.point, MODEL: model} if model else run.point,
                "storage": f"{run.storage or UNNAMED} ({place})" if place and several[storage] > 1 else run.storage,
            }
        )
        for run, model, storage, place in zip(runs, models, storages, places, strict=True)
    ]


def _place(run: Run) -> str:
    """Return where a run read from; of a data set that is made the whole path is recorded, unlike that of reading."""
    return "" if run.measure == "dataset" else str(run.params.get("data") or run.params.get("images") or "")


def _shortest(labels: Sequence[str], contents: Sequence[str]) -> list[str]:
    """Return one label for each content: the shortest that it has; of what is unknown, its own."""
    known: dict[str, str] = {}
    for label, content in zip(labels, contents, strict=True):
        known[content] = min(known.get(content, label), label, key=len)
    return [known[content] if content else label for label, content in zip(labels, contents, strict=True)]


def _marked(labels: Sequence[str], contents: Sequence[str]) -> list[str]:
    """Add to labels that several contents have what tells them apart."""
    several = Counter(label for label, content in set(zip(labels, contents, strict=True)) if content)
    return [
        f"{label} ({_mark(content)})" if content and several[label] > 1 else label
        for label, content in zip(labels, contents, strict=True)
    ]


def _mark(content: str) -> str:
    return _ZOO.rstrip(":") if content.startswith(_ZOO) else content[:_DIGITS]
