"""Cards, claims and handovers by themselves: what is typed, what is signed, what opens."""

from __future__ import annotations

import json
import os

import pytest
from msgspec import structs
from tests.vectors.hce.make_claims import CHAIN, CUSTODIAL_SEED, FILE, NOW_MS, OWN_SEED, vectors

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.types.errors import Malformed
from hce.service.terms.grants import MAX_EPOCH_KEYS
from hce.service.terms.handovers import MAX_EARLIER, EarlierOwner, EarlierSeed, SignedHandover
from hce.service.vault.claiming import ALPHABET, CodeUnreadable, card_key, new_code
from hce.service.vault.compartments import CompartmentKeys
from hce.service.vault.errors import HandoverInvalid
from hce.service.vault.handovers import make_handover, open_earlier, seal_earlier, verify_handover
from hce.service.vault.human import sentence

CUSTODIAL = CompartmentKeys(SecretBytes(CUSTODIAL_SEED), 0)
COMPARTMENT = CUSTODIAL.compartment_id(CHAIN)
OWN = CompartmentKeys(SecretBytes(OWN_SEED), 0, COMPARTMENT)
BEFORE = [EarlierOwner(CUSTODIAL.owner.public, 0, 0)]
SEEDS = [EarlierSeed(CUSTODIAL_SEED, 0)]


def sealed(seeds: list[EarlierSeed]) -> bytes:
    return seal_earlier(OWN.root.public, CHAIN, COMPARTMENT, seeds)


def test_the_frozen_vectors_come_out_again() -> None:
    assert vectors() == json.loads(FILE.read_text("utf-8"))


def test_a_code_is_read_however_it_was_typed() -> None:
    code = new_code()
    assert [len(group) for group in code.split("-")] == [5, 5, 5, 5]
    typed = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert card_key(typed).public == card_key(code).public
    assert card_key(new_code()).public != card_key(code).public


def is_read(code: str) -> bool:
    try:
        card_key(code)
    except CodeUnreadable:
        return False
    return True


def test_one_wrong_character_is_noticed_before_anybody_is_asked() -> None:
    """A checksum of ten bits lets one slip in 1,024 pass; who is asked then knows no such card."""
    code = json.loads(FILE.read_text("utf-8"))["code"].replace("-", "")
    slips = [code[:place] + other + code[place + 1 :] for place in range(20) for other in ALPHABET if other != code[place]]
    assert len(slips) == 620
    assert sum(map(is_read, slips)) <= 3


@pytest.mark.parametrize("typed", ["", "hello", "7" * 20, "0" * 19, "0" * 300, "钥匙" * 10])
def test_what_is_no_code_is_refused(typed: str) -> None:
    with pytest.raises(CodeUnreadable):
        card_key(typed)


def test_the_keys_of_before_open_with_the_keys_of_now_alone() -> None:
    [before] = open_earlier(OWN.root, CHAIN, COMPARTMENT, BEFORE, sealed(SEEDS))
    assert before.keys.owner.public == CUSTODIAL.owner.public
    assert before.keys.compartment_id(CHAIN) == COMPARTMENT
    with pytest.raises(HandoverInvalid):
        open_earlier(CUSTODIAL.root, CHAIN, COMPARTMENT, BEFORE, sealed(SEEDS))


def test_keys_of_somebody_else_are_noticed() -> None:
    """A hospital cannot hand over another account, nor keys that open nothing."""
    stranger = EarlierSeed(os.urandom(64), 0)
    strange = CompartmentKeys(SecretBytes(stranger.seed), 0)
    for owners, seeds in (
        (BEFORE, [stranger]),
        ([EarlierOwner(strange.owner.public, 0, 0)], [stranger]),
        (BEFORE, [*SEEDS, stranger]),
        ([EarlierOwner(CUSTODIAL.owner.public, 1, 1)], SEEDS),
        ([EarlierOwner(CUSTODIAL.owner.public, 0, 0), EarlierOwner(strange.owner.public, 2, 2)], [*SEEDS, stranger]),
    ):
        with pytest.raises(HandoverInvalid):
            open_earlier(OWN.root, CHAIN, COMPARTMENT, owners, sealed(seeds))
    with pytest.raises(HandoverInvalid):
        open_earlier(OWN.root, CHAIN, COMPARTMENT, BEFORE, b"\x00" * 1_200)


def test_nobody_hands_over_more_feeds_than_their_owner_can_follow() -> None:
    """Else a hospital that names a billion epochs shuts the words out of the account for good."""

    def epochs(last: int) -> list[EarlierOwner]:
        return [EarlierOwner(CUSTODIAL.owner.public, 0, last)]

    [before] = open_earlier(OWN.root, CHAIN, COMPARTMENT, epochs(MAX_EPOCH_KEYS - 2), sealed(SEEDS))
    assert before.last_epoch == MAX_EPOCH_KEYS - 2
    for last in (MAX_EPOCH_KEYS - 1, 10**9):
        with pytest.raises(HandoverInvalid):
            open_earlier(OWN.root, CHAIN, COMPARTMENT, epochs(last), sealed(SEEDS))
        with pytest.raises(HandoverInvalid):
            make_handover(OWN, CHAIN, epochs(last), sealed(SEEDS), NOW_MS)


def test_one_rotation_too_many_is_refused_before_anything_is_kept() -> None:
    owners = [EarlierOwner(CUSTODIAL.owner.public, epoch, epoch) for epoch in range(MAX_EARLIER + 1)]
    make_handover(OWN, CHAIN, owners[:-1], sealed(SEEDS), NOW_MS)
    with pytest.raises(HandoverInvalid):
        make_handover(OWN, CHAIN, owners, sealed(SEEDS), NOW_MS)


def test_a_handover_is_its_owners_word() -> None:
    signed = make_handover(OWN, CHAIN, BEFORE, sealed(SEEDS), NOW_MS)
    keys = OWN.owner.public, OWN.log_read.public
    assert verify_handover(signed, CHAIN, *keys) == signed.handover
    assert decode_as(SignedHandover, encode(signed)) == signed
    for bad in (
        structs.replace(signed, signature=bytes(64)),
        structs.replace(signed, handover=structs.replace(signed.handover, chain=bytes(16))),
        structs.replace(signed, handover=structs.replace(signed.handover, owner_key=CUSTODIAL.owner.public)),
        structs.replace(signed, handover=structs.replace(signed.handover, issued_ms=NOW_MS + 1)),
    ):
        with pytest.raises(HandoverInvalid):
            verify_handover(bad, CHAIN, *keys)


def test_everything_an_owner_signs_has_a_sentence_and_nothing_else_has() -> None:
    told = json.loads(FILE.read_text("utf-8"))["sentences"]
    assert len({one["en"] for one in told}) == len(told) == 10
    for odd in (encode(["hce/receipt/1", CHAIN, []]), encode(["hce/claim/1", CHAIN]), b"\x80", encode(7)):
        with pytest.raises(Malformed):
            sentence(odd, "en", lambda _: None)
