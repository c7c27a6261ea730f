"""Each opens what the other sealed: web/sdk and the Python vault on fresh keys and fresh randomness, no vector between them."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from tests.web.node import ROOT, bundled, run_node

from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.codec.dagcbor import decode, decode_as, encode
from hce.foundation.crypto.seal import OpeningKey, seal
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.sign import SigningKey, verify
from hce.foundation.crypto.threshold import DealtKey, deal, partial
from hce.foundation.erasure import code
from hce.foundation.types.errors import Malformed
from hce.network.hcefs.manifest import read_manifest
from hce.service.terms.grants import (
    AccessRequest,
    GrantBody,
    ReleasedPartial,
    ReleaseReply,
    ReleaseRequest,
    dleq_transcript,
    grant_message,
    release_info,
    release_message,
)
from hce.service.terms.payloads import GrantRevoke, RecordEntry, org_id
from hce.service.terms.records import ContentItem, Envelope, author_signed, make_header
from hce.service.terms.states import KeyholderState, RecordState
from hce.service.terms.transactions import make_body
from hce.service.vault import granting, opening, sealing
from hce.service.vault.compartments import CompartmentKeys, make_card
from hce.service.vault.human import grant_sentence, revoke_sentence

CHAIN = bytes(range(16))
NOW_MS = 1_760_000_000_000
DAY_MS = 86_400_000
CREDENTIAL_ID = hashlib.sha256(b"credential").digest()
REFUSED = json.loads((ROOT / "tests/vectors/hce/refused.json").read_text())["refused"]
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0100000000000000000000000000000000000000000000000000000000000080",
]


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundled(tmp_path_factory.mktemp("js"), ROOT / "web/sdk/tests/live/cross.ts")


def ask(script: Path, act: str, **given: Any) -> Any:
    answer = json.loads(run_node(script, stdin=json.dumps({"act": act, **given}) + "\n"))
    assert "ok" in answer, answer
    return answer["ok"]


class Scene:
    """A patient, an author and nine keyholders."""

    def __init__(self) -> None:
        self.keys = CompartmentKeys(SecretBytes(os.urandom(64)), 0)
        self.card = make_card(self.keys, CHAIN, 0, 0, NOW_MS)
        self.compartment_id = self.keys.compartment_id(CHAIN)
        self.author_seed = os.urandom(32)
        self.org_id = org_id(CHAIN, os.urandom(32))
        self.dealt: DealtKey = deal(9, 6, os.urandom(32))
        self.keyholders = KeyholderState(self.dealt.key_id, 6, self.dealt.public_key, self.dealt.member_keys, 0)


def state_of(entry: RecordEntry, placement: bytes, organisation: bytes) -> RecordState:
    return RecordState(
        organisation, entry.envelope_digest, entry.key_commitment, entry.policy_commitment, placement, height=1, time_ms=NOW_MS
    )


def test_what_typescript_seals_python_opens_with_both_locks(script: Path) -> None:
    scene = Scene()
    contents = [os.urandom(size) for size in (1, 300, 40_000)]
    made = ask(
        script,
        "seal",
        org_id=scene.org_id.hex(),
        credential_id=CREDENTIAL_ID.hex(),
        author_seed=scene.author_seed.hex(),
        card=encode(scene.card).hex(),
        keyholders=encode(scene.keyholders).hex(),
        contents=[content.hex() for content in contents],
        nodes=5,
    )
    session = opening.read_session(scene.keys.reading(0), bytes.fromhex(made["session_entry"]), CHAIN, scene.compartment_id, 0)
    assert session.broken == {}
    placed = {one.ciphertext: one for one in read_manifest(bytes.fromhex(made["placement"]), CHAIN)}
    found = []
    for place, record in enumerate(made["records"]):
        name, entry = bytes.fromhex(record["record_id"]), decode_as(RecordEntry, bytes.fromhex(record["entry"]))
        envelope, wrap = decode_as(Envelope, bytes.fromhex(record["envelope"])), bytes.fromhex(record["owner_wrap"])
        opened = session.openings[name]
        state = state_of(entry, opened.placement, scene.org_id)
        header = opening.check_record(CHAIN, scene.keyholders.key_id, name, state, opened, envelope)
        assert author_signed(SigningKey(scene.author_seed).public, name, opened)
        mine = opening.owner_open(scene.keys.root, session.owner_lock, wrap, header, scene.compartment_id)
        opening.owner_checks_both_locks(mine, wrap, session, header, envelope, state, scene.keyholders)
        ciphertext = bytes.fromhex(record["ciphertext"])
        opening.check_ciphertext(header, opened, ciphertext)
        found.append(opening.open_record(mine.dek, ciphertext, header, entry.key_commitment).items[0].content)
        where = placed[opened.ciphertext]
        last = {
            number: bytes.fromhex(made["shards"][where.nodes[number]][place])
            for number in range(len(where.shards) - where.k, len(where.shards))
        }
        assert [cid_of_raw(shard) for shard in last.values()] == where.shards[-where.k :]
        assert code.decode(last, where.k, where.m, where.size_bytes) == ciphertext, "parity made here restores there"
    assert sorted(found) == sorted(contents)


def test_what_python_seals_a_reader_in_typescript_opens_though_a_node_lies(script: Path) -> None:
    scene, content = Scene(), os.urandom(5_000)
    author = sealing.AuthoringSession(
        CHAIN, scene.org_id, CREDENTIAL_ID, SigningKey(scene.author_seed), scene.card.card, scene.keyholders
    )
    sealed = author.seal([ContentItem("a", "text/plain", content)], "note", "2025-03-04", NOW_MS)
    batch = sealing.make_batch([author], 9)
    inbox_seed, credential_seed = os.urandom(32), os.urandom(32)
    reader_key = SigningKey(os.urandom(32)).public
    request = AccessRequest(
        CHAIN, CREDENTIAL_ID, reader_key, OpeningKey(inbox_seed).public, "treatment", "read", "2025-01-01", "2025-12-31"
    )
    made = granting.make_grant(
        scene.keys,
        CHAIN,
        0,
        request,
        not_before_ms=0,
        expires_at_ms=NOW_MS + DAY_MS,
        date_from="2025-01-01",
        date_to="2025-12-31",
        purpose="treatment",
        mode="read",
        reading_epochs=[0],
        card=scene.card,
    )
    given = {
        "chain": CHAIN.hex(),
        "parcel": made.parcel.hex(),
        "inbox_seed": inbox_seed.hex(),
        "reader_key": reader_key.hex(),
        "session_entry": batch.feed_writes[0].session_entry.hex(),
        "envelope": encode(sealed.envelope).hex(),
        "state": encode(state_of(sealed.entry, batch.placement_cid, scene.org_id)).hex(),
        "keyholders": encode(scene.keyholders).hex(),
        "credential_id": CREDENTIAL_ID.hex(),
        "credential_seed": credential_seed.hex(),
        "ciphertext": sealed.ciphertext.hex(),
        "salt": os.urandom(32).hex(),
        "response_seed": os.urandom(32).hex(),
    }
    asked = decode_as(ReleaseRequest, bytes.fromhex(ask(script, "ask", **given)["request"]))
    message = release_message(CHAIN, asked.entry_id, asked.access.response_key, asked.requested)
    assert verify(SigningKey(credential_seed).public, message, asked.credential_signature)
    replies = [[node, _reply(scene, asked, sealed, node, lies=node == 0).hex()] for node in range(7)]
    opened = ask(script, "open", read=given, replies=replies)
    assert opened == {"content": content.hex(), "lying": [0]}


def _reply(scene: Scene, asked: ReleaseRequest, sealed: sealing.SealedRecord, node: int, lies: bool) -> bytes:
    header = make_header(CHAIN, sealed.record_id, sealed.entry.policy_commitment, scene.keyholders.key_id)
    transcript = dleq_transcript(
        CHAIN, header.key_id, 0, node, asked.entry_id, sealed.record_id, b"another" if lies else asked.access.response_key
    )
    share = scene.dealt.shares[node]
    part = partial(share, sealed.envelope.capsule, transcript)
    if lies:
        part = type(part)(part.index, scene.dealt.member_keys[1], part.e, part.f)
    reply = ReleaseReply(node, header.key_id, 0, [ReleasedPartial(sealed.record_id, part)], [])
    return seal(asked.access.response_key, release_info(CHAIN, asked.entry_id, node), encode(reply))


def test_python_refuses_the_frozen_spellings() -> None:
    for spelling in REFUSED:
        with pytest.raises(Malformed):
            decode(bytes.fromhex(spelling))


def test_both_languages_take_and_refuse_the_same_bytes(script: Path) -> None:
    rng = random.Random(5)
    good = [encode(value) for value in ([0, [24, -300, "文", b"x" * 40, None], {"a": True, "bb": cid_of_raw(b"x")}], {"": [{}]})]
    raws = [bytes.fromhex(spelling) for spelling in REFUSED] + good
    for _ in range(3_000):
        raw = bytearray(rng.choice(good))
        for _ in range(rng.randint(1, 3)):
            raw[rng.randrange(len(raw))] = rng.choice([rng.randrange(256), 0x18, 0x81, 0xA1, 0xF6, 0xD8])
        raws.append(bytes(raw[: rng.randint(1, len(raw))] if rng.random() < 0.1 else raw))
    taken = ask(script, "verdicts", raws=[raw.hex() for raw in raws])
    assert taken == [_verdict(raw) for raw in raws]
    assert 100 < sum(one is not None for one in taken) < len(raws) - 100


def _verdict(raw: bytes) -> str | None:
    try:
        return encode(decode(raw)).hex()
    except Malformed:
        return None


def test_both_languages_accept_the_same_signatures(script: Path) -> None:
    rng = random.Random(7)
    key, message = SigningKey(bytes(range(32))), b"message"
    good = key.sign(message)
    order = 2**252 + 27742317777372353535851937790883648493
    malleable = good[:32] + (int.from_bytes(good[32:], "little") + order).to_bytes(32, "little")
    points = [bytes.fromhex(point) for point in SMALL_ORDER]
    cases = [(key.public, message, good), (key.public, message, malleable)]
    cases += [(point, message, other + bytes(32)) for point in points for other in points]
    cases += [(key.public, message, point + good[32:]) for point in points]
    for _ in range(200):
        bent = bytearray(key.public + message + good)
        bent[rng.randrange(len(bent))] ^= 1 << rng.randrange(8)
        cases.append((bytes(bent[:32]), bytes(bent[32:39]), bytes(bent[39:])))
    accepted = ask(script, "verified", cases=[[part.hex() for part in case] for case in cases])
    assert accepted == [verify(*case) for case in cases]
    assert accepted.count(True) == 1


def test_both_languages_say_the_same_sentence(script: Path) -> None:
    body = GrantBody(
        chain=CHAIN,
        compartment_id=bytes(32),
        compartment_version=0,
        owner_key=bytes(32),
        log_key=bytes(1216),
        log_read_key=bytes(32),
        grantee=CREDENTIAL_ID,
        reader_key=bytes(32),
        revoke_key=bytes(32),
        not_before_ms=NOW_MS,
        expires_at_ms=NOW_MS + 400 * DAY_MS,
        date_from="2020-02-29",
        date_to="2030-12-31",
        purpose="second-opinion",
        mode="read-write",
        nonce=bytes(32),
    )
    revoke = encode(make_body(CHAIN, "grant.revoke", GrantRevoke(CREDENTIAL_ID), None, 9))
    names = ["老城诊所 Clinic", None, "Evil\u202e\u200b\n\u00a0{who} \U0001f600"]
    languages = ("en", "zh-CN")
    cases = [(signed, language, name) for signed in (grant_message(body), revoke) for language in languages for name in names]
    said = ask(script, "sentences", messages=[[signed.hex(), language, name] for signed, language, name in cases])
    expected = []
    for signed, language, name in cases:
        sentence = revoke_sentence if signed == revoke else grant_sentence
        expected.append(sentence(signed, language, lambda _, name=name: name))
    assert said == expected
