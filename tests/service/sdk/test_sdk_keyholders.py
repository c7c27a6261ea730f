"""As many keyholders are asked as it takes; the others when one refuses, hangs, or sends a part that is not its own."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from msgspec import Struct, structs
from tests.service.sdk.crowd import URLS, Crowd, refusal

from hce.app.devnet.home import Home
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.seal import OpeningKey, seal
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.crypto.threshold import KeyShare, partial, weighed
from hce.foundation.types.errors import HceError
from hce.foundation.types.quorum import two_thirds
from hce.service.keyholders.keyshare import load_share
from hce.service.sdk import reader as room
from hce.service.sdk.errors import Remote
from hce.service.sdk.network import Network
from hce.service.sdk.reader import NotReleased, Reader
from hce.service.sdk.reading import CheckedRecord
from hce.service.terms.grants import AccessBody, ReleasedPartial, ReleaseReply, dleq_transcript, release_info
from hce.service.terms.records import ContentItem, make_header
from hce.service.vault.compartments import CompartmentKeys, make_card
from hce.service.vault.granting import PreparedAccess
from hce.service.vault.opening import read_session
from hce.service.vault.sealing import AuthoringSession, make_batch

NEEDED = two_thirds(9)
ENTRY, KEY = digest("test/entry"), OpeningKey.from_seed(bytes(32))
RECORDS = 5


class Asked(Struct, array_like=True):
    """Of a release request what decides the form of the answer."""

    requested: list[bytes]
    together: list[int] | None


class Desk(Reader):
    """A reader of sealed records whose listing, envelopes and ciphertexts are at hand."""

    def __init__(self, network: Network, sealed: list[Any]) -> None:
        self.network = network
        self._sealed = sealed

    async def check(self, records: Sequence[bytes], listing: Any) -> Any:
        return [one for one in self._sealed if one.header.record_id in records], {}

    def release_request(
        self, prepared: PreparedAccess, checked: Sequence[CheckedRecord], together: Sequence[int] | None = None
    ) -> Any:
        return Asked([one.header.record_id for one in checked], None if together is None else list(together))


class Keyholders:
    """Nine nodes with real shares; those that refuse, hang or lie do so always."""

    def __init__(self, root: Path, *, refuse: Collection[int] = (), hang: Collection[int] = (), lie: Collection[int] = ()) -> None:
        self.crowd = Crowd(root, self._answer)
        self._refuse, self._hang, self._lie = refuse, hang, lie
        self.told: list[tuple[int, ...]] = []
        """Among whom each weighed part was weighed."""
        self.lie_unproven: Collection[int] = ()
        """Who lies only where no proof is asked for."""
        self.few: Collection[int] = ()
        """Who sends one part fewer than was asked for, where no proof is."""
        self.lie_about: Collection[bytes] | None = None
        """Records a liar lies about; all of them when None."""
        genesis, home = self.crowd.genesis, Home(root)
        self.key = genesis.keyholders
        self._shares = [load_share(home.node(node) / "share.cbor", genesis.chain, self.key) for node in range(9)]
        self.sealed = sealed_records(genesis.chain, self.key)

    async def _answer(self, host: int, request: httpx.Request) -> httpx.Response | bytes | None:
        if request.url.path != "/v1/release":
            return None
        if host in self._hang:
            await asyncio.Event().wait()
        if host in self._refuse:
            return refusal("release.grant_revoked")
        asked = decode_as(Asked, request.content)
        sealed = [one for one in self.sealed if one.header.record_id in asked.requested]
        if asked.together is None:
            reply = ReleaseReply(host, self.key.key_id, 0, [self._part(host, one) for one in sealed], [])
        else:
            reply = ReleaseReply(
                host, self.key.key_id, 0, [], [self._weighed(host, one, asked.together) for one in sealed[host in self.few :]]
            )
        return seal(KEY.public, release_info(self.crowd.genesis.chain, ENTRY, host), encode(reply))

    def _share(self, host: int, one: Any) -> KeyShare:
        """A liar's is another node's."""
        lies = host in self._lie and (self.lie_about is None or one.header.record_id in self.lie_about)
        return KeyShare(host, self._shares[(host + lies) % 9].secret)

    def _weighed(self, host: int, one: Any, together: Sequence[int]) -> bytes:
        self.told.append(tuple(together))
        share = KeyShare(host, self._shares[8].secret) if host in self.lie_unproven else self._share(host, one)
        return weighed(share, [one.held.envelope.capsule], together)[0]

    def _part(self, host: int, one: Any) -> ReleasedPartial:
        name, chain, share = one.header.record_id, self.crowd.genesis.chain, self._share(host, one)
        transcript = dleq_transcript(chain, self.key.key_id, 0, host, ENTRY, name, KEY.public)
        return ReleasedPartial(name, partial(share, one.held.envelope.capsule, transcript))

    async def open(self, monkeypatch: pytest.MonkeyPatch, network: Network | None = None) -> Any:
        """What a reader gets, its keys in place of the records."""

        async def keys_alone(network: Any, checked: Any, deks: Mapping[bytes, SecretBytes]) -> tuple[Any, dict[bytes, HceError]]:
            return deks, {}

        monkeypatch.setattr(room, "open_all", keys_alone)
        access = AccessBody(bytes(32), bytes(32), RECORDS, bytes(32), bytes(32), KEY.public, "treatment", bytes(32))
        prepared = PreparedAccess(ENTRY, access, bytes(32), [one.header.record_id for one in self.sealed], KEY)
        if network is not None:
            return await Desk(network, self.sealed).open(prepared, {})
        async with await Network.join(URLS, self.crowd.genesis, transport=self.crowd) as network:
            return await Desk(network, self.sealed).open(prepared, {})

    @property
    def asked(self) -> int:
        return len(self.crowd.hosts_asked("/v1/release"))


def sealed_records(chain: bytes, key: Any) -> list[Any]:
    keys = CompartmentKeys(SecretBytes(bytes(64)), 0)
    card = make_card(keys, chain, 0, 0, 1).card
    session = AuthoringSession(chain, bytes(32), bytes(32), SigningKey(bytes(32)), card, key)
    for number in range(RECORDS):
        session.seal([ContentItem("a", "text/plain", bytes([number]))], "note", "2025-05-05", 1)
    batch = make_batch([session], 9)
    opened = read_session(keys.reading(0), batch.feed_writes[0].session_entry, chain, card.compartment_id, 0)
    return [
        SimpleNamespace(
            header=make_header(chain, one.record_id, one.entry.policy_commitment, key.key_id),
            held=SimpleNamespace(envelope=one.envelope),
            listed=SimpleNamespace(session=opened),
            state=SimpleNamespace(key_commitment=one.entry.key_commitment),
        )
        for one in batch.records
    ]


async def test_no_more_keyholders_are_asked_than_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Keyholders(tmp_path)
    result = await nodes.open(monkeypatch)
    assert len(result.opened) == RECORDS
    assert (nodes.asked, result.lying_nodes) == (NEEDED, ())
    assert set(nodes.told) == {tuple(range(NEEDED))}, "each weighs its parts among those who are asked"


async def test_for_one_that_refuses_or_hangs_another_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "HEDGE_S", 0.05)
    nodes = Keyholders(tmp_path, refuse={1, 4}, hang={0})
    assert len((await nodes.open(monkeypatch)).opened) == RECORDS
    assert nodes.asked == 9


async def test_a_part_that_is_not_its_nodes_own_brings_in_the_others_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = Keyholders(tmp_path, lie={2})
    result = await nodes.open(monkeypatch)
    assert len(result.opened) == RECORDS
    assert (nodes.asked, result.lying_nodes, result.refused) == (9, (2,), {})


async def test_who_lies_only_where_no_proof_is_asked_for_is_named_and_asked_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = Keyholders(tmp_path)
    nodes.lie_unproven = {2}
    async with await Network.join(URLS, nodes.crowd.genesis, transport=nodes.crowd) as network:
        first = await nodes.open(monkeypatch, network)
        assert (len(first.opened), first.lying_nodes, first.refused) == (RECORDS, (2,), {})
        nodes.crowd.asked.clear()
        again = await nodes.open(monkeypatch, network)
    assert (len(again.opened), again.lying_nodes) == (RECORDS, ())
    assert (nodes.asked, 2 in nodes.crowd.hosts_asked("/v1/release")) == (NEEDED, False)


async def test_who_lies_and_then_hangs_when_proofs_are_asked_for_is_named_by_the_parts_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "SLOW_S", 0.2)
    nodes = Keyholders(tmp_path)
    nodes.lie_unproven = {2}
    honest = nodes.crowd._answer

    async def hangs_then(host: int, request: httpx.Request) -> httpx.Response | bytes | None:
        if host == 2 and request.url.path == "/v1/release" and decode_as(Asked, request.content).together is None:
            await asyncio.Event().wait()
        return await honest(host, request)

    nodes.crowd._answer = hangs_then
    result = await nodes.open(monkeypatch)
    assert (len(result.opened), result.lying_nodes, result.refused) == (RECORDS, (2,), {})


async def test_a_record_with_a_capsule_made_for_another_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Honest keyholders refuse every request it is in."""
    nodes = Keyholders(tmp_path)
    first, other = nodes.sealed[0], nodes.sealed[1]
    bad = first.header.record_id
    first.held.envelope = structs.replace(first.held.envelope, capsule=other.held.envelope.capsule)
    honest = nodes.crowd._answer

    async def refuses_it(host: int, request: httpx.Request) -> httpx.Response | bytes | None:
        if request.url.path == "/v1/release" and bad in decode_as(Asked, request.content).requested:
            return refusal("release.capsule_mismatch")
        return await honest(host, request)

    nodes.crowd._answer = refuses_it
    result = await nodes.open(monkeypatch)
    assert (len(result.opened), {name: error.code for name, error in result.refused.items()}) == (
        RECORDS - 1,
        {bad: "release.capsule_mismatch"},
    )


