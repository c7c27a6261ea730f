"""Damage on as many nodes as the code bears: reads give the same bytes and the files are whole again; one more is a named error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.types.ladder import ladder
from hce.network.hcefs.errors import BlobUnrecoverable
from hce.network.hcefs.scrub import Scrubber


async def no_sleep(_: float) -> None:
    """Scrubs at full speed."""


def position_of(member: Any, shard: bytes) -> tuple[Path, int]:
    for file in member.pack_files():
        at = file.read_bytes().find(shard)
        if at >= 0:
            return file, at
    raise AssertionError("the shard is on no disk")


def flip(network: Any, node: int) -> None:
    """One bit of every shard."""
    for placed in network.placed:
        file, at = position_of(network.members[node], network.shard(placed, node)[1])
        overwrite(file, at + 3, bytes([file.read_bytes()[at + 3] ^ 1]))


def truncate(network: Any, node: int) -> None:
    """The pack ends inside of the first shard."""
    file, at = position_of(network.members[node], network.shard(network.placed[0], node)[1])
    with file.open("r+b") as opened:
        opened.truncate(at + 10)


def delete_files(network: Any, node: int) -> None:
    for file in network.members[node].pack_files():
        file.unlink()


def forget(network: Any, node: int) -> None:
    """The store does not know the shards any more."""
    for placed in network.placed:
        network.members[node].packs.delete(network.shard(placed, node)[0])


def swap(network: Any, node: int) -> None:
    """Two shards of one size in each other's place, header and all."""
    member = network.members[node]
    (_, a), (_, b) = (network.shard(placed, node) for placed in network.placed[:2])
    (file, at_a), (_, at_b) = position_of(member, a), position_of(member, b)
    assert len(a) == len(b)
    overwrite(file, at_a, b)
    overwrite(file, at_b, a)


def overwrite(file: Path, at: int, data: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(data)


DAMAGES: list[Callable[[Any, int], None]] = [flip, truncate, delete_files, forget, swap]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("n", [2, 4, 9])
async def test_damage_on_m_nodes_is_read_through_and_repaired(n: int, damage: Any, network: Any) -> None:
    nodes = network(n)
    nodes.write()
    for node in range(ladder(n).m):
        damage(nodes, node)
    for member in nodes.members:
        for placed in nodes.placed:
            assert await member.fs.blob(placed.ciphertext) == nodes.contents[placed.ciphertext]
    restored(nodes, range(ladder(n).m))


@pytest.mark.parametrize("damage", DAMAGES)
async def test_scrubbing_finds_and_repairs_what_nobody_reads(damage: Any, network: Any) -> None:
    nodes = network(9)
    nodes.write()
    for node in (0, 4, 8):
        damage(nodes, node)
    for node in (0, 4, 8):
        assert await Scrubber(nodes.members[node].fs, sleep=no_sleep).walk() == 0
    restored(nodes, (0, 4, 8))
    assert all(nodes.members[node].packs.get(cid_of_dag_cbor(nodes.manifest)) == nodes.manifest for node in range(9))


def restored(nodes: Any, damaged: Any) -> None:
    """Every member serves its true shards from disk, and those that were damaged counted it."""
    for member in nodes.members:
        for placed in nodes.placed:
            if member.node in placed.nodes:
                name, true = nodes.shard(placed, member.node)
                assert member.packs.get(name) == true
    for node in damaged:
        counters = nodes.members[node].fs.counters
        assert counters.damaged == counters.restored > 0


@pytest.mark.parametrize("n", [2, 4, 6, 9])
async def test_damage_on_one_node_more_is_a_named_error_and_changes_nothing(n: int, network: Any) -> None:
    nodes = network(n)
    nodes.write(count=1)
    (placed,) = nodes.placed
    for node in placed.nodes[: ladder(n).m + 1]:
        flip(nodes, node)
    for member in nodes.members:
        with pytest.raises(BlobUnrecoverable) as refused:
            await member.fs.blob(placed.ciphertext)
        assert refused.value.code == "blob.unrecoverable"
    lost = nodes.members[placed.nodes[0]]
    with pytest.raises(BlobUnrecoverable):
        await lost.fs.shard(nodes.shard(placed, lost.node)[0])
    assert await Scrubber(lost.fs, sleep=no_sleep).walk() == 1
    assert (lost.fs.counters.damaged, lost.fs.counters.restored) == (1, 0)


async def test_what_was_lost_beyond_the_bound_comes_back_when_a_node_does(network: Any) -> None:
    nodes = network(4)
    nodes.write(count=1)
    (placed,) = nodes.placed
    nodes.wire.away = set(placed.nodes[:3])
    reader = nodes.members[placed.nodes[3]]
    with pytest.raises(BlobUnrecoverable):
        await reader.fs.blob(placed.ciphertext)
    nodes.wire.away = set(placed.nodes[:2])
    assert await reader.fs.blob(placed.ciphertext) == nodes.contents[placed.ciphertext]


async def test_a_shard_a_peer_finds_damaged_is_repaired_afterwards(network: Any) -> None:
    nodes = network(4)
    nodes.write(count=1)
    (placed,) = nodes.placed
    damaged, reader = (nodes.members[node] for node in placed.nodes[:2])
    flip(nodes, damaged.node)
    assert await reader.fs.blob(placed.ciphertext) == nodes.contents[placed.ciphertext]
    assert (damaged.fs.counters.damaged, damaged.fs.counters.restored) == (1, 0)
    await Scrubber(damaged.fs, sleep=no_sleep).tend()
    name, true = nodes.shard(placed, damaged.node)
    assert damaged.packs.get(name) == true
    assert damaged.fs.counters.restored == 1


async def test_two_damaged_nodes_that_ask_each_other_do_not_wait_for_one_another(network: Any) -> None:
    nodes = network(4)
    nodes.write(count=1)
    (placed,) = nodes.placed
    for node in placed.nodes[:2]:
        flip(nodes, node)
    for node in placed.nodes[:2]:
        name, true = nodes.shard(placed, node)
        assert await nodes.members[node].fs.shard(name) == true


async def test_a_restored_shard_survives_a_restart(network: Any, tmp_path: Path) -> None:
    nodes = network(2)
    nodes.write(count=1)
    (placed,) = nodes.placed
    member = nodes.members[0]
    delete_files(nodes, 0)
    name, true = nodes.shard(placed, 0)
    assert await member.fs.shard(name) == true
    member.packs.close()
    with type(member.packs).open(member.path / "packs") as again:
        assert again.get(name) == true


async def test_a_repair_that_fails_leaves_the_shard_counted_as_damaged(network: Any) -> None:
    nodes = network(4)
    nodes.write(count=1)
    (placed,) = nodes.placed
    damaged = nodes.members[placed.nodes[0]]
    flip(nodes, damaged.node)
    nodes.wire.away = set(placed.nodes[1:])
    for _ in range(3):
        assert await Scrubber(damaged.fs, sleep=no_sleep).walk() == 1
        await damaged.fs.repair_noted()
        assert (damaged.fs.counters.damaged, damaged.fs.counters.restored) == (1, 0)
    nodes.wire.away = set()
    assert await Scrubber(damaged.fs, sleep=no_sleep).walk() == 0
    assert (damaged.fs.counters.damaged, damaged.fs.counters.restored) == (1, 1)
