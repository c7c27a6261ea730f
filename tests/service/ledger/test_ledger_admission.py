"""What arrives is judged cheaply first, and nothing that nobody signed waits, counts or is remembered."""

from __future__ import annotations

import gc
from typing import Any

import msgspec
import pytest
from tests.service.ledger.chain import ALICE, CHAIN, EIP155, PARAMS, UNTIL, Chain, enrol, grant_name, open_grant, pay, revoke_grant

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.store.kv import MAX_READERS
from hce.foundation.types.blocks import LedgerBlock
from hce.foundation.types.errors import HceError
from hce.service.contracts.health import steps_of
from hce.service.ledger.admission import Admission
from hce.service.ledger.errors import BlockFull, PayerCannotPay, TxExpired, TxReplayed
from hce.service.ledger.ledger import CHECKED_TOGETHER
from hce.service.terms.certification import OrganisationNotCertified
from hce.service.terms.genesis import Params
from hce.service.terms.transactions import BadTransactionSignature, SignedHealthTx, parse

SHOP = b"\x77" * 20
NO_HEADER: Any = None
"""Nothing reads it here."""
FEE = steps_of(parse(enrol("ann", "clinic", UNTIL), CHAIN), PARAMS) * PARAMS.step_price_ahce


def unsigned(raw: bytes) -> bytes:
    """The same transaction with signatures of zeros."""
    signed = decode_as(SignedHealthTx, raw)
    zeros = [msgspec.structs.replace(each, signature=bytes(64)) for each in signed.signatures]
    return encode(SignedHealthTx(signed.body_bytes, zeros))


def test_what_the_state_refuses_is_refused_before_any_signature_is_checked(chain: Chain) -> None:
    chain.found("clinic", coins=FEE)
    with pytest.raises(OrganisationNotCertified):
        chain.ledger.check_tx(unsigned(enrol("ann", "rival", UNTIL)))
    with pytest.raises(BadTransactionSignature):
        chain.ledger.check_tx(unsigned(enrol("ann", "clinic", UNTIL)))
    chain.add([enrol("ann", "clinic", UNTIL)])
    with pytest.raises(TxReplayed):
        chain.ledger.check_tx(unsigned(enrol("ann", "clinic", UNTIL)))
    with pytest.raises(TxExpired):
        chain.ledger.check_tx(unsigned(enrol("ben", "clinic", 2)))
    with pytest.raises(PayerCannotPay):
        chain.ledger.check_tx(unsigned(enrol("ben", "clinic", UNTIL)))
    assert len(chain.ledger.pool) == 0


def test_of_a_list_each_is_judged_alone_and_answered_in_its_place(chain: Chain) -> None:
    chain.found("clinic")
    chain.add([open_grant("g", "clinic", UNTIL)])
    good = [enrol(f"patient {number}", "clinic", UNTIL) for number in range(2 * CHECKED_TOGETHER)]
    coins, revoke = pay(ALICE, SHOP, 1, 1), revoke_grant("g", UNTIL)
    wrong = {
        0: b"nonsense",
        7: unsigned(enrol("ben", "clinic", UNTIL)),
        30: enrol("ben", "rival", UNTIL),
        55: revoke_grant("h", UNTIL),
    }
    raws = [good[0], revoke, *good, coins, coins]
    for place, raw in wrong.items():
        raws.insert(place, raw)
    answers = chain.ledger.check_txs(raws)
    assert {place for place, answer in enumerate(answers) if isinstance(answer, HceError)} == set(wrong)
    assert [answers[place].code for place in wrong] == [
        "value.type_unsupported",
        "tx.bad_signature",
        "organisation.not_certified",
        "grant.unknown",
    ]
    right = [raw for place, raw in enumerate(raws) if place not in wrong]
    assert [answer for answer in answers if isinstance(answer, bytes)] == [chain.ledger.check_tx(raw) for raw in right]
    assert len(chain.ledger.pool) == len(good) + 2
    assert chain.revoked == [grant_name("g")]


@pytest.mark.parametrize("kind", ["paid", "free"])
def test_nothing_unsigned_waits_or_is_remembered_as_signed(chain: Chain, kind: str) -> None:
    chain.found("clinic")
    chain.add([open_grant("g", "clinic", UNTIL)])
    raw = enrol("ann", "clinic", UNTIL) if kind == "paid" else revoke_grant("g", UNTIL)
    for _ in range(2):
        with pytest.raises(BadTransactionSignature):
            chain.ledger.check_tx(unsigned(raw))
    assert (len(chain.ledger.pool), chain.revoked) == (0, [])
    name = chain.ledger.check_tx(raw)
    assert chain.ledger.check_tx(raw) == name, "it waits: nothing more is asked"
    with pytest.raises(BadTransactionSignature):  # else nodes would pass it on, again for each signature that anybody makes up
        chain.ledger.check_tx(unsigned(raw))
    assert chain.propose().health_txs == [raw]
    with pytest.raises(BadTransactionSignature):
        chain.forge([unsigned(raw)])


def test_remembered_transactions_are_bounded_in_bytes() -> None:
    raws = [pay(ALICE, SHOP, 1, nonce) for nonce in range(4)]
    admission = Admission(CHAIN, EIP155, max_remembered_bytes=2 * len(raws[0]))
    first = admission.value(raws[0])
    assert admission.value(raws[0]) is first
    for raw in raws[1:]:
        admission.value(raw)
    assert admission.value(raws[0]) is not first
    assert admission.value(raws[0]) == first


def test_a_flood_is_checked_without_the_garbage_collector_freeing_snapshots(chain: Chain) -> None:
    chain.found("clinic")
    gc.disable()
    try:
        for number in range(MAX_READERS + 1):
            chain.ledger.check_tx(open_grant(f"g{number}", "clinic", UNTIL))
            with pytest.raises(OrganisationNotCertified):
                chain.ledger.check_tx(open_grant(f"g{number}", "rival", UNTIL))
    finally:
        gc.enable()
    assert len(chain.ledger.pool) == MAX_READERS + 1


def test_more_transactions_than_a_block_may_hold_are_refused_before_their_roots_are_computed(chain: Chain) -> None:
    """A header whose roots fit none of it: whoever looked at the roots first would say so."""
    for health, value in (([b"x"] * 100_000, []), ([], [b"x"] * 100_000)):
        with pytest.raises(BlockFull) as refusal:
            chain.ledger.check_lists(LedgerBlock(NO_HEADER, health, value))
        assert refusal.value.fields["what"] == "steps"


def test_lists_beyond_the_bounds_are_refused_before_their_signatures_are_checked() -> None:
    params = Params(block_steps=10_000, gas_limit=100_000)
    grants = [unsigned(open_grant(f"g{number}", "clinic", UNTIL)) for number in range(100)]
    strangers = [pay(ALICE, SHOP, 1, 0)[:-1] + b"\x00" for _ in range(5)]
    for health, value, what in ((grants, [], "steps"), ([], strangers * 20, "steps"), ([], strangers, "gas")):
        with pytest.raises(BlockFull) as refusal:
            Admission(CHAIN, EIP155).lists(LedgerBlock(NO_HEADER, health, value), params)
        assert refusal.value.fields["what"] == what
    with pytest.raises(BadTransactionSignature):
        Admission(CHAIN, EIP155).lists(LedgerBlock(NO_HEADER, grants[:1], []), params)
