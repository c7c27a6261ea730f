"""Backup and restore of a node and of a gateway, running or stopped (docs/operations.md).

A running node's files are copied one after another, so the order is what makes them fit. Each later copy may know more than an earlier
one, never less:

    placements, then packs      a placement whose shards are not there would be damage; shards nobody names are harmless
    ledger, then blocks         the ledger replays what the block log has more
    mailbox after the blocks    a restored node asks its peers for the mail since its last block
    index before keyring        every key the index names is there

Not in any backup: the sign state (`rejoin.py` says why and what happens instead) and the mailbox's slots, the keys that make erasing
possible. Without them a backup's envelopes are noise, so they are dropped at the restore and come back from the other nodes.

A restore unpacks beside its place, checks everything there, and moves it into place at the end; the data folder last. A kill in
between leaves a folder the next try removes.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hce.app.archive import FORMAT, Head, What, Writer, unpack, writing
from hce.app.devnet.home import Home, NodeKeys
from hce.app.gateway import TOKEN_BYTES, settings_path, token_path
from hce.app.preflight import port_is_free
from hce.app.rejoin import begin_watch, end_watch
from hce.foundation.codec.dagcbor import decode_as
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.store.appendlog import AppendLog
from hce.foundation.store.disk import replace_file, sync_directory
from hce.foundation.store.kv import copy_store
from hce.foundation.types.errors import NotFound, Refused
from hce.network.hcefs.placements import Placements
from hce.network.runtime.blocklog import MAX_RECORD_BYTES, BlockLog
from hce.service.keyring.sealedfile import MASTER_NAME, SEALED_NAME
from hce.service.ledger.genesis import genesis_block
from hce.service.mailbox.service import forget_sealed
from hce.service.terms.genesis import Genesis, genesis_cid

UNPACKING = ".restoring"
NODE_KEYS = ("keys.cbor", "share.cbor")
LMDB_FILE = "data.mdb"


class BackupOccupied(Refused):
    """Something lies where the backup would go; a restore overwrites nothing."""

    code = "backup.occupied"
    status = 409


class BackupRunning(Refused):
    """The process whose files are to be restored seems to run: its port is taken."""

    code = "backup.running"
    status = 409


class BackupOfOther(Refused):
    """The backup is of another network, node or gateway."""

    code = "backup.of_other"
    status = 409


class BackupWithoutKeys(Refused):
    """The backup holds no keys, and none lie in the folder."""

    code = "backup.without_keys"
    status = 409


class BackupAlone(Refused):
    """The network has one node: nobody knows what it signed after the backup."""

    code = "backup.alone"
    status = 409


# Nodes


def backup_node(home: Home, index: int, target: Path, with_keys: bool, now_ms: int) -> None:
    """One file with everything a node needs to come back. `BackupExists`, `NotFound`."""
    folder = home.node(index)
    data = folder / "data"
    if not (data / "blocks.log").exists():
        raise NotFound("node data", path=str(data))
    with _writing(home, "node", str(index), target, with_keys, now_ms) as (writer, store):
        store("data/placements", data / "placements")
        store("data/packs/index", data / "packs" / "index")
        for pack in sorted((data / "packs").glob("pack-*.hcp")):
            writer.add(f"data/packs/{pack.name}", pack)
        store("data/ledger", data / "ledger")
        store("data/revoked", data / "revoked")
        writer.add("data/blocks.log", data / "blocks.log")
        store("data/mailbox/tables", data / "mailbox" / "tables")
        for name in NODE_KEYS if with_keys else ():
            writer.add(name, folder / name)


def restore_node(home: Home, index: int, source: Path, give_up_later_blocks: bool, now_ms: int) -> int:
    """Puts a node's files back; the height it stands at. It watches before it signs.

    `give_up_later_blocks`: a lone node goes on from the backup. `BackupDamaged`, `BackupOccupied`, `BackupOfOther`, `BackupRunning`,
    `BackupWithoutKeys`, `BackupAlone`.
    """
    folder = home.node(index)
    if (folder / "data").exists():
        raise BackupOccupied(path=str(folder / "data"))
    with _unpacked(home, "node", str(index), source, folder) as unpacked:
        genesis = decode_as(Genesis, (unpacked / "genesis.cbor").read_bytes())
        _require_stopped(home, "nodes", index)
        public = _require_keys(genesis, index, unpacked, folder)
        alone = len(genesis.nodes) == 1
        if alone and not give_up_later_blocks:
            raise BackupAlone
        data = unpacked / "data"
        height = _settle_data(data, genesis, index)
        if alone:
            end_watch(data, genesis.chain, public, height)
        else:
            begin_watch(data, now_ms)
        _place(home, unpacked, folder, [*NODE_KEYS, "data"])
    return height


def _require_keys(genesis: Genesis, index: int, unpacked: Path, folder: Path) -> bytes:
    """The public consensus key; its private one is at hand. A key that lies in the folder wins only if it is the same."""
    for name in NODE_KEYS:
        if not (unpacked / name).exists() and not (folder / name).exists():
            raise BackupWithoutKeys(path=str(folder / name))
    where = unpacked if (unpacked / NODE_KEYS[0]).exists() else folder
    public = SigningKey(decode_as(NodeKeys, (where / NODE_KEYS[0]).read_bytes()).consensus).public
    if index >= len(genesis.node_list) or genesis.node_list[index].consensus_key != public:
        raise BackupOfOther("the keys are not those of this node", node=index)
    return public


def _settle_data(data: Path, genesis: Genesis, index: int) -> int:
    """Opens what was unpacked, and makes whole what a backup leaves out; the height of the last block."""
    with AppendLog.open(data / "blocks.log", max_record_bytes=MAX_RECORD_BYTES) as records:
        height = BlockLog(records, genesis_block(genesis)).height
    forget_sealed(data / "mailbox", genesis.chain, index)
    with Placements.open(data / "placements", chain=genesis.chain, node=index) as placements:
        placements.look_again()
    return height


# Gateways


def backup_gateway(home: Home, name: str, target: Path, with_keys: bool, now_ms: int) -> None:
    """One file with everything a gateway needs but, without `with_keys`, the master key of its keyring. `BackupExists`, `NotFound`."""
    folder = home.gateway(name)
    if not settings_path(folder).exists():
        raise NotFound("gateway", path=str(folder))
    with _writing(home, "gateway", name, target, with_keys, now_ms) as (writer, store):
        writer.add(settings_path(folder).name, settings_path(folder))
        store("outbox", folder / "outbox")
        with _copied_index(folder / "index.sqlite", target.parent) as index:
            writer.add("index.sqlite", index)
        writer.add(f"keyring/{SEALED_NAME}", folder / "keyring" / SEALED_NAME)
        if with_keys:
            writer.add(f"keyring/{MASTER_NAME}", folder / "keyring" / MASTER_NAME)
            writer.add(token_path(folder).name, token_path(folder))


def restore_gateway(home: Home, name: str, source: Path) -> None:
    """Puts a gateway's files back. A new bearer token when the backup has none and none is there. Errors: as `restore_node`."""
    folder = home.gateway(name)
    for part in ("index.sqlite", "outbox", f"keyring/{SEALED_NAME}"):
        if (folder / part).exists():
            raise BackupOccupied(path=str(folder / part))
    with _unpacked(home, "gateway", name, source, folder) as unpacked:
        _require_stopped(home, "gateways", name)
        master = f"keyring/{MASTER_NAME}"
        if not (unpacked / master).exists() and not (folder / master).exists():
            raise BackupWithoutKeys(path=str(folder / master))
        if not token_path(unpacked).exists() and not token_path(folder).exists():
            replace_file(token_path(unpacked), os.urandom(TOKEN_BYTES).hex().encode())
        names = ["gateway.json", "token", master, f"keyring/{SEALED_NAME}", "index.sqlite", "outbox"]
        _place(home, unpacked, folder, names)


