"""The journal against a naive model that copies everything at every checkpoint."""

from __future__ import annotations

import copy

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hce.foundation.store.journal import HEALTH, SPACES, VALUE, Journal, Mark
from hce.foundation.types.errors import Bug

BASE = {(HEALTH, b"a"): b"1", (HEALTH, b"b"): b"", (VALUE, b"a"): b"2", (VALUE, b"c"): b"3"}
KEYS = (b"a", b"b", b"c", b"d")

spaces = st.sampled_from(SPACES)
keys = st.sampled_from(KEYS)
Content = dict[tuple[str, bytes], bytes]


def read_base(space: str, key: bytes) -> bytes | None:
    return BASE.get((space, key))


class JournalMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.journal = Journal(read_base)
        self.model: Content = dict(BASE)
        self.saved: list[tuple[Mark, Content]] = []

    @rule(space=spaces, key=keys, value=st.sampled_from([b"", b"1", b"2", b"3"]))
    def put(self, space: str, key: bytes, value: bytes) -> None:
        self.journal.put(space, key, value)
        self.model[space, key] = value

    @rule(space=spaces, key=keys)
    def delete(self, space: str, key: bytes) -> None:
        self.journal.delete(space, key)
        self.model.pop((space, key), None)

    @precondition(lambda self: len(self.saved) < 6)
    @rule()
    def checkpoint(self) -> None:
        self.saved.append((self.journal.checkpoint(), copy.copy(self.model)))

    @precondition(lambda self: self.saved)
    @rule(data=st.data())
    def rollback(self, data: st.DataObject) -> None:
        depth = data.draw(st.integers(0, len(self.saved) - 1))
        mark, self.model = self.saved[depth]
        self.journal.rollback(mark)
        del self.saved[depth:]

    @precondition(lambda self: self.saved)
    @rule()
    def commit(self) -> None:
        mark, _ = self.saved.pop()
        self.journal.commit(mark)

    @precondition(lambda self: len(self.saved) > 1)
    @rule()
    def commit_around_an_open_checkpoint(self) -> None:
        with pytest.raises(Bug):
            self.journal.commit(self.saved[0][0])

    @invariant()
    def reads_are_those_of_the_model(self) -> None:
        for space in SPACES:
            for key in KEYS:
                assert self.journal.get(space, key) == self.model.get((space, key))

    @invariant()
    def changes_are_the_sorted_difference_to_the_base(self) -> None:
        for space in SPACES:
            expected = [
                (key, self.model.get((space, key))) for key in KEYS if self.model.get((space, key)) != BASE.get((space, key))
            ]
            assert list(self.journal.changes(space).items()) == expected


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_one_rollback_undoes_both_chains() -> None:
    journal = Journal(read_base)
    mark = journal.checkpoint()
    journal.put(HEALTH, b"a", b"changed")
    journal.delete(VALUE, b"c")
    journal.rollback(mark)
    assert journal.changes(HEALTH) == journal.changes(VALUE) == {}
    assert journal.get(VALUE, b"c") == b"3"


def test_an_outer_rollback_undoes_a_committed_inner_checkpoint() -> None:
    journal = Journal(read_base)
    outer = journal.checkpoint()
    inner = journal.checkpoint()
    journal.put(VALUE, b"a", b"spent")
    journal.commit(inner)
    journal.rollback(outer)
    assert journal.get(VALUE, b"a") == b"2"


@pytest.mark.parametrize("ending", ["rollback", "commit"])
def test_a_checkpoint_ends_once(ending: str) -> None:
    journal = Journal(read_base)
    mark = journal.checkpoint()
    getattr(journal, ending)(mark)
    for again in (journal.rollback, journal.commit):
        with pytest.raises(Bug):
            again(mark)
    journal.checkpoint()
    with pytest.raises(Bug):
        journal.rollback(mark)


def test_each_key_is_read_from_the_base_once() -> None:
    asked: list[tuple[str, bytes]] = []

    def reader(space: str, key: bytes) -> bytes | None:
        asked.append((space, key))
        return read_base(space, key)

    journal = Journal(reader)
    for _ in range(3):
        journal.get(HEALTH, b"a")
        journal.get(VALUE, b"zero")
    journal.put(HEALTH, b"a", b"9")
    journal.changes(HEALTH)
    assert asked == [(HEALTH, b"a"), (VALUE, b"zero")]


def test_a_space_that_is_no_chain_is_refused() -> None:
    with pytest.raises(KeyError):
        Journal(read_base).put("money", b"a", b"1")
