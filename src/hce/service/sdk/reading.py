"""What owner and grantee do alike: follow a feed, fetch and check records, open them. Every piece is compared with the chain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing

from msgspec import Struct

from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.types.errors import HceError, Refused
from hce.service.sdk.mail import Mail
from hce.service.sdk.network import Network
from hce.service.sdk.node import NodeClient
from hce.service.terms.mailbox import HeldRecord
from hce.service.terms.records import ContentManifest, Opening, RecordHeader
from hce.service.terms.states import CredentialState, HealthReader, RecordState, key_credential, key_organisation, key_record
from hce.service.vault.errors import AuthorNotCertified
from hce.service.vault.opening import OpenedSession, check_ciphertext, check_record, open_record, read_session, verify_author

ENVELOPES_S, ENVELOPE_EACH_S = 0.5, 0.005
"""How long a node may take for envelopes, and for each, before another one is asked too."""


class RecordNotFinal(Refused):
    """The feed names a record that is not on the final chain (yet)."""

    code = "record.not_final"
    status = 409


class EnvelopeMissing(Refused):
    """No node has the record's envelope: it was erased, or never came."""

    code = "record.envelope_missing"
    status = 410


class RecordNotListed(Refused):
    """The feed names no such record."""

    code = "record.not_listed"
    status = 404


class ListedRecord(Struct, frozen=True):
    """A record the feed names, with the session that can open its lock A."""

    record_id: bytes
    opening: Opening
    session: OpenedSession


class CheckedRecord(Struct, frozen=True):
    """A listed record compared with the chain: header, state and envelope belong together and its author was certified."""

    listed: ListedRecord
    state: RecordState
    header: RecordHeader
    held: HeldRecord
    author: CredentialState


class OpenedRecord(Struct, frozen=True):
    """Plaintext, and everything that proves where it comes from."""

    record_id: bytes
    kind: str
    date: str
    manifest: ContentManifest
    author: CredentialState
    state: RecordState


Listing = Mapping[bytes, Sequence[ListedRecord]]
"""Record id -> everything the feed says it is. Whoever may post may name any record; the chain tells which one is right."""


Fetch = Callable[[NodeClient, Sequence[bytes]], Awaitable[Sequence[HeldRecord]]]
"""What one node holds of these records."""


async def follow_feed(feed: Mail, reading_key: OpeningKey, chain: bytes, compartment_id: bytes, epoch: int) -> Listing:
    """Every record the feed of one reading epoch names. Entries that are not for this key are passed over."""
    listing: dict[bytes, list[ListedRecord]] = {}
    for item in await feed.items("feed"):
        try:
            session = read_session(reading_key, item, chain, compartment_id, epoch)
        except Refused:
            continue
        for record_id, opening in session.openings.items():
            listing.setdefault(record_id, []).append(ListedRecord(record_id, opening, session))
    return listing


def merged(listings: Sequence[Listing]) -> Listing:
    """Several feeds as one."""
    together: dict[bytes, list[ListedRecord]] = {}
    for listing in listings:
        for record_id, candidates in listing.items():
            together.setdefault(record_id, []).extend(candidates)
    return together


def named_in_epoch(listing: Listing, names: Sequence[bytes], epoch: int) -> list[bytes]:
    """Those of the names that the feed of this reading epoch lists."""
    return [name for name in names if any(one.session.reading_epoch == epoch for one in listing.get(name, ()))]


async def check_listed(
    network: Network, fetch: Fetch, listing: Listing, wanted: Sequence[bytes]
) -> tuple[list[CheckedRecord], dict[bytes, Refused]]:
    """Records that fit what the chain committed to, and those that do not, each with its named reason.

    An envelope that does not fit is one node's word: the next node is asked. Raises what the nodes said when none answered.
    """
    final = await network.reader(*(key_record(record_id) for record_id in wanted))
    people = await _authors(network, final, listing, wanted)
    checked: dict[bytes, CheckedRecord] = {}
    refused: dict[bytes, Refused] = {}
    missing: list[bytes] = []
    for record_id in wanted:
        if final.record(record_id) is None:
            refused[record_id] = RecordNotFinal(record_id=record_id.hex())
        elif not listing.get(record_id):
            refused[record_id] = RecordNotListed(record_id=record_id.hex())
        else:
            missing.append(record_id)
    failure: HceError | None = None
    answered = not missing
    next_s = ENVELOPES_S + ENVELOPE_EACH_S * len(missing)
    async with aclosing(network.answers(lambda node: fetch(node, missing), next_s)) as answers:
        while missing and (answer := await anext(answers, None)) is not None:
            if isinstance(answer, HceError):
                failure = answer
                continue
            answered = True
            held = {one.record_id: one for one in answer}
            found = await asyncio.to_thread(_check_each, network, missing, final, held, listing, people)
            for record_id, one in found.items():
                if isinstance(one, CheckedRecord):
                    checked[record_id] = one
                    refused.pop(record_id, None)
                elif record_id in held or record_id not in refused:
                    refused[record_id] = one
            missing = [record_id for record_id in missing if record_id not in checked]
    if failure is not None and not answered:
        raise failure
    return [checked[record_id] for record_id in wanted if record_id in checked], refused


