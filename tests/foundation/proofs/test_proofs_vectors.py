"""The frozen vectors of lists and maps: the code still gives them, and their proofs still verify."""

from __future__ import annotations

import json

from tests.vectors.hce.make_proofs import FILE, vectors

from hce.foundation.codec.dagcbor import decode_as
from hce.foundation.proofs.authmap import MapProof, verify_map_proof
from hce.foundation.proofs.listhash import ListProof, verify_list_proof

FROZEN = json.loads(FILE.read_text())


def raw(shown: str) -> bytes:
    return bytes.fromhex(shown.removeprefix("0x"))


def test_the_code_gives_the_frozen_vectors() -> None:
    assert vectors() == FROZEN


def test_frozen_list_proofs_verify() -> None:
    for vector in FROZEN["lists"]:
        for item, proof in zip(vector["items"], vector["proofs"], strict=True):
            assert verify_list_proof(raw(vector["root"]), raw(item), decode_as(ListProof, raw(proof)))


def test_frozen_map_proofs_verify_and_show_every_kind_of_absence() -> None:
    kinds = set()
    for vector in FROZEN["maps"]:
        for asked in vector["proofs"]:
            proof = decode_as(MapProof, raw(asked["proof"]))
            value = None if asked["value"] is None else raw(asked["value"])
            assert verify_map_proof(raw(vector["root"]), raw(asked["key"]), value, proof)
            if value is None:
                kinds.add((len(proof.members), proof.members[0].index == 0 if len(proof.members) == 1 else None))
    assert kinds == {(0, None), (1, True), (1, False), (2, None)}
