"""Writes `claims.json`: a card, a claim, a handover and the sentences about them, for an implementation in another language.

.venv/bin/python -m tests.vectors.hce.make_claims

Bytes are hex after `0x`. What is sealed is random by nature, so there is one that must open; it is kept from the existing file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.secret import SecretBytes
from hce.service.terms.claims import claim_message
from hce.service.terms.grants import card_message, token_message
from hce.service.terms.handovers import EarlierOwner, EarlierSeed, handover_address, handover_message
from hce.service.terms.mailbox import MailboxAct, Ownership, act_message
from hce.service.terms.payloads import CompartmentRotate
from hce.service.terms.transactions import make_body
from hce.service.vault.claiming import card_key, make_claim, new_code
from hce.service.vault.compartments import CompartmentKeys, make_card, make_token
from hce.service.vault.handovers import make_handover, seal_earlier
from hce.service.vault.human import sentence

FILE = Path(__file__).with_name("claims.json")
CHAIN = bytes(range(16))
NOW_MS = 1_760_000_000_000
ORG_ID = hashlib.sha256(b"organisation").digest()
CUSTODIAL_SEED = hashlib.sha512(b"custodial").digest()
OWN_SEED = hashlib.sha512(b"own").digest()
NAME = "Hospital West"


def vectors() -> dict[str, Any]:
    custodial = CompartmentKeys(SecretBytes(CUSTODIAL_SEED), 0)
    compartment = custodial.compartment_id(CHAIN)
    own = CompartmentKeys(SecretBytes(OWN_SEED), 0, compartment)
    code = new_code(lambda count: hashlib.sha256(b"code").digest()[:count])
    claim = make_claim(own, card_key(code), CHAIN, ORG_ID)
    earlier = [EarlierOwner(custodial.owner.public, 0, 0)]
    handover = make_handover(own, CHAIN, earlier, _kept_sealed(own, compartment), NOW_MS)
    return {
        "about": "docs/formats.md, sections Handovers and Claims",
        "chain": _hex(CHAIN),
        "org_id": _hex(ORG_ID),
        "custodial_seed": _hex(CUSTODIAL_SEED),
        "own_seed": _hex(OWN_SEED),
        "compartment_id": _hex(compartment),
        "code": code,
        "card_key": _hex(card_key(code).public),
        "claim": _hex(encode(claim)),
        "sealed": _hex(handover.handover.sealed),
        "handover": _hex(encode(handover)),
        "handover_address": _hex(handover_address(handover.handover)),
        "sentences": [
            _said(signed) for signed in _signed(own, compartment, claim_message(claim.claim), handover_message(handover.handover))
        ],
    }


def _signed(own: CompartmentKeys, compartment: bytes, *more: bytes) -> list[bytes]:
    """One of everything an owner signs beside grants and revocations."""
    rotate = CompartmentRotate(compartment, own.owner_digest, own.recovery_digest)
    acts = ("accept", "reject", "erase", "revoke-token", "drop-log")
    place = [own.feed(0).public, own.owner.public]
    owner = Ownership(compartment, own.owner.public)
    return [
        *more,
        card_message(make_card(own, CHAIN, 2, 1, NOW_MS).card),
        token_message(CHAIN, make_token(own, CHAIN, ORG_ID, 1, 7, NOW_MS).token),
        encode(make_body(CHAIN, "compartment.rotate", rotate, None, 9)),
        *(act_message(MailboxAct(CHAIN, 3, act, place, owner, 4, [bytes(32)] * 2, NOW_MS, bytes(32))) for act in acts),
    ]


def _said(signed: bytes) -> dict[str, str]:
    return {
        "signed": _hex(signed),
        "en": sentence(signed, "en", lambda _: NAME),
        "zh-CN": sentence(signed, "zh-CN", lambda _: NAME),
    }


def _kept_sealed(own: CompartmentKeys, compartment: bytes) -> bytes:
    if FILE.exists():
        kept: str = json.loads(FILE.read_text("utf-8"))["sealed"]
        return bytes.fromhex(kept.removeprefix("0x"))
    return seal_earlier(own.root.public, CHAIN, compartment, [EarlierSeed(CUSTODIAL_SEED, 0)])


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n", "utf-8")
