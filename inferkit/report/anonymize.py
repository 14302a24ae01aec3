"""A notebook without what identifies a machine or a person, to be shared.

Every text of it is searched, of whatever type: for what is known to identify (:mod:`inferkit.report.identities`), and
for what has the shape of it (:mod:`inferkit.report.shapes`). The same thing gets the same stand-in everywhere, such as
``<data folder 1>``, so that two storages are still two. What figures depend on stays: models of CPU and GPU, file
systems, sizes, versions, the kernel's release.
"""

import base64
import binascii
import ipaddress
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

import inferkit
from inferkit.machine.identity import Known, identity
from inferkit.records.figures import Json
from inferkit.records.notebooks import Tell, records_in
from inferkit.records.packed import packed
from inferkit.records.run import MIME
from inferkit.report.anonymous_html import rewritten
from inferkit.report.identities import known_in, pattern, telling, texts
from inferkit.report.pictures import bare
from inferkit.report.shapes import COLOURS, DEVICES, KEPT_NAMES, KERNELS, SHAPES, VERSION
from inferkit.report.widgets import joined, without_widgets
from inferkit.text import plain

PICTURES = ("image/png", "image/jpeg")
PLACES = ("path", "data folder")
TEXTS = ("text/plain", "text/html", "text/markdown", "text/latex")
DRAWN = re.compile(r"application/vnd\.vega(?:lite)?\.v\d+\+json|application/json")
LEAST_PATH = 2
"""A slash and one letter are no path."""
_HIDDEN = ("source_hidden", "outputs_hidden")
_PACKAGE = Path(inferkit.__file__).parent


