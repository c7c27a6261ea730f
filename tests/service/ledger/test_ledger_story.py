"""The ledger from outside: certify, fund, enrol, grant, read, revoke; and what everybody can ask and prove afterwards."""

from __future__ import annotations

from itertools import pairwise

import pytest
from tests.service.ledger.chain import (
    ALICE,
    BOB,
    GWEI,
    HCET,
    OPERATOR,
    UNTIL,
    Chain,
    access,
    address_of,
    enrol,
    grant_name,
    open_grant,
    org,
    pay,
    revoke_grant,
    tank,
    vote,
)

from hce.foundation.codec.cid import digest_of_cid
from hce.foundation.codec.dagcbor import encode
from hce.foundation.proofs.authmap import verify_map_proof
from hce.foundation.proofs.listhash import list_root, verify_list_proof
from hce.foundation.types.scalars import amount_from_bytes
from hce.service.contracts.value.accounts import SystemTransfer, account_key, decode_account
from hce.service.contracts.value.header import decode_header, next_base_fee, value_hash
from hce.service.ledger.errors import HeightUnknown, PayerCannotPay, TxExpired, TxReplayed
from hce.service.terms.genesis import TOTAL_SUPPLY_AHCE
from hce.service.terms.payloads import FEE_POOL, entry_id
from hce.service.terms.proofs import HealthReceipt
from hce.service.terms.states import key_grant
from hce.service.terms.transactions import UnknownKind


def test_a_grant_is_opened_used_and_revoked(chain: Chain) -> None:
    chain.found("clinic")
    chain.add([enrol("owner", "clinic", UNTIL), open_grant("g", "clinic", UNTIL)])
    chain.add([access("g", 1, "clinic", UNTIL), access("g", 2, "clinic", UNTIL)])
    assert [(ordinal, found.ordinal) for ordinal, _, found in chain.queries.entries_of_grant(grant_name("g"))] == [(0, 0), (1, 1)]
    chain.add([revoke_grant("g", UNTIL), access("g", 3, "clinic", UNTIL)])
    assert chain.revoked == [grant_name("g")]
    revoked, refused = chain.queries.results_at(chain.ledger.height).health
    assert (revoked.ok, revoked.fee) == (True, b"")
    assert (refused.ok, refused.code, refused.produced) == (False, "grant.revoked", [])
    assert len(chain.queries.entries_of_grant(grant_name("g"))) == 2


def test_fees_go_from_the_tank_to_the_pool_and_are_written_down(chain: Chain) -> None:
    chain.found("clinic")
    tank_before, pool_before = chain.balance(tank("clinic")), chain.balance(FEE_POOL)
    header = chain.add([enrol("owner", "clinic", UNTIL)])
    results = chain.queries.results_at(2)
    fee = amount_from_bytes(results.health[0].fee)
    assert fee == results.health[0].steps * chain.params.step_price_ahce > 0
    assert chain.balance(tank("clinic")) == tank_before - fee
    assert chain.balance(FEE_POOL) == pool_before + fee
    moved = SystemTransfer(tank("clinic"), FEE_POOL, results.health[0].fee, "fee", digest_of_cid(results.health[0].tx_id))
    assert results.transfers == [moved]
    assert header.cross_root == list_root([encode(moved)])


def test_a_failed_transaction_pays_and_leaves_nothing_else(chain: Chain) -> None:
    chain.found("clinic")
    chain.add([enrol("owner", "clinic", UNTIL)])
    before = chain.balance(tank("clinic"))
    state_root = chain.queries.header_at(2).health_head.state_root
    header = chain.add([enrol("owner", "clinic", UNTIL - 1)])
    (receipt,) = chain.queries.results_at(3).health
    assert (receipt.ok, receipt.code) == (False, "compartment.exists")
    assert chain.balance(tank("clinic")) == before - amount_from_bytes(receipt.fee) < before
    assert header.health_head.state_root == state_root


def test_an_empty_tank_makes_a_transaction_unincludable(chain: Chain) -> None:
    chain.add([vote("clinic", 5)])
    with pytest.raises(PayerCannotPay):
        chain.forge([enrol("owner", "clinic", UNTIL)])
    with pytest.raises(PayerCannotPay):
        chain.ledger.check_tx(enrol("owner", "clinic", UNTIL))


def test_a_transfer_moves_coins_tips_the_producer_and_burns_nothing(chain: Chain) -> None:
    base_fee = next_base_fee(decode_header(chain.queries.header_at(0).value_head))
    chain.add([], [pay(ALICE, b"\x77" * 20, HCET, 0)])
    price = min(2 * GWEI, base_fee + GWEI)
    assert chain.balance(b"\x77" * 20) == HCET
    assert chain.balance(OPERATOR) == 21_000 * (price - base_fee)
    assert chain.balance(FEE_POOL) == 21_000 * base_fee
    assert chain.balance(address_of(ALICE)) == TOTAL_SUPPLY_AHCE // 2 - HCET - 21_000 * price
    assert chain.queries.account(address_of(ALICE)).nonce == 1
    assert chain.supply() == TOTAL_SUPPLY_AHCE


