"""System calls that Python's os module does not have; each raises OSError."""

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)

AT_FDCWD = -100
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE = 0x01, 0x02
FALLOC_COLLAPSE_RANGE, FALLOC_ZERO_RANGE, FALLOC_INSERT_RANGE = 0x08, 0x10, 0x20
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
CLONE_NEWNS = 0x20000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 1 << 18
MS_SYNC, MS_ASYNC = 4, 1
PROT_READ, PROT_WRITE = 1, 2
MAP_SHARED, MAP_PRIVATE = 1, 2
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38


class Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def _check(result, path=None):
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)
    return result


def _name(path):
    return os.fsencode(path)


def renameat2(old, new, flags):
    _check(_LIBC.renameat2(AT_FDCWD, _name(old), AT_FDCWD, _name(new), flags), old)


def fallocate(fd, mode, offset, length):
    _check(_LIBC.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)))


def linkat(old_fd, old, new, flags):
    _check(_LIBC.linkat(old_fd, _name(old), AT_FDCWD, _name(new), flags), old)


def link_descriptor(fd, new):
    """Gives an O_TMPFILE descriptor a name."""
    linkat(AT_FDCWD, f"/proc/self/fd/{fd}", new, AT_SYMLINK_FOLLOW)


def utimensat(path, access, modify, flags=0):
    """Times are (seconds, nanoseconds); the second may be UTIME_NOW or UTIME_OMIT."""
    times = (Timespec * 2)(Timespec(*access), Timespec(*modify))
    _check(_LIBC.utimensat(AT_FDCWD, _name(path), times, flags), path)


def syncfs(fd):
    _check(_LIBC.syncfs(fd))


def unshare_mounts():
    _check(_LIBC.unshare(CLONE_NEWNS))


def bind_mount(source, target, flags):
    source = _name(source) if source is not None else b"none"
    _check(_LIBC.mount(source, _name(target), None, ctypes.c_ulong(flags), None), target)


def ioctl_clone(target_fd, source_fd):
    """FICLONE."""
    import fcntl
    fcntl.ioctl(target_fd, 0x40049409, source_fd)
