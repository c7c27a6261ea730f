"""Final blocks with their commits survive tearing at any byte."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.simulate.network import SimulatedNetwork
from tests.simulate.world import genesis_block, make_nodes

from hce.foundation.store.appendlog import AppendLog
from hce.foundation.types.errors import Bug, NotFound
from hce.network.runtime.blocklog import MAX_RECORD_BYTES, BlockLog
from hce.network.runtime.errors import ChainMismatch

GENESIS = genesis_block(make_nodes(4))


@pytest.fixture(scope="module")
def finals():
    """Blocks 1 to 4 of a simulated network, with their commits."""
    net = SimulatedNetwork(seed=1, n=4)
    net.boot()
    net.run_to(4, 20_000)
    return net.honest[0].final[:4]


def open_log(path) -> tuple[AppendLog, BlockLog]:
    records = AppendLog.open(path, max_record_bytes=MAX_RECORD_BYTES)
    return records, BlockLog(records, GENESIS)


def test_a_new_log_begins_with_genesis(tmp_path):
    with open_log(tmp_path / "blocks")[0] as records:
        log = BlockLog(records, GENESIS)
        assert (log.base_height, log.height, log.head.block, log.head.commit) == (0, 0, GENESIS, None)


def test_blocks_and_commits_are_read_back_by_height(tmp_path, finals):
    records, log = open_log(tmp_path / "blocks")
    for block, commit in finals:
        log.append(block, commit)
    records.close()
    records, log = open_log(tmp_path / "blocks")
    assert [(log.read(h).block, log.read(h).commit) for h in range(1, 5)] == finals
    assert log.height == 4
    for height in (-1, 5):
        with pytest.raises(NotFound):
            log.read(height)
    records.close()


def test_a_log_of_a_recovered_chain_counts_from_its_genesis_height(tmp_path):
    genesis = replace(GENESIS, header=replace(GENESIS.header, height=700))
    with AppendLog.open(tmp_path / "blocks") as records:
        log = BlockLog(records, genesis)
        assert (log.base_height, log.height, log.read(700).block) == (700, 700, genesis)


def test_another_genesis_is_refused(tmp_path):
    open_log(tmp_path / "blocks")[0].close()
    with AppendLog.open(tmp_path / "blocks") as records, pytest.raises(ChainMismatch):
        BlockLog(records, genesis_block(make_nodes(1)))


def test_a_gap_a_stranger_or_another_commit_is_a_bug(tmp_path, finals):
    records, log = open_log(tmp_path / "blocks")
    (first, first_commit), (second, second_commit), *_ = finals
    for block, commit in ((second, second_commit), (first, second_commit), (GENESIS, first_commit)):
        with pytest.raises(Bug):
            log.append(block, commit)
    assert log.height == 0
    records.close()


def test_tearing_at_any_byte_loses_the_last_block_with_its_commit_or_nothing(tmp_path, finals):
    path = tmp_path / "blocks"
    records, log = open_log(path)
    log.append(*finals[0])
    whole = path.stat().st_size
    log.append(*finals[1])
    records.close()
    data = path.read_bytes()
    for cut in range(whole, len(data), 7):
        path.write_bytes(data[:cut])
        records, log = open_log(path)
        assert (log.height, log.head.block, log.head.commit) == (1, *finals[0])
        log.append(*finals[1])
        records.close()
        assert path.read_bytes() == data
