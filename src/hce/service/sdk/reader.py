"""A grantee reads: access entry first, final; then enough keyholders; then the parts combined, opened and checked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from msgspec import Struct

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.crypto.threshold import verify_capsule
from hce.foundation.types.clock import Clock
from hce.foundation.types.errors import HceError, Refused, Unavailable
from hce.service.sdk.errors import Remote
from hce.service.sdk.handovers import owner_keys_by_epoch
from hce.service.sdk.mail import SLOW_S, Mail
from hce.service.sdk.network import Network
from hce.service.sdk.node import NodeClient
from hce.service.sdk.reading import (
    CheckedRecord,
    ListedRecord,
    Listing,
    OpenedRecord,
    check_listed,
    follow_feed,
    named_in_epoch,
    open_all,
)
from hce.service.terms.grants import (
    MAX_RECORDS_PER_ENTRY,
    EpochKey,
    GrantParcel,
    Purpose,
    ReleaseReply,
    ReleaseRequest,
)
from hce.service.terms.mailbox import HeldRecord
from hce.service.terms.payloads import AccessOpen
from hce.service.terms.states import KeyholderState
from hce.service.vault.compartments import feed_key_of, reading_key_of
from hce.service.vault.granting import (
    Combined,
    LockedRecord,
    PreparedAccess,
    WeighedRound,
    combine_release,
    combine_weighed_release,
    make_access,
    make_release_request,
    open_release_reply,
    require_answer,
)
from hce.service.vault.locks import label_of

HEDGE_S = 0.5
"""How long a keyholder may take before another one is asked too."""
HEDGE_EACH_S = 0.005
"""How much longer for each record."""
PART_RECORDS = 250
"""Records of one entry that keyholders are asked for in one request: while they work on some, the ones before are opened."""
PARTS_BESIDE = 2


CAPSULE_MISMATCH = "release.capsule_mismatch"
"""What keyholders refuse a request with when one of its records has a capsule that was made for another."""


class NotReleased(Unavailable):
    """Too few keyholders answered for a reason that may pass."""

    code = "release.too_few"


class ReadResult(Struct, frozen=True):
    """What access entries gave. A record is in one of the two."""

    entry_ids: tuple[bytes, ...]
    opened: dict[bytes, OpenedRecord]
    refused: dict[bytes, HceError]
    lying_nodes: tuple[int, ...]


class Reader:
    """One person of an organisation, reading under one grant. Plaintext stays with the caller."""

    def __init__(
        self,
        network: Network,
        clock: Clock,
        parcel: GrantParcel,
        reader_key: SigningKey,
        credential_id: bytes,
        credential_key: SigningKey,
        payer: tuple[bytes, SigningKey],
        records_per_entry: int = MAX_RECORDS_PER_ENTRY,
    ) -> None:
        """`payer`: the organisation whose tank pays for the access entry, and its key."""
        self.network = network
        self._clock = clock
        self.parcel = parcel
        self._reader_key = reader_key
        self._credential_id = credential_id
        self._credential_key = credential_key
        self._payer, self._payer_key = payer
        self._records_per_entry = records_per_entry
        self._owner_keys: dict[int, bytes] | None = None
        """By reading epoch, once they were asked for."""

    async def listing(self) -> Listing:
        """Every record the granted feeds name within the granted days."""
        body = self.parcel.body
        listing: dict[bytes, list[ListedRecord]] = {}
        for epoch_key, feed in await self._feeds():
            key = reading_key_of(SecretBytes(epoch_key.reading_seed))
            found = await follow_feed(feed, key, body.chain, body.compartment_id, epoch_key.reading_epoch)
            for record_id, candidates in found.items():
                granted = [one for one in candidates if body.date_from <= one.opening.policy.date <= body.date_to]
                if granted:
                    listing.setdefault(record_id, []).extend(granted)
        return listing

    async def read(self, records: Sequence[bytes], purpose: Purpose, reason: str) -> ReadResult:
        """Opens records under as few new access entries as hold them; raises what ledger or keyholders refuse with.

        What was opened before a later entry is refused is not given back: the caller asks again, for less or later.
        """
        listing = await self.listing()
        results = []
        for start in range(0, len(records), self._records_per_entry):
            part = records[start : start + self._records_per_entry]
            prepared = make_access(self.parcel.body, self._credential_id, part, purpose, reason)
            await self.enter(prepared)
            results.append(await self.open(prepared, listing))
        return ReadResult(
            tuple(name for result in results for name in result.entry_ids),
            {name: record for result in results for name, record in result.opened.items()},
            {name: error for result in results for name, error in result.refused.items()},
            tuple(sorted({node for result in results for node in result.lying_nodes})),
        )

    async def enter(self, prepared: PreparedAccess) -> None:
        """The access entry, final on chain. Nobody releases anything before."""
        payload = AccessOpen(prepared.access.grant_id, prepared.commitment)
        signers = [("reader", self._reader_key), ("payer", self._payer_key)]
        await self.network.transact("access.open", payload, self._payer, signers)

    async def open(self, prepared: PreparedAccess, listing: Listing) -> ReadResult:
        """Asks as many keyholders as it takes, combines, opens; all of them, with proofs, for records whose parts do not fit.

        Records that cannot be opened are named with their reason, those of a part that could not be asked for too. Raises only when
        that goes for every part.
        """
        turn = asyncio.Semaphore(PARTS_BESIDE)

        async def opened(part: Sequence[bytes]) -> ReadResult | HceError:
            async with turn:
                try:
                    return await self._open_part(prepared, listing, part)
                except HceError as error:
                    return error

        parts = [prepared.records[start : start + PART_RECORDS] for start in range(0, len(prepared.records), PART_RECORDS)]
        opening = [asyncio.create_task(opened(part)) for part in parts]
        try:
            answers = await asyncio.gather(*opening)
        finally:
            for task in opening:
                task.cancel()
        failures = [answer for answer in answers if isinstance(answer, HceError)]
        if len(failures) == len(parts):
            raise failures[0]
        results = [answer for answer in answers if isinstance(answer, ReadResult)]
        unread = {
            name: answer for part, answer in zip(parts, answers, strict=True) if isinstance(answer, HceError) for name in part
        }
        return ReadResult(
            (prepared.entry_id,),
            {name: record for result in results for name, record in result.opened.items()},
            {**unread, **{name: error for result in results for name, error in result.refused.items()}},
            tuple(sorted({node for result in results for node in result.lying_nodes})),
        )

    async def _open_part(self, prepared: PreparedAccess, listing: Listing, names: Sequence[bytes]) -> ReadResult:
        checked, refused = await self.check(names, listing)
        if not checked:
            return ReadResult((prepared.entry_id,), {}, dict(refused), ())
        try:
            combined = await self._released(prepared, checked)
        except Remote as error:
            wrong = set() if error.code != CAPSULE_MISMATCH else await asyncio.to_thread(self._wrong_capsules, checked)
            checked = [one for one in checked if one.header.record_id not in wrong]
            if not wrong or not checked:
                raise
            refused |= dict.fromkeys(wrong, error)
            combined = await self._released(prepared, checked)
        opened, unopened = await open_all(self.network, checked, combined.deks)
        return ReadResult((prepared.entry_id,), opened, {**refused, **combined.failed, **unopened}, combined.lying)

    def _wrong_capsules(self, checked: Sequence[CheckedRecord]) -> set[bytes]:
        """Records whose author took a capsule that was not made for them. Keyholders refuse the whole request for one of these."""
        return {
            one.header.record_id
            for one in checked
            if not verify_capsule(self._keyholders.public_key, label_of(one.header), one.held.envelope.capsule)
        }

    async def _released(self, prepared: PreparedAccess, checked: Sequence[CheckedRecord]) -> Combined:
        """First parts without proofs, which fit unless somebody lies; parts with proofs of all nodes for records of which they do not.

        Whatever was combined stays, whatever the second round brings.
        """
        request = self.release_request(prepared, checked, await self.network.asked_first(self._keyholders.threshold))
        replies = await self.ask_keyholders(prepared, request)
        locked = [LockedRecord(one.header, one.held.envelope, one.listed.session, one.state.key_commitment) for one in checked]
        first = await asyncio.to_thread(combine_weighed_release, replies, request, locked, self._keyholders)
        if not first.failed:
            return first
        before = WeighedRound(request, [reply for reply in replies if self.network.is_alone(reply.node)])
        doubted = [one for one in checked if one.header.record_id in first.failed]
        answers = await self._ask_all_keyholders(prepared, self.release_request(prepared, doubted))
        proven = [answer for answer in answers if isinstance(answer, ReleaseReply)]
        refusal = self.network.agreed(answers)
        if refusal is not None and len(proven) < self._keyholders.threshold:
            return Combined(first.deks, dict.fromkeys(first.failed, refusal), ())
        locked = [one for one in locked if one.header.record_id in first.failed]
        second = await asyncio.to_thread(combine_release, proven, locked, self._keyholders, prepared, before)
        self.network.ask_last(second.lying)
        return Combined({**first.deks, **second.deks}, second.failed, second.lying)

    def release_request(
        self, prepared: PreparedAccess, checked: Sequence[CheckedRecord], together: Sequence[int] | None = None
    ) -> ReleaseRequest:
        """What every keyholder is shown of these records; `together`: nodes among which they weigh parts without proofs."""
        wanted = {one.listed.record_id: (one.listed.opening, one.held.envelope) for one in checked}
        return make_release_request(prepared, self.parcel.body, self.parcel.owner_signature, wanted, self._credential_key, together)

    async def ask_keyholders(self, prepared: PreparedAccess, request: ReleaseRequest) -> list[ReleaseReply]:
        """Replies of as many nodes as it takes; with fewer, the reason is raised.

        A reply opens only under the number of the node that made it.
        """
        threshold = self._keyholders.threshold
        patience_s = HEDGE_S + HEDGE_EACH_S * min(len(prepared.records), PARTS_BESIDE * PART_RECORDS)
        ask = partial(_release, self.network, prepared, request, encode(request))
        replies, reason = await self.network.several_nodes(ask, threshold, patience_s)
        if reason is not None:
            raise reason if isinstance(reason, Refused) else NotReleased(answering=len(replies)) from reason
        return replies

    async def _ask_all_keyholders(self, prepared: PreparedAccess, request: ReleaseRequest) -> list[ReleaseReply | HceError]:
        ask = partial(_release, self.network, prepared, request, encode(request))
        return await self.network.every_node(ask, SLOW_S, enough=self._keyholders.threshold)

    @property
    def _keyholders(self) -> KeyholderState:
        return self.network.genesis.keyholders

    async def check(self, records: Sequence[bytes], listing: Listing) -> tuple[list[CheckedRecord], dict[bytes, Refused]]:
        """Records whose envelopes fit the chain, and the others with their reason."""

        async def fetch(node: NodeClient, names: Sequence[bytes]) -> list[HeldRecord]:
            """Each from the feed of the epoch that names the record."""
            held: list[HeldRecord] = []
            for epoch_key, feed in feeds:
                if ours := named_in_epoch(listing, names, epoch_key.reading_epoch):
                    held += (await feed.records(node, "envelopes", ours)).found
            return held

        feeds = await self._feeds()
        return await check_listed(self.network, fetch, listing, records)

    async def _feeds(self) -> list[tuple[EpochKey, Mail]]:
        """The feed of each granted reading epoch, under the owner key it was written to."""
        body = self.parcel.body
        if self._owner_keys is None:
            epochs = [key.reading_epoch for key in self.parcel.epoch_keys]
            self._owner_keys = await owner_keys_by_epoch(self.network, body.owner_key, body.log_read_key, epochs)
        feeds = []
        for epoch_key in self.parcel.epoch_keys:
            key = feed_key_of(SecretBytes(epoch_key.reading_seed), epoch_key.reading_epoch)
            place = [key.public, self._owner_keys[epoch_key.reading_epoch]]
            feeds.append((epoch_key, Mail(self.network, self._clock, place, key)))
        return feeds


async def _release(
    network: Network, prepared: PreparedAccess, request: ReleaseRequest, encoded: bytes, node: NodeClient
) -> ReleaseReply:
    index = await network.index_of(node)
    reply = open_release_reply(prepared, network.chain, await node.release(encoded), index)
    require_answer(reply, request, network.genesis.keyholders)
    return reply
