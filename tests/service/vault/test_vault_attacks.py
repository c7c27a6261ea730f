"""Everything that can be swapped, forged or lied about, each with the error that names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.aead import aead_seal, pad
from hce.foundation.crypto.errors import SealBroken
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.threshold import encapsulate
from hce.service.terms import states
from hce.service.terms.records import RecordHeader, SessionEntry, digest_of_envelope, key_commitment
from hce.service.vault import locks, opening
from hce.service.vault.errors import (
    AuthorNotCertified,
    EnvelopeSwapped,
    LocksDiffer,
    OpeningInvalid,
    OwnerLockBroken,
    PolicySwapped,
    SessionNotOurs,
    Tampered,
    WrongKey,
)

CHAIN = bytes(range(16))
NOW_MS = 1_760_000_000_000
DAY_MS = 24 * 3_600_000


class Two:
    """Two records of two sessions, lock B's half of each known, ready to be mixed up."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.one, self.two = world.write(1)[0], world.write(1)[0]
        self.sessions = [
            opening.read_session(world.keys.reading(0), each.session_entry, CHAIN, world.compartment_id, 0)
            for each in (self.one, self.two)
        ]
        self.headers = [self.header(each, session) for each, session in zip((self.one, self.two), self.sessions, strict=True)]
        self.owners = [
            opening.owner_open(world.keys.root, session.owner_lock, each.sealed.owner_wrap, header, world.compartment_id)
            for each, session, header in zip((self.one, self.two), self.sessions, self.headers, strict=True)
        ]
        self.halves = [
            encapsulate(world.network.keyholders.public_key, locks.label_of(header), owner.seed_b.reveal())[1]
            for header, owner in zip(self.headers, self.owners, strict=True)
        ]

    def header(self, written: Any, session: Any) -> RecordHeader:
        name = written.sealed.record_id
        key_id = self.world.network.keyholders.key_id
        return opening.check_record(CHAIN, key_id, name, written.state, session.openings[name], written.sealed.envelope)

    def unwrap(self, **changes: Any) -> SecretBytes:
        given = {
            "session": self.sessions[0],
            "header": self.headers[0],
            "envelope": self.one.sealed.envelope,
            "share_b": self.halves[0],
            "expected": self.one.state.key_commitment,
        }
        return opening.unwrap_dek(**(given | changes))


@pytest.fixture
def pair(world: Any) -> Two:
    return Two(world)


def test_unchanged_pieces_open(pair: Two) -> None:
    assert pair.unwrap() == pair.owners[0].dek


SWAPS: dict[str, Callable[[Two], dict[str, Any]]] = {
    "envelope of another record": lambda p: {"envelope": p.two.sealed.envelope},
    "capsule of another record": lambda p: {"envelope": replace(p.one.sealed.envelope, capsule=p.two.sealed.envelope.capsule)},
    "wrapped key of another record": lambda p: {
        "envelope": replace(p.one.sealed.envelope, wrapped_dek=p.two.sealed.envelope.wrapped_dek)
    },
    "session of another visit": lambda p: {"session": p.sessions[1]},
    "lock A of another session around our secret": lambda p: {"session": replace(p.sessions[0], lock_a=p.sessions[1].lock_a)},
    "another reading epoch": lambda p: {"session": replace(p.sessions[0], reading_epoch=1)},
    "lock B's half of another record": lambda p: {"share_b": p.halves[1]},
    "header of another record": lambda p: {"header": p.headers[1]},
    "header with another chain": lambda p: {"header": replace(p.headers[0], chain=bytes(16))},
    "header with another record id": lambda p: {"header": replace(p.headers[0], record_id=p.headers[1].record_id)},
    "header with another policy": lambda p: {"header": replace(p.headers[0], policy_commitment=p.headers[1].policy_commitment)},
    "header with another key id": lambda p: {"header": replace(p.headers[0], key_id=bytes(32))},
    "key commitment of another record": lambda p: {"expected": p.two.state.key_commitment},
    "another half": lambda p: {"share_b": bytes(32)},
}


