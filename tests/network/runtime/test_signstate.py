"""What a key has signed is on disk before the signature exists, whatever is killed, torn or asked for."""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.simulate.world import CHAIN, Fuse, Killed, MemoryFile, genesis_block, make_nodes, signing_key

from hce.foundation.codec.dagcbor import decode
from hce.foundation.crypto.sign import verify
from hce.foundation.types.blocks import Vote
from hce.network.consensus.events import NO_ROUND, Lock, SignAndBroadcastProposal, SignAndBroadcastVote, SignStep
from hce.network.consensus.messages import MAX_VOTES_PER_MESSAGE, block_id_of, vote_signing_bytes
from hce.network.runtime.errors import SignRefused, SignStateBusy, SignStateCorrupt
from hce.network.runtime.signer import Signer
from hce.network.runtime.signstate import RECORD_FILE_BYTES, RECORD_SLOT_BYTES, SignState, first_record

KEY = signing_key(0)
BLOCK = genesis_block(make_nodes(1))
A, B = block_id_of(BLOCK.header), b"\x01\x71\x12\x20" + b"b" * 32
PROPOSAL, PREVOTE, PRECOMMIT = SignStep.PROPOSAL, SignStep.PREVOTE, SignStep.PRECOMMIT
LARGEST_VOTE = Vote(2, 2**53 - 1, 2**53 - 1, 2**31, A, 255, b"\xff" * 64)


def in_memory(fuse: Fuse | None = None) -> tuple[MemoryFile, MemoryFile]:
    fuse = fuse or Fuse()
    return MemoryFile(fuse, first_record(CHAIN, KEY.public)), MemoryFile(fuse)


def opened(files) -> SignState:
    return SignState(*files, CHAIN, KEY.public)


def vote(height, round, step, block_id, lock=Lock()) -> SignAndBroadcastVote:
    return SignAndBroadcastVote(height, 0, round, step, block_id, lock)


def test_a_vote_is_signed_after_it_is_stored():
    files = in_memory()
    signed = Signer(CHAIN, 3, KEY, opened(files)).vote(vote(5, 1, PREVOTE, A), ())
    assert (signed.type, signed.height, signed.round, signed.block_id, signed.index) == (1, 5, 1, A, 3)
    assert verify(KEY.public, vote_signing_bytes(CHAIN, 1, 0, 5, 1, A), signed.signature)
    last = opened(files).last
    assert (last.height, last.round, last.step, last.block_id) == (5, 1, PREVOTE, A)


def test_the_same_thing_may_be_signed_again_and_gives_the_same_bytes():
    files = in_memory()
    first = Signer(CHAIN, 0, KEY, opened(files)).vote(vote(5, 1, PREVOTE, A), ())
    assert Signer(CHAIN, 0, KEY, opened(files)).vote(vote(5, 1, PREVOTE, A), ()) == first


@pytest.mark.parametrize(
    "asked",
    [
        (5, 1, PRECOMMIT, B),
        (5, 1, PRECOMMIT, None),
        (5, 1, PREVOTE, A),
        (5, 1, PROPOSAL, A),
        (5, 0, PRECOMMIT, A),
        (4, 9, PRECOMMIT, A),
    ],
    ids=["another block", "nil instead", "a step back", "two steps back", "a round back", "a height back"],
)
def test_what_contradicts_or_precedes_is_refused_also_after_a_restart(asked):
    files = in_memory()
    state = opened(files)
    state.store(5, 1, PRECOMMIT, A, Lock(), ())
    for again in (state, opened(files)):
        with pytest.raises(SignRefused):
            again.store(*asked, Lock(), ())
    assert opened(files).last.block_id == A


def test_a_proposal_is_not_signed_again_with_another_valid_round():
    state = opened(in_memory())
    state.store(5, 3, PROPOSAL, A, Lock(), ())
    state.store(5, 3, PROPOSAL, A, Lock(), ())
    with pytest.raises(SignRefused):
        state.store(5, 3, PROPOSAL, A, Lock(valid_round=1, valid_id=A), ())


