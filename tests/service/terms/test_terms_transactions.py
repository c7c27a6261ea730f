"""One body, one id, one chain, exactly the named roles."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import decode, encode
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.errors import Malformed, Refused, TooLarge
from hce.service.terms.payloads import CompartmentRotate, GrantOpen, GrantRevoke
from hce.service.terms.transactions import (
    MAX_TX_BYTES,
    ROLES,
    TX_DOMAIN,
    UNPAID_KINDS,
    BadTransactionSignature,
    HealthBody,
    SignedHealthTx,
    UnknownKind,
    WrongChain,
    add_signature,
    check_signatures,
    make_body,
    parse,
    parse_kind,
    sign_tx,
    tx_id,
)

CHAIN = bytes(range(16))
KEYS = {name: SigningKey(hashlib.sha256(name.encode()).digest()) for name in ("revoke_key", "payer", "other")}


def revoke_body(valid_until: int = 100, chain: bytes = CHAIN) -> HealthBody[Any]:
    return make_body(chain, "grant.revoke", GrantRevoke(bytes(32)), None, valid_until)


def open_body(payer: bytes | None = bytes(32)) -> HealthBody[Any]:
    return make_body(CHAIN, "grant.open", GrantOpen(bytes(32), bytes(32), bytes(32), 1, 2), payer, 100)


def signed(body: HealthBody[Any], *roles: str) -> bytes:
    return sign_tx(body, [(role, KEYS.get(role, KEYS["other"])) for role in roles])


def test_a_transaction_re_signed_to_run_twice_keeps_its_id() -> None:
    body = revoke_body()
    first = parse(sign_tx(body, [("revoke_key", KEYS["revoke_key"])]), CHAIN)
    again = parse(sign_tx(body, [("revoke_key", KEYS["other"])]), CHAIN)
    assert first.raw != again.raw
    assert first.id == again.id == tx_id(body) == cid_of_dag_cbor(encode(body))


def test_every_field_of_the_body_is_in_the_id() -> None:
    bodies = [
        revoke_body(),
        revoke_body(valid_until=101),
        revoke_body(chain=bytes(16)),
        make_body(CHAIN, "grant.revoke", GrantRevoke(b"\x01" * 32), None, 100),
        make_body(CHAIN, "grant.open", GrantRevoke(bytes(32)), None, 100),
        make_body(CHAIN, "grant.revoke", GrantRevoke(bytes(32)), bytes(32), 100),
    ]
    assert len({tx_id(body) for body in bodies}) == len(bodies)


def test_a_transaction_of_another_chain_is_not_parsed() -> None:
    with pytest.raises(WrongChain):
        parse(signed(revoke_body(chain=bytes(16)), "revoke_key"), CHAIN)


def test_a_kind_nobody_knows_is_refused() -> None:
    with pytest.raises(UnknownKind):
        parse(signed(make_body(CHAIN, "grant.steal", GrantRevoke(bytes(32)), None, 100), "revoke_key"), CHAIN)


@pytest.mark.parametrize("more", [[b"hidden"], [0], [[]]])
def test_a_payload_says_exactly_the_fields_of_its_kind(more: list[object]) -> None:
    honest = open_body()
    fields = [*structs.astuple(honest.payload)]
    for payload in ([*fields, *more], fields[:-1], [], [bytes(31), *fields[1:]], more, None, structs.asdict(honest.payload)):
        with pytest.raises(Malformed):
            parse(signed(structs.replace(honest, payload=payload), "revoke_key", "payer"), CHAIN)


@pytest.mark.parametrize("body", [[], [b"", b""], {}, 7, [TX_DOMAIN, CHAIN, 7, [], None, 100], [TX_DOMAIN, CHAIN, None]])
def test_a_body_without_a_kind_is_refused(body: object) -> None:
    with pytest.raises(Malformed):
        parse(encode(SignedHealthTx(encode(body), [])), CHAIN)


@pytest.mark.parametrize(
    "roles",
    [(), ("payer",), ("revoke_key",), ("payer", "revoke_key"), ("revoke_key", "revoke_key"), ("revoke_key", "payer", "payer")],
)
def test_exactly_the_roles_of_the_kind_sign_in_their_order(roles: tuple[str, ...]) -> None:
    with pytest.raises(BadTransactionSignature):
        parse(signed(open_body(), *roles), CHAIN)


def test_a_rotation_is_signed_as_owner_or_as_recovery_never_as_both() -> None:
    body = make_body(CHAIN, "compartment.rotate", CompartmentRotate(bytes(32), bytes(32), bytes(32)), None, 100)
    for roles in (("owner",), ("recovery",)):
        parse(signed(body, *roles), CHAIN)
    with pytest.raises(BadTransactionSignature):
        parse(signed(body, "owner", "recovery"), CHAIN)


def test_paid_kinds_name_a_payer_and_free_kinds_name_none() -> None:
    with pytest.raises(Malformed):
        parse(signed(open_body(payer=None), "revoke_key", "payer"), CHAIN)
    with pytest.raises(Malformed):
        parse(signed(make_body(CHAIN, "grant.revoke", GrantRevoke(bytes(32)), bytes(32), 100), "revoke_key"), CHAIN)


def test_revoking_and_recovering_are_free_and_the_payer_signs_last() -> None:
    free = {"grant.revoke", "credential.revoke", "compartment.rotate", "organisation.revoke", "organisation.vote"}
    assert free | {"anchor.post", "portal.vote"} == UNPAID_KINDS
    for lists in ROLES.values():
        assert all("payer" not in roles[:-1] for roles in lists)


def test_a_countersigned_transaction_is_the_same_transaction() -> None:
    body = open_body()
    by_owner = signed(body, "revoke_key")
    complete = add_signature(by_owner, "payer", KEYS["payer"])
    assert complete == signed(body, "revoke_key", "payer")
    tx = parse(complete, CHAIN)
    check_signatures(tx)
    assert (tx.signer("payer"), tx.signer("reader")) == (KEYS["payer"].public, None)


def test_a_signature_over_another_transaction_does_not_verify() -> None:
    [body_bytes, _] = decode(signed(revoke_body(), "revoke_key"))
    [_, signatures] = decode(signed(revoke_body(valid_until=101), "revoke_key"))
    with pytest.raises(BadTransactionSignature):
        check_signatures(parse(encode([body_bytes, signatures]), CHAIN))


def test_more_fields_than_a_transaction_has_are_refused() -> None:
    """Otherwise anybody could hang bytes on a transaction that passes by, and its list would have another root."""
    body_bytes, signatures = decode(signed(revoke_body(), "revoke_key"))
    long_body = encode([*decode(body_bytes), 0])
    for raw in (
        encode([body_bytes, signatures, 0]),
        encode([body_bytes, [[*signatures[0], 0]]]),
        encode([long_body, signatures]),
    ):
        with pytest.raises(Malformed):
            parse(raw, CHAIN)


def test_one_kind_is_found_among_others_whatever_else_spells_its_name() -> None:
    revoke, opening = signed(revoke_body(), "revoke_key"), signed(open_body(b"grant.revoke" + bytes(20)), "revoke_key", "payer")
    found = parse_kind([opening, revoke, opening], CHAIN, "grant.revoke")
    assert [tx.raw for tx in found] == [revoke]


def test_the_domain_names_the_version() -> None:
    body_bytes, signatures = decode(signed(revoke_body(), "revoke_key"))
    other = encode(["hce/tx/2", *decode(body_bytes)[1:]])
    with pytest.raises(Malformed):
        parse(encode([other, signatures]), CHAIN)


def test_a_transaction_has_a_largest_size() -> None:
    body_bytes, signatures = decode(signed(revoke_body(), "revoke_key"))
    with pytest.raises(TooLarge):
        parse(encode([body_bytes + bytes(MAX_TX_BYTES), signatures]), CHAIN)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(raw: bytes) -> None:
    with pytest.raises(Refused):
        parse(raw, CHAIN)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_is_never_the_same_signed_transaction(place: int, change: int) -> None:
    raw = bytearray(signed(open_body(), "revoke_key", "payer"))
    raw[place % len(raw)] ^= change
    with pytest.raises(Refused):
        check_signatures(parse(bytes(raw), CHAIN))
