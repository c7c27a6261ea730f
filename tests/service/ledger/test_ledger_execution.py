"""The meter, the bounds, and one journal for both chains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.service.ledger.chain import (
    ALICE,
    CHAIN,
    PARAMS,
    UNTIL,
    Chain,
    access,
    bytes32,
    enrol,
    health_tx,
    key,
    open_grant,
    org,
    pay,
    revoke_grant,
    tank,
    vote,
)

from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.store.journal import Journal
from hce.foundation.types.errors import Bug
from hce.foundation.types.scalars import amount_from_bytes
from hce.service.contracts.health.errors import GrantUnknown
from hce.service.contracts.health.steps import count_steps
from hce.service.contracts.value.accounts import (
    Account,
    AccountCorrupt,
    account_key,
    decode_account,
    encode_account,
    transfer,
)
from hce.service.contracts.value.errors import CannotPay
from hce.service.contracts.value.execute import TRANSFER_STEPS
from hce.service.ledger.admission import Admission
from hce.service.ledger.errors import BlockFull, PayerCannotPay, TxReplayed
from hce.service.ledger.execution import BlockExecution, execute
from hce.service.ledger.final import final_view
from hce.service.ledger.supply import require_supply_kept
from hce.service.terms.certification import OrganisationNotCertified
from hce.service.terms.genesis import Params
from hce.service.terms.payloads import (
    FEE_POOL,
    AvailabilityReceipt,
    RecordBatch,
    RecordEntry,
    availability_message,
    envelopes_root,
    record_id,
)
from hce.service.terms.states import StateCorrupt, key_compartment, key_organisation
from hce.service.terms.transactions import parse

SHOP = b"\x77" * 20


def steps(raw: bytes) -> int:
    return count_steps(parse(raw, CHAIN))


def test_later_transactions_see_earlier_ones_of_the_same_block(chain: Chain) -> None:
    chain.add(
        [vote("clinic", UNTIL)],
        [pay(ALICE, tank("clinic"), 10**18, 0)],
    )
    chain.add([open_grant("g", "clinic", UNTIL), access("g", 1, "clinic", UNTIL), revoke_grant("g", UNTIL)])
    assert [receipt.ok for receipt in chain.queries.results_at(2).health] == [True, True, True]


def test_coins_of_the_value_list_come_too_late_for_the_health_list(chain: Chain) -> None:
    chain.add([vote("clinic", UNTIL)])
    with pytest.raises(PayerCannotPay):
        chain.forge([enrol("owner", "clinic", UNTIL)], [pay(ALICE, tank("clinic"), 10**18, 0)])


def test_a_tank_pays_to_its_last_coin(chain: Chain) -> None:
    raws = [enrol(owner, "clinic", UNTIL) for owner in ("ann", "ben", "cat")]
    two_fees = sum(steps(raw) for raw in raws[:2]) * PARAMS.step_price_ahce
    chain.found("clinic", coins=two_fees)
    with pytest.raises(PayerCannotPay):
        chain.forge(raws)
    chain.add(raws[:2])
    assert chain.balance(tank("clinic")) == 0
    assert chain.queries.prove("value", account_key(tank("clinic")))[0] is None, "an account with nothing is no account"


def batch(name: str, records: Sequence[str]) -> bytes:
    """A batch of these records, vouched for by the one node."""
    entries = [RecordEntry(bytes32(f"nonce {one}"), bytes32(f"envelope {one}"), bytes(32), bytes(32)) for one in records]
    placement, shard = cid_of_raw(b"placement"), cid_of_raw(b"shard")
    message = availability_message(CHAIN, placement, shard, envelopes_root(entries), 0, 0, 100)
    receipt = AvailabilityReceipt(0, shard, 100, key("node service").sign(message))
    payload = RecordBatch(org(name), entries, placement, [receipt])
    return health_tx("record.commit", payload, [("organisation", name), ("payer", name)], name, UNTIL)


def test_what_a_contract_wrote_before_it_refused_is_undone(chain: Chain) -> None:
    chain.found("clinic")
    chain.add([batch("clinic", ["first"])])
    state_root = chain.queries.header_at(2).health_head.state_root
    header = chain.add([batch("clinic", ["second", "first"])])
    (receipt,) = chain.queries.results_at(3).health
    assert (receipt.ok, receipt.code) == (False, "record.exists")
    assert header.health_head.state_root == state_root
    reader = chain.health
    assert reader.record(record_id(CHAIN, org("clinic"), bytes32("nonce first"))) is not None
    assert reader.record(record_id(CHAIN, org("clinic"), bytes32("nonce second"))) is None
    chain.add([batch("clinic", ["second"])])
    assert chain.queries.results_at(4).health[0].ok


def test_more_steps_than_a_transaction_may_take_fail_and_pay_for_the_cap(tmp_path: Path) -> None:
    params = Params(replay_window=10, tx_steps=10_000)
    chain = Chain(tmp_path / "tight", params=params)
    chain.found("clinic")
    raw = batch("clinic", [str(number) for number in range(600)])
    assert steps(raw) > params.tx_steps
    chain.add([raw])
    (receipt,) = chain.queries.results_at(2).health
    assert (receipt.ok, receipt.code, receipt.steps, receipt.produced) == (False, "tx.too_many_steps", params.tx_steps, [])
    assert amount_from_bytes(receipt.fee) == params.tx_steps * params.step_price_ahce
    chain.close()


def test_a_block_holds_no_more_steps_than_it_may(tmp_path: Path) -> None:
    raws = [enrol(f"o{number}", "clinic", UNTIL) for number in range(11)]
    chain = Chain(tmp_path / "short", params=Params(replay_window=10, block_steps=10 * steps(raws[0]), tx_steps=1_500))
    chain.found("clinic")
    with pytest.raises(BlockFull) as caught:
        chain.forge(raws)
    assert caught.value.fields["what"] == "steps"
    with pytest.raises(BlockFull):
        chain.forge(raws[:10], [pay(ALICE, SHOP, 1, 1)])
    for raw in raws:
        chain.ledger.check_tx(raw)
    assert len(chain.propose().health_txs) == 10
    chain.ledger.check_tx(pay(ALICE, SHOP, 1, 1))
    block = chain.propose()
    assert block.health_txs
    assert block.value_txs, "transfers keep a share of the block"
    chain.close()


def test_transfers_are_bounded_by_gas_and_by_steps(tmp_path: Path) -> None:
    transfers = [pay(ALICE, SHOP, 1, nonce) for nonce in range(3)]
    narrow = Chain(tmp_path / "gas", params=Params(replay_window=10, gas_limit=2 * 21_000))
    with pytest.raises(BlockFull) as caught:
        narrow.forge([], transfers)
    assert caught.value.fields["what"] == "gas"
    for raw in transfers:
        narrow.ledger.check_tx(raw)
    narrow.finish(narrow.propose())
    narrow.finish(narrow.propose())
    assert narrow.balance(SHOP) == 3
    narrow.close()
    assert TRANSFER_STEPS * (PARAMS.gas_limit // 21_000) <= PARAMS.block_steps, "a block full of transfers is bounded by gas first"


def test_a_refused_transaction_leaves_no_trace_in_the_block(chain: Chain) -> None:
    chain.found("clinic")
    good, late = enrol("owner", "clinic", UNTIL), access("g", 1, "rival", UNTIL)
    _, alone = chain.run([good])
    admission = Admission(CHAIN, chain.genesis.eip155_id)
    with final_view(chain.store) as view:
        env = chain.env(view, chain.context())
        execution = BlockExecution(Journal(view.get), env, view.seen)
        for raw, refusal in ((late, OrganisationNotCertified), (revoke_grant("g", UNTIL), GrantUnknown)):
            with pytest.raises(refusal):
                execution.add_health(admission.health(raw))
        execution.add_health(admission.health(good))
        with pytest.raises(TxReplayed):
            execution.add_health(admission.health(good))
        assert execution.finish() == alone


def test_the_health_list_comes_before_the_value_list(chain: Chain) -> None:
    chain.found("clinic")
    admission = Admission(CHAIN, chain.genesis.eip155_id)
    with final_view(chain.store) as view:
        env = chain.env(view, chain.context())
        execution = BlockExecution(Journal(view.get), env, view.seen)
        execution.add_value(admission.value(pay(ALICE, SHOP, 1, 1)))
        with pytest.raises(Bug):
            execution.add_health(admission.health(enrol("ben", "clinic", UNTIL)))


def test_a_rule_that_burns_coins_makes_no_block(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hce.service.ledger.execution.credit_base_fees", lambda *numbers: None)
    block = chain.forge([], [pay(ALICE, SHOP, 1, 0)])
    with pytest.raises(Bug):
        chain.ledger.process_proposal(chain.context(), block)
    with pytest.raises(Bug):
        chain.ledger.finalize(chain.context(), block)
    assert chain.ledger.height == 0


def test_a_supply_that_would_change_stops_the_node() -> None:
    before = {account_key(SHOP): encode_account(Account(0, 5)), account_key(FEE_POOL): encode_account(Account(0, 7))}
    moved = {account_key(SHOP): None, account_key(FEE_POOL): encode_account(Account(0, 12)), b"supply": b"\x0c"}
    require_supply_kept(moved, before.get)
    for wrong in (11, 13):
        with pytest.raises(Bug):
            require_supply_kept({**moved, account_key(FEE_POOL): encode_account(Account(0, wrong))}, before.get)


def test_a_transfer_never_goes_below_zero() -> None:
    journal = Journal(lambda space, key: encode_account(Account(3, 5)) if key == account_key(SHOP) else None)
    with pytest.raises(CannotPay):
        transfer(journal, SHOP, FEE_POOL, 6)
    with pytest.raises(Bug):
        transfer(journal, SHOP, FEE_POOL, -1)
    assert journal.changes("value") == {}
    transfer(journal, SHOP, SHOP, 5)
    assert journal.changes("value") == {}
    transfer(journal, SHOP, FEE_POOL, 5)
    assert set(journal.changes("value")) == {account_key(SHOP), account_key(FEE_POOL)}


def test_a_damaged_value_of_the_state_stops_the_node_instead_of_failing_the_transaction(chain: Chain) -> None:
    chain.found("clinic")
    chain.add([enrol("owner", "clinic", UNTIL)])
    [compartment] = chain.queries.results_at(2).health[0].produced
    again = Admission(CHAIN, chain.genesis.eip155_id).health(enrol("owner", "clinic", UNTIL - 1))
    with final_view(chain.store) as view:
        env = chain.env(view, chain.context())
        for damaged in (key_organisation(org("clinic")), key_compartment(compartment)):
            for raw in (b"\x80", b"\xff", b""):
                journal = Journal(lambda space, name, bad=damaged, raw=raw: raw if name == bad else view.get(space, name))
                with pytest.raises(StateCorrupt):
                    execute(journal, env, view.seen, [again], [])


def test_a_damaged_account_stops_the_node(chain: Chain) -> None:
    for raw in (b"\xc0", b"\xc1", b"", b"\xc3\x00\x01\x80"):
        with pytest.raises(AccountCorrupt):
            decode_account(raw)
