"""A clinician's tool in TypeScript reads under a grant that Python keeps, and the owner's log shows it like any other reading."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.service.running import OneNode
from tests.service.sdk.patients import Patient
from tests.web.node import ROOT, bundled, run_node

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.sign import SigningKey
from hce.service.gateway.granted import reader_for
from hce.service.gateway.practice import Practice
from hce.service.terms.genesis import genesis_cid


def seed_of(key: SigningKey) -> str:
    """Keys do not show themselves; a test that hands one to another process opens it."""
    return key._secret.reveal()[:32].hex()


async def test_a_reader_in_typescript_opens_what_is_granted_and_is_in_the_log(
    node: OneNode, practice: Practice, patient: Patient, tmp_path: Path
) -> None:
    script = bundled(tmp_path, ROOT / "web/sdk/tests/live/reader.ts")
    parcel = reader_for(practice, patient.made.grant_id).parcel
    given = {
        "act": "read",
        "url": node.url,
        "genesis": genesis_cid(node.home.genesis()).hex(),
        "parcel": encode(parcel).hex(),
        "reader_seed": seed_of(practice.keyring.reader_key(parcel.body.reader_key)),
        "credential_id": parcel.body.grantee.hex(),
        "credential_seed": seed_of(practice.keyring.clinician(parcel.body.grantee)),
        "org_id": practice.org_id.hex(),
        "org_seed": seed_of(practice.keys.signing),
    }
    answer = json.loads(await asyncio.to_thread(run_node, script, stdin=json.dumps(given) + "\n"))
    assert "ok" in answer, answer
    found = answer["ok"]
    own = await patient.owner.read_own()
    expected = {name.hex(): [item.content.hex() for item in record.manifest.items] for name, record in own.opened.items()}
    assert found == {"records": expected, "refused": [], "lying": []}
    log = await patient.owner.audit([patient.made])
    assert log.complete, log.findings
    assert [set(read.records) for read in log.reads] == [set(patient.records)]
