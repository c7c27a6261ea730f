"""A process is killed between any two flushes or commits: what was promised is there, the rest is whole or absent.

The child is a real process that works on real files; its hook ends it (no cleanup, no buffers) right before or right after the k-th
flush or commit, for every k until the work ends by itself. It reports each finished step through a pipe first.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.store.appendlog import AppendLog
from hce.foundation.store.kv import KeyValueStore
from hce.foundation.store.mapnodes import MapStore
from hce.foundation.store.packs import PackStore

STEPS = 5
KILLED = 9
MAX_KILLS = 100

Report = Callable[[], None]


class Killer:
    """Counts flushes and commits, and ends the process at one of them."""

    def __init__(self, at: int, when: str) -> None:
        self.at, self.when, self.calls = at, when, 0

    def sync(self, descriptor: int) -> None:
        self._around(lambda: os.fsync(descriptor))

    def commit(self, transaction: Any) -> None:
        self._around(lambda: transaction.commit())

    def _around(self, work: Callable[[], None]) -> None:
        self.calls += 1
        if self.calls == self.at and self.when == "before":
            os._exit(KILLED)
        work()
        if self.calls == self.at and self.when == "after":
            os._exit(KILLED)


Work = Callable[[Path, Killer, Report], None]


def run_child(work: Work, folder: Path, killer: Killer) -> tuple[int, int]:
    """Exit code of the child and the number of steps it promised."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(folder, killer, lambda: os.write(writer, b".") and None)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as reports:
        promised = len(reports.read())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), promised


def every_kill(work: Work, tmp_path: Path, when: str) -> Iterator[tuple[Path, int]]:
    """(folder, promised steps) for each place where the work can be killed."""
    for at in range(1, MAX_KILLS):
        folder = tmp_path / str(at)
        code, promised = run_child(work, folder, Killer(at, when))
        assert code in (0, KILLED)
        yield folder, promised
        if code == 0:
            assert promised == STEPS
            assert at > STEPS, "the hook was never reached"
            return
    raise AssertionError("the work never ended")


whens = pytest.mark.parametrize("when", ["before", "after"])

STATE = MapStore("health")
TABLES = (*STATE.tables, "meta-height")


def open_state(folder: Path, **options: Any) -> KeyValueStore:
    return KeyValueStore.open(folder / "state", tables=TABLES, map_size=1 << 20, **options)


def write_blocks(folder: Path, killer: Killer, report: Report) -> None:
    with open_state(folder, commit=killer.commit) as store:
        for height in range(1, STEPS + 1):
            with store.write() as batch:
                STATE.update(batch, {b"balance": b"%d" % height, b"block %d" % height: b"", b"block %d" % (height - 1): None})
                batch.put("meta-height", b"height", b"%d" % height)
            report()


@whens
def test_a_killed_state_is_that_of_one_block(tmp_path: Path, when: str) -> None:
    for folder, promised in every_kill(write_blocks, tmp_path, when):
        with open_state(folder) as store, store.read() as snapshot:
            height = int(snapshot.get("meta-height", b"height") or b"0")
            assert promised <= height <= promised + 1
            assert dict(snapshot.scan(STATE.state)) == ({b"balance": b"%d" % height, b"block %d" % height: b""} if height else {})
            for key in (b"balance", b"block %d" % height, b"block %d" % (height + 1)):
                value, _ = STATE.prove(snapshot, key)
                assert value == snapshot.get(STATE.state, key)


def append_records(folder: Path, killer: Killer, report: Report) -> None:
    with AppendLog.open(folder / "logs" / "log", sync=killer.sync) as log:
        for step in range(STEPS):
            log.append(b"unflushed %d" % step, sync=False)
            log.append(b"flushed %d" % step)
            report()


@whens
def test_a_killed_log_holds_what_was_promised_and_nothing_torn(tmp_path: Path, when: str) -> None:
    everything = [b"%s %d" % (kind, step) for step in range(STEPS) for kind in (b"unflushed", b"flushed")]
    for folder, promised in every_kill(append_records, tmp_path, when):
        with AppendLog.open(folder / "logs" / "log") as log:
            assert 2 * promised <= len(log) <= 2 * promised + 2
            assert list(log) == everything[: len(log)]


def blobs_of(step: int) -> list[bytes]:
    return [b"%d.%d " % (step, part) * 20 for part in range(3)]


def open_packs(folder: Path, **options: Any) -> PackStore:
    return PackStore.open(folder / "packs", max_pack_bytes=300, map_size=1 << 20, **options)


def put_blobs(folder: Path, killer: Killer, report: Report) -> None:
    with open_packs(folder, sync=killer.sync, commit=killer.commit) as packs:
        for step in range(STEPS):
            packs.put_many([(cid_of_raw(blob), blob) for blob in blobs_of(step)])
            report()


@whens
def test_killed_packs_hold_what_was_promised_and_take_more(tmp_path: Path, when: str) -> None:
    for folder, promised in every_kill(put_blobs, tmp_path, when):
        with open_packs(folder) as packs:
            for step in range(promised):
                assert [packs.get(cid_of_raw(blob)) for blob in blobs_of(step)] == blobs_of(step)
            half_done = [cid_of_raw(blob) for blob in blobs_of(promised)]
            assert all(cid_of_raw(packs.get(cid)) == cid for cid in half_done if packs.has(cid))
            assert not any(packs.has(cid_of_raw(blob)) for step in range(promised + 1, STEPS) for blob in blobs_of(step))
            packs.put_many([(cid_of_raw(blob), blob) for step in range(STEPS) for blob in blobs_of(step)])
        with open_packs(folder) as packs:
            assert all(packs.get(cid_of_raw(blob)) == blob for step in range(STEPS) for blob in blobs_of(step))