def test_value_headers_form_a_chain(chain: Chain) -> None:
    for nonce in range(3):
        chain.add([], [pay(BOB, b"\x77" * 20, 1, nonce)])
    heads = [chain.queries.header_at(height).value_head for height in range(4)]
    for parent, child in pairwise(heads):
        assert decode_header(child).parent_hash == value_hash(parent)
        assert decode_header(child).base_fee == next_base_fee(decode_header(parent))
    assert [decode_header(head).number for head in heads] == [0, 1, 2, 3]
    assert decode_header(heads[3]).parent_beacon_root == digest_of_cid(chain.context(height=3).parent)


def test_every_answer_is_provable_under_the_final_header(chain: Chain) -> None:
    chain.found("clinic")
    header = chain.add([open_grant("g", "clinic", UNTIL), open_grant("h", "clinic", UNTIL)])
    value, proof, height = chain.queries.prove("health", key_grant(grant_name("g")))
    assert height == 2
    assert verify_map_proof(header.health_head.state_root, key_grant(grant_name("g")), value, proof)
    absent, proof, _ = chain.queries.prove("health", key_grant(bytes(32)))
    assert absent is None
    assert verify_map_proof(header.health_head.state_root, key_grant(bytes(32)), None, proof)
    balance, proof, _ = chain.queries.prove("value", account_key(tank("clinic")))
    assert decode_account(balance).balance == chain.balance(tank("clinic"))
    assert verify_map_proof(decode_header(header.value_head).state_root, account_key(tank("clinic")), balance, proof)
    receipt, listed = chain.queries.receipt_proof(2, 1)
    assert receipt.produced == [grant_name("h")]
    assert verify_list_proof(header.health_head.receipts_root, encode(receipt), listed)
    with pytest.raises(HeightUnknown):
        chain.queries.receipt_proof(2, 2)


def test_a_transaction_is_found_by_its_name_once_final(chain: Chain) -> None:
    chain.found("clinic")
    raw, coins = open_grant("g", "clinic", UNTIL), pay(BOB, b"\x77" * 20, 5, 0)
    tx_id, tx_hash = chain.ledger.check_tx(raw), chain.ledger.check_tx(coins)
    assert chain.queries.tx_result(tx_id) is None
    chain.finish(chain.propose())
    found, paid = chain.queries.tx_result(tx_id), chain.queries.tx_result(tx_hash)
    assert found is not None
    assert paid is not None
    assert isinstance(found.receipt, HealthReceipt)
    assert (found.height, found.index, found.receipt.tx_id) == (2, 0, tx_id)
    assert not isinstance(paid.receipt, HealthReceipt)
    assert (paid.height, paid.index, paid.receipt.gas_used) == (2, 0, 21_000)
    assert len(chain.ledger.pool) == 0


def test_readers_see_only_what_is_final(chain: Chain) -> None:
    chain.found("clinic")
    block = chain.forge([open_grant("g", "clinic", UNTIL)])
    reader = chain.health
    chain.ledger.process_proposal(chain.context(), block)
    chain.ledger.finalize(chain.context(), block)
    assert reader.grant(grant_name("g")) is None
    chain.ledger.commit(2)
    opened = reader.grant(grant_name("g"))
    assert opened is not None
    assert opened.payer == org("clinic")
    with chain.queries.snapshot() as view:
        assert (view.height, view.health.grant(grant_name("g"))) == (2, opened)
    with pytest.raises(HeightUnknown):
        chain.queries.header_at(3)


def test_a_revoke_blocks_before_the_vote_and_before_any_block(chain: Chain) -> None:
    chain.found("clinic")
    chain.add([open_grant("g", "clinic", UNTIL), open_grant("h", "clinic", UNTIL)])
    block = chain.forge([revoke_grant("g", UNTIL)])
    chain.ledger.process_proposal(chain.context(), block)
    assert chain.revoked == []
    chain.ledger.before_precommit(chain.context().parent, block)
    assert chain.revoked == [grant_name("g")]
    assert chain.ledger.revoke_seen(revoke_grant("h", 1)) == [grant_name("h")], "expired, but the owner said it"
    assert chain.revoked == [grant_name("g"), grant_name("h")]
    with pytest.raises(UnknownKind):
        chain.ledger.revoke_seen(open_grant("x", "clinic", UNTIL))


def test_a_revoke_that_waits_in_the_pool_blocks_already(chain: Chain) -> None:
    chain.found("clinic")
    chain.add([open_grant("g", "clinic", UNTIL)])
    chain.ledger.check_tx(revoke_grant("g", UNTIL))
    assert chain.revoked == [grant_name("g")]
    with pytest.raises(TxExpired):
        chain.ledger.check_tx(revoke_grant("g", 1))
    chain.finish(chain.propose())
    with pytest.raises(TxReplayed):
        chain.ledger.check_tx(revoke_grant("g", UNTIL))


def test_entries_are_listed_in_order_and_in_pages(chain: Chain) -> None:
    chain.found("clinic")
    chain.add([open_grant("g", "clinic", UNTIL), open_grant("h", "clinic", UNTIL)])
    chain.add([access("g", number, "clinic", UNTIL) for number in range(3)] + [access("h", 9, "clinic", UNTIL)])
    chain.add([access("g", 3, "clinic", UNTIL)])
    listed = chain.queries.entries_of_grant(grant_name("g"), start=1, limit=2)
    assert [ordinal for ordinal, _, _ in listed] == [1, 2]
    last = chain.queries.entries_of_grant(grant_name("g"))[-1]
    assert last[1] == entry_id(chain.genesis.chain, grant_name("g"), last[2].commitment)
    assert last[2].height == 4
