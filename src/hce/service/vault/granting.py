"""Granting and asking: what the owner's device signs, what the grantee's gateway does with it, and how released parts become keys.

gateway   AccessRequest ------------------------------------> owner
owner     check_request, make_grant: body, signature, parcel -> gateway (the public half goes on chain)
gateway   open_parcel, make_access --------------------------> access entry on chain
gateway   make_release_request ------------------------------> every keyholder
keyholder ReleaseReply, sealed to the response key ----------> gateway
gateway   open_release_reply, combine_weighed_release (combine_release): the DEKs
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Literal

from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.errors import BadCapsule, BadPoint, SealBroken
from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.crypto.seal import seal as seal_to
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.sign import SigningKey, verify
from hce.foundation.crypto.threshold import Partial, combine, combine_weighed, part_of, verify_partial, weighed_of
from hce.foundation.types.errors import HceError, Malformed
from hce.service.terms.certification import (
    CredentialNotCertified,
    OrganisationNotCertified,
    require_credential,
    require_organisation,
)
from hce.service.terms.grants import (
    MAX_RECORDS_PER_ENTRY,
    AccessBody,
    AccessRequest,
    EpochKey,
    GrantBody,
    GrantParcel,
    Purpose,
    RecordOpening,
    ReleaseReply,
    ReleaseRequest,
    SignedCard,
    access_commitment,
    card_message,
    dleq_transcript,
    grant_id_of,
    grant_message,
    parcel_info,
    public_grant,
    reason_hash,
    records_root,
    release_info,
    release_message,
)
from hce.service.terms.payloads import GrantOpen, entry_id
from hce.service.terms.records import Envelope, Opening, RecordHeader, envelope_rest_digest
from hce.service.terms.states import GrantState, HealthReader, KeyholderState
from hce.service.vault import locks
from hce.service.vault.compartments import SYSTEM_RANDOM, CompartmentKeys, Random, feed_key_of, reading_key_of
from hce.service.vault.errors import (
    AccessInvalid,
    BadReply,
    GrantDiffers,
    GrantInvalid,
    ParcelNotOurs,
    RequestInvalid,
    TooFewParts,
    WrongKey,
)
from hce.service.vault.opening import OpenedSession, unwrap_dek

MAX_PARCEL_BYTES = 16 * 1024
MAX_REPLY_BYTES = 512 * 1024
"""A reply with 1,000 partials has about 180 KiB."""


class MadeGrant(Struct, frozen=True):
    """A grant as the owner's device made it. The parcel goes to the grantee's inbox, `public` on chain."""

    grant_id: bytes
    body: GrantBody
    owner_signature: bytes
    public: GrantOpen
    parcel: bytes
    """Sealed `GrantParcel`."""
    revoke_key: SigningKey
    """Signs `grant.open` now and `grant.revoke` later; the seed and the body's nonce find it again."""

    def __repr__(self) -> str:
        return f"MadeGrant({self.grant_id.hex()})"


class PreparedAccess(Struct, frozen=True):
    """An access entry before it is on chain, with the key the answers will be sealed to."""

    entry_id: bytes
    access: AccessBody
    commitment: bytes
    records: list[bytes]
    response_key: OpeningKey


class LockedRecord(Struct, frozen=True):
    """One record that is to be opened: checked by `check_record`, its session read."""

    header: RecordHeader
    envelope: Envelope
    session: OpenedSession
    key_commitment: bytes


class Combined(Struct, frozen=True):
    """What came of the replies. A record is in `deks` or in `failed`."""

    deks: Mapping[bytes, SecretBytes]
    failed: Mapping[bytes, HceError]
    lying: tuple[int, ...]
    """Nodes whose part is provably not their share's. A reply is sealed, not signed: what vouches for its sender is the link."""


def check_request(request: AccessRequest, chain: bytes, health: HealthReader, height: int, now_ms: int) -> bytes:
    """org_id of a request whose grantee may read and whose inbox key is the certified one. Raises `RequestInvalid`."""
    if request.chain != chain:
        raise RequestInvalid("another chain")
    try:
        credential = health.credential(request.grantee)
        if credential is None:
            org_id = request.grantee
            organisation = require_organisation(health, org_id, "read", height, now_ms)
        else:
            org_id = require_credential(health, request.grantee, "read", height, now_ms).body.org_id
            organisation = require_organisation(health, org_id, "read", height, now_ms)
    except (CredentialNotCertified, OrganisationNotCertified) as error:
        raise RequestInvalid(error.code, grantee=request.grantee.hex()) from error
    if organisation.certificate.seal_key != request.inbox_key:
        raise RequestInvalid("the inbox key is not the certified one", grantee=request.grantee.hex())
    return org_id