class Anonymizer:
    """Takes out of notebooks what identifies a machine or a person, the same way in all of them.

    Parameters
    ----------
    contents
        The notebooks that are to be shared together: what one of them tells is looked for in the others as well.
    tell
        Is told what could not be searched, and what was left.
    """

    def __init__(self, contents: Iterable[dict[str, Any]], tell: Tell) -> None:
        kept = list(contents)
        found, common = telling([*(known for content in kept for known in known_in(content)), *identity()])
        self._tell = tell
        self._kinds = {known.text.lower(): known.kind for known in reversed(found)}
        self._names: dict[str, dict[str, str]] = defaultdict(dict)
        self._protected = {name for content in kept for record in records_in(content) for name in _hardware(record)}
        self._search = self._compiled(found)
        self._pictures = 0
        self._left: set[str] = set()
        for name, kind in sorted({known.text: known.kind for known in common}.items()):
            tell(f"{name!r} is the name of a {kind} and a word of every record: left where it stands alone")

    def __call__(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return a notebook's content without what identifies; its records are as valid as before."""
        content = deepcopy(content)
        without_widgets(content)
        self._pictures, self._left = 0, set()
        cells = [self._cell(cell, number) for number, cell in enumerate(content["cells"])]
        if self._pictures:
            self._tell(f"{self._pictures} picture(s) cannot be searched for names: look at them before you share them")
        if self._left:
            self._tell(f"outputs that cannot be searched were left out: {', '.join(sorted(map(plain, self._left)))}")
        language = {"name": "python"}
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        about = {"kernelspec": kernel, "language_info": language}
        return {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": content.get("nbformat_minor", 5)}

    def text(self, text: str, *, markdown: bool = False) -> str:
        """Return a text in which stand-ins stand for what identifies."""
        lead = "\\" if markdown else ""  # else Markdown would take it for an element of HTML
        shown = COLOURS.sub("", plain(text, lines=True))
        return self._search.sub(lambda found: self._replaced(found, lead), shown)

    def _compiled(self, found: list[Known]) -> re.Pattern[str]:
        ordered = sorted(found, key=lambda known: len(known.text), reverse=True)
        places = "|".join(re.escape(known.text) for known in ordered if known.kind in PLACES)
        names = "|".join(pattern(known) for known in ordered if known.kind not in PLACES)
        protected = "|".join(re.escape(name) for name in sorted(self._protected, key=len, reverse=True))
        parts = {
            "protected": rf"(?<![\w.])(?:{protected})(?![\w]|\.\d)" if protected else "",
            "place": rf"(?<![A-Za-z0-9_.])(?:{places})(?:/[^\s\"'`<>|;,(){{}}\[\]\\:]*)?(?![\w-])" if places else "",
            **SHAPES,
            "name": names,
        }
        return re.compile("|".join(f"(?P<{kind}>{part})" for kind, part in parts.items() if part))

    def _replaced(self, found: re.Match[str], lead: str) -> str:
        kind, text = found.lastgroup or "", found[0]
        if kind in _WAYS:
            return _WAYS[kind](self, text, lead)
        return self._stand_in(kind, text.rstrip(".,"), lead) + text[len(text.rstrip(".,")) :]

    def _stand_in(self, kind: str, text: str, lead: str) -> str:
        names = self._names[kind]
        return f"{lead}<{names.setdefault(text, f'{kind} {len(names) + 1}')}>"

    def _known(self, text: str, lead: str) -> str:
        kind = self._kinds.get(text.lower(), "host" if "." in text else "id")
        return self._stand_in(kind, text.lower() if kind == "host" else text, lead)

    def _ip(self, text: str, lead: str) -> str:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return text
        return text if address.is_loopback or address.is_unspecified else self._stand_in("address", text, lead)

    def _serial(self, text: str, lead: str) -> str:
        number = re.split(r"[^\w-]", text)[-1]
        return text.removesuffix(number) + self._stand_in("id", number, lead)

    def _encoded(self, text: str, lead: str) -> str:
        told = unquote(text)
        changed = self.text(told)
        return text if changed == told else changed.replace("<", f"{lead}<")

    def _picture_address(self, text: str, lead: str) -> str:
        head, _, data = text.partition(",")
        kind = head.removeprefix("data:").removesuffix(";base64")
        picture = self._picture(kind, data) if head.endswith(";base64") else None
        return "data:," if picture is None else f"{head},{picture}"

    def _path(self, text: str, lead: str) -> str:
        """Return the stand-in of a path; what any machine has stays, and so does where a module of ours lies."""
        path = text.replace("\\/", "/")
        ending = path[len(path.rstrip(".!?…/")) :]
        path = path.removesuffix(ending)
        if DEVICES.fullmatch(path):
            return text
        if KERNELS.fullmatch(path):
            return "/".join(self.text(part) for part in path.split("/")) + ending
        module = path.rpartition("/inferkit/")[2]
        if module != path and (_PACKAGE / module).is_file():
            return f"inferkit/{module}{ending}"
        folder, name = str(PurePosixPath(path).parent), PurePosixPath(path).name
        if KEPT_NAMES.fullmatch(name) and folder not in ("/", "."):
            return f"{self._place(folder, lead)}/{self.text(name)}{ending}"
        return self._place(path, lead) + ending if len(path) > LEAST_PATH else text

    def _place(self, path: str, lead: str) -> str:
        kind = self._kinds.get(path.lower(), "path")
        return self._stand_in(kind if kind == "data folder" else "path", path, lead)

    def _cell(self, cell: dict[str, Any], number: int) -> dict[str, Any]:
        markdown = cell.get("cell_type") == "markdown"
        told = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
        name = str(cell.get("id", ""))
        source, attached = joined(cell.get("source", "")), {}
        for place, (key, forms) in enumerate(_attachments(cell)):
            changed = key if self.text(key) == key else f"attachment-{place}"
            source = source.replace(f"attachment:{key}", f"attachment:{changed}")
            source = source.replace(f"attachment:{quote(key)}", f"attachment:{changed}")
            attached[changed] = self._forms(forms)
        kept: dict[str, Any] = {
            "cell_type": cell.get("cell_type"),
            "metadata": self._about(told or {}),
            "source": self.text(source, markdown=markdown),
        }
        if name:
            kept["id"] = name if self.text(name) == name else f"cell-{number}"
        if attached:
            kept["attachments"] = attached
        if cell.get("cell_type") == "code":
            kept["execution_count"] = cell.get("execution_count")
            outputs = map(self._output, _coalesced(cell.get("outputs", [])))
            kept["outputs"] = [output for output in outputs if output.get("data", True)]
        return kept

    def _about(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return what of a cell's metadata says how it is shown; nobody's else."""
        about: dict[str, Any] = {}
        if isinstance(tags := metadata.get("tags"), list):
            about["tags"] = [self.text(tag) for tag in tags if isinstance(tag, str)]
        if isinstance(shown := metadata.get("jupyter"), dict):
            about["jupyter"] = {
                key: hidden for key, hidden in shown.items() if key in _HIDDEN and hidden in (True, False)
            }
        return about

    def _output(self, output: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in output.items() if key in ("output_type", "execution_count", "name")}
        if "data" in output:
            kept |= {"data": self._forms(output["data"]), "metadata": {}}
        if "text" in output:
            kept["text"] = self.text(joined(output["text"]))
        if output.get("output_type") == "error":
            kept |= {key: self.text(joined(output.get(key, ""))) for key in ("ename", "evalue")}
            lines = output.get("traceback")
            kept["traceback"] = (
                [self.text(line) for line in lines if isinstance(line, str)] if isinstance(lines, list) else []
            )
        return kept

    def _forms(self, data: Any) -> dict[str, Any]:
        """Return the forms of an output that can be searched: texts, JSON, and pictures; charts are drawn anew."""
        if not isinstance(data, dict):
            return {}
        kept: dict[str, Any] = {}
        drawn: dict[str, Any] | None = None
        for kind, value in data.items():
            if kind == MIME:
                kept |= {} if packed(value) else {kind: self._record(value)}  # a torn one is of no use
            elif DRAWN.fullmatch(kind):
                kept[kind] = self._json(value)
                drawn = kept[kind] if kind != "application/json" else drawn
            elif kind in TEXTS:
                kept[kind] = self._as(kind, joined(value))
        for kind in PICTURES:
            picture = self._chart(drawn, data, kind) if kind in data else None
            if picture:
                kept[kind] = picture
        self._left.update(() if kept else data)  # what is shown in another form as well is not missed
        return kept

    def _as(self, kind: str, text: str) -> str:
        return rewritten(text, self.text) if kind == "text/html" else self.text(text, markdown=kind == "text/markdown")

    def _chart(self, drawn: dict[str, Any] | None, data: dict[str, Any], kind: str) -> str | None:
        if drawn is None or kind != "image/png" or drawn in data.values():
            return self._picture(kind, joined(data[kind]), searched=drawn is not None)
        from inferkit.report.display import may_draw, png  # altair

        try:
            return base64.b64encode(png(drawn)).decode("ascii") if may_draw() else None
        except ValueError:  # what cannot be drawn is no chart of ours
            return None

    def _picture(self, kind: str, data: str, *, searched: bool = False) -> str | None:
        try:
            content = bare(base64.b64decode(data), kind)
        except (binascii.Error, ValueError):
            return None
        self._pictures += not searched
        return base64.b64encode(content).decode("ascii")

    def _record(self, record: Json) -> Json:
        changed = self._json(record)
        if isinstance(changed, dict) and isinstance(changed.get("host"), dict):
            changed["host"]["identity"] = None
        return changed

    def _json(self, value: Json) -> Json:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self._json(inner) for key, inner in value.items()}
        return [self._json(inner) for inner in value] if isinstance(value, list) else value


_WAYS: dict[str, Callable[[Anonymizer, str, str], str]] = {
    **dict.fromkeys(("protected", "public", "version", "standin"), lambda _, text, lead: text),
    **dict.fromkeys(("path", "quoted", "place"), Anonymizer._path),
    "windows": lambda self, text, lead: self._stand_in("path", text, lead),
    "data": Anonymizer._picture_address,
    "encoded": Anonymizer._encoded,
    "ip": Anonymizer._ip,
    "serial": Anonymizer._serial,
    "name": Anonymizer._known,
}


def _hardware(record: Json) -> Iterable[str]:
    """Return what a record says of processors and versions, which looks like addresses or names and is none."""
    host = record.get("host") if isinstance(record, dict) else None
    if not isinstance(host, dict):
        return []
    gpus = [gpu.get("name") for gpu in host.get("gpus") or [] if isinstance(gpu, dict)]
    names = [name for name in (host.get("cpu"), *gpus) if isinstance(name, str) and " " in name.strip()]
    return [*names, *(text for text in texts(host.get("packages") or {}) if VERSION.fullmatch(text))]


def _attachments(cell: dict[str, Any]) -> list[tuple[str, Any]]:
    found = cell.get("attachments")
    return list(found.items()) if isinstance(found, dict) else []


def _coalesced(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return outputs in which what was printed in pieces is whole, so that no name is cut in two."""
    kept: list[dict[str, Any]] = []
    for output in outputs:
        last = kept[-1] if kept else {}
        if output.get("output_type") == "stream" and last.get("name") == output.get("name") and "text" in last:
            last["text"] = joined(last["text"]) + joined(output.get("text", ""))
        else:
            kept.append(output)
    return kept
