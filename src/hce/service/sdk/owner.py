"""An owner acts: opens a compartment, grants, revokes, reads without the keyholders, audits. Keys stay in the caller's memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.sign import verify
from hce.foundation.types.clock import Clock
from hce.foundation.types.errors import HceError, NotFound, PeerFault, Unavailable
from hce.service.sdk.anchors import check_receipts
from hce.service.sdk.eras import Era, eras_of
from hce.service.sdk.errors import Remote
from hce.service.sdk.mail import SLOW_S, Mail
from hce.service.sdk.network import Network
from hce.service.sdk.node import NodeClient
from hce.service.sdk.reading import (
    CheckedRecord,
    Listing,
    OpenedRecord,
    check_listed,
    follow_feed,
    merged,
    named_in_epoch,
    open_all,
)
from hce.service.terms.grants import CLOCK_SKEW_MS, AccessRequest, EpochKey, SignedCard, SignedReceipt, SignedToken, card_message
from hce.service.terms.mailbox import HeldRecord, InboxPost, Ownership, OwnReadReceipt, SignedPost, post_message
from hce.service.terms.payloads import GrantRevoke
from hce.service.terms.proofs import HealthReceipt
from hce.service.terms.states import (
    CompartmentState,
    EntryState,
    GrantState,
    key_compartment,
    key_credential,
    key_entry,
    key_grant,
    key_organisation,
)
from hce.service.terms.transactions import make_body, sign_tx, tx_id
from hce.service.vault.anchors import AnchorReport
from hce.service.vault.auditing import (
    AuditReport,
    Finding,
    GrantOnChain,
    OwnReadLog,
    ReadLog,
    audit,
    read_own_receipts,
    read_receipts,
)
from hce.service.vault.compartments import CompartmentKeys, make_card, make_token
from hce.service.vault.granting import MadeGrant, check_request, make_grant, require_same_grant
from hce.service.vault.handovers import EarlierKeys
from hce.service.vault.opening import owner_checks_both_locks, owner_open

TOKEN_LIFE_MS = 365 * 24 * 3_600_000
"""Life of a write token an owner gives to an organisation."""
GRANT_WAIT_S = 20.0
GRANT_POLL_S = 0.25
MAX_ENTRY_PAGES = 1_000
"""Of up to 1,000 access entries, under one grant."""
MAX_LOOKS = 2
"""At the entries of a grant that is being used meanwhile."""
CARD_RENEW_MS = 15 * 24 * 3_600_000
"""A published card with less than this to live is replaced: half of a card's life."""

NOT_CURRENT_OWNER = "mailbox.not_current_owner"


class GrantNotFinal(Unavailable):
    """The grantee's organisation has not registered the grant in time."""

    code = "grant.not_final"


class OfferedGrant(Struct, frozen=True, array_like=True):
    """What the owner leaves in the grantee's inbox: the transaction it has signed and the sealed parcel."""

    grant_tx: bytes
    """`grant.open` with the revoke key's signature; the grantee's organisation countersigns as payer."""
    parcel: bytes


class OwnRecords(Struct, frozen=True):
    """The owner's own reading. A record is in one of the two."""

    opened: dict[bytes, OpenedRecord]
    refused: dict[bytes, HceError]
    both_locks_checked: int