async def test_a_reply_with_too_few_parts_is_none_and_another_node_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = Keyholders(tmp_path)
    nodes.few = {0, 4}
    result = await nodes.open(monkeypatch)
    assert (len(result.opened), nodes.asked, result.lying_nodes) == (RECORDS, NEEDED + 2, ())


async def test_one_part_of_an_entry_that_fails_does_not_take_the_others_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The grant is revoked while an entry is read: what was opened before stays, the rest is refused with the reason."""
    monkeypatch.setattr(room, "PART_RECORDS", 1)
    monkeypatch.setattr(room, "PARTS_BESIDE", 1)
    nodes = Keyholders(tmp_path)
    nodes.crowd._answer = revoked_meanwhile(nodes, 2 * NEEDED)
    result = await nodes.open(monkeypatch)
    assert len(result.opened) == 2
    assert [error.code for error in result.refused.values()] == ["release.grant_revoked"] * (RECORDS - 2)


async def test_a_liar_is_named_also_when_the_others_suffice_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Node 0 is slow at first, so 6 is asked in its place and lies; asked again, 0 to 5 are enough and nobody looks at 6."""
    monkeypatch.setattr(room, "HEDGE_S", 0.05)
    nodes = Keyholders(tmp_path, lie={6})
    nodes.crowd._answer = slow_at_first(nodes, 0)
    result = await nodes.open(monkeypatch)
    assert (len(result.opened), result.lying_nodes, result.refused) == (RECORDS, (6,), {})


