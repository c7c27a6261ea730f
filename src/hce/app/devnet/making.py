"""A network's folder exists wholly or not at all, and one `hce up` at a time works in it.

The folder is made beside its place and renamed into it at the end. A kill in between leaves a folder of another name, which the next
try removes. The lock lies beside the folder too, for it is taken before the folder exists; the kernel drops it with its process.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hce.app.devnet.home import Home
from hce.foundation.store.disk import PRIVATE_FILE, make_directory, sync_directory, take_ownership
from hce.foundation.store.errors import StoreBusy
from hce.foundation.types.errors import Refused


class HomeBusy(Refused):
    """Another `hce up` runs over this folder."""

    code = "home.busy"
    status = 409


class HomeOccupied(Refused):
    """The folder is not empty and holds no network; whatever it is, it is not ours to remove."""

    code = "home.occupied"
    status = 409


def unfinished(home: Home) -> Path:
    """Where the folder is while it is being made."""
    return home.root.with_name(f".{home.root.name}.making")


def make_whole(home: Home, make: Callable[[Home], None]) -> bool:
    """Lets `make` fill a new folder and puts it in its place; whether leftovers of an earlier try were removed. `HomeOccupied`."""
    if home.root.exists() and any(home.root.iterdir()):
        raise HomeOccupied(path=str(home.root))
    place = unfinished(home)
    leftovers = place.exists()
    if leftovers:
        shutil.rmtree(place)
    make_directory(place)
    make(Home(place))
    place.replace(home.root)
    sync_directory(home.root.parent)
    return leftovers


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Nobody else works in this folder for the time of the block; raises `HomeBusy`."""
    make_directory(home.root.parent)
    path = home.root.with_name(f".{home.root.name}.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        try:
            take_ownership(descriptor, str(path))
        except StoreBusy as error:
            raise HomeBusy(path=str(home.root)) from error
        yield
    finally:
        os.close(descriptor)