@pytest.mark.parametrize("name", SWAPS)
def test_no_swapped_piece_unwraps_the_key(pair: Two, name: str) -> None:
    with pytest.raises(WrongKey):
        pair.unwrap(**SWAPS[name](pair))


@pytest.mark.parametrize("place", [0, -1, 100])
def test_a_changed_ciphertext_byte_is_refused_twice(pair: Two, place: int) -> None:
    sealed = pair.one.sealed
    damaged = bytearray(sealed.ciphertext)
    damaged[place] ^= 1
    with pytest.raises(Tampered):
        opening.check_ciphertext(pair.headers[0], pair.sessions[0].openings[sealed.record_id], bytes(damaged))
    with pytest.raises(Tampered):
        opening.open_record(pair.owners[0].dek, bytes(damaged), pair.headers[0], pair.one.state.key_commitment)


def test_another_records_ciphertext_or_key_is_refused(pair: Two) -> None:
    with pytest.raises(Tampered):
        opening.open_record(pair.owners[0].dek, pair.two.sealed.ciphertext, pair.headers[0], pair.one.state.key_commitment)
    with pytest.raises(WrongKey):
        opening.open_record(pair.owners[1].dek, pair.one.sealed.ciphertext, pair.headers[0], pair.one.state.key_commitment)


def test_content_that_is_no_manifest_is_refused_even_under_the_right_key(pair: Two) -> None:
    dek, header = SecretBytes(b"k" * 32), pair.headers[0]
    ciphertext = aead_seal(dek.reveal(), b"not padded", encode(header))
    with pytest.raises(Tampered):
        opening.open_record(dek, ciphertext, header, key_commitment(dek.reveal(), header))


def test_opening_and_envelope_are_compared_with_the_chain(pair: Two) -> None:
    name, key_id = pair.one.sealed.record_id, pair.world.network.keyholders.key_id
    ours = pair.sessions[0].openings[name]
    theirs = pair.sessions[1].openings[pair.two.sealed.record_id]
    with pytest.raises(PolicySwapped):
        opening.check_record(CHAIN, key_id, name, pair.one.state, theirs, pair.one.sealed.envelope)
    with pytest.raises(PolicySwapped):
        opening.check_record(
            CHAIN, key_id, name, replace(pair.one.state, placement=pair.two.state.placement), ours, pair.one.sealed.envelope
        )
    for swapped in (
        pair.two.sealed.envelope,
        replace(pair.one.sealed.envelope, capsule=pair.two.sealed.envelope.capsule),
        replace(pair.one.sealed.envelope, owner_wrap_digest=bytes(32)),
    ):
        with pytest.raises(EnvelopeSwapped):
            opening.check_record(CHAIN, key_id, name, pair.one.state, ours, swapped)


def test_an_opening_moved_to_another_record_or_feed_is_named_and_hides_no_other(world: Any) -> None:
    first, second = world.write(2)
    entry = decode_as(SessionEntry, first.session_entry)
    a, b = entry.openings
    crossed = replace(entry, openings=[replace(a, sealed=b.sealed), b])
    session = opening.read_session(world.keys.reading(0), crossed, CHAIN, world.compartment_id, 0)
    assert set(session.broken) == {a.record_id}
    assert isinstance(session.broken[a.record_id], OpeningInvalid)
    assert set(session.openings) == {b.record_id}
    assert {first.sealed.record_id, second.sealed.record_id} == {a.record_id, b.record_id}


