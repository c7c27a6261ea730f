"""The way into the contracts: what every kind shares, and the attacks on it."""

from __future__ import annotations

import msgspec
import pytest
from tests.service.contracts.world import CHAIN, DAY_MS, START_MS, World, bytes32, key, node

from hce.foundation.codec.dagcbor import decode_as, encode, is_exact
from hce.foundation.store.journal import HEALTH
from hce.foundation.types.blocks import Node
from hce.foundation.types.errors import Malformed, Refused
from hce.service.contracts.health import (
    CONTRACTS,
    BlockEnv,
    check_stateless,
    errors,
    genesis_writes,
    payer_key,
    revokes_of,
    steps_of,
)
from hce.service.contracts.health.steps import STEPS_OF_ENTRY, STEPS_OF_KIND, STEPS_OF_RECEIPT, count_steps
from hce.service.terms.genesis import Genesis, GenesisNode, Params
from hce.service.terms.states import KeyholderState, key_node
from hce.service.terms.transactions import PAYLOADS, ROLES, HealthTx, RoleSignature, WrongChain, parse_body, sign_message

replace, astuple = msgspec.structs.replace, msgspec.structs.astuple


@pytest.fixture
def world() -> World:
    made = World(1)
    made.certify("clinic")
    made.certify("rival")
    return made


def test_every_kind_of_the_terms_has_a_contract_and_a_weight() -> None:
    assert set(CONTRACTS) == set(ROLES) == set(PAYLOADS) == set(STEPS_OF_KIND)


def test_no_payload_type_passes_anything_over() -> None:
    assert all(map(is_exact, PAYLOADS.values()))


def test_every_refusal_has_its_own_code() -> None:
    kinds = [found for found in vars(errors).values() if isinstance(found, type) and found.__module__ == errors.__name__]
    assert all(issubclass(kind, Refused) for kind in kinds)
    assert len({kind.code for kind in kinds} | {Refused.code}) == len(kinds) + 1


def test_a_transaction_of_another_chain_is_refused(world: World) -> None:
    tx = world.tx("grant.open", world.grant("g"), [("revoke_key", "g revoke"), ("payer", "clinic")], "clinic", chain=bytes(16))
    with pytest.raises(WrongChain):
        check_stateless(tx, CHAIN)


def test_a_signature_made_for_one_role_does_not_serve_in_another(world: World) -> None:
    """The organisation key is also the payer key, so only the role inside the signed bytes keeps the two apart."""
    honest = world.credential("clinic", "nurse")
    organisation, payer = honest.signatures
    for swapped in (
        [replace(payer, role="organisation"), payer],
        [organisation, replace(organisation, role="payer")],
        [replace(payer, role="organisation"), replace(organisation, role="payer")],
    ):
        assert world.refused(replace(honest, signatures=swapped)) == "tx.bad_signature"
    world.run(honest)


def test_a_signature_of_another_chain_does_not_serve_here(world: World) -> None:
    honest = world.credential("clinic", "nurse")
    signed = key("clinic").sign(sign_message(bytes(16), "payer", honest.id))
    stolen = [honest.signatures[0], RoleSignature("payer", key("clinic").public, signed)]
    assert world.refused(replace(honest, signatures=stolen)) == "tx.bad_signature"


def test_the_payer_is_the_organisation_itself_not_somebody_who_names_it(world: World) -> None:
    """Otherwise anybody empties anybody's tank."""
    grant = world.grant("g")
    for payer, signer in (("clinic", "rival"), ("clinic", "g revoke")):
        tx = world.tx("grant.open", grant, [("revoke_key", "g revoke"), ("payer", signer)], payer)
        with pytest.raises(errors.PayerMismatch):
            payer_key(tx, world.state, world.env)
        assert world.refused(tx) == "payer.wrong_key"
    payer_key(world.open_grant("g", grant, "clinic"), world.state, world.env)


def test_an_uncertified_payer_pays_for_nothing(world: World) -> None:
    assert world.refused(world.open_grant("g", world.grant("g"), "stranger")) == "organisation.not_certified"
    tx = world.compartment("owner", "recovery", "clinic")
    world.revoke("clinic")
    assert world.refused(tx) == "organisation.not_certified"


def test_free_kinds_pass_without_a_payer(world: World) -> None:
    payer_key(world.revoke_grant("g", bytes(32)), world.state, world.env)


