"""A release request beside the state it is judged by: looking up what is not there raises the error that names it."""

from __future__ import annotations

from collections.abc import Callable, Container
from functools import cached_property
from typing import NamedTuple, TypeVar

from hce.foundation.crypto.threshold import Capsule, verify_capsule
from hce.service.keyholders import errors
from hce.service.terms.genesis import Params
from hce.service.terms.grants import RecordOpening, ReleaseRequest
from hce.service.terms.states import (
    CompartmentState,
    CredentialState,
    EntryState,
    GrantState,
    HealthReader,
    KeyholderState,
    RecordState,
)

T = TypeVar("T")
VerifyCapsule = Callable[[bytes, bytes, Capsule], bool]


class ReleaseMoment(NamedTuple):
    """Where and when the node stands while it decides."""

    chain: bytes
    height: int
    """Of the final state that is asked."""
    block_time_ms: int
    local_ms: int
    syncing: bool
    """A peer showed a commit above this node's state."""
    revoked: Container[bytes]
    """Grant ids seen revoked by any path, the chain's own word not needed."""
    verify_capsule: VerifyCapsule = verify_capsule
    """(keyholders' key, label, capsule) -> whether it was made for them; a node remembers what it found before."""

    @property
    def now_ms(self) -> int:
        """The later of block time and local clock: neither a halted chain nor a slow clock keeps a grant alive."""
        return max(self.block_time_ms, self.local_ms)


class OpenedRecord(NamedTuple):
    """A requested record: what the chain says and what the request opened."""

    record_id: bytes
    state: RecordState
    opening: RecordOpening


class Case:
    """A request beside the state it is judged by. Looking up what is not there raises the error that names it."""

    def __init__(self, state: HealthReader, request: ReleaseRequest, now: ReleaseMoment, params: Params) -> None:
        self.state = state
        self.request = request
        self.now = now
        self.params = params

    @cached_property
    def entry(self) -> EntryState:
        return _found(self.state.entry(self.request.entry_id), lambda: errors.EntryUnknown(entry_id=self.request.entry_id.hex()))

    @cached_property
    def grant(self) -> GrantState:
        """The grant the entry stands under, by the id the access body opens."""
        grant_id = self.request.access.grant_id
        return _found(self.state.grant(grant_id), lambda: errors.GrantUnknown(grant_id=grant_id.hex()))

    @cached_property
    def compartment(self) -> CompartmentState:
        return _found(self.state.compartment(self.request.grant.compartment_id), errors.CompartmentUnknown)

    @cached_property
    def reader(self) -> CredentialState:
        return _found(self.state.credential(self.request.access.credential_id), lambda: errors.ReaderNotCertified("unknown"))

    @cached_property
    def keyholders(self) -> KeyholderState:
        return _found(self.state.keyholders(), lambda: errors.NoKeyholders("none in the state"))

    @cached_property
    def records(self) -> tuple[OpenedRecord, ...]:
        """Requested records that came with an opening; nothing else is ever released."""
        pairs = zip(self.request.requested, self.request.openings, strict=False)
        authors: set[bytes] = set()
        return tuple(self._opened(record_id, opening, authors) for record_id, opening in pairs)

    def _opened(self, record_id: bytes, opening: RecordOpening, authors: set[bytes]) -> OpenedRecord:
        """`authors` are those looked up before: a thousand records have few."""
        state = _found(self.state.record(record_id), lambda: errors.RecordUnknown(record_id=record_id.hex()))
        author = opening.policy.author
        if author not in authors:
            _found(self.state.credential(author), lambda: errors.AuthorNotCertified("unknown", record_id=record_id.hex()))
            authors.add(author)
        return OpenedRecord(record_id, state, opening)


def _found(value: T | None, absent: Callable[[], Exception]) -> T:
    if value is None:
        raise absent()
    return value
