"""What a file system demands of direct I/O (O_DIRECT), as statx(2) reports it."""

import ctypes
import errno
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from inferkit.errors import ReadError

# From <linux/stat.h> and <linux/fcntl.h>; STATX_DIOALIGN came with Linux 6.1.
_AT_FDCWD = -100
_STATX_DIOALIGN = 0x2000
_STATX_BYTES = 256
_DIO_MEM_ALIGN_OFFSET = 152  # two u32: stx_dio_mem_align, stx_dio_offset_align


@dataclass(frozen=True)
class DirectIo:
    """Alignment in bytes that O_DIRECT demands: of buffers in memory, and of file offsets and lengths."""

    memory: int
    offset: int


def direct_io_alignment(path: Path) -> DirectIo | None:
    """Return the alignment that direct I/O on a regular file demands; None if the file system does not report it.

    Notes
    -----
    None has several reasons: a kernel before 6.1, a folder instead of a file, a file system that does not say (NFS,
    and those that silently copy: tmpfs, FUSE), or one that says 0: direct I/O is not possible on this file.

    Raises
    ------
    ReadError
        If the file cannot be examined because it does not exist or is out of reach.
    """
    statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
    if statx is None:  # a C library older than glibc 2.28 or musl 1.2.5
        return None
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    arguments = (ctypes.c_int(0), ctypes.c_uint(_STATX_DIOALIGN), buffer)
    if statx(ctypes.c_int(_AT_FDCWD), ctypes.c_char_p(os.fsencode(path)), *arguments) != 0:
        number = ctypes.get_errno()
        if number in (errno.ENOSYS, errno.EINVAL, errno.EPERM):  # EPERM: seccomp hides the call
            return None
        message = f"cannot examine {path}: {os.strerror(number)}; expected a file that exists and may be reached"
        raise ReadError(message)
    (mask,) = struct.unpack_from("=I", buffer)
    memory, offset = struct.unpack_from("=II", buffer, _DIO_MEM_ALIGN_OFFSET)
    return DirectIo(memory, offset) if mask & _STATX_DIOALIGN and memory and offset else None