def test_a_round_goes_through_proposal_prevote_precommit():
    state = opened(in_memory())
    for height in (1, 2):
        for round in (0, 3):
            for step in SignStep:
                state.store(height, round, step, A, Lock(), ())
    assert state.last.sequence == 12


def test_the_lock_and_the_shared_votes_come_back():
    files = in_memory()
    lock = Lock(1, A, 2, B)
    opened(files).store(5, 2, PRECOMMIT, None, lock, (LARGEST_VOTE,) * MAX_VOTES_PER_MESSAGE)
    back = opened(files).recovered(5)
    assert (back.round, back.step, back.lock) == (2, PRECOMMIT, lock)
    assert back.votes == (LARGEST_VOTE,) * MAX_VOTES_PER_MESSAGE
    assert opened(files).recovered(6) is None


def test_the_block_to_propose_again_comes_from_the_disk():
    files = in_memory()
    state = opened(files)
    state.keep_block(A, BLOCK)
    assert opened(files).kept_block(A) == BLOCK
    assert opened(files).kept_block(B) is None


def test_a_new_kept_block_never_overwrites_the_one_that_the_record_names():
    files = in_memory()
    state = opened(files)
    blocks = [replace(BLOCK, header=replace(BLOCK.header, time_ms=time)) for time in range(1, 6)]
    ids = [block_id_of(block.header) for block in blocks]
    state.keep_block(ids[0], blocks[0])
    state.store(1, 0, PRECOMMIT, ids[0], Lock(0, ids[0], 0, ids[0]), ())
    for block_id, block in zip(ids[1:], blocks[1:], strict=True):
        state = opened(files)
        state.keep_block(block_id, block)
        assert opened(files).kept_block(ids[0]) == blocks[0]
        assert opened(files).kept_block(block_id) == block


def test_a_file_of_another_key_or_chain_is_refused():
    for chain, key in ((b"another chain...", KEY), (CHAIN, signing_key(1))):
        with pytest.raises(SignStateCorrupt):
            SignState(*in_memory(), chain, key.public)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 6), st.booleans(), st.integers(0, 2**32))
def test_a_kill_at_any_flush_leaves_the_old_or_the_new_record(kill_at, after, seed):
    fuse = Fuse(kill_at=kill_at, after=after)
    files = in_memory(fuse)
    wanted = [(1, 0, PREVOTE, A), (1, 0, PRECOMMIT, A), (1, 1, PREVOTE, None), (1, 1, PRECOMMIT, None), (2, 0, PREVOTE, B)]
    stored = []
    state = opened(files)
    try:
        for asked in wanted:
            state.store(*asked, Lock(), (LARGEST_VOTE,))
            stored.append(asked)
    except Killed:
        for file in files:
            file.crash(random.Random(seed))
    last = opened(files).last
    found = [] if last is None else [(last.height, last.round, SignStep(last.step), last.block_id)]
    assert found in (stored[-1:], wanted[len(stored) : len(stored) + 1])


def test_tearing_the_newest_record_at_any_byte_falls_back_to_the_one_before(tmp_path):
    state = SignState.open(tmp_path, CHAIN, KEY.public)
    state.store(1, 0, PREVOTE, A, Lock(), ())
    before = (tmp_path / "sign-state").read_bytes()
    state.store(1, 0, PRECOMMIT, A, Lock(), ())
    state.close()
    after = (tmp_path / "sign-state").read_bytes()
    changed = [i for i in range(len(after)) if before[i] != after[i]]
    second_copy = len(after) // 2
    for cut in changed:
        (tmp_path / "sign-state").write_bytes(after[:cut] + before[cut:])
        reopened = SignState.open(tmp_path, CHAIN, KEY.public)
        assert reopened.last.step == (PREVOTE if cut < second_copy else PRECOMMIT)
        reopened.close()


