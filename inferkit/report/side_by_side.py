"""A comparison shown: the answer in sentences, then every side with what it was measured with."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from inferkit.records.run import CEILINGS
from inferkit.report.compare import Comparison, Group
from inferkit.report.dates import NEVER
from inferkit.report.judgement import SAME, SLOWER
from inferkit.report.labels import demo_text, number_text, plus_minus, share_text
from inferkit.report.remarks import grouped
from inferkit.report.repetitions import Side
from inferkit.report.store import Row
from inferkit.report.tables import html_table
from inferkit.text import text_table, wrapped

HEAD = (
    *("storage", "images/s", "n", "faster by", "judgement", "verdict", "point", "profile", "date", "machine"),
    *("bottleneck", "predicted", "reached"),
)
RIGHT = (1, 2, 3, 11, 12)
POINT = 6


def answers(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Word which storage is faster, and what the limit of each is: a network, and what was found."""
    for group in comparison.groups:
        told = [*_differences(group, comparison.tolerance), *_limits(group.valid), *_left_out(group)]
        yield group.network, "; ".join(told)


def _differences(group: Group, tolerance: float) -> Iterator[str]:
    labels = list(group.valid)
    first = labels[0] if labels else ""
    if len(labels) < 2:
        yield f"nothing to compare {first} with: {rate_text(group.sides[0])} images/s" if labels else "no run is VALID"
        return
    words = [judgement.word for judgement in group.judgements]
    pairs = list(zip(labels[1:], group.judgements, strict=True))
    for word, own in grouped(pairs, words):
        if word == SLOWER:
            yield f"{first} is " + " and ".join(f"{by.text} faster than {label}" for label, by in own)
            continue
        told = " and ".join(f"{label} ({by.text} apart)" for label, by in own)
        yield f"no difference found between {first} and {told}, {_meaning(word, tolerance)}"


def _meaning(word: str, tolerance: float) -> str:
    return f"SAME within {tolerance * 100:g} %" if word == SAME else "AMBIGUOUS: further runs may tell"


def _limits(valid: dict[str, Side]) -> Iterator[str]:
    """Word the bottleneck of all, or of each."""
    known = [(label, str(limit)) for label, own in valid.items() if (limit := own.row.get("bottleneck"))]
    found = [limit for _, limit in known]
    if len(set(found)) == 1 and len(known) == len(valid):
        everywhere = {1: "", 2: " in both"}.get(len(valid), " in all")
        yield f"{found[0]} is the bottleneck{everywhere}"
    elif known:
        yield ", ".join(f"{limit} is the bottleneck of {label}" for label, limit in known)


def _left_out(group: Group) -> Iterator[str]:
    others = [(label, own) for label, own in zip(group.labels, group.sides, strict=True) if not own.valid]
    for verdict, own in grouped(others, [str(own.row["verdict"]) for _, own in others]):
        yield f"{' and '.join(label for label, _ in own)} {'is' if len(own) == 1 else 'are'} {verdict}"
    if group.missing:
        yield f"not measured: {' and '.join(group.missing)}"


def rate_text(side: Side) -> str:
    """Word images per second with their interval and without the unit; a dash where they are unknown."""
    return number_text(side.rate) if side.rate is None or side.half is None else plus_minus(side.rate, side.half)


def remarks(comparison: Comparison) -> Iterator[str]:
    """Say what the words mean, and what qualifies all figures."""
    sides = [own for group in comparison.groups for own in group.sides]
    yield (
        f"n: runs; ±: 95 %. SAME: the ratio's interval lies within {comparison.tolerance * 100:g} %; "
        "FASTER, SLOWER: it excludes 1; AMBIGUOUS: neither"
    )
    if any(own.valid and own.n == 1 for own in sides):
        yield "n = 1: how much runs differ from each other is not in the ±; repeat them to know"
    if demo := demo_text(own.row["profile"] for own in sides):
        yield demo


def date_text(side: Side) -> str:
    """Word when the repetitions were begun, in UTC."""
    days = [f"{moment:%F}" for moment in (side.since, side.until) if moment > NEVER]
    return " to ".join(dict.fromkeys(days)) or "date unknown"


def _ceilings(row: Row) -> str:
    pairs = [(name, value) for name in CEILINGS if (value := row.get(f"ceiling_{name}"))]
    return " · ".join(f"{name} {number_text(value)}" for name, value in pairs)


