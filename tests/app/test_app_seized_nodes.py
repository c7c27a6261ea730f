"""What somebody holds who seizes machines: the real key files of a real network's folder, and nothing of a patient's."""

from __future__ import annotations

import os

import pytest

from hce.app.devnet import run
from hce.app.devnet.genesis import DEMO_PARAMS
from hce.app.devnet.home import Home
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.aead import aead_open
from hce.foundation.crypto.errors import NotEnough, SealBroken
from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.crypto.threshold import combine, partial
from hce.service.keyholders.keyshare import load_share
from hce.service.terms.records import ContentItem, SessionEntry, lock_a_info, make_header, owner_lock_info
from hce.service.vault.compartments import CompartmentKeys, make_card
from hce.service.vault.errors import SessionNotOurs, WrongKey
from hce.service.vault.opening import OpenedSession, read_session, unwrap_dek
from hce.service.vault.sealing import AuthoringSession, make_batch

NODES = 9
NOW_MS = 1_760_000_000_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("network") / "run")
    run.create(home, list(range(20_000, 20_000 + run.port_count(NODES))), NODES, DEMO_PARAMS)
    return home


def test_seized_nodes_open_nothing(home: Home) -> None:
    """Five of nine shares open no lock B; all nine together open lock B and still not the record: lock A is the patient's."""
    genesis = home.genesis()
    keys = CompartmentKeys(SecretBytes(os.urandom(64)), 0)
    card = make_card(keys, genesis.chain, 1, 0, NOW_MS).card
    session = AuthoringSession(genesis.chain, bytes(32), bytes(32), SigningKey(bytes(32)), card, genesis.keyholders)
    record = session.seal([ContentItem("note", "text/plain", b"secret")], "document", "2026-01-01", NOW_MS)
    batch = make_batch([session], NODES)
    capsule = record.envelope.capsule

    shares = [load_share(home.node(index) / "share.cbor", genesis.chain, genesis.keyholders) for index in range(NODES)]
    parts = [partial(share, capsule, b"seized") for share in shares]
    for held in range(6):
        with pytest.raises(NotEnough):
            combine(capsule, parts[:held], genesis.keyholders.threshold)

    share_b = combine(capsule, parts, genesis.keyholders.threshold)
    header = make_header(genesis.chain, record.record_id, record.entry.policy_commitment, genesis.keyholders.key_id)
    entry = batch.feed_writes[0].session_entry
    for index in range(NODES):
        operator = home.node_keys(index)
        for seed in (operator.operator, operator.consensus, operator.link, operator.service):
            with pytest.raises(SessionNotOurs):
                read_session(CompartmentKeys(SecretBytes(seed * 2), 0).reading(0), entry, genesis.chain, card.compartment_id, 0)
    guessed = OpenedSession(SecretBytes(bytes(32)), record.owner_wrap, b"", 0, {}, {})
    with pytest.raises(WrongKey):
        unwrap_dek(guessed, header, record.envelope, share_b, record.entry.key_commitment)
    patient = read_session(keys.reading(0), entry, genesis.chain, card.compartment_id, 0)
    assert unwrap_dek(patient, header, record.envelope, share_b, record.entry.key_commitment), "with both locks it opens"


def test_two_seized_nodes_open_nothing_with_any_bytes_they_hold(home: Home) -> None:
    """As many as may be faulty. Whatever 32 bytes of their key files are taken for whatever key, no lock and no ciphertext opens;
    and to call two parts enough gives another secret."""
    genesis, seized = home.genesis(), (3, 7)
    keys = CompartmentKeys(SecretBytes(os.urandom(64)), 0)
    card = make_card(keys, genesis.chain, 1, 0, NOW_MS).card
    session = AuthoringSession(genesis.chain, bytes(32), bytes(32), SigningKey(bytes(32)), card, genesis.keyholders)
    record = session.seal([ContentItem("note", "text/plain", b"secret")], "document", "2026-01-01", NOW_MS)
    entry = decode_as(SessionEntry, make_batch([session], NODES).feed_writes[0].session_entry)
    header = make_header(genesis.chain, record.record_id, record.entry.policy_commitment, genesis.keyholders.key_id)

    files = [(home.node(index) / name).read_bytes() for index in seized for name in ("keys.cbor", "share.cbor")]
    held = {content[at : at + 32] for content in files for at in range(len(content) - 31)}
    assert {home.node_keys(3).service, home.node_keys(7).link} <= held
    for key in held:
        for info, lock in (
            (lock_a_info(genesis.chain, card.compartment_id, 0), entry.lock_a),
            (owner_lock_info(genesis.chain, card.compartment_id), entry.owner_lock),
        ):
            with pytest.raises(SealBroken):
                OpeningKey(key).open(info, lock)
        for sealed in (record.ciphertext, record.envelope.wrapped_dek, record.owner_wrap):
            with pytest.raises(SealBroken):
                aead_open(key, sealed, encode(header))

    shares = [load_share(home.node(index) / "share.cbor", genesis.chain, genesis.keyholders) for index in range(NODES)]
    parts = [partial(share, record.envelope.capsule, b"seized") for share in shares]
    right = combine(record.envelope.capsule, parts, genesis.keyholders.threshold)
    assert combine(record.envelope.capsule, [parts[index] for index in seized], len(seized)) != right


def test_key_files_are_readable_by_their_owner_only(home: Home) -> None:
    for index in range(NODES):
        for name in ("keys.cbor", "share.cbor"):
            assert (home.node(index) / name).stat().st_mode & 0o777 == 0o600


def test_no_node_holds_another_nodes_secret(home: Home) -> None:
    files = {index: [path.read_bytes() for path in home.node(index).rglob("*") if path.is_file()] for index in range(NODES)}
    for owner in range(NODES):
        keys = home.node_keys(owner)
        for index in set(range(NODES)) - {owner}:
            for secret in (keys.operator, keys.consensus, keys.link, keys.service):
                assert not any(secret in content for content in files[index])