@contextmanager
def _copied_index(path: Path, beside: Path) -> Iterator[Path]:
    """One snapshot of an SQLite file, also while its owner writes."""
    with tempfile.TemporaryDirectory(dir=beside) as folder:
        copy = Path(folder) / path.name
        source, target = sqlite3.connect(path), sqlite3.connect(copy)
        try:
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")
        finally:
            source.close()
            target.close()
        yield copy


# Both


class _Store:
    """Adds a snapshot of an LMDB store."""

    def __init__(self, writer: Writer, beside: Path) -> None:
        self._writer = writer
        self._beside = beside

    def __call__(self, name: str, path: Path) -> None:
        with tempfile.TemporaryDirectory(dir=self._beside) as folder:
            copy_store(path, Path(folder))
            self._writer.add(f"{name}/{LMDB_FILE}", Path(folder) / LMDB_FILE)


@contextmanager
def _writing(home: Home, what: What, name: str, target: Path, with_keys: bool, now_ms: int) -> Iterator[tuple[Writer, _Store]]:
    head = Head(FORMAT, what, name, genesis_cid(home.genesis()).hex(), now_ms, with_keys)
    with writing(target, head) as writer:
        writer.add(home.genesis_path.name, home.genesis_path)
        writer.add(home.network_path.name, home.network_path)
        yield writer, _Store(writer, target.parent)


@contextmanager
def _unpacked(home: Home, what: What, name: str, source: Path, folder: Path) -> Iterator[Path]:
    """The backup's files, whole and of this network, for the time of the block."""
    if not source.exists():
        raise NotFound("backup", path=str(source))
    place = folder / UNPACKING
    shutil.rmtree(place, ignore_errors=True)
    try:
        head = unpack(source, place)
        if (head.what, head.name) != (what, name):
            raise BackupOfOther(expected=f"{what} {name}", actual=f"{head.what} {head.name}")
        genesis = decode_as(Genesis, (place / "genesis.cbor").read_bytes())
        if home.genesis_path.exists() and genesis_cid(home.genesis()) != genesis_cid(genesis):
            raise BackupOfOther("of another network", path=str(source))
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _require_stopped(home: Home, part: str, which: int | str) -> None:
    """`BackupRunning` when the port of the process is taken. A network that is not described here runs nothing."""
    if home.exists:
        url = home.network()[part][which]
        if not port_is_free(int(url.rsplit(":", 1)[1])):
            raise BackupRunning(url=url)


def _place(home: Home, unpacked: Path, folder: Path, names: list[str]) -> None:
    """Moves what was unpacked into its place, in this order. What lies there already must be the same."""
    for name in names:
        target, fresh = folder / name, unpacked / name
        if fresh.is_file() and target.exists() and target.read_bytes() != fresh.read_bytes():
            raise BackupOccupied(path=str(target))
    for path in (home.genesis_path, home.network_path):
        if not path.exists():
            replace_file(path, (unpacked / path.name).read_bytes(), 0o644)
    for name in names:
        target, fresh = folder / name, unpacked / name
        if fresh.exists() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh.rename(target)
            sync_directory(target.parent)
