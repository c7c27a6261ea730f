"""Words of the mailbox: signed reads and acts, pages, deletion receipts (`docs/formats.md`, section Mailbox).

A place is named by what makes its address, so that a node can check who may read it: feeds by [feed_read_key, owner_key], logs by
[log_read_key, owner_key], inboxes by [org_id]. Who asks as an owner names the compartment too, because only its current key owns
anything. Every request names the node it is for: numbers are each node's own, and no node can pass a request off at another.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from hce.foundation.crypto.sign import signing_bytes
from hce.foundation.types.errors import Malformed
from hce.foundation.types.scalars import Bytes32, ChainId, Digest, IsoDate, NodeIndex, PublicKey, Signature, TimeMs
from hce.service.terms.grants import feed_address, inbox_address, log_address
from hce.service.terms.records import Envelope

MAX_PAGE_ITEMS = 500
"""Most items or records one read asks for."""

MAX_POST_BYTES = 60 << 10
"""An offer: a sealed grant parcel with its transaction, about 10 KiB."""

Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
OwnerWrap = Annotated[bytes, Meta(min_length=80, max_length=80)]
ReadKind = Literal["feed", "envelopes", "owner", "quarantine", "log", "inbox", "own-reads"]
ActKind = Literal["accept", "reject", "erase", "revoke-token", "drop", "drop-log"]
Place = Annotated[list[Bytes32], Meta(min_length=1, max_length=2)]


class Ownership(Struct, frozen=True, array_like=True):
    """As whom an owner asks: the compartment and its owner key of today, which signs. The key in the place may be an older one."""

    compartment_id: Bytes32
    owner_key: PublicKey


class MailboxRead(Struct, frozen=True, array_like=True):
    """A question to one node: `envelopes` and `owner` ask for records, the other kinds page through items."""

    chain: ChainId
    node: NodeIndex
    what: ReadKind
    place: Place
    owner: Ownership | None
    """Needed for the kinds an owner asks for, null for the others."""
    after: Count
    """Only items with a larger number; 0 reads from the beginning."""
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE_ITEMS)]
    records: Annotated[list[Bytes32], Meta(max_length=MAX_PAGE_ITEMS)]
    time_ms: TimeMs
    nonce: Bytes32


class SignedRead(Struct, frozen=True, array_like=True):
    read: MailboxRead
    signature: Signature


class MailboxAct(Struct, frozen=True, array_like=True):
    """A change: `accept` or `reject` a quarantined entry, `erase` records, `revoke-token`, `drop-log` receipts (all by the owner),
    `drop` inbox items (by the organisation)."""

    chain: ChainId
    node: NodeIndex
    what: ActKind
    place: Place
    owner: Ownership | None
    """Null for `drop`."""
    number: Count
    """accept, reject: the item. revoke-token: its serial. drop, drop-log: the last item to drop, with all before it. erase: 0."""
    records: Annotated[list[Bytes32], Meta(max_length=MAX_PAGE_ITEMS)]
    time_ms: TimeMs
    nonce: Bytes32


class SignedAct(Struct, frozen=True, array_like=True):
    act: MailboxAct
    signature: Signature


class InboxPost(Struct, frozen=True, array_like=True):
    """An item for an organisation's inbox at one node, from the owner of a compartment on chain."""

    chain: ChainId
    node: NodeIndex
    org_id: Bytes32
    owner: Ownership
    data: Annotated[bytes, Meta(max_length=MAX_POST_BYTES)]
    time_ms: TimeMs
    nonce: Bytes32


class SignedPost(Struct, frozen=True, array_like=True):
    post: InboxPost
    signature: Signature
    """By the owner key the post names."""


class MailItem(Struct, frozen=True, array_like=True):
    seq: Count
    time_ms: TimeMs
    """When this node stored it; nobody else vouches for it."""
    data: bytes


class MailPage(Struct, frozen=True, array_like=True):
    items: list[MailItem]
    more: bool
    """There are later items: ask again after the last number."""


class HeldRecord(Struct, frozen=True, array_like=True):
    record_id: Bytes32
    envelope: Envelope
    owner_wrap: OwnerWrap | None
    """Only in answers to the owner."""


class RecordsPage(Struct, frozen=True, array_like=True):
    """What the node holds of the records asked for. One that is in neither list never came, or is not of this feed."""

    found: list[HeldRecord]
    erased: list[Bytes32]


class DeletionReceipt(Struct, frozen=True, array_like=True):
    """A node's word that it can no longer open these envelopes and will not take them again."""

    chain: ChainId
    address: Digest
    records: list[Bytes32]
    node: NodeIndex
    time_ms: TimeMs


class OwnRead(Struct, frozen=True, array_like=True):
    """What one owner key read in a day, at one node."""

    owner_key: PublicKey
    reads: Count
    """Requests that were answered with something."""
    records: Count
    """Records in the answers together; one that was read twice counts twice."""


class OwnReadReceipt(Struct, frozen=True, array_like=True):
    """A node's signed note that it gave owner wraps out. Written before they leave, one for each feed and day."""

    chain: ChainId
    feed: Digest
    day: IsoDate
    """By the node's clock, UTC."""
    by: list[OwnRead]
    node: NodeIndex
    time_ms: TimeMs
    """Of the last read."""


class SignedOwnRead(Struct, frozen=True, array_like=True):
    receipt: OwnReadReceipt
    signature: Signature


class SignedDeletion(Struct, frozen=True, array_like=True):
    receipt: DeletionReceipt
    signature: Signature


def read_message(read: MailboxRead) -> bytes:
    return signing_bytes("mailbox-read", read.chain, read)


def act_message(act: MailboxAct) -> bytes:
    return signing_bytes("mailbox-act", act.chain, act)


def post_message(post: InboxPost) -> bytes:
    return signing_bytes("mailbox-post", post.chain, post)


def own_read_message(receipt: OwnReadReceipt) -> bytes:
    return signing_bytes("own-read", receipt.chain, receipt)


def deletion_message(receipt: DeletionReceipt) -> bytes:
    return signing_bytes("deletion", receipt.chain, receipt)


def place_address(kind: str, place: list[bytes]) -> bytes:
    """Address of a read or act of this kind; `Malformed` when the place does not have the parts the kind needs."""
    parts = 1 if kind in ("inbox", "drop") else 2
    if len(place) != parts:
        raise Malformed("place does not fit the kind", kind=kind, expected=parts, actual=len(place))
    if parts == 1:
        return inbox_address(place[0])
    return log_address(place[0], place[1]) if kind in ("log", "drop-log") else feed_address(place[0], place[1])
