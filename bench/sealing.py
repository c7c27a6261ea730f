"""How many records one core seals and opens: two locks, owner's wrap, author's signature, the keyholders' weighed parts.

.venv/bin/python bench/sealing.py --records 500 --bytes 4000 --nodes 9 --seed 1
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import sys
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.crypto.threshold import DealtKey, deal, weighed
from hce.foundation.types.quorum import two_thirds
from hce.service.terms.grants import GrantBody, ReleaseReply, ReleaseRequest
from hce.service.terms.records import ContentItem, make_header
from hce.service.terms.states import KeyholderState, RecordState
from hce.service.vault import compartments, granting, opening, sealing

CHAIN, SOME = bytes(16), bytes(32)
NOW_MS = 1_760_000_000_000
T = TypeVar("T")


class Bench(NamedTuple):
    keys: compartments.CompartmentKeys
    root: OpeningKey
    keyholders: KeyholderState
    dealt: DealtKey
    batch: sealing.Batch
    locked: list[granting.LockedRecord]
    """In the order of the batch."""


def main() -> None:
    arguments = parse_arguments()
    print(f"machine  {cpu_model()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}")
    print(f"command  python {' '.join(sys.argv)}")
    print(f"seed     {arguments.seed}")
    print(f"records  {arguments.records} of {arguments.bytes} bytes in one session, one core")
    bench = prepare(arguments)
    request = release_request(bench)
    timed("opened by the owner, both locks checked", arguments.records, lambda: open_as_owner(bench))
    timed("one keyholder's weighed parts", arguments.records, lambda: reply_of(bench, request, 0))
    replies = [reply_of(bench, request, node) for node in range(bench.keyholders.threshold)]
    timed("opened by a reader from the parts", arguments.records, lambda: open_as_reader(bench, replies, request))


def prepare(arguments: argparse.Namespace) -> Bench:
    """Seals everything, on the clock."""
    source = random.Random(arguments.seed)
    dealt = deal(arguments.nodes, two_thirds(arguments.nodes), source.randbytes(32))
    keyholders = KeyholderState(dealt.key_id, dealt.threshold, dealt.public_key, dealt.member_keys, 0)
    keys = compartments.CompartmentKeys(SecretBytes(source.randbytes(64)), 0)
    card = compartments.make_card(keys, CHAIN, 0, 0, NOW_MS).card
    author = SigningKey(source.randbytes(32))
    session = sealing.AuthoringSession(CHAIN, SOME, SOME, author, card, keyholders, source.randbytes)
    contents = [source.randbytes(arguments.bytes) for _ in range(arguments.records)]

    def seal_all() -> sealing.Batch:
        for content in contents:
            session.seal([ContentItem("a", "application/fhir+json", content)], "lab", "2025-03-04", NOW_MS)
        return sealing.make_batch([session])

    batch = timed("sealed", arguments.records, seal_all)
    entry = batch.feed_writes[0].session_entry
    read = timed(
        "openings read",
        arguments.records,
        lambda: opening.read_session(keys.reading(0), entry, CHAIN, card.compartment_id, 0),
    )
    locked = [
        granting.LockedRecord(
            make_header(CHAIN, record.record_id, record.entry.policy_commitment, keyholders.key_id),
            record.envelope,
            read,
            record.entry.key_commitment,
        )
        for record in batch.records
    ]
    return Bench(keys, keys.root, keyholders, dealt, batch, locked)


def open_as_owner(bench: Bench) -> None:
    compartment_id = bench.keys.compartment_id(CHAIN)
    for record, lock in zip(bench.batch.records, bench.locked, strict=True):
        entry = record.entry
        state = RecordState(
            SOME, entry.envelope_digest, entry.key_commitment, entry.policy_commitment, bench.batch.placement_cid, 1, NOW_MS
        )
        owner = opening.owner_open(bench.root, lock.session.owner_lock, record.owner_wrap, lock.header, compartment_id)
        opening.owner_checks_both_locks(
            owner, record.owner_wrap, lock.session, lock.header, record.envelope, state, bench.keyholders
        )
        opening.open_record(owner.dek, record.ciphertext, lock.header, entry.key_commitment)


def open_as_reader(bench: Bench, replies: list[ReleaseReply], request: ReleaseRequest) -> None:
    combined = granting.combine_weighed_release(replies, request, bench.locked, bench.keyholders)
    for record, lock in zip(bench.batch.records, bench.locked, strict=True):
        opening.open_record(combined.deks[record.record_id], record.ciphertext, lock.header, lock.key_commitment)


def reply_of(bench: Bench, request: ReleaseRequest, node: int) -> ReleaseReply:
    """The parts alone: what is asked before (the capsule among it) and the seal of the reply are not measured here."""
    parts = weighed(bench.dealt.shares[node], [asked.capsule for asked in request.openings], request.together or ())
    return ReleaseReply(node, bench.keyholders.key_id, 0, [], parts)


def release_request(bench: Bench) -> ReleaseRequest:
    """All records, asked of the first `threshold` nodes. Nobody checks the grant, so any will do."""
    body = GrantBody(
        chain=CHAIN,
        compartment_id=bench.keys.compartment_id(CHAIN),
        compartment_version=0,
        owner_key=SOME,
        log_key=bench.root.public,
        log_read_key=SOME,
        grantee=SOME,
        reader_key=SOME,
        revoke_key=SOME,
        not_before_ms=NOW_MS,
        expires_at_ms=NOW_MS,
        date_from="2025-03-04",
        date_to="2025-03-04",
        purpose="treatment",
        mode="read",
        nonce=SOME,
    )
    wanted = {lock.header.record_id: (lock.session.openings[lock.header.record_id], lock.envelope) for lock in bench.locked}
    prepared = granting.make_access(body, SOME, list(wanted), "treatment", "")
    return granting.make_release_request(prepared, body, SOME, wanted, SigningKey(SOME), range(bench.keyholders.threshold))


def timed(what: str, count: int, work: Callable[[], T]) -> T:
    """Runs the work once and prints how many of `count` go through in a second."""
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    print(f"{what:<42}{count / seconds:>8.0f} records/s{seconds / count * 1e6:>10.0f} us each")
    return result


def cpu_model() -> str:
    with open("/proc/cpuinfo") as lines:
        return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=500, help="records to seal and open (at most 600)")
    parser.add_argument("--bytes", type=int, default=4_000, help="content of each")
    parser.add_argument("--nodes", type=int, default=9, help="keyholders")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
