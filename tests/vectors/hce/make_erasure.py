"""Writes `erasure.json`: shards and their nodes on fixed input, for an implementation in another language.

.venv/bin/python -m tests.vectors.hce.make_erasure

Bytes are hex after `0x`. Sizes around k show the padding rule.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from hce.foundation.codec.cid import cid_of_raw
from hce.foundation.erasure.code import encode
from hce.foundation.erasure.placement import place
from hce.foundation.types.ladder import MAX_NODES, ladder

FILE = Path(__file__).with_name("erasure.json")
CHAIN = bytes(range(16))
SIZES = (1, 6, 7, 37)


def vectors() -> dict[str, Any]:
    codes = sorted({ladder(n) for n in range(2, MAX_NODES + 1)})
    return {
        "codes": [code_vector(k, m, hashlib.shake_256(b"%d" % size).digest(size)) for k, m in codes for size in SIZES],
        "placements": [placement_vector(n, number) for n in range(1, MAX_NODES + 1) for number in range(2)],
    }


def code_vector(k: int, m: int, data: bytes) -> dict[str, Any]:
    return {"k": k, "m": m, "data": shown(data), "shards": [shown(shard) for shard in encode(data, k, m)]}


def placement_vector(n: int, number: int) -> dict[str, Any]:
    (k, m), ciphertext = ladder(n), cid_of_raw(b"%d" % number)
    nodes = place(CHAIN, ciphertext, k, m, n)
    return {"chain": shown(CHAIN), "ciphertext": shown(ciphertext), "k": k, "m": m, "n": n, "nodes": nodes}


def shown(raw: bytes) -> str:
    return "0x" + raw.hex()


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n")
