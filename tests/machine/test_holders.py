from pathlib import Path

import pytest

from inferkit.errors import ReadError
from inferkit.linux.mounts import filesystem
from inferkit.machine import holders as module
from inferkit.machine.holders import Holder, holder, holders
from tests.mounting import Mounts


def written(folder: Path, name: str = "a.tensors") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(bytes(range(256)) * 64)
    return path


def empty(folder: Path) -> Path:
    """Make a second layer, for an overlay that is only read wants two."""
    (folder / "empty").mkdir()
    return folder / "empty"


def chain(*paths: Path) -> list[tuple[str, tuple[str, ...], int]]:
    """Return kind and way down of each holder, loop and zram without their numbers, and how many files it has."""
    found = [(own.holder.kind, own.holder.chain, len(own.files)) for own in holders(paths)]
    return [(kind, tuple(name.rstrip("0123456789") for name in way), files) for kind, way, files in found]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Give a folder that lies on a disk for certain."""
    if holder(tmp_path).kind != "disk":
        pytest.skip(f"{tmp_path} lies on {holder(tmp_path)}")
    return tmp_path / "disk"


def test_a_disk(disk: Path) -> None:
    own = holder(written(disk))
    assert own.disks == own.chain[-len(own.disks) :]
    assert own.reader == filesystem(disk).fstype
    assert [len(held.files) for held in holders([written(disk), written(disk, "b.tensors")])] == [2]


def test_memory(shm: Path) -> None:
    assert chain(written(shm)) == [("memory", ("tmpfs",), 1)]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"cannot examine .*gone: No such file"):
        holders([tmp_path / "gone"])


def test_a_disk_whose_file_lies_in_memory(mounts: Mounts) -> None:
    image = mounts.loop("image", mounts.tmpfs("memory"))
    assert chain(written(image)) == [("memory", ("ext", "loop", "tmpfs"), 1)]


def test_btrfs_has_no_device_number_of_its_own(mounts: Mounts) -> None:
    image = mounts.loop("image", mounts.tmpfs("memory"), "btrfs", 256 * 2**20)
    assert chain(written(image)) == [("memory", ("btrfs", "loop", "tmpfs"), 1)]


def test_a_disk_whose_file_lies_on_a_disk(mounts: Mounts, disk: Path) -> None:
    disk.mkdir()
    own = holder(written(mounts.loop("image", disk)))
    assert (own.kind, own.disks) == ("disk", holder(disk).disks)
    assert own.stacked


@pytest.mark.parametrize("may_ask", [True, False])
def test_a_file_behind_a_disk_that_was_deleted(mounts: Mounts, monkeypatch: pytest.MonkeyPatch, may_ask: bool) -> None:
    memory = mounts.tmpfs("memory")
    path = written(mounts.loop("image", memory))
    (memory / "image.img").unlink()
    if not may_ask:
        monkeypatch.setattr(module, "loop_file_device", lambda name: None)
    expected = ("memory", ("ext", "loop", "tmpfs"), 1) if may_ask else ("unresolved", ("ext", "loop"), 1)
    assert chain(path) == [expected]


def test_a_file_behind_a_disk_whose_path_another_has(mounts: Mounts, disk: Path) -> None:
    memory = mounts.tmpfs("memory")
    path = written(mounts.loop("image", memory))
    written(disk, "image.img")
    mounts.bind(disk, memory)
    assert chain(path) == [("memory", ("ext", "loop", "tmpfs"), 1)]


def test_compressed_memory(mounts: Mounts) -> None:
    assert chain(written(mounts.zram("zram"))) == [("memory", ("ext", "zram"), 1)]


@pytest.mark.parametrize("name", ["nullb0", "fast"])
def test_a_disk_that_is_memory_for_tests(mounts: Mounts, name: str) -> None:
    assert chain(written(mounts.null_blk("null", name))) == [("memory", ("ext", name.rstrip("0")), 1)]


def test_an_overlay_is_where_its_layers_are(mounts: Mounts, disk: Path) -> None:
    memory, zram = mounts.tmpfs("memory"), mounts.zram("zram")
    written(memory / "upper"), written(zram / "lower", "b.tensors"), written(disk, "c.tensors")
    over = mounts.overlay("over", zram / "lower", disk, upper=memory / "upper")
    assert chain(*(over / f"{name}.tensors" for name in "abc")) == [
        ("memory", ("overlay", "tmpfs"), 1),
        ("memory", ("overlay", "ext", "zram"), 1),
        ("disk", ("overlay", *chain(disk)[0][1]), 1),
    ]
    assert [own.holder.reader for own in holders([over / "a.tensors"])] == ["tmpfs"]


def test_part_of_an_overlay_bind_mounted(mounts: Mounts, tmp_path: Path) -> None:
    memory = mounts.tmpfs("memory")
    written(memory / "lower" / "deep" / "er")
    over = mounts.overlay("over", memory / "lower", empty(memory))
    (tmp_path / "part").mkdir()
    part = mounts.bind(over / "deep", tmp_path / "part")
    assert chain(part / "er" / "a.tensors") == [("memory", ("overlay", "tmpfs"), 1)]


def test_an_overlay_over_its_own_layer(mounts: Mounts, tmp_path: Path) -> None:
    memory = mounts.tmpfs("memory")
    path = written(memory / "lower")
    mounts.bind(mounts.overlay("over", memory / "lower", empty(memory)), memory / "lower")
    assert chain(path) == [("unresolved", ("overlay", "overlay"), 1)]


def test_a_folder_of_which_a_part_lies_elsewhere(mounts: Mounts, disk: Path, shm: Path) -> None:
    on_disk, elsewhere = written(disk), disk / "sub"
    written(mounts.tmpfs("memory") / "sub")
    elsewhere.mkdir()
    mounts.bind(disk.parent / "mounts" / "memory" / "sub", elsewhere)
    assert {kind for kind, _, _ in chain(on_disk, elsewhere / "a.tensors")} == {"disk", "memory"}


def test_a_single_file_that_is_mounted(mounts: Mounts, disk: Path) -> None:
    on_disk, covered = written(disk), written(disk, "b.tensors")
    mounts.bind(written(mounts.tmpfs("memory")), covered)
    assert {kind for kind, _, _ in chain(on_disk, covered)} == {"disk", "memory"}


def test_links_lead_to_what_holds_the_bytes(disk: Path, shm: Path) -> None:
    on_disk, in_memory = written(disk), written(shm)
    (disk / "link.tensors").symlink_to(in_memory)
    (shm / "link.tensors").symlink_to(on_disk)
    assert {kind for kind, _, _ in chain(on_disk, disk / "link.tensors")} == {"disk", "memory"}
    assert chain(shm / "link.tensors") == chain(on_disk)


FIXTURES = Path(__file__).parents[1] / "fixtures" / "host"
MORE = """
70 27 0:60 / /mnt/btrfs rw - btrfs /dev/sdb rw,subvol=/
71 27 9:0 / /mnt/md rw - xfs /dev/md0 rw
72 27 0:61 / /mnt/pool rw - zfs pool/images rw
73 27 0:62 / /mnt/halves rw - btrfs /dev/sdc rw
74 27 253:7 / /mnt/zeros rw - ext4 /dev/mapper/zeros rw
75 27 43:0 / /mnt/nbd rw - ext4 /dev/nbd0 rw
76 27 8:64 / /mnt/test rw - ext4 /dev/sde rw
77 27 252:9 / /mnt/null rw - ext4 /dev/nullb0 rw
78 27 259:9 / /mnt/ublk rw - xfs /dev/ublkb0 rw
79 27 253:8 / /mnt/mapped rw - ext4 /dev/mapper/mapped rw
80 27 253:9 / /mnt/remote rw - ext4 /dev/mapper/remote rw
81 27 253:10 / /mnt/odd rw - ext4 /dev/mapper/odd rw
"""


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """Make the /sys of disks, of md on a partition and on zram, and of two btrfs, one of two devices."""
    folders = {
        "8:16": "sdb",
        "8:32": "sdc",
        "8:48": "sdd/sdd1",
        "8:64": "sde",
        "9:0": "md0",
        "43:0": "nbd0",
        "252:0": "zram0",
        "252:9": "nullb0",
        "253:0": "dm-0",
        "253:7": "dm-7",
        "253:8": "dm-8",
        "253:9": "dm-9",
        "253:10": "dm-10",
        "259:9": "ublkb0",
        "259:2": "nvme0n1/nvme0n1p2",
    }
    (tmp_path / "dev/block").mkdir(parents=True)
    (tmp_path / "class/block").mkdir(parents=True)
    for number, name in folders.items():
        folder = tmp_path / "devices" / name
        folder.mkdir(parents=True)
        (folder / "dev").write_text(number)
        if "/" in name:
            (folder / "partition").write_text("1")
        for link in (tmp_path / "dev/block" / number, tmp_path / "class/block" / folder.name):
            link.symlink_to(folder)
    stacks = {"md0": ["sdd1", "zram0"], "dm-0": ["sdd1", "sdb"], "dm-8": ["sdb", "nullb0"]}
    stacks |= {"dm-9": ["sdb", "nbd0"], "dm-10": ["sdb", "ublkb0"]}
    for stacked, parts in stacks.items():
        (tmp_path / "devices" / stacked / "slaves").mkdir()
        for part in parts:
            (tmp_path / "devices" / stacked / "slaves" / part).symlink_to(tmp_path / "class/block" / part)
    (tmp_path / "fs/btrfs/uuid/devices").mkdir(parents=True)
    for part in ("sdc", "sdd1"):
        (tmp_path / "fs/btrfs/uuid/devices" / part).symlink_to(tmp_path / "class/block" / part)
    (tmp_path / "devices/sde/device").mkdir()
    (tmp_path / "devices/sde/device/model").write_text("scsi_debug      \n")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/data/x", Holder("disk", ("ext4", "nvme0n1"), ("nvme0n1",))),
        ("/mnt/btrfs/x", Holder("disk", ("btrfs", "sdb"), ("sdb",))),
        ("/mnt/halves/x", Holder("disk", ("btrfs", "sdc"), ("sdc", "sdd"))),
        ("/mnt/two words\\here/x", Holder("disk", ("xfs", "dm-0", "sdb"), ("sdb", "sdd"))),
        ("/mnt/md/x", Holder("memory", ("xfs", "md0", "zram0"), ("sdd",))),
        ("/mnt/pool/x", Holder("unresolved", ("zfs",))),
        ("/mnt/zeros/x", Holder("unresolved", ("ext4", "dm-7"))),
        ("/mnt/nbd/x", Holder("network", ("ext4", "nbd0"))),
        ("/mnt/null/x", Holder("memory", ("ext4", "nullb0"))),
        ("/mnt/ublk/x", Holder("unresolved", ("xfs", "ublkb0"))),
        ("/mnt/mapped/x", Holder("memory", ("ext4", "dm-8", "nullb0"), ("sdb",))),
        ("/mnt/remote/x", Holder("network", ("ext4", "dm-9", "nbd0"), ("sdb",))),
        ("/mnt/odd/x", Holder("unresolved", ("ext4", "dm-10", "ublkb0"), ("sdb",))),
        ("/mnt/test/x", Holder("memory", ("ext4", "sde"))),
        ("/mnt/nas/x", Holder("network", ("nfs4",))),
        ("/home/ann/remote/x", Holder("fuse", ("fuse.sshfs",))),
        ("/var/lib/docker/overlay2/ab/merged/x", Holder("unresolved", ("overlay",))),
    ],
)
def test_recorded_machines(sysfs: Path, path: str, expected: Holder) -> None:
    mountinfo = (FIXTURES / "mountinfo.txt").read_text() + MORE.lstrip()
    assert holder(Path(path), mountinfo, sysfs) == expected
