"""The owner's log: who read what, and whether the log is complete.

Nodes write a receipt before they release; the chain counts access entries per grant and hashes them into one running value. The two
come from different places, so they check each other: the chain cannot hide an entry from its own counter, and an entry without a
receipt is a name the owner can ask about. What is proven complete are key releases of the granted compartments; what a reader does
with plaintext he already has, no log can know (`docs/cautions.md`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as
from hce.foundation.crypto.errors import SealBroken
from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.crypto.sign import verify
from hce.foundation.types.errors import Malformed
from hce.service.terms.grants import (
    GrantBody,
    ReleaseReceipt,
    SignedReceipt,
    access_commitment,
    grant_id_of,
    receipt_info,
    receipt_message,
    records_root,
)
from hce.service.terms.mailbox import OwnReadReceipt, SignedOwnRead, own_read_message
from hce.service.terms.payloads import entries_hash, entry_id
from hce.service.terms.states import EntryState, GrantState, HealthReader
from hce.service.vault.granting import require_same_grant

FIRST_ENTRIES_HASH = bytes(32)
MAX_RECEIPT_BYTES = 128 * 1024
"""A receipt of 1,000 records has about 36 KiB."""

FindingCode = Literal[
    "log.entries_missing",
    "log.entries_differ",
    "log.no_receipt",
    "log.receipt_differs",
    "log.unknown_entry",
    "log.more_than_committed",
    "log.item_unreadable",
    "log.item_forged",
    "log.not_anchored",
    "log.receipt_misdated",
]
"""
entries_missing      the chain counts more (or fewer) entries than were handed out
entries_differ       the entries handed out do not hash to the chain's running hash
no_receipt           an entry no node has explained: who read is unknown, or nobody released anything
receipt_differs      a receipt whose access body does not open the entry's commitment
unknown_entry        a receipt for an entry that stands under none of the grants
more_than_committed  a receipt names other records than the entry committed to
item_unreadable      an item of the log that the log key does not open
item_forged          a receipt no node has signed
not_anchored         a receipt whose node should have put its list on chain by now (`anchors.py`)
receipt_misdated     a receipt of a height at which its entry could not be used (`anchors.py`)
"""


class Finding(Struct, frozen=True):
    """Something the owner should ask about. `subject` is a grant id, an entry id, or the position of an item in the log."""

    code: FindingCode
    subject: str
    detail: str = ""


class ReadLog(Struct, frozen=True):
    """The owner's log as it could be read; junk is named and hides nothing else."""

    receipts: list[SignedReceipt]
    findings: list[Finding]


class OwnReadLog(Struct, frozen=True):
    """Receipts of the owner's own reading, as `ReadLog`."""

    receipts: list[OwnReadReceipt]
    findings: list[Finding]


class GrantOnChain(Struct, frozen=True):
    """One of the owner's grants with what the chain proves about it; entries in any order."""

    body: GrantBody
    state: GrantState
    entries: list[EntryState]


class Read(Struct, frozen=True):
    """One explained access: who, for whom, when, which records, why."""

    entry_id: bytes
    grant_id: bytes
    credential_id: bytes
    org_id: bytes | None
    """None when the credential is not among the values handed in."""
    name: str
    """The credential's public name; empty when unknown."""
    time_ms: int
    """Block time of the access entry."""
    purpose: str
    records: list[bytes]
    """What the entry committed to, in its order: at most these were released. Empty when no receipt names them truly."""
    nodes: list[int]


class AuditReport(Struct, frozen=True):
    reads: list[Read]
    """Oldest first."""
    findings: list[Finding]
    entries_on_chain: int
    entries_opened: int
    own_reads: list[OwnReadReceipt] = []
    """What was read with the owner key itself, without a grant: one receipt for each feed, day and node."""

    @property
    def complete(self) -> bool:
        """Every entry the chain counts is explained, and nothing contradicts."""
        return not self.findings


def read_receipts(log_key: OpeningKey, sealed_items: Sequence[bytes], chain: bytes, service_keys: Mapping[int, bytes]) -> ReadLog:
    """Receipts that open with the log key and are signed by the node they name; `service_keys` by node index."""
    receipts: list[SignedReceipt] = []
    findings: list[Finding] = []
    for position, sealed in enumerate(sealed_items):
        try:
            signed = decode_as(SignedReceipt, log_key.open(receipt_info(chain), sealed), max_bytes=MAX_RECEIPT_BYTES)
        except (SealBroken, Malformed) as error:
            findings.append(Finding("log.item_unreadable", str(position), error.code))
            continue
        if _is_signed(signed, chain, service_keys):
            receipts.append(signed)
        else:
            findings.append(Finding("log.item_forged", str(position), f"node {signed.receipt.node}"))
    return ReadLog(receipts, findings)