def test_an_author_cannot_put_another_compartments_opening_into_a_feed(world: Any) -> None:
    """The session secret is shared by author and readers: an opening must say itself where it belongs."""
    (record,) = world.write(1)
    session = opening.read_session(world.keys.reading(0), record.session_entry, CHAIN, world.compartment_id, 0)
    name = record.sealed.record_id
    foreign = replace(session.openings[name], policy=replace(session.openings[name].policy, compartment_id=bytes(32)))
    key = locks.opening_key(session.session_secret, name)
    entry = decode_as(SessionEntry, record.session_entry)
    moved = replace(entry.openings[0], sealed=aead_seal(key, pad(encode(foreign)), name))
    read = opening.read_session(world.keys.reading(0), replace(entry, openings=[moved]), CHAIN, world.compartment_id, 0)
    assert isinstance(read.broken[name], OpeningInvalid)


def test_a_session_of_another_compartment_does_not_open(world: Any) -> None:
    (record,) = world.write(1)
    with pytest.raises(SessionNotOurs):
        opening.read_session(world.keys.reading(0), record.session_entry, CHAIN, bytes(32), 0)
    with pytest.raises(SessionNotOurs):
        opening.read_session(world.keys.reading(0), record.session_entry, bytes(16), world.compartment_id, 0)


# The owner's check of an author who cheats.


def cheat(pair: Two, envelope: Any = None, wrap: bytes | None = None, owner: Any = None, commitment: bytes | None = None) -> None:
    """The owner's check with what a cheating author committed."""
    envelope = envelope or pair.one.sealed.envelope
    state = replace(pair.one.state, envelope_digest=digest_of_envelope(envelope))
    if commitment is not None:
        state = replace(state, key_commitment=commitment)
    opening.owner_checks_both_locks(
        owner or pair.owners[0],
        wrap or pair.one.sealed.owner_wrap,
        pair.sessions[0],
        pair.headers[0],
        envelope,
        state,
        pair.world.network.keyholders,
    )


def rewrap(pair: Two, dek: bytes, seed_b: bytes, made_for: RecordHeader | None = None) -> Any:
    """An envelope whose locks hide `dek`, its capsule made from `seed_b`."""
    header, session = pair.headers[0], pair.sessions[0]
    label = locks.label_of(made_for or header)
    capsule, half = encapsulate(pair.world.network.keyholders.public_key, label, seed_b)
    ss_a = locks.share_a(session.session_secret, header.record_id)
    key = locks.wrapping_key(ss_a, half, header, session.lock_a, capsule, session.reading_epoch)
    return replace(pair.one.sealed.envelope, capsule=capsule, wrapped_dek=aead_seal(key, dek, encode(header)))


def locked_by(error: pytest.ExceptionInfo[LocksDiffer]) -> str:
    return str(error.value.fields["lock"])


def test_an_honest_record_passes_the_owners_check(pair: Two) -> None:
    cheat(pair)
    cheat(pair, envelope=rewrap(pair, pair.owners[0].dek.reveal(), pair.owners[0].seed_b.reveal()))


def test_the_owner_catches_locks_that_hide_another_key(pair: Two) -> None:
    hidden = rewrap(pair, b"another key, for grantees only !", pair.owners[0].seed_b.reveal())
    with pytest.raises(LocksDiffer) as error:
        cheat(pair, envelope=hidden)
    assert locked_by(error) == "A"


def test_the_owner_catches_a_capsule_from_another_seed(pair: Two) -> None:
    hidden = rewrap(pair, pair.owners[0].dek.reveal(), bytes(32))
    with pytest.raises(LocksDiffer) as error:
        cheat(pair, envelope=hidden)
    assert locked_by(error) == "B"


def test_the_owner_catches_a_capsule_the_keyholders_would_refuse(pair: Two) -> None:
    hidden = rewrap(pair, pair.owners[0].dek.reveal(), pair.owners[0].seed_b.reveal(), made_for=pair.headers[1])
    with pytest.raises(LocksDiffer) as error:
        cheat(pair, envelope=hidden)
    assert locked_by(error) == "B"