def test_one_copy_of_the_newest_record_may_be_damaged_at_any_byte(tmp_path):
    state = SignState.open(tmp_path, CHAIN, KEY.public)
    state.store(1, 0, PREVOTE, A, Lock(), ())
    before = (tmp_path / "sign-state").read_bytes()
    state.store(1, 0, PRECOMMIT, A, Lock(), ())
    state.close()
    whole = (tmp_path / "sign-state").read_bytes()
    for place in (i for i in range(len(whole)) if before[i] != whole[i]):
        (tmp_path / "sign-state").write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        reopened = SignState.open(tmp_path, CHAIN, KEY.public)
        assert reopened.last.step == PRECOMMIT, "what was signed is not forgotten"
        reopened.close()
        assert (tmp_path / "sign-state").read_bytes() == whole, "and both copies are whole again"


@pytest.mark.parametrize("keeps", [0, 1, RECORD_SLOT_BYTES - 1, RECORD_SLOT_BYTES, 3 * RECORD_SLOT_BYTES, RECORD_FILE_BYTES - 1])
def test_a_file_that_was_cut_is_corrupt(tmp_path, keeps):
    SignState.open(tmp_path, CHAIN, KEY.public).close()
    os.truncate(tmp_path / "sign-state", keeps)
    with pytest.raises(SignStateCorrupt):
        SignState.open(tmp_path, CHAIN, KEY.public)


@pytest.mark.parametrize("slot", [0, 1])
def test_a_wiped_slot_is_corrupt_and_not_torn(tmp_path, slot):
    state = SignState.open(tmp_path, CHAIN, KEY.public)
    for round in range(3):
        state.store(1, round, PREVOTE, A, Lock(), ())
    state.close()
    with (tmp_path / "sign-state").open("r+b") as file:
        for copy in (0, 1):
            file.seek((2 * copy + slot) * RECORD_SLOT_BYTES)
            file.write(bytes(RECORD_SLOT_BYTES))
    with pytest.raises(SignStateCorrupt):
        SignState.open(tmp_path, CHAIN, KEY.public)


def test_an_emptied_or_zeroed_file_is_corrupt_and_not_new(tmp_path):
    SignState.open(tmp_path, CHAIN, KEY.public).close()
    size = (tmp_path / "sign-state").stat().st_size
    assert size == RECORD_FILE_BYTES
    for damaged in (b"", bytes(size)):
        (tmp_path / "sign-state").write_bytes(damaged)
        with pytest.raises(SignStateCorrupt):
            SignState.open(tmp_path, CHAIN, KEY.public)


