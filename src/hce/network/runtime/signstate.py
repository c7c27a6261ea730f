"""The sign state: what this key has signed last, durable before the signature exists anywhere else.

The rule. A signature is for (height, round, step, block id or nil), with step PROPOSAL < PREVOTE < PRECOMMIT. Something new is
signed only if (height, round, step) is above the last record; the same thing may be signed again (Ed25519 gives the same bytes);
anything else is refused. So whatever happens, kill -9 between any two instructions included, no two signed messages contradict
each other.

The record also holds the lock (locked and valid round and id) and the votes this node would share: after a restart it is as locked
as it was, and can still prove to others why. The block it may propose (again) lies beside it, in its own two slots, written before
the record that refers to it; a re-proposal is read from there, never from memory.

Two slots alternate, each in two copies. A torn write leaves the older record: the newer signature was never made, so nothing is lost.
Damage to one copy of the newest record leaves the other; a slot without any writing, or a file of another size, is nothing a kill or a
power cut leaves and is refused. Refused alternative: a log of all messages. It grows, has a tail to repair, and says nothing more that
safety needs. Known limit: damage to both copies of the newest record looks torn. The commits of the block log are asked for what this
key has signed (`recovery.py`), and two disks or a signing device belong under a node that guards real money.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.store.disk import Sync
from hce.foundation.types.blocks import Block, Vote
from hce.foundation.types.errors import Malformed
from hce.foundation.types.scalars import ChainId, Cid, Height, PublicKey, Round
from hce.network.consensus.events import Lock, Recovered, SignStep
from hce.network.consensus.messages import MAX_BLOCK_BYTES, MAX_VOTE_BYTES, MAX_VOTES_PER_MESSAGE, block_id_of
from hce.network.runtime.errors import SignRefused, SignStateCorrupt
from hce.network.runtime.slots import HEADER_BYTES, DurableFile, OsFile, TwoSlots, frame

RECORD_SLOT_BYTES = 32 * 1024
"""Room for the largest record: 64 votes of at most 256 bytes, and 1 KiB for the rest."""
COPIES = 2
"""Of each record: the newest one must not look torn because one sector went bad."""
RECORD_FILE_BYTES = 2 * COPIES * RECORD_SLOT_BYTES
MAX_ROUND: Round = 2**31
BLOCK_SLOT_BYTES = MAX_BLOCK_BYTES + HEADER_BYTES
assert HEADER_BYTES + MAX_VOTES_PER_MESSAGE * MAX_VOTE_BYTES + 1024 <= RECORD_SLOT_BYTES


class SignRecord(Struct, frozen=True, array_like=True):
    """One signature that was about to be made."""

    chain: ChainId
    public_key: PublicKey
    sequence: int
    """Counts records; the higher of the two slots is the newer. Record 0 stands for 'nothing signed yet'."""
    height: Height = 0
    round: Round = 0
    step: int = SignStep.PROPOSAL
    block_id: Cid | None = None
    lock: Lock = Lock()
    votes: list[Vote] = []


class SignState:
    """The two files of one key. `last` is None until something was signed."""

    def __init__(self, records: DurableFile, blocks: DurableFile, chain: ChainId, public_key: PublicKey) -> None:
        self._records = TwoSlots(records, RECORD_SLOT_BYTES, COPIES)
        self._blocks = TwoSlots(blocks, BLOCK_SLOT_BYTES)
        self._newest = self._read_newest()
        if (self._newest.chain, self._newest.public_key) != (chain, public_key):
            raise SignStateCorrupt("of another chain or key", expected=public_key, actual=self._newest.public_key)
        kept = [self._block_in(slot) for slot in (0, 1)]
        self._kept_ids = [None if block is None else block_id_of(block.header) for block in kept]

    @classmethod
    def open(cls, directory: Path, chain: ChainId, public_key: PublicKey, sync: Sync = os.fsync) -> SignState:
        """Open or create `sign-state` and `kept-block` in the directory; `SignStateBusy` when another process holds them."""
        with ExitStack() as opened:
            records = OsFile(directory / "sign-state", first_record(chain, public_key), RECORD_FILE_BYTES, sync)
            opened.callback(records.close)
            size = (directory / "sign-state").stat().st_size
            if size != RECORD_FILE_BYTES:
                raise SignStateCorrupt("of another size", expected=RECORD_FILE_BYTES, actual=size)
            blocks = OsFile(directory / "kept-block", b"", 0, sync)
            opened.callback(blocks.close)
            state = cls(records, blocks, chain, public_key)
            opened.pop_all()
        return state

    @classmethod
    def create_above(cls, directory: Path, chain: ChainId, public_key: PublicKey, height: Height, sync: Sync = os.fsync) -> None:
        """A sign state that refuses everything up to `height`, in place of whatever lies there. Nobody may have it open.

        Only for a key that has certainly signed nothing above: see `app/rejoin.py`.
        """
        for name in ("sign-state", "kept-block"):
            (directory / name).unlink(missing_ok=True)
        record = SignRecord(chain, public_key, 2, height, MAX_ROUND, SignStep.PRECOMMIT)
        OsFile(directory / "sign-state", _everywhere(record), RECORD_FILE_BYTES, sync).close()

    @property
    def last(self) -> SignRecord | None:
        return self._newest if self._newest.sequence else None

    def require_known(self, height: Height, round: Round) -> None:
        """This key has precommitted there. `SignStateCorrupt`: then this is new or an old copy, or the key signs elsewhere too."""
        done = (0, 0, 0) if self.last is None else (self.last.height, self.last.round, self.last.step)
        if (height, round, int(SignStep.PRECOMMIT)) > done:
            raise SignStateCorrupt("older than what this node has signed", height=height, round=round, last=done)

    def store(
        self, height: Height, round: Round, step: SignStep, block_id: Cid | None, lock: Lock, votes: tuple[Vote, ...]
    ) -> None:
        """Durable on return; only then may the caller sign. `SignRefused` for whatever contradicts or precedes the last record."""
        last = self.last
        if last is not None:
            asked, done = (height, round, int(step)), (last.height, last.round, last.step)
            if asked == done and block_id == last.block_id and (step != SignStep.PROPOSAL or lock == last.lock):
                return
            if asked <= done:
                raise SignRefused(height=height, round=round, step=step.name, block_id=block_id, last=done, last_id=last.block_id)
        newest = self._newest
        record = SignRecord(
            newest.chain, newest.public_key, newest.sequence + 1, height, round, int(step), block_id, lock, list(votes)
        )
        self._records.write(record.sequence % 2, encode(record))
        self._newest = record

    def recovered(self, height: Height) -> Recovered | None:
        """How to go on in this height; None when nothing was signed in it."""
        last = self.last
        if last is None or last.height != height:
            return None
        return Recovered(last.round, SignStep(last.step), last.block_id, last.lock, tuple(last.votes))

    def keep_block(self, block_id: Cid, block: Block) -> None:
        """Keep a block that a record is about to name. Overwrites the slot that the present record does not need."""
        if block_id not in self._kept_ids:
            slot = 1 if self._kept_ids[0] == self._needed_block() else 0
            self._kept_ids[slot] = None
            self._blocks.write(slot, encode(block))
            self._kept_ids[slot] = block_id

    def kept_block(self, block_id: Cid) -> Block | None:
        """The kept block of that id, read from the disk."""
        return self._block_in(self._kept_ids.index(block_id)) if block_id in self._kept_ids else None

    def close(self) -> None:
        self._records.close()
        self._blocks.close()

    def _needed_block(self) -> Cid | None:
        """The block that a restart from the present record would propose."""
        newest = self._newest
        return newest.block_id if newest.step == SignStep.PROPOSAL else newest.lock.valid_id

    def _block_in(self, slot: int) -> Block | None:
        raw = self._blocks.read(slot)
        return None if raw is None else decode_as(Block, raw)

    def _read_newest(self) -> SignRecord:
        if not all(self._records.is_used(slot) for slot in (0, 1)):
            raise SignStateCorrupt("a slot was wiped")
        found = [(slot, raw) for slot in (0, 1) for raw in self._records.copies(slot)]
        if not found:
            raise SignStateCorrupt("no whole record")
        try:
            records = [(decode_as(SignRecord, raw), slot, raw) for slot, raw in found]
        except Malformed as error:
            raise SignStateCorrupt("unreadable record") from error
        newest, slot, raw = max(records, key=lambda record: record[0].sequence)
        self._records.make_equal(slot, raw)
        return newest


def first_record(chain: ChainId, public_key: PublicKey) -> bytes:
    """What a new file starts with, so that an empty or zeroed file never passes for a new one."""
    return _everywhere(SignRecord(chain, public_key, 0))


def _everywhere(record: SignRecord) -> bytes:
    """In every copy of both slots."""
    return frame(encode(record)).ljust(RECORD_SLOT_BYTES, b"\x00") * (2 * COPIES)
