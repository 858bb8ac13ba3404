"""Two folders change places: in one system call where the system has one, else by two renames."""

import ctypes
import errno
import os
import sys
from pathlib import Path

AT_FDCWD = -100
RENAME_EXCHANGE = 2
RENAME_SWAP = 2
NOT_SUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


def exchange(new: Path, old: Path) -> None:
    """`old` is what `new` was and the other way round; a reader sees one or the other, never neither.

    Linux: renameat2(RENAME_EXCHANGE), man 2 rename. macOS: renamex_np(RENAME_SWAP). Where the file system cannot
    (some network ones), two renames: for an instant there is no `old`, and a crash then leaves it at `<old>.replaced`.
    """
    code = _exchanged(os.fsencode(new), os.fsencode(old))
    if code == 0:
        return
    if code not in NOT_SUPPORTED:
        raise OSError(code, os.strerror(code), str(old))
    aside = old.with_name(f"{old.name}.replaced")
    old.rename(aside)
    new.rename(old)
    aside.rename(new)


def _exchanged(new: bytes, old: bytes) -> int:
    """0, or the error number; ENOSYS where the C library has no such call."""
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        failed = libc.renamex_np(new, old, RENAME_SWAP)
    elif hasattr(libc, "renameat2"):
        failed = libc.renameat2(AT_FDCWD, new, AT_FDCWD, old, RENAME_EXCHANGE)
    else:
        return errno.ENOSYS
    return ctypes.get_errno() if failed else 0
