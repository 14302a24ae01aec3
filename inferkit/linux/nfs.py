"""What the kernel's NFS client says of a mount: options, transport, and the bytes that its server delivered."""

from dataclasses import dataclass
from pathlib import Path

from inferkit.linux.procfs import ROOT, decode_octal, text

_MOUNTSTATS = ROOT / "proc/self/mountstats"


@dataclass(frozen=True)
class MountStatistics:
    """One NFS mount.

    Parameters
    ----------
    options
        As negotiated with the server: more than the mount table says.
    transport
        Such as ``tcp``, ``rdma``, or ``8 × tcp`` with nconnect; empty if unknown.
    server_read_bytes
        Bytes that READ calls of any process brought since it was mounted, without what the page cache answered.
    """

    options: tuple[str, ...]
    transport: str
    server_read_bytes: int | None


def mount_statistics(mount_point: Path, content: str | None = None) -> MountStatistics | None:
    """Return what the kernel says of the NFS mount at ``mount_point``; None if there is none.

    Parameters
    ----------
    mount_point
        As in the mount table.
    content
        Text in the format of /proc/self/mountstats (kernel: fs/nfs/super.c, nfs_show_stats); None reads this process's.
    """
    table = text(_MOUNTSTATS) if content is None else content
    found = None
    for block in ("\n" + (table or "")).split("\ndevice ")[1:]:
        head, *lines = block.splitlines()
        words = head.split(" ")
        if words[1:3] == ["mounted", "on"] and Path(decode_octal(words[3])) == mount_point and "statvers" in head:
            found = lines  # the last of several mounts on one point covers the others
    return None if found is None else _parse(found)


def _parse(lines: list[str]) -> MountStatistics:
    pairs = [(key.strip(), value.strip()) for key, colon, value in (line.partition(":") for line in lines) if colon]
    values = dict(pairs)
    transports = [value.split()[0] for key, value in pairs if key == "xprt" and value]
    count = f"{len(transports)} × " if len(transports) > 1 else ""
    # normal read, normal write, direct read, direct write, server read, server write, pages read, pages written
    counters = values.get("bytes", "").split()
    return MountStatistics(
        options=tuple(filter(None, values.get("opts", "").split(","))),
        transport=f"{count}{transports[0]}" if transports else "",
        server_read_bytes=int(counters[4]) if len(counters) > 4 else None,
    )
