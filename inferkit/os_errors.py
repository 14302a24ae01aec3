"""What an error of the operating system most likely means, and what to do about it: each errno has its own hint."""

import errno
import os

_FULL = "free space there, or name another folder"
_MAY = "name one that you may use, or have its owner change the permissions"
_GONE = "is the storage still mounted?"
_SERVER = "does the storage's server answer? See mount and dmesg"

_HINTS = {
    errno.EMFILE: "too many files are open in this process: raise ulimit -n (docker run --ulimit nofile=65536), or use "
    "fewer threads",
    errno.ENFILE: "too many files are open on this machine: raise fs.file-max (sysctl), or end other programs",
    errno.ENOMEM: "memory is used up, or limited (ulimit -v, the container's limit): use fewer threads or smaller "
    "batches, or raise it",
    errno.EAGAIN: "processes and threads are limited here: raise ulimit -u, ulimit -v where there is one, or the "
    "container's pids limit (docker run --pids-limit), or use fewer threads and ranks",
    errno.ENOSPC: _FULL,
    errno.EDQUOT: f"your quota is used up: {_FULL}",
    errno.EFBIG: "files may not be that large here: raise ulimit -f, or name another folder",
    errno.EIO: "the storage fails: see the kernel's log (dmesg)",
    errno.EACCES: _MAY,
    errno.EPERM: f"{_MAY}; in a container a seccomp profile may forbid the call",
    errno.EROFS: "it is mounted read-only: name another folder, or mount it anew (mount -o remount,rw)",
    errno.ENAMETOOLONG: "a name may have 255 bytes, a path 4,096: name a shorter one",
    errno.ELOOP: "links lead in a circle: correct them",
    errno.ENOENT: _GONE,
    errno.ENOTDIR: "a part of the path is a file, not a folder: correct the path",
    errno.ENODEV: _GONE,
    errno.ENXIO: _GONE,
    errno.ENOTCONN: f"what serves this mount has ended (FUSE, or its server): {_GONE}",
    errno.ESTALE: f"the server does not know the file any more: {_GONE}",
    errno.ECONNABORTED: f"what serves this mount has ended (FUSE, or its server): {_GONE}",
    errno.ECONNRESET: _SERVER,
    errno.ETIMEDOUT: _SERVER,
    errno.EHOSTDOWN: _SERVER,
    errno.EHOSTUNREACH: _SERVER,
    errno.ENETUNREACH: _SERVER,
    errno.EREMOTEIO: _SERVER,
    errno.ENOKEY: "the file is encrypted, and its key is not loaded (fscrypt unlock)",
    errno.EINVAL: "the file system does not take such a call",
    errno.ENOSYS: "the file system does not take such a call, or a sandbox (seccomp, gVisor) hides it",
    errno.EOPNOTSUPP: "the file system does not take such a call",
    errno.EBUSY: "another program holds it",
    errno.ETXTBSY: "another program holds it",
}


def explained(error: OSError) -> str:
    """Return an error's words, its errno, and what to do about it."""
    number = error.errno or 0
    words = error.strerror or (os.strerror(number) if number else str(error))
    told = f"{words} (errno {number})" if number else words
    return f"{told}: {_HINTS[number]}" if number in _HINTS else told


def hinted(words: str) -> str:
    """Return what another process said last, with what to do about the system's error that it names, if it does."""
    told = next((text for number, text in _HINTS.items() if os.strerror(number) in words), "")
    return f"{words}: {told}" if told else words


def system_refusal(error: BaseException) -> str | None:
    """Say what the system refused where an error says that: a file, memory or a thread; None of any other error.

    Python raises RuntimeError where a thread cannot be started (threading.Thread.start).
    """
    if isinstance(error, OSError):
        return f"{error.filename}: {explained(error)}" if error.filename else explained(error)
    if isinstance(error, MemoryError):
        return f"{error or 'no memory'}: {_HINTS[errno.ENOMEM]}"
    no_thread = isinstance(error, RuntimeError) and "new thread" in str(error)
    return f"{error}: {_HINTS[errno.EAGAIN]}" if no_thread else None
