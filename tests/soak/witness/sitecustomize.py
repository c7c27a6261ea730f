"""Python runs this first in every process that has this folder in PYTHONPATH: nodes then write down what they sign for consensus.

The line is written after the signature exists and before anybody can see it, so what is not in a node's file never left the node.
Nothing else of the node changes: the crash tests read the files afterwards, whatever the nodes believe of themselves.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

FOLDER = "HCE_SIGN_WITNESS"


def watch_signer(folder: str) -> None:
    """Wraps both ways in which a node signs for consensus."""
    from hce.network.runtime.signer import Signer

    vote, proposal = Signer.vote, Signer.proposal

    def note(signer: Any, *what: object) -> None:
        line = json.dumps(what).encode() + b"\n"
        descriptor = os.open(os.path.join(folder, f"node-{signer._index}"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line)  # one write, so that a kill leaves a whole line or none
        finally:
            os.close(descriptor)

    def witnessed_vote(self: Any, wanted: Any, shared: Any) -> Any:
        made = vote(self, wanted, shared)
        note(self, made.height, made.round, int(made.type), None if made.block_id is None else made.block_id.hex())
        return made

    def witnessed_proposal(self: Any, wanted: Any, block: Any, shared: Any) -> Any:
        made = proposal(self, wanted, block, shared)
        note(self, made.height, made.round, 0, f"{made.block_id.hex()} {made.valid_round}")
        return made

    Signer.vote, Signer.proposal = witnessed_vote, witnessed_proposal  # type: ignore[method-assign]


if FOLDER in os.environ and {"node", "run"} <= set(sys.orig_argv):
    watch_signer(os.environ[FOLDER])
