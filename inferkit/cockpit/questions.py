"""What the form asks: the notebooks' parameters, each with its kind, its help, and its value as people type it."""

from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import yaml

from inferkit.cli.plain_yaml import plain_yaml
from inferkit.engines import ENGINES
from inferkit.errors import ParameterError
from inferkit.models.precision import PRECISIONS
from inferkit.readers import READERS
from inferkit.records.params import MEASURING
from inferkit.text import quoted

NAMES: dict[str, tuple[str, ...]] = {
    "readers": tuple(READERS),
    "engines": tuple(ENGINES),
    "precisions": tuple(PRECISIONS),
}
"""The parameters whose names this version knows all of."""
SECTIONS: dict[str, tuple[str, ...]] = {
    "Data": ("storage", "data", "images", "source"),
    "Reading": ("readers", "threads", "batch_sizes"),
    "Inference": ("device", "engines", "models", "precisions"),
    "How long": ("profile", "warmup_s", "duration_s", "repeats"),
}
"""What nearly everybody sets; all other parameters are folded away."""
TITLES = {
    "storage": "Storage name",
    "data": "Data folder",
    "images": "JPEG files",
    "source": "Bytes come from",
    "threads": "Reader threads",
    "warmup_s": "Warm-up (seconds)",
    "duration_s": "Window (seconds)",
    "gpus": "GPUs",
    "gpu_counts": "Numbers of GPUs",
    "evict": "Evict from cache",
    "std": "Standard deviation",
    "cuda_graph": "CUDA graph",
    "fast": "Fast decoding",
    "wait_s": "Wait (seconds)",
}
"""Where the parameter's own name is no label."""


@dataclass(frozen=True)
class Question:
    """One parameter.

    Parameters
    ----------
    name, title, help
        In parameter files, in the form, and the description of its field.
    kind
        ``text`` as it is; ``choice`` one of some; ``several`` of some; ``yaml`` a number or a list without brackets;
        ``rules`` lines of YAML.
    default
        What the notebooks take where nothing is asked for.
    options
        Of ``choice`` and ``several``.
    """

    name: str
    title: str
    help: str
    kind: Literal["text", "choice", "several", "yaml", "rules"]
    default: Any
    options: tuple[Any, ...] = ()

    def text(self, value: Any) -> str:
        """Return a value as it is typed into a field of kind ``text``, ``yaml`` or ``rules``."""
        if self.kind == "text" and isinstance(value, str):
            return value
        if self.kind == "rules":
            return yaml.safe_dump(value, sort_keys=False) if value else ""
        text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True)
        text = text.removesuffix("\n").removesuffix("\n...")
        return text[1:-1] if isinstance(value, list) else text

    def value(self, text: str) -> Any:
        """Return what was typed as a value; it may still be of a wrong type, or out of range.

        Raises
        ------
        ParameterError
            If it cannot be read.
        """
        if self.kind == "text":
            return text
        listed = isinstance(self.default, list) and self.kind == "yaml" and not text.lstrip().startswith("[")
        try:
            value = plain_yaml(f"[{text}]" if listed else text)
        except ParameterError as error:
            expected = "numbers or names with commas between" if listed else "one value"
            if self.kind == "rules":
                expected = "rules in YAML, as in the README"
            message = f"{quoted(text)} cannot be read: expected {expected}"
            raise ParameterError(message) from error
        return "auto" if value == ["auto"] else value


def _question(name: str, field: Any) -> Question:
    kind: Literal["text", "choice", "several", "yaml", "rules"] = "yaml"
    options: tuple[Any, ...] = NAMES.get(name, ())
    items = get_args(field.annotation)
    if field.annotation is bool:
        kind, options = "choice", (True, False)
    elif field.annotation is str:
        kind = "text"
    elif get_origin(field.annotation) is Literal:
        kind, options = "choice", tuple(item for item in items if item)
    elif options or (items and get_origin(items[0]) is Literal):
        kind, options = "several", options or get_args(items[0])
    elif items and get_origin(items[0]) is dict:
        kind = "rules"
    title = TITLES.get(name) or name.replace("_", " ").capitalize()
    return Question(name, title, field.description or "", kind, field.default, options)


def questions() -> dict[str, Question]:
    """Return all questions: those of :data:`SECTIONS` first, then the others as the models have them."""
    fields = {name: field for model in MEASURING.values() for name, field in model.model_fields.items()}
    shown = [name for names in SECTIONS.values() for name in names]
    return {name: _question(name, fields[name]) for name in dict.fromkeys([*shown, *fields])}
