"""Health transactions: the signed envelope around every kind (`docs/formats.md`, section Health transactions)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Generic, TypeVar

from msgspec import Meta, Struct

from hce.foundation.codec.cid import cid_of_dag_cbor
from hce.foundation.codec.dagcbor import decode_as, decode_chosen, encode
from hce.foundation.crypto.sign import SigningKey, signing_bytes, verify
from hce.foundation.types.errors import Malformed, Refused
from hce.foundation.types.scalars import Bytes32, ChainId, Cid, Height, PublicKey, Signature
from hce.service.terms import payloads

TX_DOMAIN = "hce/tx/1"
MAX_TX_BYTES = 256 * 1024
"""Largest signed health transaction; a batch of 600 records is about 85 KiB."""
MAX_KIND_CHARACTERS = 32
_KIND = 2
"""Place of the kind in a body."""

ROLES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "organisation.vote": (("node",),),
    "organisation.revoke": (("node",),),
    "credential.issue": (("organisation", "payer"),),
    "credential.revoke": (("organisation",),),
    "compartment.open": (("payer",),),
    "compartment.rotate": (("owner",), ("recovery",)),
    "record.commit": (("organisation", "payer"),),
    "grant.open": (("revoke_key", "payer"),),
    "grant.revoke": (("revoke_key",),),
    "access.open": (("reader", "payer"),),
    "anchor.post": (("node",),),
    "portal.vote": (("node",),),
}
"""Kind -> the allowed role lists. A kind that is not here is refused."""

PAYLOADS: Mapping[str, type[Struct]] = {
    "organisation.vote": payloads.OrganisationVote,
    "organisation.revoke": payloads.OrganisationRevoke,
    "credential.issue": payloads.CredentialBody,
    "credential.revoke": payloads.CredentialRevoke,
    "compartment.open": payloads.CompartmentOpen,
    "compartment.rotate": payloads.CompartmentRotate,
    "record.commit": payloads.RecordBatch,
    "grant.open": payloads.GrantOpen,
    "grant.revoke": payloads.GrantRevoke,
    "access.open": payloads.AccessOpen,
    "anchor.post": payloads.AnchorPost,
    "portal.vote": payloads.PortalVote,
}
"""Kind -> what it says. Exactly the kinds of `ROLES`."""

UNPAID_KINDS = frozenset(kind for kind, lists in ROLES.items() if "payer" not in lists[0])
"""Kinds that need no payer: revoking and recovering were prepaid, nodes' votes and anchors are bounded by subject."""


_ANY_ID = cid_of_dag_cbor(b"")
"""As long as every other."""


class BadTransactionSignature(Refused):
    """A signature of the transaction does not verify, or the roles are not the ones its kind names."""

    code = "tx.bad_signature"


class UnknownKind(Refused):
    """A transaction kind this rules version does not know."""

    code = "tx.unknown_kind"


class WrongChain(Refused):
    """Signed for another network."""

    code = "tx.wrong_chain"