def make_grant(
    keys: CompartmentKeys,
    chain: bytes,
    compartment_version: int,
    request: AccessRequest,
    *,
    not_before_ms: int,
    expires_at_ms: int,
    date_from: str,
    date_to: str,
    purpose: Purpose,
    mode: Literal["read", "read-write"],
    reading_epochs: Sequence[int],
    card: SignedCard,
    earlier: Sequence[EpochKey] = (),
    random: Random = SYSTEM_RANDOM,
) -> MadeGrant:
    """A signed grant and its parcel. The request must have passed `check_request`. Raises `GrantInvalid`, `Malformed`.

    `earlier`: reading seeds of epochs before these keys, where a rotation has put them in the place of others.
    """
    nonce = random(locks.SECRET_BYTES)
    revoke_key = keys.revoke(nonce)
    body = GrantBody(
        chain=chain,
        compartment_id=keys.compartment_id(chain),
        compartment_version=compartment_version,
        owner_key=keys.owner.public,
        log_key=keys.log.public,
        log_read_key=keys.log_read.public,
        grantee=request.grantee,
        reader_key=request.reader_key,
        revoke_key=revoke_key.public,
        not_before_ms=not_before_ms,
        expires_at_ms=expires_at_ms,
        date_from=date_from,
        date_to=date_to,
        purpose=purpose,
        mode=mode,
        nonce=nonce,
    )
    _require_window(body)
    signature = keys.owner.sign(grant_message(body))
    own = [EpochKey(epoch, keys.reading_seed(epoch).reveal()) for epoch in sorted(set(reading_epochs))]
    epoch_keys = sorted([*earlier, *own], key=lambda key: key.reading_epoch)
    parcel = GrantParcel(body, signature, epoch_keys, card)
    _check_parcel(parcel, chain)
    encoded = encode(parcel)
    decode_as(GrantParcel, encoded)  # the bounds of every field, before anybody else refuses them
    sealed = seal_to(request.inbox_key, parcel_info(chain), encoded)
    return MadeGrant(grant_id_of(body), body, signature, public_grant(body), sealed, revoke_key)


def open_parcel(inbox_key: OpeningKey, sealed: bytes, chain: bytes, reader_keys: Collection[bytes]) -> GrantParcel:
    """A parcel for one of our reader keys whose owner signed it. Raises `ParcelNotOurs`, `GrantInvalid`, `Malformed`.

    Whether the grant stands on chain is `require_same_grant`; whether its owner key is the current one, the caller asks the chain.
    """
    try:
        parcel = decode_as(GrantParcel, inbox_key.open(parcel_info(chain), sealed), max_bytes=MAX_PARCEL_BYTES)
    except SealBroken as error:
        raise ParcelNotOurs("does not open") from error
    if parcel.body.reader_key not in reader_keys:
        raise ParcelNotOurs("another reader key", reader_key=parcel.body.reader_key.hex())
    _require_window(parcel.body)
    _check_parcel(parcel, chain)
    return parcel


def require_same_grant(body: GrantBody, public: GrantOpen | GrantState) -> None:
    """Raises `GrantDiffers` unless the public fields (on chain, or about to be) are this body's."""
    expected = public_grant(body)
    actual = GrantOpen(public.commitment, public.reader_key, public.revoke_key, public.not_before_ms, public.expires_at_ms)
    if actual != expected:
        raise GrantDiffers(grant_id=grant_id_of(body).hex())


def make_access(
    body: GrantBody,
    credential_id: bytes,
    records: Sequence[bytes],
    purpose: Purpose,
    reason: str,
    random: Random = SYSTEM_RANDOM,
) -> PreparedAccess:
    """The access entry of one read; put it on chain as `access.open` before asking anybody. Raises `AccessInvalid`."""
    if not 1 <= len(records) <= MAX_RECORDS_PER_ENTRY or len(set(records)) != len(records):
        raise AccessInvalid("one to 1,000 different records", actual=len(records))
    if purpose != body.purpose:
        raise AccessInvalid("another purpose than the grant's", expected=body.purpose, actual=purpose)
    grant = grant_id_of(body)
    salt = random(locks.SECRET_BYTES)
    response_key = OpeningKey.from_seed(random(locks.SECRET_BYTES))
    access = AccessBody(
        salt=salt,
        records_root=records_root(list(records)),
        records_count=len(records),
        grant_id=grant,
        credential_id=credential_id,
        response_key=response_key.public,
        purpose=purpose,
        reason_hash=reason_hash(reason, salt),
    )
    commitment = access_commitment(access)
    return PreparedAccess(entry_id(body.chain, grant, commitment), access, commitment, list(records), response_key)


