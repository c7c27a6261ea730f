"""Directories and flushes: the few calls that make bytes survive a power cut.

A new file is durable only when its directory is flushed too; two mature signers got this wrong.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

from hce.foundation.store.errors import StoreBusy

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700

Sync = Callable[[int], None]
"""Flushes what is behind a file descriptor to the disk; `os.fsync` outside of tests."""

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def make_directory(path: Path, sync: Sync = os.fsync) -> None:
    """Make `path` and missing parents, mode 0700, each one durable in its parent. An existing directory is left as it is."""
    if path.is_dir():
        return
    make_directory(path.parent, sync)
    path.mkdir(mode=PRIVATE_DIRECTORY)
    sync_directory(path.parent, sync)


def sync_directory(path: Path, sync: Sync = os.fsync) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def aside_name(path: Path) -> Path:
    """The first free name `<name>.damaged-<n>` beside a damaged file or folder."""
    numbered = (path.with_name(f"{path.name}.damaged-{number}") for number in count(1))
    return next(name for name in numbered if not name.exists())


def set_aside(path: Path, sync: Sync = os.fsync) -> Path:
    """Takes a damaged file or folder out of the way and keeps it for whoever wants to look; its new name. Durable on return."""
    aside = aside_name(path)
    path.rename(aside)
    sync_directory(path.parent, sync)
    return aside


def take_ownership(descriptor: int, name: str) -> None:
    """Lock a file for this process until it is closed, also by a kill; `StoreBusy` when it is open elsewhere."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StoreBusy("open elsewhere", name=name) from error


def write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write every byte at `offset`; OSError when the disk does not take them."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def is_full(error: OSError) -> bool:
    """Whether this error means that there is no room."""
    return error.errno in _NO_ROOM


def replace_file(path: Path, content: bytes, mode: int = PRIVATE_FILE, sync: Sync = os.fsync) -> None:
    """Write a small file whole: after a crash it holds the old bytes or the new ones, never a mixture."""
    make_directory(path.parent, sync)
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        os.fchmod(descriptor, mode)
        write_all(descriptor, content, 0)
        sync(descriptor)
    finally:
        os.close(descriptor)
    fresh.replace(path)
    sync_directory(path.parent, sync)
