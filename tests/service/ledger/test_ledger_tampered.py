"""A block that differs in anything from what execution gives is refused, by name, and leaves nothing behind."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.service.ledger.chain import ALICE, START_MS, UNTIL, Chain, enrol, open_grant, pay

from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.proofs.listhash import list_root
from hce.foundation.types.blocks import MAX_LISTS_BYTES, LedgerBlock
from hce.foundation.types.errors import Malformed, Refused, TooLarge
from hce.service.contracts.value.header import ValueHeader, decode_header, encode_header
from hce.service.contracts.value.tries import ordered_root
from hce.service.ledger.errors import HeaderMismatch, NotNextHeight, ReplayDiffers, TxReplayed, UnknownVersion

replace = msgspec.structs.replace
OTHER: dict[type, Any] = {bytes: lambda old: bytes([old[0] ^ 1]) + old[1:], int: lambda old: old + 1}


@pytest.fixture
def block(chain: Chain) -> LedgerBlock:
    """Two transactions of each chain."""
    chain.found("clinic")
    health = [enrol("owner", "clinic", UNTIL), open_grant("g", "clinic", UNTIL)]
    return chain.forge(health, [pay(ALICE, b"\x77" * 20, 5, 1), pay(ALICE, b"\x77" * 20, 6, 2)])


def refusal(chain: Chain, block: LedgerBlock, **fields: Any) -> Refused:
    before = chain.ledger.height
    with pytest.raises(Refused) as caught:
        chain.ledger.process_proposal(chain.context(**fields), block)
    assert chain.ledger.height == before
    return caught.value


def with_lists(block: LedgerBlock, health: list[bytes], value: list[bytes], *, honest_roots: bool) -> LedgerBlock:
    """The block over other lists; with honest roots the header names these lists."""
    header = block.header
    if honest_roots:
        head = replace(decode_header(header.value_head), transactions_root=ordered_root(value))
        health_head = replace(header.health_head, txs_root=list_root(health))
        header = replace(header, value_head=encode_header(head), health_head=health_head)
    return LedgerBlock(header, health, value)


def test_the_block_itself_is_accepted(chain: Chain, block: LedgerBlock) -> None:
    chain.ledger.process_proposal(chain.context(), block)


@pytest.mark.parametrize("field", ["cross_root", "next_epoch", "next_validators", "params_hash"])
def test_each_field_of_the_ledger_header_counts(chain: Chain, block: LedgerBlock, field: str) -> None:
    old = getattr(block.header, field)
    new = cid_of_raw(b"") if field == "next_validators" else OTHER[type(old)](old)
    error = refusal(chain, replace(block, header=replace(block.header, **{field: new})))
    assert isinstance(error, HeaderMismatch)
    assert error.fields["field"] == field


@pytest.mark.parametrize("field", ["txs_root", "receipts_root", "state_root"])
def test_each_field_of_the_health_head_counts(chain: Chain, block: LedgerBlock, field: str) -> None:
    head = block.header.health_head
    wrong = replace(head, **{field: OTHER[bytes](getattr(head, field))})
    assert isinstance(refusal(chain, replace(block, header=replace(block.header, health_head=wrong))), HeaderMismatch)


@pytest.mark.parametrize("field", ValueHeader.__struct_fields__)
def test_each_field_of_the_value_head_counts(chain: Chain, block: LedgerBlock, field: str) -> None:
    head = decode_header(block.header.value_head)
    old = getattr(head, field)
    wrong = replace(head, **{field: OTHER[type(old)](old)})
    error = refusal(chain, replace(block, header=replace(block.header, value_head=encode_header(wrong))))
    assert isinstance(error, HeaderMismatch)


def test_the_fixed_fields_of_the_value_head_count(chain: Chain, block: LedgerBlock) -> None:
    raw = block.header.value_head
    for at in range(3, len(raw), 7):
        wrong = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        error = refusal(chain, replace(block, header=replace(block.header, value_head=wrong)))
        assert isinstance(error, HeaderMismatch | Malformed)


def test_unknown_rules_stop_with_a_name(chain: Chain, block: LedgerBlock) -> None:
    newer = replace(block, header=replace(block.header, version=2))
    assert isinstance(refusal(chain, newer), UnknownVersion)
    with pytest.raises(UnknownVersion):
        chain.ledger.finalize(chain.context(), newer)


@pytest.mark.parametrize("honest_roots", [False, True])
@pytest.mark.parametrize("change", ["dropped", "reversed", "repeated", "emptied"])
@pytest.mark.parametrize("which", ["health", "value"])
def test_each_list_counts(chain: Chain, block: LedgerBlock, which: str, change: str, honest_roots: bool) -> None:
    changes = {
        "dropped": lambda txs: txs[:-1],
        "reversed": lambda txs: txs[::-1],
        "repeated": lambda txs: [*txs, txs[-1]],
        "emptied": lambda txs: [],
    }
    health, value = block.health_txs, block.value_txs
    if which == "health":
        health = changes[change](health)
    else:
        value = changes[change](value)
    refusal(chain, with_lists(block, health, value, honest_roots=honest_roots))


@pytest.mark.parametrize("field", ["time_ms", "proposer", "parent", "epoch"])
def test_the_same_block_in_another_context_is_another_block(chain: Chain, block: LedgerBlock, field: str) -> None:
    others = {"time_ms": START_MS + 5_000, "proposer": bytes(20), "parent": cid_of_raw(b"other"), "epoch": 1}
    assert isinstance(refusal(chain, block, **{field: others[field]}), HeaderMismatch)


def test_lists_beyond_the_bound_are_refused_before_they_are_read(chain: Chain, block: LedgerBlock) -> None:
    half = [bytes(1_000)] * (MAX_LISTS_BYTES // 2_000)
    assert isinstance(refusal(chain, replace(block, health_txs=half, value_txs=[*half, bytes(1_000)])), TooLarge)


@pytest.mark.parametrize("which", ["health_txs", "value_txs"])
def test_lists_of_other_roots_are_refused_before_they_are_parsed(chain: Chain, block: LedgerBlock, which: str) -> None:
    error = refusal(chain, replace(block, **{which: [b"no transaction at all"]}))
    assert isinstance(error, HeaderMismatch)


def test_an_invalid_block_is_not_remembered_as_a_valid_one(chain: Chain, block: LedgerBlock) -> None:
    repeated = with_lists(block, [*block.health_txs, block.health_txs[0]], block.value_txs, honest_roots=True)
    for _ in range(2):
        assert isinstance(refusal(chain, repeated), TxReplayed)
    wrong = replace(block, header=replace(block.header, params_hash=bytes(32)))
    for _ in range(2):
        assert isinstance(refusal(chain, wrong), HeaderMismatch)


def test_a_height_out_of_turn_is_not_executed(chain: Chain, block: LedgerBlock) -> None:
    for height in (chain.ledger.height, chain.next_height + 1):
        with pytest.raises(NotNextHeight):
            chain.ledger.process_proposal(chain.context(height=height), block)


def test_a_final_height_is_answered_again_but_never_replaced(chain: Chain, block: LedgerBlock) -> None:
    context = chain.context()
    header = chain.finish(block)
    assert chain.ledger.finalize(context, block) == header
    chain.ledger.commit(context.height)
    assert chain.ledger.height == context.height
    with pytest.raises(ReplayDiffers):
        chain.ledger.finalize(context, replace(block, header=replace(header, params_hash=bytes(32))))
