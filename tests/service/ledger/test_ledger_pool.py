"""Lanes of the pool: each has bounds of its own, payers take turns, fees are reserved, and a block cleans up only what it touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import Struct
from tests.service.ledger.chain import (
    ALICE,
    BOB,
    CHAIN,
    PARAMS,
    UNTIL,
    Chain,
    access,
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

from hce.foundation.types.blocks import LedgerBlock
from hce.foundation.types.errors import Malformed
from hce.service.contracts.health import steps_of
from hce.service.contracts.health.errors import (
    CompartmentRotatedRecently,
    CompartmentWrongKey,
    GrantRevoked,
    GrantUnknown,
    PayerMismatch,
    VoteRepeated,
)
from hce.service.ledger.errors import PayerCannotPay, PoolFull, TxPending
from hce.service.terms.certification import OrganisationNotCertified
from hce.service.terms.genesis import Params
from hce.service.terms.payloads import CompartmentOpen, CompartmentRotate, OrganisationRevoke, compartment_id, owner_digest
from hce.service.terms.transactions import WrongChain, parse

SHOP = b"\x77" * 20
OTHER_SHOP = b"\x78" * 20


def fee(raw: bytes) -> int:
    return steps_of(parse(raw, CHAIN), PARAMS) * PARAMS.step_price_ahce


FEE = fee(enrol("ann", "clinic", UNTIL))


def payers(chain: Chain) -> list[str]:
    """Who pays for what a proposer would try, in order."""
    names = {key(name).public: name for name in ("clinic", "rival")}
    signers = [tx.signer("payer") for tx in chain.ledger.pool.health_candidates(100).paid]
    return [names[signer] for signer in signers if signer is not None]


def test_submitting_again_is_no_error(chain: Chain) -> None:
    chain.found("clinic")
    raw, coins = enrol("owner", "clinic", UNTIL), pay(ALICE, SHOP, 1, 1)
    assert chain.ledger.check_tx(raw) == chain.ledger.check_tx(raw)
    assert chain.ledger.check_tx(coins) == chain.ledger.check_tx(coins)
    assert len(chain.ledger.pool) == 2


def test_bytes_of_no_transaction_are_refused(chain: Chain) -> None:
    for raw in (b"", b"\x82", b"\x82\x40\x80", bytes(40)):
        with pytest.raises(Malformed):
            chain.ledger.check_tx(raw)
    with pytest.raises(WrongChain):
        chain.ledger.check_tx(
            health_tx(
                "compartment.rotate", CompartmentRotate(bytes(32), bytes(32), bytes(32)), [("owner", "x")], None, 5, bytes(16)
            )
        )


def test_only_a_certified_payer_with_its_own_key_may_pay(chain: Chain) -> None:
    with pytest.raises(OrganisationNotCertified):
        chain.ledger.check_tx(enrol("owner", "clinic", UNTIL))
    chain.found("clinic")
    signed_by_another = health_tx(
        "compartment.open", parse_payload(enrol("owner", "clinic", UNTIL)), [("payer", "rival")], "clinic", 5
    )
    with pytest.raises(PayerMismatch):
        chain.ledger.check_tx(signed_by_another)
    with pytest.raises(PayerMismatch):
        chain.forge([signed_by_another])


def test_fees_of_waiting_transactions_are_reserved(chain: Chain) -> None:
    chain.found("clinic", coins=2 * FEE - 1)
    chain.ledger.check_tx(enrol("ann", "clinic", UNTIL))
    with pytest.raises(PayerCannotPay):
        chain.ledger.check_tx(enrol("ben", "clinic", UNTIL))
    chain.add([], [pay(ALICE, tank("clinic"), 1, 1)])
    chain.ledger.check_tx(enrol("ben", "clinic", UNTIL))


def test_a_tank_that_ran_down_drops_the_newest_first(chain: Chain) -> None:
    chain.found("clinic", coins=2 * FEE - 1 + fee(open_grant("g", "clinic", UNTIL)))
    waiting = [chain.ledger.check_tx(enrol(owner, "clinic", UNTIL)) for owner in ("ann", "ben")]
    chain.add([open_grant("g", "clinic", UNTIL)])
    assert [tx_id in chain.ledger.pool for tx_id in waiting] == [True, False]
    chain.finish(chain.propose())
    assert chain.queries.tx_result(waiting[0]) is not None


def test_payers_take_turns(small: Callable[..., Chain]) -> None:
    chain = small()
    for number in range(4):
        chain.ledger.check_tx(enrol(f"c{number}", "clinic", UNTIL))
    for number in range(2):
        chain.ledger.check_tx(enrol(f"r{number}", "rival", UNTIL))
    assert payers(chain) == ["clinic", "rival", "clinic", "rival", "clinic", "clinic"]


def test_who_was_served_goes_to_the_end(small: Callable[..., Chain]) -> None:
    chain = small()
    served = enrol("c0", "clinic", UNTIL)
    for raw in (served, enrol("c1", "clinic", UNTIL), enrol("r0", "rival", UNTIL)):
        chain.ledger.check_tx(raw)
    chain.add([served])
    assert payers(chain) == ["rival", "clinic"]


def test_a_full_lane_makes_the_busiest_payer_give_way(small: Callable[..., Chain]) -> None:
    chain = small(paid_count=4)
    ids = [chain.ledger.check_tx(enrol(f"c{number}", "clinic", UNTIL)) for number in range(4)]
    with pytest.raises(PoolFull):
        chain.ledger.check_tx(enrol("c4", "clinic", UNTIL))
    chain.ledger.check_tx(enrol("r0", "rival", UNTIL))
    chain.ledger.check_tx(enrol("r1", "rival", UNTIL))
    assert [tx_id in chain.ledger.pool for tx_id in ids] == [True, True, False, False]
    with pytest.raises(PoolFull):
        chain.ledger.check_tx(enrol("r2", "rival", UNTIL))
    assert len(chain.ledger.pool) == 4


def test_nobody_gives_way_to_one_that_has_nearly_as_many(small: Callable[..., Chain]) -> None:
    chain = small(paid_count=5)
    for raw in [enrol(f"c{number}", "clinic", UNTIL) for number in range(3)] + [
        enrol("r0", "rival", UNTIL),
        enrol("r1", "rival", UNTIL),
    ]:
        chain.ledger.check_tx(raw)
    with pytest.raises(PoolFull):
        chain.ledger.check_tx(enrol("r2", "rival", UNTIL))


def test_the_paid_lane_is_bounded_in_bytes(small: Callable[..., Chain]) -> None:
    raw = enrol("c0", "clinic", UNTIL)
    chain = small(paid_bytes=len(raw) * 2 - 1)
    chain.ledger.check_tx(raw)
    with pytest.raises(PoolFull):
        chain.ledger.check_tx(enrol("c1", "clinic", UNTIL))


def test_revoking_stays_open_when_the_paid_lane_is_full(small: Callable[..., Chain]) -> None:
    chain = small(paid_count=1, node_count=1, rotate_count=1)
    chain.add([open_grant("g", "clinic", UNTIL)])
    chain.ledger.check_tx(enrol("ann", "clinic", UNTIL))
    with pytest.raises(PoolFull):
        chain.ledger.check_tx(enrol("ben", "clinic", UNTIL))
    chain.add([enrol("cem", "clinic", UNTIL), enrol("dee", "clinic", UNTIL)])
    chain.ledger.check_tx(rotate("cem", ("owner", "cem"), "cem two", UNTIL))
    with pytest.raises(PoolFull):
        chain.ledger.check_tx(rotate("dee", ("owner", "dee"), "dee two", UNTIL))
    chain.ledger.check_tx(revoke_grant("g", UNTIL))
    first = chain.propose().health_txs[0]
    assert parse(first, CHAIN).body.kind == "grant.revoke"


def test_one_nodes_votes_leave_room_for_the_others(small: Callable[..., Chain]) -> None:
    chain = small(node_per_voter=2)
    for name in ("lab", "home"):
        chain.ledger.check_tx(vote(name, UNTIL))
    with pytest.raises(PoolFull):
        chain.ledger.check_tx(vote("pharmacy", UNTIL))
    chain.finish(chain.propose())
    chain.ledger.check_tx(vote("pharmacy", UNTIL))


def test_unpaid_work_has_a_share_of_the_block_and_what_is_left_over(tmp_path: Path) -> None:
    params = Params(replay_window=10, block_steps=2_350, tx_steps=2_000)
    chain = Chain(tmp_path / "shares", params=params)
    chain.found("clinic")
    owners = [f"owner {number}" for number in range(16)]
    for some in (owners[:8], owners[8:]):
        chain.add([enrol(owner, "clinic", UNTIL) for owner in some])
    chain.add([open_grant("g", "clinic", UNTIL)])
    for owner in owners:
        chain.ledger.check_tx(rotate(owner, ("owner", owner), f"{owner} two", UNTIL))
    for name in ("lab", "home"):
        chain.ledger.check_tx(vote(name, UNTIL))
    chain.ledger.check_tx(revoke_grant("g", UNTIL))
    alone = kinds(chain.propose())
    for number in range(12):
        chain.ledger.check_tx(enrol(f"new {number}", "clinic", UNTIL))
    crowded = kinds(chain.propose())
    assert alone[0] == crowded[0] == "grant.revoke"
    assert (crowded.count("compartment.rotate"), crowded.count("organisation.vote"), crowded.count("compartment.open")) == (
        5,
        0,
        12,
    )
    assert alone.count("compartment.rotate") > 5
    chain.finish(chain.propose())
    for _ in range(4):
        chain.finish(chain.propose())
    assert len(chain.ledger.pool) == 0, "everything has its turn"
    chain.close()


def kinds(block: LedgerBlock) -> list[str]:
    return [parse(raw, CHAIN).body.kind for raw in block.health_txs]


def test_the_free_lane_takes_one_revoke_a_grant(chain: Chain) -> None:
    chain.found("clinic")
    chain.add([open_grant("g", "clinic", UNTIL)])
    chain.ledger.check_tx(revoke_grant("g", UNTIL))
    for until in range(3, 10):
        with pytest.raises(TxPending):
            chain.ledger.check_tx(revoke_grant("g", until))
    assert len(chain.ledger.pool) == 1


def test_the_free_lane_takes_nothing_that_would_fail(chain: Chain) -> None:
    chain.found("clinic")
    with pytest.raises(GrantUnknown):
        chain.ledger.check_tx(revoke_grant("g", UNTIL))
    chain.add([open_grant("g", "clinic", UNTIL)])
    chain.add([revoke_grant("g", UNTIL)])
    with pytest.raises(GrantRevoked):
        chain.ledger.check_tx(revoke_grant("g", UNTIL - 1))
    with pytest.raises(VoteRepeated):
        chain.ledger.check_tx(vote("clinic", UNTIL - 1))


def test_a_free_transaction_that_fails_cannot_be_in_a_block(chain: Chain) -> None:
    chain.found("clinic")
    with pytest.raises(GrantUnknown):
        chain.forge([revoke_grant("g", UNTIL)])


def opened_by(owner: str) -> bytes:
    digests = owner_digest(key(owner).public), owner_digest(key(f"{owner} recovery").public)
    return compartment_id(CHAIN, CompartmentOpen(*digests))


def rotate(owner: str, signer: tuple[str, str], to: str, until: int) -> bytes:
    """A new owner key; the recovery key stays."""
    payload = CompartmentRotate(opened_by(owner), owner_digest(key(to).public), owner_digest(key(f"{owner} recovery").public))
    return health_tx("compartment.rotate", payload, [signer], None, until)


def test_a_thief_of_the_owner_key_cannot_hold_up_the_recovery_key(chain: Chain) -> None:
    chain.found("clinic")
    chain.add([enrol("ann", "clinic", UNTIL)])
    chain.ledger.check_tx(rotate("ann", ("owner", "ann"), "thief", UNTIL))
    chain.ledger.check_tx(rotate("ann", ("recovery", "ann recovery"), "ann two", UNTIL))
    chain.finish(chain.propose())
    state = chain.health.compartment(opened_by("ann"))
    assert state is not None
    assert state.owner_digest == owner_digest(key("ann two").public), "the recovery key has the last word, in the same block"


def test_a_rotation_done_by_another_block_frees_its_slot(chain: Chain) -> None:
    chain.found("clinic")
    chain.add([enrol("ann", "clinic", UNTIL)])
    chain.ledger.check_tx(rotate("ann", ("owner", "ann"), "ann two", UNTIL))
    chain.add([rotate("ann", ("owner", "ann"), "ann three", UNTIL - 1)])
    assert len(chain.ledger.pool) == 0
    with pytest.raises(CompartmentRotatedRecently):
        chain.ledger.check_tx(rotate("ann", ("owner", "ann three"), "ann four", UNTIL))
    chain.ledger.check_tx(rotate("ann", ("recovery", "ann recovery"), "ann four", UNTIL))
    with pytest.raises(CompartmentWrongKey):
        chain.ledger.check_tx(rotate("ann", ("owner", "ann"), "ann five", UNTIL))


def test_what_expired_or_was_included_leaves(chain: Chain) -> None:
    chain.found("clinic")
    for raw in (enrol("ann", "clinic", 3), enrol("ben", "clinic", 4), pay(ALICE, SHOP, 1, 1)):
        chain.ledger.check_tx(raw)
    chain.add()
    assert len(chain.ledger.pool) == 3
    chain.add([], [pay(ALICE, OTHER_SHOP, 1, 1)])
    assert len(chain.ledger.pool) == 1
    chain.add()
    assert len(chain.ledger.pool) == 0


def test_what_went_stale_is_thrown_out_when_a_block_is_filled(chain: Chain) -> None:
    chain.found("clinic")
    chain.ledger.check_tx(enrol("ann", "clinic", UNTIL))
    revoke = OrganisationRevoke(org("clinic"), "closed", key("node service").public)
    chain.add([health_tx("organisation.revoke", revoke, [("node", "node service")], None, UNTIL)])
    assert len(chain.ledger.pool) == 1, "a block looks only at what it touched"
    assert chain.propose().health_txs == []
    assert len(chain.ledger.pool) == 0


def test_a_transfer_nobody_takes_is_dropped_in_the_end(small: Callable[..., Chain]) -> None:
    chain = small(value_blocks=2)
    chain.ledger.check_tx(pay(BOB, SHOP, 1, 0, maxFeePerGas=7, maxPriorityFeePerGas=0))
    chain.add()
    assert len(chain.ledger.pool) == 1
    chain.add()
    assert len(chain.ledger.pool) == 0


def test_local_time_only_shortens_a_proposal(tmp_path: Path) -> None:
    clock = iter(range(0, 10**12, 30_000_000))
    chain = Chain(tmp_path / "slow", monotonic_ns=lambda: next(clock))
    chain.found("clinic")
    chain.add([open_grant("g", "clinic", UNTIL)])
    for number in range(20):
        chain.ledger.check_tx(access("g", number, "clinic", UNTIL))
    block = chain.propose()
    assert 0 < len(block.health_txs) < 20
    chain.finish(block)
    assert len(chain.ledger.pool) == 20 - len(block.health_txs)
    chain.close()


def parse_payload(raw: bytes) -> Struct:
    return parse(raw, CHAIN).body.payload