def read_own_receipts(items: Sequence[bytes], chain: bytes, feed: bytes, service_keys: Mapping[int, bytes]) -> OwnReadLog:
    """Receipts of the owner's own reading of a feed that are signed by the node they name, oldest first."""
    receipts: list[OwnReadReceipt] = []
    findings: list[Finding] = []
    for position, item in enumerate(items):
        try:
            signed = decode_as(SignedOwnRead, item, max_bytes=MAX_RECEIPT_BYTES)
        except Malformed as error:
            findings.append(Finding("log.item_unreadable", str(position), error.code))
            continue
        receipt, key = signed.receipt, service_keys.get(signed.receipt.node)
        ours = (receipt.chain, receipt.feed) == (chain, feed)
        if ours and key is not None and verify(key, own_read_message(receipt), signed.signature):
            receipts.append(receipt)
        else:
            findings.append(Finding("log.item_forged", str(position), f"node {receipt.node}"))
    return OwnReadLog(sorted(receipts, key=lambda receipt: (receipt.day, receipt.node)), findings)


def audit(grants: Sequence[GrantOnChain], receipts: Sequence[SignedReceipt], people: HealthReader | None = None) -> AuditReport:
    """The completeness check, over grants with proven states and the receipts of `read_receipts`.

    `people` (proven credentials) only fills in names and organisations. Raises `GrantDiffers` for a body that is not the grant's.
    """
    findings: list[Finding] = []
    reads: list[Read] = []
    by_entry: dict[bytes, list[ReleaseReceipt]] = {}
    for signed in receipts:
        by_entry.setdefault(signed.receipt.entry_id, []).append(signed.receipt)
    known: set[bytes] = set()
    for grant in grants:
        require_same_grant(grant.body, grant.state)
        findings += _check_counter(grant)
        for name, entry in _named_entries(grant):
            known.add(name)
            read, found = _explain(name, entry, by_entry.get(name, []), people)
            findings += found
            if read is not None:
                reads.append(read)
    findings += [Finding("log.unknown_entry", name.hex()) for name in by_entry if name not in known]
    reads.sort(key=lambda read: (read.time_ms, read.entry_id))
    return AuditReport(reads, findings, sum(grant.state.entries for grant in grants), len(reads))


def _is_signed(signed: SignedReceipt, chain: bytes, service_keys: Mapping[int, bytes]) -> bool:
    receipt = signed.receipt
    key = service_keys.get(receipt.node)
    return receipt.chain == chain and key is not None and verify(key, receipt_message(receipt), signed.signature)


def _named_entries(grant: GrantOnChain) -> list[tuple[bytes, EntryState]]:
    """(entry id, entry) in chain order; entries of other grants are left out and so make the counter wrong."""
    grant_id = grant_id_of(grant.body)
    ours = sorted((entry for entry in grant.entries if entry.grant_id == grant_id), key=lambda entry: entry.ordinal)
    return [(entry_id(grant.body.chain, grant_id, entry.commitment), entry) for entry in ours]


def _check_counter(grant: GrantOnChain) -> list[Finding]:
    entries = _named_entries(grant)
    subject = grant_id_of(grant.body).hex()
    if [entry.ordinal for _, entry in entries] != list(range(grant.state.entries)):
        return [Finding("log.entries_missing", subject, f"{len(entries)} of {grant.state.entries}")]
    running = FIRST_ENTRIES_HASH
    for name, _ in entries:
        running = entries_hash(running, name)
    return [] if running == grant.state.entries_hash else [Finding("log.entries_differ", subject)]


def _explain(
    name: bytes, entry: EntryState, receipts: Sequence[ReleaseReceipt], people: HealthReader | None
) -> tuple[Read | None, list[Finding]]:
    """What the receipts say about one entry, and what is wrong with them."""
    findings: list[Finding] = []
    fitting: list[ReleaseReceipt] = []
    for receipt in receipts:
        if access_commitment(receipt.access) != entry.commitment:
            findings.append(Finding("log.receipt_differs", name.hex(), f"node {receipt.node}"))
        else:
            fitting.append(receipt)
    if not fitting:
        return None, [*findings, Finding("log.no_receipt", name.hex())]
    access = fitting[0].access
    true = [receipt for receipt in fitting if _names_the_committed(receipt)]
    findings += [
        Finding("log.more_than_committed", name.hex(), f"node {receipt.node}")
        for receipt in fitting
        if not _names_the_committed(receipt)
    ]
    credential = people.credential(access.credential_id) if people else None
    read = Read(
        entry_id=name,
        grant_id=entry.grant_id,
        credential_id=access.credential_id,
        org_id=credential.body.org_id if credential else None,
        name=credential.body.name if credential else "",
        time_ms=entry.time_ms,
        purpose=access.purpose,
        records=true[0].records if true else [],
        nodes=sorted({receipt.node for receipt in fitting}),
    )
    return read, findings


def _names_the_committed(receipt: ReleaseReceipt) -> bool:
    """Its list is the entry's whole list, in the entry's order: nothing more, nothing else, nothing less."""
    access = receipt.access
    return len(receipt.records) == access.records_count and records_root(receipt.records) == access.records_root
