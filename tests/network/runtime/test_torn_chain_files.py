"""The files that decide what a node may sign and what is final, torn at every byte and damaged in the middle."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.simulate.network import SimulatedNetwork
from tests.simulate.world import CHAIN, genesis_block, make_nodes, signing_key

from hce.foundation.store.appendlog import FORMAT, AppendLog
from hce.foundation.store.errors import LogCorrupt, UnknownFormat
from hce.foundation.types.blocks import Block, Commit
from hce.network.consensus.events import Lock, SignStep
from hce.network.consensus.messages import block_id_of
from hce.network.runtime.blocklog import MAX_RECORD_BYTES, BlockLog
from hce.network.runtime.errors import SignStateCorrupt
from hce.network.runtime.recovery import require_own_sign_state
from hce.network.runtime.salvage import open_records
from hce.network.runtime.signstate import SignState

GENESIS = genesis_block(make_nodes(4))
KEY = signing_key(0).public


@pytest.fixture(scope="module")
def finals() -> list[tuple[Block, Commit]]:
    """Blocks 1 to 6 of a simulated network, with their commits."""
    net = SimulatedNetwork(seed=1, n=4)
    net.boot()
    net.run_to(6, 20_000)
    return net.honest[0].final[:6]


def written(path: Path, finals: list[tuple[Block, Commit]]) -> tuple[bytes, list[int]]:
    """The log's bytes and where its records end."""
    ends = []
    with AppendLog.open(path, max_record_bytes=MAX_RECORD_BYTES) as records:
        log = BlockLog(records, GENESIS)
        ends.append(path.stat().st_size)
        for final in finals:
            log.append(*final)
            ends.append(path.stat().st_size)
    return path.read_bytes(), ends


@pytest.mark.parametrize("left", ["nothing", "zeros", "garbage"])
def test_a_block_log_torn_anywhere_in_its_last_blocks_keeps_the_others_and_goes_on(tmp_path: Path, finals, left: str) -> None:
    path = tmp_path / "blocks.log"
    whole, ends = written(path, finals[:4])
    for at in sorted({*range(ends[2], ends[4], 3), *range(ends[3] - 60, ends[3] + 60)}):
        height = sum(end <= at for end in ends) - 1
        chance = random.Random(at)
        tails = {"nothing": b"", "zeros": bytes(5_000), "garbage": chance.randbytes(chance.randint(1, 500))}
        path.write_bytes(whole[:at] + tails[left])
        with open_records(path, alone=True) as records:
            log = BlockLog(records, GENESIS)
            assert [log.read(one).block for one in range(1, log.height + 1)] == [block for block, _ in finals[:height]], at
            log.append(*finals[height])
    assert list(tmp_path.iterdir()) == [path], "nothing of it was damage"


def test_a_block_log_damaged_at_any_byte_keeps_its_whole_beginning_and_the_damaged_file(tmp_path: Path, finals) -> None:
    path = tmp_path / "blocks.log"
    whole, ends = written(path, finals[:4])
    for number, at in enumerate(range(0, ends[-2], 97), 1):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        if at >= len(FORMAT):
            with pytest.raises(LogCorrupt):
                open_records(path, alone=True)
            assert path.read_bytes() == flipped, "a lone node changes nothing"
        with open_records(path, alone=False) as records:
            log = BlockLog(records, GENESIS)
            assert log.height == max(0, sum(end <= at for end in ends) - 1) if at >= len(FORMAT) else log.height == 0
            for final in finals[log.height : 4]:
                log.append(*final)
        assert path.read_bytes() == whole or at < len(whole)
        assert (tmp_path / f"blocks.log.damaged-{number}").read_bytes() == flipped


def test_a_log_of_another_version_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "blocks.log").write_bytes(b"hce/log/2\n and more")
    with pytest.raises(UnknownFormat):
        open_records(tmp_path / "blocks.log", alone=False)
    assert (tmp_path / "blocks.log").read_bytes() == b"hce/log/2\n and more"


def test_a_kill_while_a_log_is_salvaged_leaves_something_that_can_be_salvaged(tmp_path: Path, finals) -> None:
    path = tmp_path / "blocks.log"
    whole, ends = written(path, finals[:4])
    flipped = bytearray(whole)
    flipped[ends[2] + 50] ^= 1
    for rest in (b"", whole[: ends[1]], random.Random(1).randbytes(300)):
        path.write_bytes(flipped)
        path.with_name("blocks.log.whole").write_bytes(rest)
        with open_records(path, alone=False) as records:
            assert BlockLog(records, GENESIS).height == 2


def test_a_kept_block_torn_at_every_byte_is_gone_or_whole(tmp_path: Path, finals) -> None:
    (first, _), (second, _) = finals[:2]
    state = SignState.open(tmp_path, CHAIN, KEY)
    first_id, second_id = block_id_of(first.header), block_id_of(second.header)
    state.keep_block(first_id, first)
    state.store(1, 0, SignStep.PROPOSAL, first_id, Lock(), ())
    before = (tmp_path / "kept-block").read_bytes()
    state.keep_block(second_id, second)
    state.close()
    after = (tmp_path / "kept-block").read_bytes()
    start = next(place for place in range(len(after)) if before.ljust(len(after), b"\x00")[place] != after[place])
    for at in range(start, start + 400):
        with (tmp_path / "kept-block").open("r+b") as file:
            file.seek(start)
            file.write(after[start:at].ljust(len(after[start : start + 2_000]), b"\x00"))
        state = SignState.open(tmp_path, CHAIN, KEY)
        assert state.kept_block(first_id) == first, "what the record names is there"
        assert state.kept_block(second_id) in (None, second)
        state.close()


def test_an_old_copy_of_a_sign_state_is_told_by_the_nodes_own_commits(tmp_path: Path, finals) -> None:
    written(tmp_path / "blocks.log", finals)
    signed = [(block.header.height, commit.round) for block, commit in finals if any(one.index == 0 for one in commit.signatures)]
    assert len(signed) > 2, "it was among the quorum now and then"
    state = SignState.open(tmp_path / "sign", CHAIN, KEY)
    with AppendLog.open(tmp_path / "blocks.log", max_record_bytes=MAX_RECORD_BYTES) as records:
        log = BlockLog(records, GENESIS)
        for height, round_ in signed:
            with pytest.raises(SignStateCorrupt):
                require_own_sign_state(state, log, 0)
            state.store(height, round_, SignStep.PRECOMMIT, None, Lock(), ())
        require_own_sign_state(state, log, 0)
        require_own_sign_state(None, log, None)
    state.close()
