"""A body stands in one block at most: the edges of the window, and signing again."""

from __future__ import annotations

import pytest
from tests.service.ledger.chain import ALICE, BOB, Chain, address_of, enrol, key, open_grant, pay, tank, vote

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.service.contracts.value.errors import NonceWrong
from hce.service.ledger.errors import TxExpired, TxReplayed, TxTooFarAhead
from hce.service.ledger.final import IDS, IDS_AT
from hce.service.terms.transactions import (
    BadTransactionSignature,
    RoleSignature,
    SignedHealthTx,
    parse_body,
    sign_message,
)

WINDOW = 10


def signed_again(raw: bytes, *names: str) -> bytes:
    """The same body, signed in the same roles by other keys."""
    signed = decode_as(SignedHealthTx, raw)
    body = parse_body(signed.body_bytes)
    name = cid_of_dag_cbor(signed.body_bytes)
    again = [
        RoleSignature(old.role, key(signer).public, key(signer).sign(sign_message(body.chain, old.role, name)))
        for old, signer in zip(signed.signatures, names, strict=True)
    ]
    return encode(SignedHealthTx(signed.body_bytes, again))


def test_a_transaction_signed_again_by_others_keeps_its_id_and_is_refused(chain: Chain) -> None:
    # compartment.open needs the payer's signature only; the id does not cover who signed.
    chain.found("clinic")
    raw = enrol("owner", "clinic", WINDOW + 1)
    chain.add([raw])
    again = signed_again(raw, "somebody else")
    assert again != raw
    for repeated in (raw, again):
        with pytest.raises(TxReplayed):
            chain.forge([repeated])
        with pytest.raises(TxReplayed):
            chain.ledger.check_tx(repeated)


def test_a_transaction_twice_in_one_block_is_refused(chain: Chain) -> None:
    chain.found("clinic")
    raw = enrol("owner", "clinic", WINDOW + 1)
    with pytest.raises(TxReplayed):
        chain.forge([raw, raw])


def test_valid_until_is_the_last_block_that_takes_it(chain: Chain) -> None:
    chain.found("clinic")
    chain.forge([enrol("owner", "clinic", 2)])
    chain.add()
    with pytest.raises(TxExpired):
        chain.forge([enrol("owner", "clinic", 2)])
    with pytest.raises(TxExpired):
        chain.ledger.check_tx(enrol("owner", "clinic", 2))


def test_valid_until_lies_at_most_a_window_ahead(chain: Chain) -> None:
    chain.found("clinic")
    assert chain.next_height == 2
    chain.forge([enrol("owner", "clinic", 2 + WINDOW)])
    with pytest.raises(TxTooFarAhead):
        chain.forge([enrol("owner", "clinic", 3 + WINDOW)])
    with pytest.raises(TxTooFarAhead):
        chain.ledger.check_tx(enrol("owner", "clinic", 3 + WINDOW))


def test_the_longest_lived_body_is_remembered_until_it_expires(chain: Chain) -> None:
    chain.found("clinic")
    included = chain.next_height
    raw = enrol("owner", "clinic", included + WINDOW)
    chain.add([raw])
    while chain.next_height <= included + WINDOW:
        with pytest.raises(TxReplayed):
            chain.forge([raw])
        chain.add()
    with pytest.raises(TxExpired):
        chain.forge([raw])


def test_ids_older_than_the_window_are_forgotten_and_no_newer_ones(chain: Chain) -> None:
    chain.found("clinic")
    for number in range(2 * WINDOW):
        chain.add([open_grant(f"g{number}", "clinic", chain.next_height)])
    with chain.store.read() as snapshot:
        assert snapshot.count(IDS) == snapshot.count(IDS_AT) == WINDOW
        assert [int.from_bytes(height, "big") for height, _ in snapshot.scan(IDS_AT)] == list(
            range(chain.next_height - WINDOW, chain.next_height)
        )


def test_a_transfer_cannot_run_twice(chain: Chain) -> None:
    raw = pay(ALICE, b"\x77" * 20, 5, 0)
    with pytest.raises(NonceWrong):
        chain.forge([], [raw, raw])
    chain.add([], [raw])
    with pytest.raises(NonceWrong):
        chain.forge([], [raw])
    with pytest.raises(NonceWrong):
        chain.ledger.check_tx(raw)
    assert chain.queries.account(address_of(BOB)).nonce == 0


def test_a_signature_that_does_not_hold_stops_the_block_before_it_runs(chain: Chain) -> None:
    chain.found("clinic")
    raw = bytearray(enrol("owner", "clinic", WINDOW + 1))
    raw[-1] ^= 1
    with pytest.raises(BadTransactionSignature):
        chain.ledger.check_tx(bytes(raw))
    assert chain.balance(tank("clinic")) > 0
    with pytest.raises(BadTransactionSignature):
        chain.forge([bytes(raw)])


def test_the_same_vote_again_is_no_new_vote(chain: Chain) -> None:
    chain.add([vote("clinic", WINDOW)])
    with pytest.raises(TxReplayed):
        chain.forge([vote("clinic", WINDOW)])