def test_the_file_is_preallocated_and_its_directory_is_flushed_when_it_is_made(tmp_path):
    flushed = []

    def sync(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        os.fsync(descriptor)

    state = SignState.open(tmp_path / "sign", CHAIN, KEY.public, sync)
    made = flushed.index(str(tmp_path / "sign/sign-state.new"))
    assert str(tmp_path / "sign") in flushed[made:]
    size = (tmp_path / "sign/sign-state").stat().st_size
    for round in range(4):
        flushed.clear()
        state.store(1, round, PREVOTE, A, Lock(), (LARGEST_VOTE,) * MAX_VOTES_PER_MESSAGE)
        assert flushed == [str(tmp_path / "sign/sign-state")]
    assert (tmp_path / "sign/sign-state").stat().st_size == size
    state.close()


def test_two_processes_never_share_a_sign_state(tmp_path):
    state = SignState.open(tmp_path, CHAIN, KEY.public)
    with pytest.raises(SignStateBusy):
        SignState.open(tmp_path, CHAIN, KEY.public)
    state.close()
    SignState.open(tmp_path, CHAIN, KEY.public).close()


class Wire:
    """A key whose signatures reach the wire at once, wherever the process dies afterwards."""

    def __init__(self, path: Path) -> None:
        self._wire = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def sign(self, message: bytes) -> bytes:
        os.write(self._wire, message.hex().encode() + b"\n")
        return KEY.sign(message)


def sign_everything(directory: Path, kill_at: int, mine: bytes) -> None:
    """Signs two rounds for one value; dies at the k-th flush (k < 0: just after it)."""
    flushes = 0

    def sync(descriptor: int) -> None:
        nonlocal flushes
        flushes += 1
        if flushes == kill_at:
            os._exit(9)
        os.fsync(descriptor)
        if flushes == -kill_at:
            os._exit(9)

    signer = Signer(CHAIN, 0, Wire(directory / "wire"), SignState.open(directory / "sign", CHAIN, KEY.public, sync))
    for round in range(2):
        for step in (PROPOSAL, PREVOTE, PRECOMMIT):
            with contextlib.suppress(SignRefused):
                if step == PROPOSAL:
                    signer.proposal(SignAndBroadcastProposal(1, 0, round, NO_ROUND, mine, Lock()), BLOCK, ())
                else:
                    signer.vote(vote(1, round, step, mine), ())


def in_child(work) -> int:
    """Exit status of a forked process that does this work."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


FLUSHES_OF_OPENING = 7
FLUSHES = FLUSHES_OF_OPENING + 6


@pytest.mark.parametrize("kill_at", [sign * flush for flush in range(1, FLUSHES + 1) for sign in (1, -1)])
def test_a_process_killed_at_any_flush_never_signs_for_both_values(tmp_path, kill_at):
    """The first process wants block A and is killed; the second wants block B everywhere. What reached the wire must agree."""
    assert in_child(lambda: sign_everything(tmp_path, kill_at, A)) == 9
    assert in_child(lambda: sign_everything(tmp_path, 0, B)) == 0
    signed: dict[tuple, bytes] = {}
    for line in (tmp_path / "wire").read_text().split():
        domain, _, *fields = decode(bytes.fromhex(line))
        *place, value = fields
        assert signed.setdefault((domain, *place), value) == value
    assert set(signed.values()) <= {A, B}
    assert len(signed) >= 5  # whoever comes second signs on from where the first died


def test_no_flush_is_left_out_of_the_kill_test(tmp_path):
    assert in_child(lambda: sign_everything(tmp_path, FLUSHES, A)) == 9
    (tmp_path / "whole").mkdir()
    assert in_child(lambda: sign_everything(tmp_path / "whole", FLUSHES + 1, A)) == 0


def test_a_signed_proposal_names_its_valid_round():
    signer = Signer(CHAIN, 0, KEY, opened(in_memory()))
    fresh = signer.proposal(SignAndBroadcastProposal(1, 0, 0, NO_ROUND, A, Lock()), BLOCK, ())
    again = signer.proposal(SignAndBroadcastProposal(1, 0, 1, 0, A, Lock(0, A, 0, A)), BLOCK, ())
    assert (fresh.valid_round, again.valid_round) == (None, 0)


def test_a_copy_whose_newest_write_was_lost_does_not_hide_the_other():
    for lost in (0, 1):
        records, blocks = in_memory()
        state = opened((records, blocks))
        state.store(5, 0, PREVOTE, A, Lock(), ())
        state.store(5, 0, PRECOMMIT, A, Lock(), ())
        slot = 2 * lost + (state.last.sequence + 1) % 2  # where the next record goes, in one of its copies
        before = records.read(RECORD_SLOT_BYTES, slot * RECORD_SLOT_BYTES)
        state.store(6, 0, PREVOTE, A, Lock(), ())
        records.write(before, slot * RECORD_SLOT_BYTES)
        assert opened((records, blocks)).last.height == 6, lost
        assert records.read(RECORD_SLOT_BYTES, slot * RECORD_SLOT_BYTES) != before, "made equal again"
