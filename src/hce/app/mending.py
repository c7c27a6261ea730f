"""What a node does about damaged tables of its own. All of them can be had again:

    packs/index       from the packs                                 (`foundation/store/packs.py` does it)
    placements        from final blocks and the packs                (`network/hcefs/placements.py` does it)
    ledger            from the block log, executed again
    mailbox           from the other nodes; of its own logs of receipts, void tokens and cards what can still be read is kept
    revoked           signed revocations from the other nodes; until enough were heard the node releases nothing  (`doubt.py`)

Before anything is opened a process of its own follows every page (`foundation/store/check.py`); what is damaged is removed and fills again.
Large tables are walked then only when damage ended the life before, of the process (the supervisor says so) or within it, or when their
file is too short.
While the node runs the same is done now and then, and whatever met damage is noticed at once: the node ends this life and begins
another, in which the tables are made anew. A lone node has nobody to get its mailbox from and stops by name instead.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from hce.foundation.store.check import Walk, damaged_stores, is_short
from hce.foundation.store.disk import set_aside
from hce.foundation.store.errors import StoreCorrupt, StoreForeign
from hce.foundation.store.kv import DATA_FILE
from hce.foundation.store.salvage import remake
from hce.service.mailbox.errors import SlotsCorrupt
from hce.service.mailbox.service import forget_sealed, rebuild_tables

TABLES = ("packs/index", "placements", "ledger", "mailbox/tables", "revoked")
"""Folders of tables in a node's data."""
LOOK_S = 2.0
"""Between two looks at whether a table met damage."""
LOOKS = 300
"""Looks between two walks over all pages: ten minutes."""

WALKED_AT_START_BYTES = 128 << 20
"""Of tables: about a second of walking."""

T = TypeVar("T")

log = logging.getLogger("hce.node")


class Damageable(Protocol):
    """An open store."""

    @property
    def damaged(self) -> bool: ...


def remove_damaged(
    data: Path, *, chain: bytes, node: int, alone: bool, after_fault: bool, walked_bytes: int = WALKED_AT_START_BYTES
) -> None:
    """Removes tables that are damaged and can be had again, before they are opened. `StoreCorrupt` for those that cannot.

    `after_fault`: the process or the life before this one was ended by what it read. Then everything is walked, however long it takes;
    else large tables wait for the walk while the node runs, so that a kill does not keep a node away for the time its history takes to
    read.
    """
    folders = [data / part for part in TABLES]
    if not after_fault and sum(map(_data_bytes, folders)) > walked_bytes:
        folders = [folder for folder in folders if is_short(folder)]
    damaged = damaged_stores(folders)
    if after_fault:
        for folder in folders:
            if folder not in damaged and (folder / DATA_FILE).exists():
                remake(folder)  # what ended the life before may have been the list of free pages, which no walk sees
    for folder in damaged:
        log.error("the tables in %s are damaged", folder.relative_to(data))
        if folder.parent.name == "mailbox":
            if alone:
                raise StoreCorrupt("a lone node cannot get its mailbox again", folder=str(folder))
            log.error("%d rows of it can still be read and are kept", rebuild_tables(folder.parent, chain, node))
        else:
            shutil.rmtree(folder)


def _data_bytes(folder: Path) -> int:
    path = folder / DATA_FILE
    return path.stat().st_size if path.exists() else 0


def forget_ledger(data: Path) -> None:
    """Takes a ledger away that contradicts the block log; the next life executes the log again. The first of them is kept beside."""
    if list(data.glob("ledger.damaged-*")):
        shutil.rmtree(data / "ledger")
    else:
        log.error("the ledger that contradicts the block log is %s", set_aside(data / "ledger").name)


def open_anew(folder: Path, opened: Callable[[], T]) -> T:
    """Opens tables; damaged ones are removed first. Another node's are kept beside: perhaps only a disk is in the wrong place."""
    try:
        return opened()
    except StoreForeign as error:
        log.error(
            "the tables in %s are made anew: %s; those that were there are %s", folder.name, error.code, set_aside(folder).name
        )
    except StoreCorrupt as error:
        log.error("the tables in %s are made anew: %s", folder.name, error.code)
        shutil.rmtree(folder)
    return opened()


def open_mailbox(folder: Path, alone: bool, opened: Callable[[], T], chain: bytes, node: int) -> T:
    """Opens a mailbox. Of one that is damaged what can be read is kept; another's begins anew. The other nodes fill both.

    `SalvageUnfinished`, with everything as it was, when it could not be read to the end for another reason than damage.
    """
    try:
        return _with_slots(folder, alone, opened, chain, node)
    except StoreCorrupt as error:
        if alone:
            raise
        log.error("%s: %d rows of the mailbox can still be read and are kept", error.code, rebuild_tables(folder, chain, node))
        return _with_slots(folder, alone, opened, chain, node)
    except StoreForeign:
        if alone:
            raise
        return open_anew(folder, opened)


def _with_slots(folder: Path, alone: bool, opened: Callable[[], T], chain: bytes, node: int) -> T:
    """Opens a mailbox; damaged slots are removed with what was sealed under them."""
    try:
        return opened()
    except SlotsCorrupt as error:
        if alone:
            raise
        log.error("the envelopes of this node are fetched again: %s", error.code)
        (folder / "slots").unlink()
        forget_sealed(folder, chain, node)
        return opened()


async def watch_tables(data: Path, stores: Sequence[Damageable]) -> None:
    """Raises `StoreCorrupt` when a store has met damage or a walk over all pages finds some."""
    while True:
        for _ in range(LOOKS):
            await asyncio.sleep(LOOK_S)
            if any(store.damaged for store in stores):
                raise StoreCorrupt("met while in use")
        if found := await _walked([data / part for part in TABLES]):
            raise StoreCorrupt("found by the walk over all pages", folder=found[0].name)


async def _walked(folders: Sequence[Path]) -> list[Path]:
    """Damaged stores, looked for in a thread of its own: it waits for minutes, and whoever stops the node does not."""
    walk = Walk(folders)
    with ThreadPoolExecutor(1, thread_name_prefix="hce-walk") as own:
        try:
            return await asyncio.get_running_loop().run_in_executor(own, walk.damaged)
        finally:
            walk.end()
