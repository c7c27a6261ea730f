"""The worst block: dealt blocks are taken once and fill a block to its bounds; figures tell the dearest node of the cheapest round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from hce.app.bench.worst.blocks import Wanted
from hce.app.bench.worst.dealing import Deal, Note, notes_path, put_deal, read_notes, take_deal
from hce.app.bench.worst.measure import Cost, Measured, measure_worst_block, worst_block_figures, worst_params
from hce.app.bench.worst.room import Room
from hce.app.bench.worst.transactions import Cast, compartments, grants, transfer
from hce.foundation.crypto.secp import EthSigningKey
from hce.foundation.crypto.sign import SigningKey
from hce.service.contracts.health.steps import STEPS_OF_KIND, STEPS_OF_SIGNATURE, count_steps
from hce.service.terms.genesis import Genesis, Params
from hce.service.terms.states import KeyholderState
from hce.service.terms.transactions import parse

GENESIS = Genesis(
    1, bytes(16), 7, 0, Params(block_steps=2_000, gas_limit=42_000), [], [], KeyholderState(bytes(32), 1, bytes(32), [], 0)
)
CAST = Cast(
    seed=3,
    genesis=GENESIS,
    nodes=[SigningKey(bytes(32))],
    wallet=EthSigningKey(b"\1" * 32),
    now_ms=1_760_000_000_000,
    valid_until=9,
)


def quiet(key: str, **fields: Any) -> None:
    """Nobody watches."""


def test_a_block_is_filled_to_its_steps_and_no_further() -> None:
    room = Room(GENESIS)
    one = count_steps(parse(next(grants(CAST, range(1))), GENESIS.chain))
    assert room.fill(grants(CAST, range(100))) == 2_000 // one
    assert room.steps_left < one


def test_gas_ends_a_block_of_transfers() -> None:
    room = Room(GENESIS)
    assert room.fill(transfer(CAST, CAST.wallet, nonce, bytes([9]) * 20, 1) for nonce in range(10)) == 2
    assert room.gas_left == 0
    assert room.fill(compartments(CAST, range(10))) > 0, "health transactions take no gas"


def test_a_block_the_rules_refuse_is_bounded_by_bytes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hce.app.bench.worst.room.MAX_LISTS_BYTES", 10_000)
    room = Room(GENESIS)
    taken = room.fill(grants(CAST, range(100)), within_bounds=False)
    assert taken * (STEPS_OF_KIND["grant.open"] + 2 * STEPS_OF_SIGNATURE) > GENESIS.params.block_steps
    assert 9_000 < room.bytes <= 10_000


def test_rounds_make_no_transaction_twice() -> None:
    assert set(grants(CAST, range(1, 4))).isdisjoint(grants(CAST, range(100_001, 100_004)))
    assert list(grants(CAST, range(1, 4))) == list(grants(CAST, range(1, 4)))


def test_a_dealt_block_is_taken_by_one_node(tmp_path: Path) -> None:
    deal = Deal([b"a"], [b"b"])
    put_deal(tmp_path, deal)
    assert take_deal(tmp_path, 0) == deal
    assert take_deal(tmp_path, 1) is None
    assert deal.valid
    assert not Deal([], [], (bytes(32), bytes(32))).valid


def test_a_note_that_is_still_being_written_waits(tmp_path: Path) -> None:
    whole = Note("block", "process", 3.0, 2.0)
    notes_path(tmp_path, 0).write_bytes(msgspec.json.encode(whole) + b'\n{"name": "bl')
    assert read_notes(tmp_path, 0) == [whole]
    assert read_notes(tmp_path, 1) == []


def wanted(name: str, steps: int) -> Wanted:
    return Wanted(name, [], [b"x"], steps, 0, 1, None)


def test_the_dearest_node_of_the_cheapest_round_counts() -> None:
    slow, quick, other = Cost(90, 80, 20, 10), Cost(50, 40, 20, 10), Cost(60, 55, 5, 5)
    measured = [
        Measured(wanted("grants", 100_000), [slow, slow], ""),
        Measured(wanted("grants", 100_000), [quick, other], ""),
        Measured(wanted("batches", 50_000), [quick], ""),
        Measured(wanted("too many", 0), [Cost(900, 900, 0, 0)], "block.full"),
    ]
    figures = worst_block_figures(2, 2, 1, Params(), measured, [70.0, 71.0])
    assert [row["name"] for row in figures["dealt"]] == ["grants", "batches", "too many"]
    assert (figures["worst"], figures["worst_cpu_ms"], figures["worst_prevote_cpu_ms"]) == ("grants", 60, 55)
    assert figures["dearest_us_per_step"] == 1.0
    assert figures["worst_refused_cpu_ms"] == 900


@pytest.mark.slow
async def test_every_kind_of_block_is_dealt_and_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hce.app.bench.worst.room.MAX_LISTS_BYTES", 200_000)
    params = msgspec.structs.replace(worst_params(20_000), block_interval_ms=50)
    figures = await measure_worst_block(1, 1, 1, params, quiet)
    refused = {row["name"]: row["refused"] for row in figures["dealt"] if row["refused"]}
    assert set(refused) == {f"refused: 4 MiB of {what}" for what in ("grants", "batches", "transfers")}
    allowed = [row for row in figures["dealt"] if not row["refused"]]
    assert all(row["txs"] > 0 and row["prevote_cpu_ms"] > 0 and row["final_cpu_ms"] > 0 for row in allowed)
    kinds = {row["name"].split(",")[0].split(" of ")[0] for row in allowed}
    assert set(STEPS_OF_KIND) <= kinds