async def test_what_was_released_is_kept_when_the_others_are_asked_in_vain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One part is wrong; the grant is revoked before the others are asked for that record."""
    nodes = Keyholders(tmp_path, lie={2})
    broken = nodes.sealed[0].header.record_id
    nodes.lie_about = {broken}
    nodes.crowd._answer = revoked_meanwhile(nodes)
    result = await nodes.open(monkeypatch)
    assert result.opened.keys() | result.refused.keys() == {one.header.record_id for one in nodes.sealed}
    assert result.opened
    assert result.refused[broken].code == "release.grant_revoked"
    assert result.lying_nodes == (), "a part without a proof shows that somebody lied, not who"


async def test_nobody_is_blamed_for_a_record_whose_author_wrapped_another_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = Keyholders(tmp_path)
    nodes.sealed[0].state.key_commitment = bytes(32)
    result = await nodes.open(monkeypatch)
    assert {name: error.code for name, error in result.refused.items()} == {nodes.sealed[0].header.record_id: "record.wrong_key"}
    assert (nodes.asked, len(result.opened), result.lying_nodes) == (9, RECORDS - 1, ())


async def test_too_few_honest_keyholders_open_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Keyholders(tmp_path, lie={0, 2, 3, 7})
    result = await nodes.open(monkeypatch)
    assert (result.opened, result.lying_nodes) == ({}, (0, 2, 3, 7))
    assert {error.code for error in result.refused.values()} == {"release.too_few_parts"}


async def test_what_enough_nodes_refuse_alike_is_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Remote) as refused:
        await Keyholders(tmp_path, refuse=range(4)).open(monkeypatch)
    assert refused.value.code == "release.grant_revoked"


async def test_too_few_who_answer_is_a_passing_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "HEDGE_S", 0.05)
    nodes = Keyholders(tmp_path, refuse={1, 2})
    nodes.crowd._answer = down(nodes, {0, 3})
    with pytest.raises(NotReleased):
        await nodes.open(monkeypatch)


def slow_at_first(nodes: Keyholders, slow: int) -> Any:
    asked = 0

    async def answer(host: int, request: httpx.Request) -> httpx.Response | bytes | None:
        nonlocal asked
        if host == slow and request.url.path == "/v1/release":
            asked += 1
            if asked == 1:
                await asyncio.Event().wait()
        return await nodes._answer(host, request)

    return answer


def revoked_meanwhile(nodes: Keyholders, after: int = NEEDED) -> Any:
    """So many releases; after that every node has seen a revocation."""
    released = 0

    async def answer(host: int, request: httpx.Request) -> httpx.Response | bytes | None:
        nonlocal released
        if request.url.path == "/v1/release":
            released += 1
            if released > after:
                return refusal("release.grant_revoked")
        return await nodes._answer(host, request)

    return answer


def down(nodes: Keyholders, gone: Collection[int]) -> Any:
    async def answer(host: int, request: httpx.Request) -> httpx.Response | bytes | None:
        if host in gone and request.url.path == "/v1/release":
            raise httpx.ConnectError("down")
        return await nodes._answer(host, request)

    return answer
