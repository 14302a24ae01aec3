from typing import Any

import pytest

from inferkit.validity.decoding import decoding

HARDWARE = {"backend": "hardware", "decoded": 1000, "refused": 0}


@pytest.mark.parametrize(
    ("decoders", "reader", "said"),
    [
        ([], {}, []),
        ([HARDWARE], {"files_seen": 1000, "files_in_software": {}}, []),
        ([HARDWARE], {"files_seen": 1000, "files_in_software": {"CMYK": 10}}, []),
        ([HARDWARE], {"files_seen": 1000, "files_in_software": {"CMYK": 8, "several scans": 12}}, ["CMYK", "1.2 %"]),
        ([HARDWARE | {"backend": "cuda"}], {}, ["no JPEG decoder in hardware"]),
        ([HARDWARE | {"refused": 250}], {}, ["refused 20"]),
        ([HARDWARE, HARDWARE], {}, ["one process fed 2 GPUs", "notebook 03c"]),
    ],
)
def test_what_hardware_did_not_decode_is_said(
    decoders: list[dict[str, Any]], reader: dict[str, Any], said: list[str]
) -> None:
    found = list(decoding({"decoders": decoders, "reader": reader}))
    assert {own.kind for own in found} <= {"warning"}
    assert bool(found) is bool(said)
    assert all(word in found[0].text for word in said)
