"""Ways to a GPU's memory in a record, and readers that are faster without."""

from inferkit.report.direct_storage import way_rows
from inferkit.report.record import summary_rows
from tests.report.conftest import MakeRun
from tests.report.test_conclusion import lines_of

GDS = {"on": "xfs on nvme0n1", "files": 1200, "lacks": ""}
THROUGH = {"on": "tmpfs", "files": 1, "lacks": "tmpfs is memory, and no disk"}
LIBRARY = "KvikIO 26.10.00, cuFile 1.15"


def test_the_way_is_a_row_of_the_record(make_read: MakeRun) -> None:
    run = make_read("gds", 8, 32, 2e9, facts={"reader": {"library": LIBRARY, "ways": [GDS, THROUGH]}})
    told = [text for name, text in summary_rows(run) if name == "way to the GPU"]
    assert told == [
        f"GPUDirect Storage (1,200 files on xfs on nvme0n1; {LIBRARY})",
        f"compatibility mode, through host memory: tmpfs is memory, and no disk (1 file on tmpfs; {LIBRARY})",
    ]
    assert list(way_rows(make_read("direct", 8, 32, 2e9))) == []
    assert list(way_rows(make_read("direct", 8, 32, 2e9, facts={"reader": {"block": 512}}))) == []


def test_a_faster_reader_of_the_cpu_is_said_to_be(make_read: MakeRun) -> None:
    first, second, *_ = lines_of(make_read("gds", 8, 32, 7.4e9), make_read("direct", 8, 32, 22e9))
    assert first.startswith("Fastest reader direct:")
    assert second.startswith("Reader gds:")