def test_the_owner_catches_a_wrapped_key_that_does_not_unwrap(pair: Two) -> None:
    broken = replace(pair.one.sealed.envelope, wrapped_dek=bytes(48))
    with pytest.raises(LocksDiffer) as error:
        cheat(pair, envelope=broken)
    assert locked_by(error) == "A"


def test_the_owner_catches_a_wrap_with_another_key_than_the_chains(pair: Two) -> None:
    with pytest.raises(LocksDiffer) as error:
        cheat(pair, commitment=pair.two.state.key_commitment)
    assert locked_by(error) == "owner"
    with pytest.raises(LocksDiffer) as error:
        cheat(pair, owner=opening.OwnerOpened(SecretBytes(bytes(32)), pair.owners[0].seed_b))
    assert locked_by(error) == "owner"


def test_the_owner_catches_a_wrap_the_envelope_does_not_name(pair: Two) -> None:
    with pytest.raises(LocksDiffer) as error:
        cheat(pair, wrap=pair.two.sealed.owner_wrap)
    assert locked_by(error) == "owner"


def test_an_owner_wrap_of_another_record_does_not_open(pair: Two) -> None:
    session, root = pair.sessions[0], pair.world.keys.root
    with pytest.raises(OwnerLockBroken):
        opening.owner_open(root, session.owner_lock, pair.two.sealed.owner_wrap, pair.headers[0], pair.world.compartment_id)
    with pytest.raises(OwnerLockBroken):
        opening.owner_open(root, session.owner_lock, pair.one.sealed.owner_wrap, pair.headers[0], bytes(32))


# Authors.


def test_an_author_is_judged_at_the_inclusion_height(pair: Two) -> None:
    world, sealed, state = pair.world, pair.one.sealed, pair.one.state
    ours = pair.sessions[0].openings[sealed.record_id]
    credential = world.network.health.credential(world.credential_id)

    def judged(revoked_height: int | None) -> None:
        world.network.put(states.key_credential(world.credential_id), replace(credential, revoked_height=revoked_height))
        opening.verify_author(ours, sealed.record_id, state, world.network.health)

    judged(None)
    judged(state.height + 1)
    with pytest.raises(AuthorNotCertified):
        judged(state.height)
    world.network.values.pop(states.key_credential(world.credential_id))
    with pytest.raises(AuthorNotCertified):
        opening.verify_author(ours, sealed.record_id, state, world.network.health)


def test_a_signature_of_anybody_else_is_no_author(pair: Two) -> None:
    world, sealed, state = pair.world, pair.one.sealed, pair.one.state
    ours = pair.sessions[0].openings[sealed.record_id]
    for forged in (
        replace(ours, author_signature=bytes(64)),
        replace(ours, ciphertext=pair.two.sealed.ciphertext_cid),
        replace(ours, author_signature=pair.sessions[1].openings[pair.two.sealed.record_id].author_signature),
    ):
        with pytest.raises(AuthorNotCertified):
            opening.verify_author(forged, sealed.record_id, state, world.network.health)
    with pytest.raises(AuthorNotCertified):
        opening.verify_author(ours, pair.two.sealed.record_id, state, world.network.health)
    with pytest.raises(AuthorNotCertified):
        opening.verify_author(ours, sealed.record_id, replace(state, org_id=bytes(32)), world.network.health)
    with pytest.raises(PolicySwapped):
        opening.verify_author(
            replace(ours, policy=replace(ours.policy, kind="note")), sealed.record_id, state, world.network.health
        )


def test_a_reading_key_without_the_other_half_opens_nothing(pair: Two) -> None:
    """What a grantee holds after the grant ended: lock A and the envelope, and no half of lock B."""
    session, envelope = pair.sessions[0], pair.one.sealed.envelope
    for guess in (bytes(32), envelope.capsule.c, session.session_secret.reveal()):
        with pytest.raises(WrongKey):
            pair.unwrap(share_b=guess)
    with pytest.raises(SealBroken):
        pair.world.keys.root.open(b"", session.lock_a)
