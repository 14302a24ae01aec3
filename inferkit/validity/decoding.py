"""What a reader should know of how JPEG files were decoded on a device: by what, and which were not."""

from collections.abc import Iterator, Mapping

from inferkit.records.figures import Json
from inferkit.units import percent
from inferkit.validity.data_origin import Finding

SAID = 0.01
"""Share of the files from which on is said that the device does not decode them."""


def decoding(facts: Mapping[str, Json]) -> Iterator[Finding]:
    """Say what was not decoded by the decoder in hardware that a figure is taken for.

    Parameters
    ----------
    facts
        A rank's: ``decoders`` of its devices, and ``reader``.
    """
    decoders = facts.get("decoders", [])
    if any(own["backend"] != "hardware" for own in decoders):
        yield Finding("warning", "this GPU has no JPEG decoder in hardware that works: its cores and the CPU decoded")
    if len(decoders) > 1:
        yield Finding(
            "warning",
            f"one process fed {len(decoders)} GPUs: its readers wait for Python's lock at each file, which may be what "
            "limits; compare with a process for each GPU (notebook 03c)",
        )
    reader = facts.get("reader") or {}
    seen, software = reader.get("files_seen", 0), reader.get("files_in_software", {})
    if seen and sum(software.values()) > SAID * seen:
        told = ", ".join(f"{percent(count / seen)} {reason}" for reason, count in software.items())
        yield Finding("warning", f"not every file suits the decoder in hardware: the reader's threads decoded {told}")
    refused, decoded = (sum(own[name] for own in decoders) for name in ("refused", "decoded"))
    if refused > SAID * (refused + decoded):
        yield Finding(
            "warning", f"the device refused {percent(refused / (refused + decoded))} of the images: a CPU decoded them"
        )