def _about(group: Group, place: int) -> Iterator[str]:
    """Yield what must stand beside a side's figure."""
    own = group.sides[place]
    if not own.valid:
        yield str(own.row.get("failure") or own.row.get("reasons") or "no figure")
    if marks := group.differences(place):
        yield f"differs: {', '.join(marks)}"
    yield from filter(None, (own.beside, str(own.row.get("caveats") or "")))


def _point(row: Row) -> str:
    contexts = row.get("contexts")
    return " · ".join(filter(None, (str(row["where"]), f"contexts {contexts}" if contexts else "")))


def _behind(group: Group, place: int) -> str:
    return group.judgements[place - 1].text if 0 < place <= len(group.judgements) else ""


class View:
    """A comparison as text of 80 columns and as HTML.

    Parameters
    ----------
    comparison
        What is shown.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison

    def __str__(self) -> str:
        told = [line for lead, rest in answers(self.comparison) for line in wrapped(f"{lead}: {rest}")]
        blocks = [told, *(list(_block(group)) for group in self.comparison.groups)]
        blocks.append([line for text in remarks(self.comparison) for line in wrapped(text)])
        return "\n\n".join("\n".join(block) for block in blocks)

    def html(self) -> str:
        """Return the answer and one table a network, with inline styles only."""
        items = "".join(f"<li><b>{escape(lead)}</b>: {escape(rest)}</li>" for lead, rest in answers(self.comparison))
        tables = "".join(
            f"<p><b>{escape(group.network)}</b></p>"
            f"{html_table(_cells(group), HEAD, numbers=RIGHT, wide=POINT)}{_below(group)}"
            for group in self.comparison.groups
        )
        notes = "".join(f"<p>{escape(text)}</p>" for text in remarks(self.comparison))
        return f'<ul style="font-size:1.2em;line-height:1.35">{items}</ul>{tables}{notes}'

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Return what a notebook shows (the name is IPython's)."""
        return {"text/html": self.html(), "text/plain": str(self)}


def _block(group: Group) -> Iterator[str]:
    """Yield a network's sides for a terminal: figures first, so that a long name has the room that is left."""
    yield from wrapped(group.network)
    places = range(len(group.sides))
    figures = [
        [group.word(place) or "–", rate_text(own), f"n {own.n}", _behind(group, place)]
        for place, own in zip(places, group.sides, strict=True)
    ]
    lines = text_table(figures, numbers=[1, 2, 3])
    width = max(map(len, lines))
    for place, line in zip(places, lines, strict=True):
        yield from wrapped(f"{line.ljust(width)}  {group.labels[place]}", "  ", "      ")
        yield from (line for text in _details(group, place) for line in wrapped(text, "      "))


def _details(group: Group, place: int) -> Iterator[str]:
    own = group.sides[place]
    row = own.row
    yield f"{row['verdict']} · {row['profile']} · {date_text(own)} · {row['machine']}"
    yield _point(row)
    reached = f"{share_text(row.get('reached'))} of the predicted {number_text(row.get('predicted_images_per_s'))}"
    limits = [reached if row.get("reached") else "", f"{row['bottleneck']} limits" if row.get("bottleneck") else ""]
    if told := " · ".join(filter(None, [*limits, f"alone: {_ceilings(row)}" if _ceilings(row) else ""])):
        yield told
    yield from _about(group, place)


def _cells(group: Group) -> Iterator[Sequence[str]]:
    for place, own in enumerate(group.sides):
        row: Any = own.row
        yield (
            *(group.labels[place], rate_text(own), str(own.n), _behind(group, place), group.word(place) or "–"),
            *(row["verdict"], _point(row), row["profile"], date_text(own), row["machine"]),
            *(row.get("bottleneck") or "–", number_text(row.get("predicted_images_per_s"))),
            share_text(row.get("reached")),
        )


def _below(group: Group) -> str:
    """Return what is too long for a cell as a list below a network's table: ceilings, and what qualifies a figure."""
    items = []
    for place, own in enumerate(group.sides):
        alone = f"alone: {_ceilings(own.row)}" if _ceilings(own.row) else ""
        told = "; ".join(filter(None, [alone, *_about(group, place)]))
        items += [f"<li>{escape(group.labels[place])}: {escape(told)}</li>"] if told else []
    return f"<ul>{''.join(items)}</ul>" if items else ""