def test_a_nested_field_too_many_is_refused_too(world: World) -> None:
    honest = world.commit("clinic", world.batch("clinic", [world.entry("r")]))
    [entry] = honest.body.payload.entries
    hidden = replace(honest.body, payload=replace(honest.body.payload, entries=[[*astuple(entry), b"hidden"]]))
    with pytest.raises(Malformed):
        parse_body(encode(hidden))


def test_what_a_payload_shows_alone_is_refused_without_any_state(world: World) -> None:
    first, second = world.entry("first"), world.entry("second")
    twice = [replace(second, nonce=first.nonce), replace(second, envelope_digest=first.envelope_digest)]
    receipts = world.receipts([first])
    refusals = {
        "record.exists": world.commit("clinic", world.batch("clinic", [first, twice[0]])),
        "envelope.exists": world.commit("clinic", world.batch("clinic", [first, twice[1]])),
        "record.not_available": world.commit("clinic", world.batch("clinic", [first], receipts * 2)),
        "grant.keys_equal": world.open_grant("g", replace(world.grant("g"), reader_key=key("g revoke").public), "clinic"),
        "dates.refused": world.vote(world.certificate("hospice", days=0, since_ms=START_MS + DAY_MS), 0),
        "powers.not_sorted": world.vote(world.certificate("hospice", ["write", "read"]), 0),
    }
    for code, tx in refusals.items():
        with pytest.raises(Refused) as refusal:
            check_stateless(tx, CHAIN)
        assert refusal.value.code == code


def test_steps_count_what_the_transaction_says_and_nothing_of_the_state(world: World) -> None:
    params = Params()
    batches = [world.commit("clinic", world.batch("clinic", [world.entry(f"r{n}") for n in range(size)])) for size in (1, 21)]
    small, large = (steps_of(tx, params) for tx in batches)
    assert 20 * STEPS_OF_ENTRY <= large - small <= 21 * STEPS_OF_ENTRY
    world.run(batches[0])
    assert steps_of(batches[0], params) == small
    payload = batches[0].body.payload
    more = replace(batches[0].body, payload=replace(payload, receipts=payload.receipts * 3))
    assert count_steps(replace(batches[0], body=more)) == small + 2 * STEPS_OF_RECEIPT


def test_above_the_cap_nothing_runs_and_the_cap_is_charged(world: World) -> None:
    tx = world.open_grant("g", world.grant("g"), "clinic")
    for cap, code in ((count_steps(tx) - 1, "tx.too_many_steps"), (count_steps(tx), None)):
        world.params = replace(Params(), tx_steps=cap)
        assert steps_of(tx, world.params) == cap
        if code is None:
            world.run(tx)
        else:
            assert world.refused(tx) == code


def test_a_full_batch_fits_under_the_cap_with_nine_nodes() -> None:
    world = World(9)
    batch = world.batch("clinic", [world.entry(f"r{n}") for n in range(600)])
    assert count_steps(world.commit("clinic", batch)) <= Params().tx_steps


def test_the_revokes_of_a_block_are_its_grant_revokes(world: World) -> None:
    txs: list[HealthTx] = [
        world.revoke_grant("g", bytes32("one")),
        world.open_grant("h", world.grant("h"), "clinic"),
        world.revoke_grant("h", bytes32("two")),
    ]
    assert revokes_of(txs) == [bytes32("one"), bytes32("two")]
    assert revokes_of([]) == []


def test_genesis_puts_the_nodes_and_the_keyholders_into_the_map() -> None:
    world = World(4)
    keyholders = KeyholderState(bytes32("key"), 3, bytes32("public"), [bytes32(f"member {n}") for n in range(4)], 0)
    members = [GenesisNode(node(index), b"") for index in range(4)]
    genesis_writes(world.journal, Genesis(1, CHAIN, 1, 0, Params(), members, [], keyholders))
    assert world.state.keyholders() == keyholders
    assert [decode_as(Node, world.map()[key_node(index)]) for index in range(4)] == world.nodes
    assert len(world.map()) == 5


def test_the_state_is_written_in_its_one_encoding(world: World) -> None:
    world.journal.put(HEALTH, b"x", encode(1))
    world.state.put(b"y", 1)
    assert world.map()[b"x"] == world.map()[b"y"]


def test_execution_depends_on_the_block_only(world: World) -> None:
    """The same list over the same state leaves the same bytes."""
    twin = World(1)
    for made in (world, twin):
        if made is twin:
            made.certify("clinic")
            made.certify("rival")
        made.run(made.credential("clinic", "nurse"))
        made.run(made.commit("clinic", made.batch("clinic", [made.entry("r")])))
    assert world.map() == twin.map()
    assert isinstance(world.env, BlockEnv)
