"""Threads that meet a type for the first time at the same time: `msgspec` alone ends the process in most such runs."""

from __future__ import annotations

import subprocess
import sys

THREADS_THAT_MEET_TYPES = """
import sys, threading
sys.setswitchinterval(1e-6)
from hce.foundation.codec.dagcbor import convert
from hce.foundation.types.errors import Malformed
from hce.service.terms import grants, intake, mailbox, proofs

types = [intake.IntakeBatch, grants.ReleaseRequest, grants.GrantParcel, proofs.TxProof, mailbox.SignedRead, grants.ReleaseReply]
start = threading.Barrier(8)

def meet():
    for one in types:
        start.wait()
        for _ in range(20):
            try:
                convert(one, [b"", [b""] * 3, [[b""] * 5] * 2, 1, 2, 3])
            except Malformed:
                pass

threads = [threading.Thread(target=meet) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_threads_may_meet_a_type_at_the_same_time() -> None:
    for _ in range(3):
        assert subprocess.run([sys.executable, "-c", THREADS_THAT_MEET_TYPES], check=False, timeout=120).returncode == 0