def make_release_request(
    prepared: PreparedAccess,
    body: GrantBody,
    owner_signature: bytes,
    wanted: Mapping[bytes, tuple[Opening, Envelope]],
    credential_key: SigningKey,
    together: Sequence[int] | None = None,
) -> ReleaseRequest:
    """What every keyholder is asked: `wanted` is some or all of the entry's records; `together` asks for weighed parts.

    Raises `AccessInvalid`.
    """
    requested = [record for record in prepared.records if record in wanted]
    if not requested or len(requested) != len(wanted):
        raise AccessInvalid("the entry does not name these records", actual=len(wanted))
    openings = [
        RecordOpening(opening.policy, envelope.capsule, envelope_rest_digest(envelope))
        for opening, envelope in (wanted[record] for record in requested)
    ]
    message = release_message(body.chain, prepared.entry_id, prepared.access.response_key, requested)
    return ReleaseRequest(
        entry_id=prepared.entry_id,
        access=prepared.access,
        grant=body,
        owner_signature=owner_signature,
        entry_records=prepared.records,
        requested=requested,
        openings=openings,
        credential_signature=credential_key.sign(message),
        together=None if together is None else list(together),
    )


def open_release_reply(prepared: PreparedAccess, chain: bytes, sealed: bytes, node: int) -> ReleaseReply:
    """A node's reply. Raises `BadReply` when it does not open or speaks for another node."""
    try:
        plain = prepared.response_key.open(release_info(chain, prepared.entry_id, node), sealed)
        reply = decode_as(ReleaseReply, plain, max_bytes=MAX_REPLY_BYTES)
    except (SealBroken, Malformed) as error:
        raise BadReply(error.code, node=node) from error
    if reply.node != node or any(released.partial.index != node for released in reply.partials):
        raise BadReply("speaks for another node", node=node, actual=reply.node)
    return reply


def require_answer(reply: ReleaseReply, request: ReleaseRequest, keyholders: KeyholderState) -> None:
    """`BadReply` unless it has a part of today's sharing for every record, in the form that was asked for."""
    if (reply.key_id, reply.sharing_epoch) != (keyholders.key_id, keyholders.sharing_epoch):
        raise BadReply("of another sharing", node=reply.node)
    parts = reply.partials if request.together is None else reply.weighed
    if len(parts) != len(request.requested):
        raise BadReply("not one part for each record", node=reply.node, actual=len(parts), expected=len(request.requested))


class WeighedRound:
    """What nodes answered when no proof was asked for."""

    def __init__(self, request: ReleaseRequest, replies: Sequence[ReleaseReply]) -> None:
        self.together = request.together or ()
        self._place = {record_id: number for number, record_id in enumerate(request.requested)}
        self._weighed = {reply.node: reply.weighed for reply in replies if len(reply.weighed) == len(self._place)}

    def of(self, record_id: bytes) -> dict[int, bytes]:
        """By node, the parts of one record."""
        return {node: weighed[self._place[record_id]] for node, weighed in self._weighed.items()}

    def liars(self, record_id: bytes, proven: Mapping[int, Partial], threshold: int) -> set[int]:
        """Nodes that answered something else than their parts: those of whom there is a proven one, and with `threshold` proven parts,
        from which all others follow, everybody.
        """
        enough, parts = len(proven) >= threshold, list(proven.values())
        known = {node: said for node, said in self.of(record_id).items() if enough or node in proven}
        return {node for node, said in known.items() if said != weighed_of(node, part_of(node, parts), self.together)}


def combine_weighed_release(
    replies: Sequence[ReleaseReply], request: ReleaseRequest, records: Sequence[LockedRecord], keyholders: KeyholderState
) -> Combined:
    """The DEK of every record whose weighed parts fit together.

    Optimistic: the key commitment tells whether the parts were right, and nobody can tell whose was not. For what failed
    (`TooFewParts`, `WrongKey`) parts with proofs are asked for: `combine_release`. Replies of another key or sharing epoch are not used.
    """
    answers = WeighedRound(request, _current(replies, keyholders))
    deks: dict[bytes, SecretBytes] = {}
    failed: dict[bytes, HceError] = {}
    for record in records:
        given = answers.of(record.header.record_id)
        together = partial(combine_weighed, record.envelope.capsule, given, keyholders.threshold, answers.together)
        try:
            deks[record.header.record_id] = _dek_of(record, len(given), keyholders, together)
        except (TooFewParts, WrongKey) as error:
            failed[record.header.record_id] = error
    return Combined(deks, failed, ())