async def _authors(network: Network, final: HealthReader, listing: Listing, wanted: Sequence[bytes]) -> HealthReader:
    """Proven credentials of all claimed authors, and of the organisations that committed."""
    claimed = {one.opening.policy.author for record_id in wanted for one in listing.get(record_id, ())}
    states = [state for state in map(final.record, wanted) if state is not None]
    committing = {state.org_id for state in states}
    return await network.reader(
        *(key_credential(author) for author in sorted(claimed)), *(key_organisation(org) for org in sorted(committing))
    )


def _check_each(
    network: Network,
    names: Sequence[bytes],
    final: HealthReader,
    held: Mapping[bytes, HeldRecord],
    listing: Listing,
    people: HealthReader,
) -> dict[bytes, CheckedRecord | Refused]:
    """In a thread: most of it is one signature each, checked outside of the interpreter's lock."""
    found: dict[bytes, CheckedRecord | Refused] = {}
    for record_id in names:
        try:
            found[record_id] = _check_one(network, record_id, final, held.get(record_id), listing, people)
        except Refused as error:
            found[record_id] = error
    return found


def _check_one(
    network: Network,
    record_id: bytes,
    final: HealthReader,
    held: HeldRecord | None,
    listing: Listing,
    people: HealthReader,
) -> CheckedRecord:
    state = final.record(record_id)
    assert state is not None  # the caller has looked
    if held is None:
        raise EnvelopeMissing(record_id=record_id.hex())
    failure: Refused = RecordNotListed(record_id=record_id.hex())
    for listed in listing.get(record_id, ()):
        try:
            key_id = network.genesis.keyholders.key_id
            header = check_record(network.chain, key_id, record_id, state, listed.opening, held.envelope)
            author = _verified_author(listed, state, people)
            return CheckedRecord(listed, state, header, held, author)
        except Refused as error:
            failure = error
    raise failure


def _verified_author(listed: ListedRecord, state: RecordState, people: HealthReader) -> CredentialState:
    try:
        return verify_author(listed.opening, listed.record_id, state, people)
    except KeyError as error:  # the author's organisation is none of the committing ones, so it was not asked for
        raise AuthorNotCertified("of another organisation", record_id=listed.record_id.hex()) from error


async def open_all(
    network: Network, checked: Sequence[CheckedRecord], deks: Mapping[bytes, SecretBytes]
) -> tuple[dict[bytes, OpenedRecord], dict[bytes, HceError]]:
    """Opens the checked records there are keys for; those that cannot be opened, each with its named reason.

    Their shards travel together; ciphertexts are opened in a thread and let go, some at a time.
    """
    keys = [(record, deks[record.listed.record_id]) for record in checked if record.listed.record_id in deks]
    opened: dict[bytes, OpenedRecord] = {}
    failed: dict[bytes, HceError] = {}
    wanted = [(record.listed.opening.ciphertext, record.listed.opening.placement) for record, _ in keys]
    async for ciphertexts in network.blobs(wanted):
        part, keys = keys[: len(ciphertexts)], keys[len(ciphertexts) :]
        more, unopened = await asyncio.to_thread(_open_each, part, ciphertexts)
        opened |= more
        failed |= unopened
    return opened, failed


def _open_each(
    keys: Sequence[tuple[CheckedRecord, SecretBytes]], ciphertexts: Sequence[bytes | HceError]
) -> tuple[dict[bytes, OpenedRecord], dict[bytes, HceError]]:
    opened: dict[bytes, OpenedRecord] = {}
    failed: dict[bytes, HceError] = {}
    for (record, dek), ciphertext in zip(keys, ciphertexts, strict=True):
        try:
            if isinstance(ciphertext, HceError):
                raise ciphertext
            opened[record.listed.record_id] = _open_checked(record, dek, ciphertext)
        except HceError as error:
            failed[record.listed.record_id] = error
    return opened, failed


def _open_checked(checked: CheckedRecord, dek: SecretBytes, ciphertext: bytes) -> OpenedRecord:
    """A ciphertext whose name was verified."""
    opening = checked.listed.opening
    check_ciphertext(checked.header, opening, ciphertext)
    manifest = open_record(dek, ciphertext, checked.header, checked.state.key_commitment)
    return OpenedRecord(checked.listed.record_id, opening.policy.kind, opening.policy.date, manifest, checked.author, checked.state)