class Owner:
    """The owner of one compartment, in its current reading epoch. What was written to earlier keys of it is read along."""

    def __init__(
        self,
        network: Network,
        clock: Clock,
        keys: CompartmentKeys,
        reading_epoch: int = 0,
        earlier: Sequence[EarlierKeys] = (),
    ) -> None:
        self._network = network
        self._clock = clock
        self.keys = keys
        self.reading_epoch = reading_epoch
        self.compartment_id = keys.compartment_id(network.chain)
        self.earlier = list(earlier)
        self._eras = eras_of(keys, reading_epoch, earlier)
        """By reading epoch: they count on over rotations."""

    async def compartment(self) -> CompartmentState:
        """Proven state of the compartment; `NotFound` before it is opened."""
        reader = await self._network.reader(key_compartment(self.compartment_id))
        found = reader.compartment(self.compartment_id)
        if found is None:
            raise NotFound("compartment", compartment_id=self.compartment_id.hex())
        return found

    async def card(self) -> SignedCard:
        """A fresh contact card for an author."""
        version = (await self.compartment()).version
        return make_card(self.keys, self._network.chain, version, self.reading_epoch, self._clock.now_ms())

    async def publish_card(self) -> SignedCard:
        """Has a card at the nodes that authors can fetch for a while yet; called now and then. The card that is out now."""
        card = await self.card()
        due_ms = self._clock.now_ms() + CARD_RENEW_MS

        async def ask(node: NodeClient) -> SignedCard:
            try:
                held = await node.card(self.keys.feed_address(self.reading_epoch))
                ours = verify(self.keys.owner.public, card_message(held.card), held.signature)
                if ours and held.card.version == card.card.version and held.card.expires_ms >= due_ms:
                    return held
            except Remote as error:
                if error.status != 404:
                    raise
            await node.publish_card(card)
            return card

        answers = await self._network.every_node(ask, SLOW_S)
        _require_one(answers)
        return max((one for one in answers if isinstance(one, SignedCard)), key=lambda one: one.card.issued_ms)

    def token(self, org_id: bytes, serial: int) -> SignedToken:
        """Lets an organisation write without quarantine, for a year or until revoked."""
        expires_ms = self._clock.now_ms() + TOKEN_LIFE_MS
        return make_token(self.keys, self._network.chain, org_id, self.reading_epoch, serial, expires_ms)

    async def grant(
        self,
        request: AccessRequest,
        *,
        lasts_ms: int,
        date_from: str,
        date_to: str,
        mode: Literal["read", "read-write"] = "read",
    ) -> MadeGrant:
        """Checks the request against the chain, signs, and leaves the offer in the grantee's inbox at every node. A full inbox drops
        its oldest items, so an offer that is not answered may be made again.

        Final once the grantee's organisation has countersigned: `wait_granted`.
        """
        now_ms = self._clock.now_ms()
        org_id = await self._organisation_of(request)
        people = await self._network.reader(*self._people_keys(request, org_id))
        check_request(request, self._network.chain, people, self._network.light.height, now_ms)
        made = make_grant(
            self.keys,
            self._network.chain,
            (await self.compartment()).version,
            request,
            not_before_ms=max(0, now_ms - CLOCK_SKEW_MS),
            expires_at_ms=now_ms + lasts_ms,
            date_from=date_from,
            date_to=date_to,
            purpose=request.purpose,
            mode=mode,
            reading_epochs=[era.epoch for era in self._eras if era.keys is self.keys],
            earlier=[
                EpochKey(era.epoch, era.keys.reading_seed(era.epoch).reveal()) for era in self._eras if era.keys is not self.keys
            ],
            card=await self.card(),
        )
        valid_until = await self._network.head() + self._network.genesis.params.replay_window
        body = make_body(self._network.chain, "grant.open", made.public, org_id, valid_until)
        offer = OfferedGrant(sign_tx(body, [("revoke_key", made.revoke_key)]), made.parcel)
        await self.leave(org_id, offer)
        return made

    async def leave(self, org_id: bytes, offer: OfferedGrant) -> None:
        """Puts an offer into the inbox of a certified organisation at every node that is not much slower; at least one took it."""
        _require_one(await self._network.every_node(lambda node: self._post(node, org_id, encode(offer)), SLOW_S))

    async def wait_granted(self, made: MadeGrant, wait_s: float = GRANT_WAIT_S) -> GrantState:
        """The proven grant, once it is final."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while loop.time() < deadline:
            state = (await self._network.reader(key_grant(made.grant_id))).grant(made.grant_id)
            if state is not None:
                require_same_grant(made.body, state)
                return state
            await asyncio.sleep(GRANT_POLL_S)
        raise GrantNotFinal(grant_id=made.grant_id.hex())

    async def revoke(self, grant_id: bytes, grant_nonce: bytes) -> HealthReceipt:
        """Ends a grant. Needs no payer and nobody's signature but the owner's.

        Told to every node at once: an honest one stops releasing when it hears of it. Who has not answered when it is final is not
        waited for.
        """
        body = make_body(
            self._network.chain,
            "grant.revoke",
            GrantRevoke(grant_id),
            None,
            await self._network.head() + self._network.genesis.params.replay_window // 2,
        )
        raw = sign_tx(body, [("revoke_key", self.keys.revoke(grant_nonce))])
        return await self._network.submit(raw, tx_id(body), everywhere=True)

    async def read_own(self) -> OwnRecords:
        """Everything the feeds name, opened with the root key alone; both locks of each record are checked on the way."""
        listing = merged([await self._followed(era) for era in self._eras])
        names = list(listing)

        async def fetch(node: NodeClient, wanted: Sequence[bytes]) -> list[HeldRecord]:
            held: list[HeldRecord] = []
            for era in self._eras:
                if ours := named_in_epoch(listing, wanted, era.epoch):
                    held += (await self._own_feed(era).records(node, "owner", ours)).found
            return held

        checked, failed = await check_listed(self._network, fetch, listing, names)
        refused: dict[bytes, HceError] = dict(failed)
        deks: dict[bytes, SecretBytes] = {}
        for one in checked:
            try:
                deks[one.listed.record_id] = self._check_both_locks(one)
            except HceError as error:
                refused[one.listed.record_id] = error
        opened, unopened = await open_all(self._network, checked, deks)
        return OwnRecords(opened, refused | unopened, len(deks))

    async def _followed(self, era: Era) -> Listing:
        feed = Mail(self._network, self._clock, era.place, era.keys.feed(era.epoch))
        return await follow_feed(feed, era.keys.reading(era.epoch), self._network.chain, self.compartment_id, era.epoch)

    def _check_both_locks(self, checked: CheckedRecord) -> SecretBytes:
        """The record's key from the owner's wrap, when a grantee would get the same one."""
        wrap = checked.held.owner_wrap
        if wrap is None:
            raise NotFound("owner wrap", record_id=checked.listed.record_id.hex())
        session = checked.listed.session
        root = self._eras[session.reading_epoch].keys.root
        mine = owner_open(root, session.owner_lock, wrap, checked.header, self.compartment_id)
        owner_checks_both_locks(
            mine, wrap, session, checked.header, checked.held.envelope, checked.state, self._network.genesis.keyholders
        )
        return mine.dek

    async def audit(self, grants: Sequence[MadeGrant]) -> AuditReport:
        """The log of these grants, checked against the chain's counters, and what was read with the owner key itself."""
        on_chain = [await self._grant_on_chain(made) for made in grants]
        log = await self.receipts()
        readers = {signed.receipt.access.credential_id for signed in log.receipts}
        people = await self._network.reader(*(key_credential(reader) for reader in sorted(readers)))
        report = audit(on_chain, log.receipts, people)
        own = await self.own_reads()
        findings = report.findings + log.findings + own.findings
        return AuditReport(report.reads, findings, report.entries_on_chain, report.entries_opened, own.receipts)

    async def check_anchors(self) -> AnchorReport:
        """Whether each receipt of the log stands in the list its node put on chain. A node that gives no answer is counted."""
        return await check_receipts(self._network, (await self.receipts()).receipts)

    async def receipts(self) -> ReadLog:
        """Every receipt of every node that answers, decrypted and its signature checked: each node keeps those it signed."""
        receipts: list[SignedReceipt] = []
        findings: list[Finding] = []
        for keys in {era.keys.owner.public: era.keys for era in self._eras}.values():
            place = [keys.log_read.public, keys.owner.public]
            items = await Mail(self._network, self._clock, place, keys.log_read).items("log")
            log = read_receipts(keys.log, items, self._network.chain, self._service_keys())
            receipts += log.receipts
            findings += log.findings
        return ReadLog(receipts, findings)

    async def own_reads(self) -> OwnReadLog:
        """Receipts of reading with an owner key, by this device or by whoever else has or had one: a custodian, say."""
        receipts: list[OwnReadReceipt] = []
        findings: list[Finding] = []
        for era in self._eras:
            try:
                items = await self._own_feed(era).items("own-reads")
            except Remote as error:
                if error.code == NOT_CURRENT_OWNER and era.keys is not self.keys:
                    continue  # nothing was ever written there: no node has heard of that feed
                raise
            log = read_own_receipts(items, self._network.chain, era.keys.feed_address(era.epoch), self._service_keys())
            receipts += log.receipts
            findings += log.findings
        return OwnReadLog(receipts, findings)

    def _service_keys(self) -> dict[int, bytes]:
        return {index: node.service_key for index, node in enumerate(self._network.genesis.node_list)}

    async def _grant_on_chain(self, made: MadeGrant) -> GrantOnChain:
        """Grant and entries as of one height. When no node gives all entries the audit names what is missing."""
        short: list[GrantOnChain] = []

        async def ask(node: NodeClient) -> GrantOnChain:
            found = await self._proven_entries(node, made)
            if len(found.entries) != found.state.entries:
                short.append(found)
                raise EntriesMissing(expected=found.state.entries, actual=len(found.entries), url=node.url)
            return found

        try:
            return await self._network.any_node(ask)
        except EntriesMissing:
            return short[-1]

    async def _proven_entries(self, node: NodeClient, made: MadeGrant) -> GrantOnChain:
        """What one node lists, proven. The grant is read after its entries: what was entered meanwhile is fetched in a second look."""
        entries: list[EntryState] = []
        looks = 0
        while True:
            looks += 1
            names = await self._entry_names(node, made.grant_id, len(entries))
            reader = await self._network.reader(*(key_entry(name) for name in names))
            found = {name: reader.entry(name) for name in names}
            unproven = next((name for name, entry in found.items() if entry is None), None)
            if unproven is not None:
                raise EntryUnproven(entry_id=unproven.hex(), url=node.url)
            entries += [entry for entry in found.values() if entry is not None]
            state = (await self._network.reader(key_grant(made.grant_id))).grant(made.grant_id)
            if state is None:
                raise NotFound("grant", grant_id=made.grant_id.hex())
            if len(entries) == state.entries or looks == MAX_LOOKS:
                return GrantOnChain(made.body, state, entries)

    async def _entry_names(self, node: NodeClient, grant_id: bytes, start: int) -> list[bytes]:
        """Page after page until one is empty."""
        names: list[bytes] = []
        for _ in range(MAX_ENTRY_PAGES):
            page = await node.entries(grant_id, start + len(names))
            if not page:
                break
            names += page
        return names

    async def _organisation_of(self, request: AccessRequest) -> bytes:
        credential = (await self._network.reader(key_credential(request.grantee))).credential(request.grantee)
        return request.grantee if credential is None else credential.body.org_id

    def _people_keys(self, request: AccessRequest, org_id: bytes) -> list[bytes]:
        return [key_credential(request.grantee), key_organisation(request.grantee), key_organisation(org_id)]

    def _own_feed(self, era: Era) -> Mail:
        """A feed of any era, asked as the owner of today."""
        return Mail(self._network, self._clock, era.place, self.keys.owner, self._ownership())

    def _ownership(self) -> Ownership:
        return Ownership(self.compartment_id, self.keys.owner.public)

    async def _post(self, node: NodeClient, org_id: bytes, data: bytes) -> None:
        index, now_ms = await self._network.index_of(node), self._clock.now_ms()
        post = InboxPost(self._network.chain, index, org_id, self._ownership(), data, now_ms, os.urandom(32))
        await node.mailbox("post", SignedPost(post, self.keys.owner.sign(post_message(post))))


class EntriesMissing(PeerFault):
    """A node lists another number of access entries than the grant counts."""

    code = "log.entries_withheld"


class EntryUnproven(PeerFault):
    """A node listed an access entry that is not on the final chain."""

    code = "log.entry_unproven"


def _require_one(answers: Sequence[object]) -> None:
    """At least one node took it; else the reason of the first that did not."""
    if all(isinstance(answer, HceError) for answer in answers):
        failure = next(answer for answer in answers if isinstance(answer, HceError))
        raise failure


def decode_offer(raw: bytes) -> OfferedGrant:
    """An inbox item of a grantee. Raises `Malformed`."""
    return decode_as(OfferedGrant, raw)
