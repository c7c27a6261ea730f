"""Writes `health.json`: one transaction of every kind, played on a chain of one node, with all bytes on the way.

.venv/bin/python -m tests.vectors.hce.make_health

Bytes are hex after `0x`. Keys are Ed25519 with seed = SHA-256(name). For each transaction:
payload (fields by name, in order), body_bytes, id, what each role signs and its signature, the signed transaction, the block it
runs in, its steps, the ids it produces, and every key of the health map it writes with the value.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
from tests.service.contracts.world import ALL_POWERS, CHAIN, World, bytes32, key

from hce.foundation.codec.dagcbor import decode_as
from hce.service.contracts.health import steps_of
from hce.service.terms.payloads import (
    AnchorPost,
    CompartmentRotate,
    CredentialRevoke,
    PortalRelease,
    PortalVote,
    RecordBatch,
    availability_message,
    envelopes_root,
    owner_digest,
)
from hce.service.terms.transactions import HealthTx, SignedHealthTx, sign_message

FILE = Path(__file__).with_name("health.json")


def vectors() -> dict[str, Any]:
    """The whole file."""
    world = World(1)
    steps = [played(world, name, tx) for name, tx in story(world)]
    names = ("node 0 service", "clinic", "owner", "recovery", "grant reader", "grant revoke")
    return {
        "about": "docs/formats.md, sections Health transactions and State maps",
        "chain": shown(CHAIN),
        "keys": {
            name: {"seed": shown(hashlib.sha256(name.encode()).digest()), "public": shown(key(name).public)} for name in names
        },
        "transactions": steps,
    }


def story(world: World) -> Any:
    """Each transaction is made when the ones before it have run."""
    yield "certify an organisation", world.vote(world.certificate("clinic", ALL_POWERS), 0)
    issue = world.credential("clinic", "nurse")
    yield "issue a credential", issue
    yield "open a compartment", world.compartment("owner", "recovery", "clinic")
    entries = [world.entry("first"), world.entry("second")]
    yield "commit two records", world.commit("clinic", world.batch("clinic", entries))
    opened = world.open_grant("grant", world.grant("grant"), "clinic")
    yield "open a grant", opened
    grant_id = made_by(world, b"grant/")
    yield "first access", world.access("grant", grant_id, bytes32("first access"), "clinic")
    yield "second access", world.access("grant", grant_id, bytes32("second access"), "clinic")
    yield "revoke the grant", world.revoke_grant("grant", grant_id)
    fresh = [owner_digest(key(name).public) for name in ("owner 2", "recovery 2")]
    rotation = CompartmentRotate(made_by(world, b"comp/"), *fresh)
    yield "rotate the compartment", world.tx("compartment.rotate", rotation, [("recovery", "recovery")])
    revoke = CredentialRevoke(made_by(world, b"cred/"), "left")
    yield "revoke the credential", world.tx("credential.revoke", revoke, [("organisation", "clinic")])
    yield "revoke the organisation", world.vote_revoke("clinic", 0)
    world.next_block(blocks=world.params.anchor_blocks)
    yield (
        "anchor the first period",
        world.tx("anchor.post", AnchorPost(0, 2, bytes32("anchor"), key("node 0 service").public), [("node", "node 0 service")]),
    )
    release = PortalVote(PortalRelease(1, bytes32("bundle"), "1.0.0"), key("node 0 service").public)
    yield "publish the portal's page", world.tx("portal.vote", release, [("node", "node 0 service")])


def made_by(world: World, prefix: bytes) -> bytes:
    """The one id under a prefix of the map."""
    [name] = [name for name in world.map() if name.startswith(prefix)]
    return name.removeprefix(prefix)


def played(world: World, name: str, tx: HealthTx) -> dict[str, Any]:
    """Run it in the next block and write down everything."""
    world.next_block()
    before = world.map()
    produced = world.run(tx)
    shown_tx = {
        "name": name,
        "kind": tx.body.kind,
        "payload": named(tx.body.payload),
        "payer": shown(tx.body.payer),
        "valid_until": tx.body.valid_until,
        "body_bytes": shown(decode_as(SignedHealthTx, tx.raw).body_bytes),
        "id": shown(tx.id),
        "signatures": [
            {
                "role": signed.role,
                "public_key": shown(signed.public_key),
                "signed_bytes": shown(sign_message(CHAIN, signed.role, tx.id)),
                "signature": shown(signed.signature),
            }
            for signed in tx.signatures
        ],
        "signed_transaction": shown(tx.raw),
        "block": {"height": world.height, "time_ms": world.time_ms, "epoch": world.env.epoch, "nodes": len(world.nodes)},
        "steps": steps_of(tx, world.params),
        "produced": shown(produced),
        "writes": {shown(place): shown(value) for place, value in world.map().items() if before.get(place) != value},
    }
    return shown_tx | ({"availability": availability(world, tx.body.payload)} if isinstance(tx.body.payload, RecordBatch) else {})


def availability(world: World, batch: RecordBatch) -> dict[str, Any]:
    """What the receipts of a batch sign."""
    root = envelopes_root(batch.entries)
    messages = [
        availability_message(CHAIN, batch.placement, receipt.shard, root, receipt.node, world.env.epoch, receipt.hold_until)
        for receipt in batch.receipts
    ]
    return {"envelopes_root": shown(root), "signed_bytes": shown(messages)}


def named(value: Any) -> Any:
    """Structs as fields by name, bytes as hex."""
    if isinstance(value, msgspec.Struct):
        return {field: named(getattr(value, field)) for field in value.__struct_fields__}
    return [named(item) for item in value] if isinstance(value, list) else shown(value)


def shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return [shown(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n")