def combine_release(
    replies: Sequence[ReleaseReply],
    records: Sequence[LockedRecord],
    keyholders: KeyholderState,
    prepared: PreparedAccess,
    before: WeighedRound | None = None,
) -> Combined:
    """The DEK of every record that enough honest nodes released with proofs, all of which are checked (0.15 ms each).

    Liars are named and their parts left out; so is named who lied in the round before, when no proof was asked for, as far as the proven
    parts show it (`WeighedRound.liars`). Who lied about one record is believed about the others: with just enough nodes alive their
    honest parts are needed. Replies of another key or sharing epoch are not used: parts of two sharings never mix. Who forges a node's
    part beside the real one (it passed the node's requests on) is no lie of that node.
    """
    current = _current(replies, keyholders)
    in_anothers_name = {reply.node for reply in current if any(part.partial.index != reply.node for part in reply.partials)}
    lying = set(in_anothers_name)
    parts: dict[bytes, dict[int, list[Partial]]] = {}
    for reply in current:
        for released in reply.partials if reply.node not in in_anothers_name else ():
            parts.setdefault(released.record_id, {}).setdefault(reply.node, []).append(released.partial)
    deks: dict[bytes, SecretBytes] = {}
    failed: dict[bytes, HceError] = {}
    for record in records:
        name = record.header.record_id
        ours = parts.get(name, {})
        honest = {
            node: part for node, given in ours.items() for part in given if _is_honest(record, node, part, keyholders, prepared)
        }
        lying.update(set(ours) - set(honest))
        if before is not None:
            lying.update(before.liars(name, honest, keyholders.threshold))
        chosen = list(honest.values())
        try:
            deks[name] = _dek_of(
                record, len(chosen), keyholders, partial(combine, record.envelope.capsule, chosen, keyholders.threshold)
            )
        except (TooFewParts, WrongKey) as error:
            failed[name] = error
    return Combined(deks, failed, tuple(sorted(lying)))


def _current(replies: Sequence[ReleaseReply], keyholders: KeyholderState) -> list[ReleaseReply]:
    return [reply for reply in replies if (reply.key_id, reply.sharing_epoch) == (keyholders.key_id, keyholders.sharing_epoch)]


def _dek_of(record: LockedRecord, parts: int, keyholders: KeyholderState, combined: Callable[[], bytes]) -> SecretBytes:
    name = record.header.record_id.hex()
    if parts < keyholders.threshold:
        raise TooFewParts(record_id=name, actual=parts, expected=keyholders.threshold)
    try:
        share_b = combined()
    except (BadPoint, BadCapsule) as error:
        raise WrongKey(error.code, record_id=name) from error
    return unwrap_dek(record.session, record.header, record.envelope, share_b, record.key_commitment)


def _is_honest(record: LockedRecord, node: int, part: Partial, keyholders: KeyholderState, prepared: PreparedAccess) -> bool:
    if node >= len(keyholders.member_keys):
        return False
    header = record.header
    transcript = dleq_transcript(
        header.chain,
        keyholders.key_id,
        keyholders.sharing_epoch,
        node,
        prepared.entry_id,
        header.record_id,
        prepared.access.response_key,
    )
    return verify_partial(keyholders.member_keys[node], record.envelope.capsule, part, transcript)


def _require_window(body: GrantBody) -> None:
    if body.not_before_ms >= body.expires_at_ms:
        raise GrantInvalid("ends before it begins", not_before_ms=body.not_before_ms, expires_at_ms=body.expires_at_ms)
    if body.date_from > body.date_to:
        raise GrantInvalid("record dates are the wrong way round")


def _check_parcel(parcel: GrantParcel, chain: bytes) -> None:
    """Everything in a parcel speaks of one compartment and one owner, and the seeds are the ones of its keys."""
    body, card = parcel.body, parcel.card.card
    if body.chain != chain or card.chain != chain:
        raise GrantInvalid("another chain")
    if not verify(body.owner_key, grant_message(body), parcel.owner_signature):
        raise GrantInvalid("the owner did not sign this body")
    if (card.compartment_id, card.owner_key) != (body.compartment_id, body.owner_key):
        raise GrantInvalid("the card is another compartment's")
    if not verify(card.owner_key, card_message(card), parcel.card.signature):
        raise GrantInvalid("the owner did not sign the card")
    epochs = [key.reading_epoch for key in parcel.epoch_keys]
    if not epochs or epochs != sorted(set(epochs)):
        raise GrantInvalid("reading epochs are missing, repeated or unsorted", epochs=epochs)
    for key in parcel.epoch_keys:
        seed = SecretBytes(key.reading_seed)
        if key.reading_epoch == card.reading_epoch and (
            reading_key_of(seed).public != card.reading_key or feed_key_of(seed, card.reading_epoch).public != card.feed_read_key
        ):
            raise GrantInvalid("the reading seed is not the card's", epoch=key.reading_epoch)
