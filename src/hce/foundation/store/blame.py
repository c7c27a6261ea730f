"""Whose fault an error of LMDB is: the files', or that of the machine they lie on.

What is damaged is removed and made anew by its owner, so nothing may be called damaged because memory, descriptors or permissions were
missing. LMDB does not tell: a damaged header makes it ask the machine for the impossible. So when it cannot open a store, the same is
asked of an empty one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import lmdb

from hce.foundation.store.errors import DiskFull, StoreCorrupt

NOT_OF_THE_FILES = (lmdb.MapFullError, lmdb.ReadersFullError, lmdb.LockError, lmdb.ReadonlyError)


@contextmanager
def damage_named(folder: str) -> Iterator[None]:
    """What LMDB says of damaged files of an open store, or of a full disk, under our names for it: `StoreCorrupt`, `DiskFull`."""
    try:
        yield
    except lmdb.DiskError as error:
        raise DiskFull("the file system takes no more") from error
    except NOT_OF_THE_FILES:
        raise
    except (lmdb.Error, UnicodeDecodeError) as error:
        raise StoreCorrupt("LMDB cannot use its files", folder=folder) from error


@contextmanager
def open_damage_named(folder: str, map_size: int) -> Iterator[None]:
    """The same of a store that is being opened with this map; what any store would meet now is raised as it comes."""
    try:
        with damage_named(folder):
            yield
    except StoreCorrupt as damage:
        if damage.__cause__ is not None and machine_refuses(map_size):
            raise damage.__cause__ from None
        raise


def machine_refuses(map_size: int) -> bool:
    """Whether not even an empty store can be opened now."""
    try:
        with tempfile.TemporaryDirectory(prefix="hce-empty-") as folder, lmdb.open(folder, map_size=map_size):
            return False
    except (lmdb.Error, OSError):
        return True
