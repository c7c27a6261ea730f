"""A node and a gateway go into one file while they run, and come back from it after their folders are gone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tests.service.running import DAY_MS, ManualClock, OneNode, bundle_of, certified

from hce.app.archive import BackupDamaged, BackupExists, unpack
from hce.app.backup import (
    BackupAlone,
    BackupOccupied,
    BackupOfOther,
    BackupRunning,
    BackupWithoutKeys,
    backup_gateway,
    backup_node,
    restore_gateway,
    restore_node,
)
from hce.app.devnet.home import Home
from hce.app.devnet.run import create, port_count
from hce.app.gateway import bearer_token, read_settings
from hce.app.rejoin import (
    BLOCKS_ABOVE,
    SAFE_MS,
    LogNotWhole,
    MarkUnreadable,
    NotWatching,
    Watch,
    begin_watch,
    end_watch,
    give_up_watch,
    ledger_identity,
    watch_of,
)
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.store.errors import LogCorrupt, StoreBusy, StoreCorrupt
from hce.foundation.store.kv import KeyValueStore
from hce.network.consensus.application import BlockContext
from hce.network.consensus.events import Lock, SignStep
from hce.network.consensus.messages import block_id_of
from hce.network.runtime.blocklog import BlockLog
from hce.network.runtime.errors import SignRefused
from hce.network.runtime.salvage import open_records
from hce.network.runtime.signstate import SignState
from hce.service.gateway import granted
from hce.service.gateway.importing import import_bundle
from hce.service.gateway.practice import Practice
from hce.service.gateway.securing import Outbox
from hce.service.index.store import Index
from hce.service.keyring.errors import MasterKeyMissing
from hce.service.keyring.keyring import Keyring
from hce.service.ledger.genesis import genesis_block
from hce.service.ledger.ledger import Ledger
from hce.service.sdk.network import Network
from hce.service.sdk.owner import Owner
from hce.service.terms.genesis import Params


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneNode]:
    with ExitStack() as stack:
        yield OneNode(tmp_path_factory.mktemp("network") / "home", stack)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "made.hcebackup"


def by_command(node: OneNode, *arguments: str) -> str:
    """What `hce` prints; it must succeed."""
    command = [sys.executable, "-m", "hce.app.cli", *arguments, "--home", str(node.home.root)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def block_at(node: OneNode, height: int) -> bytes:
    return httpx.get(f"{node.url}/v1/blocks/{height}?wait_ms=10000", trust_env=False).raise_for_status().content


def height_of(node: OneNode) -> int:
    return int(httpx.get(node.url + "/v1/status", trust_env=False).json()["height"])


@pytest.fixture
def stopped(node: OneNode, file: Path) -> Iterator[OneNode]:
    """Backed up while it ran, then killed and its data gone; put back and running again for the next test."""
    block_at(node, 3)
    backup_node(node.home, 0, file, with_keys=True, now_ms=now_ms())
    node.kill()
    folder = node.home.node(0)
    kept = folder.with_name("kept")
    shutil.copytree(folder, kept)
    shutil.rmtree(folder / "data")
    yield node
    node.kill()
    shutil.rmtree(folder)
    kept.rename(folder)
    node.start()


# A node


def test_a_lone_node_comes_back_from_its_backup_and_the_same_chain_goes_on(stopped: OneNode, file: Path) -> None:
    with pytest.raises(BackupAlone):
        restore_node(stopped.home, 0, file, give_up_later_blocks=False, now_ms=now_ms())
    assert not (stopped.home.node(0) / "data").exists()
    height = restore_node(stopped.home, 0, file, give_up_later_blocks=True, now_ms=now_ms())
    assert height >= 3
    stopped.start()
    assert block_at(stopped, height + 3)
    kept = unpack(file, file.with_name("unpacked"))
    assert kept.what == "node"
    assert height_of(stopped) > height


def test_blocks_of_before_the_backup_are_the_same_bytes_after_the_restore(node: OneNode, file: Path) -> None:
    before = [block_at(node, height) for height in (1, 2, 3)]
    backup_node(node.home, 0, file, with_keys=False, now_ms=now_ms())
    node.kill()
    shutil.rmtree(node.home.node(0) / "data")
    restore_node(node.home, 0, file, give_up_later_blocks=True, now_ms=now_ms())
    node.start()
    assert [block_at(node, height) for height in (1, 2, 3)] == before


def test_neither_sign_state_nor_slots_nor_unasked_keys_are_in_a_backup(node: OneNode, file: Path, tmp_path: Path) -> None:
    backup_node(node.home, 0, file, with_keys=False, now_ms=now_ms())
    unpack(file, tmp_path / "open")
    names = {str(path.relative_to(tmp_path / "open")) for path in (tmp_path / "open").rglob("*") if path.is_file()}
    assert {"genesis.cbor", "data/blocks.log", "data/ledger/data.mdb", "data/mailbox/tables/data.mdb"} <= names
    assert not any(part in name for name in names for part in ("sign", "slots", "keys.cbor", "share.cbor", "kept-block"))
    keys = node.home.node_keys(0)
    content = file.read_bytes()
    assert not any(secret in content for secret in (keys.consensus, keys.link, keys.operator, keys.service))
    assert file.stat().st_mode & 0o777 == 0o600


def test_nothing_is_overwritten(node: OneNode, file: Path) -> None:
    backup_node(node.home, 0, file, with_keys=False, now_ms=now_ms())
    with pytest.raises(BackupExists):
        backup_node(node.home, 0, file, with_keys=False, now_ms=now_ms())
    with pytest.raises(BackupOccupied):
        restore_node(node.home, 0, file, give_up_later_blocks=True, now_ms=now_ms())


def test_a_node_whose_port_is_taken_is_not_restored(node: OneNode, file: Path) -> None:
    backup_node(node.home, 0, file, with_keys=False, now_ms=now_ms())
    data = node.home.node(0) / "data"
    data.rename(data.with_name("away"))
    try:
        with pytest.raises(BackupRunning):
            restore_node(node.home, 0, file, give_up_later_blocks=True, now_ms=now_ms())
        assert not data.exists()
    finally:
        data.with_name("away").rename(data)


def test_a_backup_without_keys_needs_them_in_the_folder(stopped: OneNode, file: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    folder = stopped.home.node(0)
    shutil.copytree(folder.with_name("kept") / "data", folder / "data")
    backup_node(stopped.home, 0, bare, with_keys=False, now_ms=now_ms())
    shutil.rmtree(folder)
    with pytest.raises(BackupWithoutKeys):
        restore_node(stopped.home, 0, bare, give_up_later_blocks=True, now_ms=now_ms())
    assert restore_node(stopped.home, 0, file, give_up_later_blocks=True, now_ms=now_ms()) >= 3


def test_a_damaged_backup_or_one_of_another_node_changes_nothing(stopped: OneNode, file: Path) -> None:
    content = file.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for damaged in (content[: len(content) * 2 // 3], flipped, b""):
        file.write_bytes(damaged)
        with pytest.raises(BackupDamaged):
            restore_node(stopped.home, 0, file, give_up_later_blocks=True, now_ms=now_ms())
    file.write_bytes(content)
    with pytest.raises(BackupOfOther):
        restore_node(stopped.home, 1, file, give_up_later_blocks=True, now_ms=now_ms())
    assert sorted(path.name for path in stopped.home.node(0).iterdir()) == ["keys.cbor", "share.cbor"]


# What a restored node may sign


def test_a_restored_node_waits_for_a_block_made_after_the_restore_and_two_more() -> None:
    watch = Watch(restored_ms=1_000_000)
    late = 1_000_000 + SAFE_MS
    assert not watch.may_sign(10, 999_000)
    assert not watch.may_sign(11, late)
    assert not watch.may_sign(12, late + 1)
    assert not watch.may_sign(13, late + 500)
    assert watch.may_sign(12 + BLOCKS_ABOVE, late + 900)


def test_after_the_watch_nothing_up_to_its_end_is_signed(tmp_path: Path) -> None:
    chain, public = b"c" * 16, SigningKey(b"k" * 32).public
    begin_watch(tmp_path, 5)
    assert watch_of(tmp_path, 4, 9) is not None
    end_watch(tmp_path, chain, public, 40)
    assert watch_of(tmp_path, 4, 9) is None
    state = SignState.open(tmp_path / "sign", chain, public)
    assert state.recovered(41) is None
    with pytest.raises(SignRefused):
        state.store(40, 5, SignStep.PRECOMMIT, None, Lock(), ())
    state.store(41, 0, SignStep.PREVOTE, None, Lock(), ())
    state.close()


def test_a_watch_whose_mark_is_damaged_begins_anew_and_a_lone_one_never_ends(tmp_path: Path) -> None:
    (tmp_path / "restored.json").write_text("{}")
    with pytest.raises(MarkUnreadable):
        watch_of(tmp_path, 1, 9)
    watch = watch_of(tmp_path, 4, 9_000)
    assert watch is not None
    assert [watch.may_sign(height, 9_001 + SAFE_MS) for height in (1, 2, 3)] == [False, False, True]
    assert watch_of(tmp_path, 4, 70_000) is not None, "and the new mark holds"


def test_a_watch_is_given_up_by_somebodys_word_and_above_the_nodes_own_blocks(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    create(home, list(range(30_000, 30_000 + port_count(4))), 4, Params())
    data, genesis = home.node(1) / "data", home.genesis()
    with pytest.raises(NotWatching):
        give_up_watch(data, genesis, 1)
    shutil.rmtree(data / "sign")
    assert watch_of(data, 4, 7_000) is not None
    running = open_records(data / "blocks.log", alone=False)
    BlockLog(running, genesis_block(genesis))
    with pytest.raises(StoreBusy):
        give_up_watch(data, genesis, 1)
    running.close()
    assert give_up_watch(data, genesis, 1) == 0
    assert watch_of(data, 4, 7_000) is None
    state = SignState.open(data / "sign", genesis.chain, genesis.node_list[1].consensus_key)
    with pytest.raises(SignRefused):
        state.store(0, 7, SignStep.PRECOMMIT, None, Lock(), ())
    state.store(1, 0, SignStep.PREVOTE, None, Lock(), ())
    state.close()


def test_no_watch_is_given_up_on_a_log_that_lost_blocks(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    create(home, list(range(30_000, 30_000 + port_count(4))), 4, Params())
    data, genesis = home.node(1) / "data", home.genesis()
    shutil.rmtree(data / "sign")
    assert watch_of(data, 4, 7_000) is not None
    with pytest.raises(LogNotWhole):
        give_up_watch(data, genesis, 1)  # the log is gone: whatever it held comes from the others first
    with open_records(data / "blocks.log", alone=False) as records:
        BlockLog(records, genesis_block(genesis))
        records.append(b"a block")
    content = bytearray((data / "blocks.log").read_bytes())
    content[60] ^= 1
    (data / "blocks.log").write_bytes(content)
    with pytest.raises(LogCorrupt):
        give_up_watch(data, genesis, 1)
    assert not list(data.glob("*.damaged-*")), "it is not cut either"
    open_records(data / "blocks.log", alone=False).close()
    with pytest.raises(LogNotWhole) as cut:
        give_up_watch(data, genesis, 1)
    assert cut.value.fields["beside"] == ["blocks.log.damaged-1"]
    assert watch_of(data, 4, 7_000) is not None, "it watches on"
    (data / "blocks.log.damaged-1").rename(tmp_path / "looked at")
    assert give_up_watch(data, genesis, 1) == 0


def test_no_watch_is_given_up_below_what_the_ledger_has_executed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    create(home, list(range(30_000, 30_000 + port_count(4))), 4, Params())
    data, genesis = home.node(1) / "data", home.genesis()
    shutil.rmtree(data / "sign")
    assert watch_of(data, 4, 7_000) is not None
    with open_records(data / "blocks.log", alone=False) as records:
        BlockLog(records, genesis_block(genesis))
    with KeyValueStore.open(
        data / "ledger", tables=Ledger.tables(), identity=ledger_identity(genesis, 1), map_size=1 << 24
    ) as store:
        Ledger.create(store, genesis)
        ledger = Ledger(store, genesis, on_revokes=lambda _: None, monotonic_ns=lambda: 0)
        context = BlockContext(1, 0, genesis.time_ms + 1, genesis.node_list[0].operator, block_id_of(genesis_block(genesis).header))
        ledger.finalize(context, ledger.prepare_proposal(context))
        ledger.commit(1)
    with pytest.raises(LogNotWhole) as behind:
        give_up_watch(data, genesis, 1)
    assert (behind.value.fields["height"], behind.value.fields["executed"]) == (0, 1)
    (data / "ledger" / "data.mdb").write_bytes(bytes(9_000))
    with pytest.raises(StoreCorrupt):
        give_up_watch(data, genesis, 1)


def test_a_node_whose_disk_is_new_watches_and_a_new_network_does_not(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    create(home, list(range(30_000, 30_000 + port_count(2))), 2, Params())
    data = home.node(1) / "data"
    assert watch_of(data, 2, 7_000) is None
    shutil.rmtree(data)
    lost = watch_of(data, 2, 7_000)
    assert lost is not None
    again = watch_of(data, 2, 9_000_000)
    assert again is not None
    assert not any(watch.may_sign(1, 7_000 + SAFE_MS) for watch in (lost, again))
    assert [again.may_sign(height, 7_001 + SAFE_MS) for height in (2, 3, 4)] == [False, False, True]


# A gateway


@asynccontextmanager
async def practising(node: OneNode, folder: Path) -> AsyncIterator[Practice]:
    """What a gateway process has open, in its own folder."""
    index = Index(folder / "index.sqlite")
    try:
        with Keyring.open(folder / "keyring") as keyring, Outbox.open(folder / "outbox", map_size=1 << 20) as outbox:
            async with await Network.join([node.url], node.home.genesis()) as network:
                yield Practice(network, keyring, index, outbox, ManualClock())
    finally:
        index.close()


async def granted_to(practice: Practice) -> bytes:
    """A patient with records the practice may read."""
    events = [event async for event in import_bundle(practice, bundle_of("backed-up", ["kept"]), None, None)]
    assert events
    (patient,) = practice.index.patients()
    owner = Owner(practice.network, practice.clock, practice.keyring.custodial_keys(bytes.fromhex(patient.custodial_id or "")))
    doctor = next(one.credential_id for one in practice.keyring.clinicians() if one.credential_id)
    request = await granted.ask(practice, doctor, "treatment", "read", "1900-01-01", "2100-12-31")
    made = await owner.grant(request, lasts_ms=DAY_MS, date_from="1900-01-01", date_to="2100-12-31")
    assert (await granted.collect(practice)).grants == [made.grant_id.hex()]
    return made.grant_id


async def notes_read(practice: Practice, grant_id: bytes) -> list[str]:
    result = await granted.read(practice, grant_id, [], "restored")
    contents = [json.loads(item.content) for record in result.opened.values() for item in record.manifest.items]
    return [content["code"]["text"] for content in contents if content["resourceType"] == "Observation"]


async def test_a_gateway_comes_back_from_its_backup_and_reads_what_it_was_granted(node: OneNode, file: Path) -> None:
    await certified(node)
    folder = node.home.gateway("riverside")
    async with practising(node, folder) as practice:
        await practice.certify_staff(read_settings(folder).staff)
        grant_id = await granted_to(practice)
        token = bearer_token(folder)
        by_command(node, "backup", "gateway", "riverside", "--to", str(file), "--with-keys")
        assert await notes_read(practice, grant_id) == ["kept"]
    with pytest.raises(BackupOccupied):
        restore_gateway(node.home, "riverside", file)
    shutil.rmtree(folder)
    by_command(node, "restore", "gateway", "riverside", "--from", str(file))
    assert bearer_token(folder) == token
    async with practising(node, folder) as practice:
        assert await notes_read(practice, grant_id) == ["kept"]


def test_a_gateways_backup_holds_its_master_key_and_token_only_when_asked(node: OneNode, file: Path) -> None:
    folder = node.home.gateway("oldtown")
    (folder / "outbox").mkdir(exist_ok=True)
    Outbox.open(folder / "outbox", map_size=1 << 20).close()
    Index(folder / "index.sqlite").close()
    master = (folder / "keyring" / "master.key").read_bytes()
    token = bearer_token(folder)
    backup_gateway(node.home, "oldtown", file, with_keys=False, now_ms=now_ms())
    assert master not in file.read_bytes()
    assert token.encode() not in file.read_bytes()
    shutil.rmtree(folder)
    with pytest.raises(BackupWithoutKeys):
        restore_gateway(node.home, "oldtown", file)
    (folder / "keyring").mkdir(parents=True)
    key_file = folder / "keyring" / "master.key"
    key_file.write_bytes(master)
    key_file.chmod(0o600)
    restore_gateway(node.home, "oldtown", file)
    assert bearer_token(folder) != token
    Keyring.open(folder / "keyring").close()
    key_file.unlink()
    with pytest.raises(MasterKeyMissing):
        Keyring.open(folder / "keyring")
