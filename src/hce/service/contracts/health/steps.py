"""The steps meter: what a transaction costs every node, counted before it runs, from what it says alone.

1 step = 1 microsecond on the reference core. The count uses the kind, the bytes and the counted items only, never the state
or a clock, so every node charges the same and a full block can be told from a transaction list.

The weights are set by two measurements on 2 cores of an AMD EPYC, CPython 3.11: `bench/steps.py`, one transaction at a time (parsing,
checks, execution, its share of the state map's root and of the disk), and `hce bench worst-block`, whole blocks of each kind on a
node that saw none of their transactions. Every kind is charged about what it costs, so that a full block costs every node a known
time whatever it holds (docs/adr/0013); a weight changes only with the rules version.

    median us   vote 497, revoke 402, issue 141, revoke 97, compartment 97, rotate 99, grant 138, revoke 97, access 192, anchor 97, page 205
    batches     1 record 588, 100 records 10,497, 600 records 65,921 (each record 109, each receipt 50)

Credentials and entries are charged more than their median: for the longest names, and for what a full block of new ones costs. Votes
too: a vote that takes effect rewrites the open votes of every node, or reads all votes for a page.
"""

from __future__ import annotations

from typing import Final

from hce.service.terms.genesis import Params
from hce.service.terms.payloads import RecordBatch
from hce.service.terms.transactions import HealthTx

STEPS_OF_KIND: Final = {
    "organisation.vote": 600,
    "organisation.revoke": 450,
    "credential.issue": 80,
    "credential.revoke": 75,
    "compartment.open": 60,
    "compartment.rotate": 60,
    "record.commit": 60,
    "grant.open": 60,
    "grant.revoke": 60,
    "access.open": 115,
    "anchor.post": 60,
    "portal.vote": 220,
}
"""Parsing, the contract itself, and writing its own keys."""
STEPS_OF_SIGNATURE: Final = 45
"""One Ed25519 check."""
STEPS_OF_RECEIPT: Final = 50
"""One availability receipt of a batch: an Ed25519 check and its message."""
STEPS_OF_ENTRY: Final = 110
"""One record of a batch: its id, two absences, two writes and their share of the map's root."""
STEPS_OF_KIB: Final = 20
"""Decoding and hashing 1,024 bytes, begun ones counted whole."""
LEAST_STEPS: Final = min(STEPS_OF_KIND.values()) + STEPS_OF_SIGNATURE + STEPS_OF_KIB
"""Less than this no transaction takes."""


def count_steps(tx: HealthTx) -> int:
    """Steps this transaction takes, whether it succeeds or not."""
    steps = STEPS_OF_KIND[tx.body.kind] + STEPS_OF_SIGNATURE * len(tx.signatures) + STEPS_OF_KIB * -(-len(tx.raw) // 1024)
    if tx.body.kind == "record.commit":
        batch: RecordBatch = tx.body.payload
        steps += STEPS_OF_ENTRY * len(batch.entries) + STEPS_OF_RECEIPT * len(batch.receipts)
    return steps


def steps_of(tx: HealthTx, params: Params) -> int:
    """Steps charged: a transaction above the cap is not run and pays for the cap, as one that runs out of gas does."""
    return min(count_steps(tx), params.tx_steps)
