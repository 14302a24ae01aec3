import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from inferkit.devices.cpu import CpuDevice
from inferkit.errors import DeviceError, ReadError
from inferkit.linux.mounts import filesystem
from inferkit.readers.mapped import MappedReader
from tests.conftest import MakeTensors
from tests.readers.conftest import assert_reads_every_image


class Recorder(CpuDevice):
    """Notes what is registered, and refuses what it is told to."""

    def __init__(self, refuse: int = -1) -> None:
        super().__init__()
        self.registered: dict[int, tuple[int, bool]] = {}
        self.refuse = refuse

    def register(self, address: int, nbytes: int, *, writable: bool) -> Any:
        if len(self.registered) == self.refuse:
            raise DeviceError("refused")
        self.registered[address] = (nbytes, writable)
        recorder = self

        class Registered:
            def close(self) -> None:
                del recorder.registered[address]

        return Registered()


@pytest.mark.parametrize("shape", [(3, 5, 7), (1,), (3, 64, 64), (3, 37, 41)])
@pytest.mark.parametrize("in_memory", [True, False])
def test_shows_every_image(
    make_dataset: MakeTensors, device: CpuDevice, shm: Path, tmp_path: Path, shape: tuple[int, ...], in_memory: bool
) -> None:
    known = make_dataset((5, 3, 7), shape, "float32", folder=shm if in_memory else tmp_path)
    with MappedReader(known.dataset, device) as reader:
        assert reader.buffer_bytes(4) == 0
        assert_reads_every_image(reader, known, device, batch_size=4, threads=3)
        assert_reads_every_image(reader, known, device, batch_size=40, threads=1)


def test_registers_each_file_once_and_undoes_it(make_dataset: MakeTensors, shm: Path) -> None:
    known = make_dataset((5, 3, 7), folder=shm)
    with Recorder() as device:
        reader = MappedReader(known.dataset, device)
        assert [nbytes for nbytes, _ in device.registered.values()] == [5 * 105, 3 * 105, 7 * 105]
        assert all(address % os.sysconf("SC_PAGE_SIZE") == 0 for address in device.registered)
        reader.close()
        assert device.registered == {}
        reader.close()
    assert known.dataset.path(0).parent.name not in Path("/proc/self/maps").read_text()


def test_pages_in_memory_are_writable_and_those_of_a_disk_are_not(
    make_dataset: MakeTensors, shm: Path, tmp_path: Path
) -> None:
    with Recorder() as device, MappedReader(make_dataset(folder=shm).dataset, device):
        assert {writable for _, writable in device.registered.values()} == {filesystem(shm).in_memory}
    if filesystem(tmp_path).in_memory:
        pytest.skip(f"{tmp_path} lies in memory too")
    with Recorder() as device, MappedReader(make_dataset(folder=tmp_path).dataset, device):
        assert {writable for _, writable in device.registered.values()} == {False}


def test_refused_registration_leaves_nothing(make_dataset: MakeTensors, shm: Path) -> None:
    known = make_dataset((5, 3, 7), folder=shm)
    with Recorder(refuse=2) as device:
        with pytest.raises(DeviceError, match="refused"):
            MappedReader(known.dataset, device)
        assert device.registered == {}


def test_truncated_before(make_dataset: MakeTensors, device: CpuDevice, shm: Path) -> None:
    known = make_dataset(folder=shm)
    os.truncate(known.dataset.path(1), 200)
    with pytest.raises(ReadError, match=f"{known.dataset.path(1)} has 200 bytes, 315 were expected"):
        MappedReader(known.dataset, device)


def test_vanished_file(make_dataset: MakeTensors, device: CpuDevice, shm: Path) -> None:
    known = make_dataset(folder=shm)
    known.dataset.path(2).unlink()
    with pytest.raises(ReadError, match=r"cannot examine .*No such file"):
        MappedReader(known.dataset, device)


def test_unlinked_while_mapped(make_dataset: MakeTensors, device: CpuDevice, shm: Path) -> None:
    known = make_dataset(folder=shm)
    with MappedReader(known.dataset, device) as reader:
        for k in range(3):
            known.dataset.path(k).unlink()
        assert_reads_every_image(reader, known, device, batch_size=4, threads=2)


def test_more_than_the_memory_is_refused(
    make_dataset: MakeTensors, device: CpuDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = make_dataset((40,), (3, 37, 41))
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 2, "SC_PAGE_SIZE": 4096}.__getitem__)
    with pytest.raises(DeviceError, match=r"needs the data set's 178 KiB in memory, this machine has 8 KiB: use read"):
        MappedReader(known.dataset, device)


def test_truncated_while_mapped_kills_the_process_by_sigbus(make_dataset: MakeTensors, shm: Path) -> None:
    # Nothing can be caught there; the launcher tells what SIGBUS means.
    known = make_dataset((2000,), folder=shm)
    code = (
        "import os, sys; from pathlib import Path; from inferkit.batch import Piece\n"
        "from inferkit.dataset.format import open_dataset; from inferkit.devices.cpu import CpuDevice\n"
        "from inferkit.readers.mapped import MappedReader\n"
        "data = open_dataset(Path(sys.argv[1]), dtype='uint8', shape=(3, 5, 7)); device = CpuDevice()\n"
        "reader = MappedReader(data, device); os.truncate(data.path(0), 0); slot = device.slot(105)\n"
        "device.copy_in(reader.read([Piece(0, 1999, 1, 1999)], None), slot).wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(known.dataset.folder)], timeout=60, capture_output=True)
    assert done.returncode == -signal.SIGBUS
