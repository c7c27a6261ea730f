"""The dearest transaction of each kind, again and again, every one new: keys and ids follow from the seed, a name and a number.

Dearest means: names and lists as long as they may be, every optional part there, keys in the state that nobody touched before, so that
each of them costs the map a path of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from hce.app.bench.plan import secret_of
from hce.app.bench.signing import MAX_FEE_WEI
from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.codec.rlp import RlpItem, rlp_encode, rlp_integer
from hce.foundation.crypto.hashing import keccak256
from hce.foundation.crypto.secp import EthSigningKey
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.ladder import ladder
from hce.service.contracts.value.transactions import ACCESS_ADDRESS_GAS, ACCESS_SLOT_GAS, TX_GAS
from hce.service.terms.genesis import Genesis
from hce.service.terms.payloads import (
    AccessOpen,
    AnchorPost,
    AvailabilityReceipt,
    CompartmentOpen,
    CompartmentRotate,
    CredentialBody,
    CredentialRevoke,
    GrantOpen,
    GrantRevoke,
    OrganisationCertificate,
    OrganisationRevoke,
    OrganisationVote,
    PortalRelease,
    PortalVote,
    Power,
    RecordBatch,
    RecordEntry,
    availability_message,
    compartment_id,
    credential_id,
    envelopes_root,
    grant_id,
    org_id,
    owner_digest,
)
from hce.service.terms.transactions import make_body, sign_tx

POWERS: list[Power] = ["claims", "emergency", "read", "research", "write"]
LONGEST_NAME = "\U0001f3e5" * 120
"""120 characters of four bytes each."""
LONGEST_VERSION_CHARS = 32
LONGEST_REASON = "\U0001f3e5" * 200
SEAL_KEY_BYTES = 1_216
TIP_WEI = 10**9
DAY_MS = 86_400_000


class Cast(Struct, frozen=True):
    """Everybody who signs in this measurement."""

    seed: int
    genesis: Genesis
    nodes: list[SigningKey]
    """Service keys, in node order."""
    wallet: EthSigningKey
    now_ms: int
    valid_until: int
    epoch: int = 0

    @property
    def organisation(self) -> SigningKey:
        """Certified, with a full tank; signs and pays for everything."""
        return self.key("organisation", 0)

    @property
    def org_id(self) -> bytes:
        return org_id(self.genesis.chain, self.organisation.public)

    def key(self, what: str, number: int) -> SigningKey:
        return SigningKey(self.secret(what, number))

    def secret(self, what: str, number: int) -> bytes:
        return secret_of(self.seed, "worst/" + what, number)

    def account(self, number: int) -> EthSigningKey:
        return EthSigningKey(self.secret("account", number))

    def sign(self, kind: str, payload: Struct, signers: Sequence[tuple[str, SigningKey]], later: int = 0) -> bytes:
        """Paid by the organisation where somebody signs as payer. `later` makes another transaction of the same payload."""
        paid = any(role == "payer" for role, _ in signers)
        body = make_body(self.genesis.chain, kind, payload, self.org_id if paid else None, self.valid_until + later)
        return sign_tx(body, list(signers))


# Organisations and credentials


def certificate(cast: Cast, number: int, name: str = LONGEST_NAME) -> OrganisationCertificate:
    """Number 0 is the organisation that pays."""
    key = cast.key("organisation", number)
    start_ms, end_ms = cast.now_ms - DAY_MS, cast.now_ms + 365 * DAY_MS
    return OrganisationCertificate(key.public, bytes(SEAL_KEY_BYTES), name, "CN", "research", POWERS, start_ms, end_ms)


def vote(cast: Cast, number: int, voter: int) -> bytes:
    key = cast.nodes[voter]
    return cast.sign("organisation.vote", OrganisationVote(certificate(cast, number), True, key.public), [("node", key)])


def revoke_organisation(cast: Cast, number: int, voter: int) -> bytes:
    key = cast.nodes[voter]
    named = org_id(cast.genesis.chain, cast.key("organisation", number).public)
    return cast.sign("organisation.revoke", OrganisationRevoke(named, LONGEST_REASON, key.public), [("node", key)])


def vote_portal(cast: Cast, number: int, voter: int) -> bytes:
    """For a page nobody has, with the longest name of a version."""
    key = cast.nodes[voter]
    release = PortalRelease(number, cast.secret("page", number), "9" * LONGEST_VERSION_CHARS)
    return cast.sign("portal.vote", PortalVote(release, key.public), [("node", key)])


def _credential(cast: Cast, number: int, name: str) -> CredentialBody:
    start_ms, end_ms = cast.now_ms - DAY_MS, cast.now_ms + 90 * DAY_MS
    person = cast.secret("person", number)
    return CredentialBody(cast.org_id, person, "clinician", name, POWERS, start_ms, end_ms)


def credentials(cast: Cast, numbers: range, name: str) -> Iterator[bytes]:
    for number in numbers:
        signers = [("organisation", cast.organisation), ("payer", cast.organisation)]
        yield cast.sign("credential.issue", _credential(cast, number, name), signers)


def revoke_credentials(cast: Cast, numbers: range, name: str) -> Iterator[bytes]:
    for number in numbers:
        named = credential_id(cast.genesis.chain, _credential(cast, number, name))
        yield cast.sign("credential.revoke", CredentialRevoke(named, LONGEST_REASON), [("organisation", cast.organisation)])


# Compartments


def _compartment(cast: Cast, number: int) -> CompartmentOpen:
    owner, recovery = cast.key("owner", number).public, cast.key("recovery", number).public
    return CompartmentOpen(owner_digest(owner), owner_digest(recovery))


def compartments(cast: Cast, numbers: range) -> Iterator[bytes]:
    for number in numbers:
        yield cast.sign("compartment.open", _compartment(cast, number), [("payer", cast.organisation)])


def rotations(cast: Cast, numbers: range) -> Iterator[bytes]:
    for number in numbers:
        opened = _compartment(cast, number)
        child, aunt = cast.secret("child", number), cast.secret("aunt", number)
        rotation = CompartmentRotate(compartment_id(cast.genesis.chain, opened), child, aunt)
        yield cast.sign("compartment.rotate", rotation, [("recovery", cast.key("recovery", number))])


# Grants and access entries


def _grant(cast: Cast, number: int) -> GrantOpen:
    reader, revoker = cast.key("reader", number).public, cast.key("revoke", number).public
    return GrantOpen(cast.secret("grant", number), reader, revoker, 0, cast.now_ms + 3_600 * DAY_MS)


def grants(cast: Cast, numbers: range, later: int = 0) -> Iterator[bytes]:
    """`later` than 0: the same grants again, in other transactions."""
    for number in numbers:
        signers = [("revoke_key", cast.key("revoke", number)), ("payer", cast.organisation)]
        yield cast.sign("grant.open", _grant(cast, number), signers, later)


def accesses(cast: Cast, numbers: range, times: int = 1) -> Iterator[bytes]:
    """One entry under each grant, or `times` of them under each."""
    for number in numbers:
        named = grant_id(cast.genesis.chain, _grant(cast, number))
        signers = [("reader", cast.key("reader", number)), ("payer", cast.organisation)]
        for entry in range(times):
            yield cast.sign("access.open", AccessOpen(named, cast.secret(f"access {entry}", number)), signers)


def revocations(cast: Cast, numbers: range) -> Iterator[bytes]:
    for number in numbers:
        named = grant_id(cast.genesis.chain, _grant(cast, number))
        yield cast.sign("grant.revoke", GrantRevoke(named), [("revoke_key", cast.key("revoke", number))])


# Records


def batch(cast: Cast, number: int, size: int, repeated: bytes | None = None) -> bytes:
    """Every node vouches for it. `repeated`: nonce of a record there is already, as the last one: all before it was in vain."""
    entries = [_entry(cast, number, place) for place in range(size)]
    if repeated is not None:
        entries[-1] = RecordEntry(repeated, *(cast.secret(f"record {size} {part}", number) for part in "ekp"))
    payload = RecordBatch(cast.org_id, entries, _cid(cast, "placement", number), _receipts(cast, number, entries))
    return cast.sign("record.commit", payload, [("organisation", cast.organisation), ("payer", cast.organisation)])


def nonce_of(cast: Cast, number: int) -> bytes:
    """Of the first record of a batch."""
    return _entry(cast, number, 0).nonce


def _entry(cast: Cast, number: int, place: int) -> RecordEntry:
    return RecordEntry(*(cast.secret(f"record {place} {part}", number) for part in "nekp"))


def _receipts(cast: Cast, number: int, entries: list[RecordEntry]) -> list[AvailabilityReceipt]:
    """From every node, each with its own shard; replicas are equal."""
    coded, root, hold_until = ladder(len(cast.nodes)).k > 1, envelopes_root(entries), cast.valid_until + 100_000
    placement = _cid(cast, "placement", number)
    made = []
    for node, key in enumerate(cast.nodes):
        shard = _cid(cast, f"shard {node if coded else 0}", number)
        message = availability_message(cast.genesis.chain, placement, shard, root, node, cast.epoch, hold_until)
        made.append(AvailabilityReceipt(node, shard, hold_until, key.sign(message)))
    return made


def _cid(cast: Cast, what: str, number: int) -> bytes:
    return cid_of_raw(cast.secret(what, number))


# Anchors


def anchors(cast: Cast, periods: range) -> Iterator[bytes]:
    for period in periods:
        for node, key in enumerate(cast.nodes):
            post = AnchorPost(period, 1, cast.secret(f"anchor {node}", period), key.public)
            yield cast.sign("anchor.post", post, [("node", key)])


# Transfers


def transfer(
    cast: Cast, key: EthSigningKey, nonce: int, to: bytes, amount: int, access: Sequence[tuple[bytes, Sequence[bytes]]] = ()
) -> bytes:
    """Type 2, with a tip for the block's author and an access list."""
    gas = TX_GAS + sum(ACCESS_ADDRESS_GAS + ACCESS_SLOT_GAS * len(slots) for _, slots in access)
    listed: list[RlpItem] = [[address, list(slots)] for address, slots in access]
    fields: list[RlpItem] = [
        *(rlp_integer(number) for number in (cast.genesis.eip155_id, nonce, TIP_WEI, MAX_FEE_WEI, gas)),
        to,
        rlp_integer(amount),
        b"",
        listed,
    ]
    r, s, parity = key.sign(keccak256(b"\x02" + rlp_encode(fields)))
    return b"\x02" + rlp_encode([*fields, *(rlp_integer(number) for number in (parity, r, s))])


def address(cast: Cast, what: str, number: int) -> bytes:
    """Nobody has its key."""
    return cast.secret(what, number)[:20]
