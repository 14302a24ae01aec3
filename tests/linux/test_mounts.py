from pathlib import Path

import pytest

from inferkit.errors import ParameterError
from inferkit.linux.interfaces import is_here
from inferkit.linux.mounts import existing, filesystem, layers, public, server, told

FIXTURES = Path(__file__).parents[1] / "fixtures" / "host"


@pytest.fixture(scope="module")
def mountinfo() -> str:
    return (FIXTURES / "mountinfo.txt").read_text()


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """Make the links and folders of /sys for a partitioned disk, a whole one, a mapped, a memory and a loop device."""
    nvme = tmp_path / "devices/pci0000:00/nvme/nvme0"
    virtual = tmp_path / "devices/virtual/block"
    folders = {
        "259:2": nvme / "nvme0n1/nvme0n1p2",
        "259:3": nvme / "nvme1n1",
        "253:0": virtual / "dm-0",
        "252:0": virtual / "zram0",
        "7:3": virtual / "loop3",
    }
    (tmp_path / "dev/block").mkdir(parents=True)
    for number, folder in folders.items():
        folder.mkdir(parents=True)
        (tmp_path / "dev/block" / number).symlink_to(folder)
    (folders["259:2"] / "partition").write_text("2\n")
    (folders["253:0"] / "slaves/sda").mkdir(parents=True)
    (folders["259:3"] / "slaves").mkdir()
    (folders["7:3"] / "loop").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("path", "mount_point", "fstype", "device", "disk", "flags"),
    [
        ("/data/images-0.tensors", "/", "ext4", "/dev/nvme0n1p2", "nvme0n1", ""),
        ("/mnt/nas/a/b", "/mnt/nas", "nfs4", "filer:/export/images", None, "network"),
        ("/mnt/nas/scratch/x", "/mnt/nas/scratch", "lustre", "10.0.0.1@o2ib:/scratch", None, "network"),
        ("/mnt/nas/scratchy", "/mnt/nas", "nfs4", "filer:/export/images", None, "network"),
        ("/dev/shm", "/dev/shm", "tmpfs", "tmpfs", None, "in_memory"),
        ("/home/ann/remote/d", "/home/ann/remote", "fuse.sshfs", "ann@gate:/data", None, "fuse"),
        ("/mnt/two words\\here/d", "/mnt/two words\\here", "xfs", "/dev/mapper/vg0-data", None, "stacked"),
        (
            "/var/lib/docker/overlay2/ab/merged/x",
            "/var/lib/docker/overlay2/ab/merged",
            "overlay",
            "overlay",
            None,
            "",
        ),
        ("/mnt/covered/x", "/mnt/covered", "ext4", "/dev/nvme1n1", "nvme1n1", ""),
        ("/mnt/zram/x", "/mnt/zram", "ext4", "/dev/zram0", "zram0", "in_memory"),
        ("/mnt/image/x", "/mnt/image", "ext4", "/dev/loop3", None, "stacked"),
    ],
)
def test_filesystem(
    mountinfo: str, sysfs: Path, path: str, mount_point: str, fstype: str, device: str, disk: str | None, flags: str
) -> None:
    found = filesystem(Path(path), mountinfo, sysfs)
    assert (found.mount_point, found.fstype, found.device) == (Path(mount_point), fstype, device)
    assert found.block_device == disk
    assert [flag for flag in ("in_memory", "network", "fuse", "stacked") if getattr(found, flag)] == flags.split()


def test_filesystem_options_are_of_mount_and_superblock(mountinfo: str) -> None:
    found = filesystem(Path("/x"), mountinfo)
    assert found.options == ("rw", "relatime", "errors=remount-ro")
    assert found.major_minor == "259:2"


def test_filesystem_of_real_paths(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/shm")
    through_link = filesystem(tmp_path / "link" / "not-there-yet" / "file")
    assert (through_link.fstype, through_link.in_memory) == ("tmpfs", True)
    assert through_link.path == Path("/dev/shm/not-there-yet/file")
    assert filesystem(Path("/proc/self/io")).fstype == "proc"


def test_filesystem_without_mount_table() -> None:
    with pytest.raises(ParameterError, match="no mount point holds /x"):
        filesystem(Path("/x"), "not a mount table\n")


def test_existing_is_the_nearest_parent(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert existing(tmp_path / "a" / "b") == tmp_path
    assert existing(tmp_path / "file") == tmp_path / "file"
    assert existing(Path("/no/such/folder")) == Path("/")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("rw,lowerdir=/l/A:/l/B,upperdir=/u,workdir=/w", ["/u", "/l/A", "/l/B"]),
        ("ro,lowerdir=/a\\134:b:/c\\040d::/data", ["/a:b", "/c d", "/data"]),
        ("ro,lowerdir+=/a,lowerdir+=/b,datadir+=/c", ["/a", "/b", "/c"]),
        ("rw", []),
    ],
)
def test_layers_of_an_overlay(options: str, expected: list[str]) -> None:
    table = f"65 27 0:51 /part /over rw - overlay overlay {options}\n"
    found = filesystem(Path("/over/x"), table)
    assert layers(found) == [Path(folder) for folder in expected]
    assert found.root == Path("/part")
    assert not [option for option in public(found.options) if "/" in option]


TABLE = """\
1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 0:40 / {place}/nas rw - nfs4 nas:/export rw
3 1 0:41 / {place}/auto rw - autofs systemd-1 rw
4 1 0:42 / {place}/fuse rw - fuse.sshfs me@host: rw
"""


@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("nas/x/y", "nas (nfs4, nas:/export)"),
        ("nas", "nas (nfs4, nas:/export)"),
        ("link/below", "nas (nfs4, nas:/export)"),
        ("to-link/below", "nas (nfs4, nas:/export)"),
        ("other/../fuse/x", "fuse (fuse.sshfs, me@host:)"),
        ("auto/x", "auto (autofs, systemd-1)"),
        ("nasty", None),
        ("circle/x", None),
    ],
)
def test_a_mount_is_told_and_nobody_asked(tmp_path: Path, path: str, mount: str | None) -> None:
    (tmp_path / "link").symlink_to("nas/data")
    (tmp_path / "to-link").symlink_to(tmp_path / "link")
    (tmp_path / "circle").symlink_to("circle")
    where = f"{tmp_path}/{mount}" if mount else "/ (ext4, /dev/sda1)"
    assert told(tmp_path / path, TABLE.format(place=tmp_path)) == f"{tmp_path / path} on {where}"


def test_a_path_of_no_mount_is_told_alone() -> None:
    assert told(Path("/data/x"), "") == "/data/x"


@pytest.mark.parametrize(
    ("line", "address", "here"),
    [
        ("60 27 0:70 / /mnt rw - nfs4 localhost:/x rw,vers=4.2,clientaddr=127.0.0.1,addr=127.0.0.1", "127.0.0.1", True),
        ("60 27 0:70 / /mnt rw - cifs //nas/x rw,addr=192.0.2.7", "192.0.2.7", False),
        ("60 27 0:70 / /mnt rw - nfs4 [::1]:/x rw,addr=::1", "::1", True),
        ("60 27 0:70 / /mnt rw - tmpfs none rw,addr=127.0.0.1", "", False),
    ],
)
def test_the_server_of_a_mount(line: str, address: str, here: bool) -> None:
    found = server(filesystem(Path("/mnt/x"), line))
    assert found == address
    assert is_here(found) == here
