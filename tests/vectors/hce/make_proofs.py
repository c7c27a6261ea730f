"""Writes `proofs.json`: list roots, map roots and proofs on fixed input, for an implementation in another language.

.venv/bin/python -m tests.vectors.hce.make_proofs

Bytes are hex after `0x`; proofs are their DAG-CBOR. Keys that share a bucket are found by search:
every kind of absence is there.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

from hce.foundation.codec.dagcbor import encode
from hce.foundation.proofs.authmap import EMPTY_ROOT, bucket_of, path_of
from hce.foundation.proofs.listhash import list_proof, list_root
from hce.foundation.store.kv import KeyValueStore
from hce.foundation.store.mapnodes import MapStore

FILE = Path(__file__).with_name("proofs.json")
LIST_COUNTS = (0, 1, 2, 3, 5, 8, 13)
CROWD = 5
"""Keys that share the bucket of key "0"."""


def vectors() -> dict[str, Any]:
    return {"lists": [list_vector(length) for length in LIST_COUNTS], "maps": map_vectors()}


def list_vector(length: int) -> dict[str, Any]:
    items = [hashlib.sha256(b"%d" % number).digest()[:number] for number in range(length)]
    return {
        "items": [shown(item) for item in items],
        "root": shown(list_root(items)),
        "proofs": [shown(encode(list_proof(items, index))) for index in range(length)],
    }


def map_vectors() -> list[dict[str, Any]]:
    crowd = crowd_by_path()
    elsewhere = {b"elsewhere %d" % number: b"%d" % number for number in range(20)}
    contents = [
        {},
        {crowd[0]: b"alone"},
        elsewhere,
        elsewhere | dict.fromkeys(crowd[:1], b""),
        elsewhere | {key: b"value of " + key for key in crowd[1:4]},
        elsewhere | {key: b"value of " + key for key in (crowd[0], crowd[1], crowd[4])},
    ]
    return [map_vector(content, crowd) for content in contents]


def map_vector(content: dict[bytes, bytes], asked: list[bytes]) -> dict[str, Any]:
    state = MapStore("map")
    with (
        tempfile.TemporaryDirectory() as folder,
        KeyValueStore.open(Path(folder), tables=state.tables, map_size=1 << 22) as store,
        store.write() as batch,
    ):
        root = state.update(batch, content)
        assert content or root == EMPTY_ROOT
        proofs = {key: state.prove(batch, key) for key in asked}
    return {
        "content": [[shown(key), shown(value)] for key, value in sorted(content.items())],
        "root": shown(root),
        "proofs": [
            {"key": shown(key), "value": None if value is None else shown(value), "proof": shown(encode(proof))}
            for key, (value, proof) in proofs.items()
        ],
    }


def crowd_by_path() -> list[bytes]:
    bucket = bucket_of(path_of(b"0"))
    found: list[bytes] = []
    for number in count():
        if bucket_of(path_of(b"%d" % number)) == bucket:
            found.append(b"%d" % number)
        if len(found) == CROWD:
            break
    return sorted(found, key=path_of)


def shown(raw: bytes) -> str:
    return "0x" + raw.hex()


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n")