class RoleSignature(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    role: Annotated[str, Meta(max_length=16)]
    public_key: PublicKey
    signature: Signature


P = TypeVar("P")


class HealthBody(Struct, Generic[P], frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is named by the id. `payload` is the struct of the kind (`PAYLOADS`)."""

    domain: Annotated[str, Meta(max_length=16)]
    chain: ChainId
    kind: Annotated[str, Meta(max_length=MAX_KIND_CHARACTERS)]
    payload: P
    payer: Bytes32 | None
    """org_id whose tank pays; null for the free kinds."""
    valid_until: Height


_BODIES: Mapping[str, type[HealthBody[Any]]] = {kind: HealthBody[payload] for kind, payload in PAYLOADS.items()}  # type: ignore[valid-type]  # made from the table, not written out


class SignedHealthTx(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    body_bytes: bytes
    signatures: Annotated[list[RoleSignature], Meta(max_length=4)]


class Submitted(Struct, frozen=True, array_like=True):
    """What a node answers to one transaction of a list."""

    id: bytes | None
    """CID or eth hash; null when refused."""
    code: str
    """Error code, "" when taken."""


class HealthTx(Struct, frozen=True):
    """A parsed transaction. `parse` made it; its signatures are checked by `check_signatures`, not here."""

    id: Cid
    body: HealthBody[Any]
    signatures: list[RoleSignature]
    raw: bytes

    def signer(self, role: str) -> bytes | None:
        """Public key that signed in this role, or None."""
        for signed in self.signatures:
            if signed.role == role:
                return signed.public_key
        return None


def make_body(chain: bytes, kind: str, payload: Struct, payer: bytes | None, valid_until: int) -> HealthBody[Any]:
    """An unsigned body around the struct of its kind."""
    return HealthBody(TX_DOMAIN, chain, kind, payload, payer, valid_until)


def tx_id(body: HealthBody[Any]) -> bytes:
    """CID of the unsigned body: signing again makes no new transaction."""
    return cid_of_dag_cbor(encode(body))


def sign_message(chain: bytes, role: str, body_id: Cid) -> bytes:
    """What each signature of a transaction signs: ["hce/sign/1", chain, role, id]."""
    return _before_id(chain, role) + body_id


@lru_cache(maxsize=64)
def _before_id(chain: bytes, role: str) -> bytes:
    """An id is a link and stands last, so what comes before it is the same for all of a role."""
    return signing_bytes("sign", chain, role, _ANY_ID)[: -len(_ANY_ID)]


def sign_tx(body: HealthBody[Any], signers: list[tuple[str, SigningKey]]) -> bytes:
    """Signed transaction bytes; signers in the order of `ROLES[kind]`."""
    body_bytes = encode(body)
    name = cid_of_dag_cbor(body_bytes)
    signatures = [RoleSignature(role, key.public, key.sign(sign_message(body.chain, role, name))) for role, key in signers]
    return encode(SignedHealthTx(body_bytes, signatures))


def add_signature(raw: bytes, role: str, key: SigningKey) -> bytes:
    """The same transaction with one more signature at the end (a payer countersigning)."""
    signed = decode_as(SignedHealthTx, raw, max_bytes=MAX_TX_BYTES)
    body = parse_body(signed.body_bytes)
    signature = key.sign(sign_message(body.chain, role, cid_of_dag_cbor(signed.body_bytes)))
    return encode(SignedHealthTx(signed.body_bytes, [*signed.signatures, RoleSignature(role, key.public, signature)]))


def parse_body(raw: bytes) -> HealthBody[Any]:
    """A body with the payload of its kind. Raises `Malformed`, `UnknownKind`."""
    body = decode_chosen(_type_of_body, raw, max_bytes=MAX_TX_BYTES)
    if body.domain != TX_DOMAIN:
        raise Malformed("not a health transaction", domain=body.domain)
    return body


def parse(raw: bytes, chain: bytes) -> HealthTx:
    """Structure, chain, kind, payload and roles; not the signatures and not what the contract asks of its payload.

    Raises `Malformed`, `WrongChain`, `UnknownKind`, `BadTransactionSignature`.
    """
    signed = decode_as(SignedHealthTx, raw, max_bytes=MAX_TX_BYTES)
    body = parse_body(signed.body_bytes)
    if body.chain != chain:
        raise WrongChain(expected=chain.hex(), actual=body.chain.hex())
    roles = tuple(signature.role for signature in signed.signatures)
    if roles not in ROLES[body.kind]:
        raise BadTransactionSignature("roles do not fit the kind", kind=body.kind, roles=roles)
    if (body.payer is None) != (body.kind in UNPAID_KINDS):
        raise Malformed("payer does not fit the kind", kind=body.kind)
    return HealthTx(cid_of_dag_cbor(signed.body_bytes), body, signed.signatures, raw)


def _type_of_body(builtins: Any) -> type[HealthBody[Any]]:
    """By the kind, if there is one to be found."""
    if not isinstance(builtins, list) or len(builtins) <= _KIND or not isinstance(builtins[_KIND], str):
        raise Malformed("not a body with a kind")
    found = _BODIES.get(builtins[_KIND])
    if found is None:
        raise UnknownKind(kind=builtins[_KIND][:MAX_KIND_CHARACTERS])
    return found


def parse_kind(raws: Sequence[bytes], chain: bytes, kind: str) -> list[HealthTx]:
    """Those of one kind, in order. A kind is spelled out in its transaction, so what does not hold the word is passed over unparsed:
    looking for the few revocations or batches of a full block costs next to nothing."""
    word = kind.encode()
    return [tx for tx in (parse(raw, chain) for raw in raws if word in raw) if tx.body.kind == kind]


def check_signatures(tx: HealthTx) -> None:
    """Every signature verifies over the id; whether a key may sign in its role is the contract's question."""
    for signed in tx.signatures:
        if not verify(signed.public_key, sign_message(tx.body.chain, signed.role, tx.id), signed.signature):
            raise BadTransactionSignature(kind=tx.body.kind, role=signed.role)
