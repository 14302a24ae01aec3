"""Who decoded a run's JPEG files, which were left to software, and how near to stage 01's pixels they are, in words."""

from collections.abc import Iterator

from inferkit.records.figures import Json
from inferkit.records.run import Run
from inferkit.text import plain

HARDWARE = "hardware"
"""The backend of a decoder (``facts["decoders"]``) that is a circuit of its own; any other takes the GPU's cores."""


def decoder_text(run: Run) -> str:
    """Name who decodes a run's JPEG files: ``the GPU's decoder``; empty where nothing is decoded."""
    if backends := {own["backend"] for own in run.facts.get("decoders", [])}:
        return "the GPU's decoder" if backends == {HARDWARE} else "the GPU's cores"
    return "the CPU's threads" if "decode" in {*run.stages, *run.ceilings, run.bottleneck} else ""


def decoding_rows(run: Run) -> Iterator[tuple[str, str]]:
    """Yield what a record tells of decoding on a device, as rows of name and text."""
    if decoders := run.facts.get("decoders"):
        yield "decoded", _decoded(decoders, decoder_text(run))
    reader = run.facts.get("reader") or {}
    if seen := reader.get("files_seen"):
        yield "in software", _in_software(reader.get("files_in_software", {}), seen)
    if pixels := run.facts.get("pixels"):
        kinds = [_difference(kind, own) for kind, own in sorted(pixels.items())]
        yield "off stage 01", f"of 255: {'; '.join(kinds)}"


def _decoded(decoders: list[Json], by: str) -> str:
    images, refused = (sum(own.get(name, 0) for own in decoders) for name in ("decoded", "refused"))
    lanes = max(own.get("lanes", 1) for own in decoders)
    words = [
        f"{images:,} images by {by}",
        f"{len(decoders)} GPUs" if len(decoders) > 1 else "",
        f"{lanes} batches at a time" if lanes > 1 else "",
        f"{refused:,} refused, which a CPU decoded" if refused else "none refused",
    ]
    return ", ".join(filter(None, words))


def _in_software(why: dict[str, int], seen: int) -> str:
    """Word how many files the reader's threads decoded, and why, the most frequent reason first."""
    reasons = sorted(why.items(), key=lambda each: -each[1])
    told = [f"{count:,} {plain(reason)}" for reason, count in reasons if count]
    count = sum(why.values())
    return f"{count:,} of {seen:,} files" + (f", by the reader's threads: {', '.join(told)}" if told else "")


def _difference(kind: str, own: Json) -> str:
    images = f"{own['images']:,} image{'' if own['images'] == 1 else 's'}"
    return f"{plain(kind)} {own['mean']:.2g} on average, {own['largest']:g} at most ({images})"
