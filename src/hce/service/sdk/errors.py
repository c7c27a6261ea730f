"""Errors a client meets. `Remote` carries the code of the node or gateway that refused."""

from __future__ import annotations

import json
from typing import Any

from hce.foundation.types.errors import PeerFault, Refused, Unavailable


class NodeUnreachable(Unavailable):
    """No answer from a node within the time limit."""

    code = "node.unreachable"


class BadAnswer(PeerFault):
    """An answer that is not what was asked for: not decodable, too large, compressed, or without what it must have."""

    code = "node.bad_answer"


class NotFinalInTime(Unavailable):
    """A transaction was accepted but no final block held it before its time ran out."""

    code = "tx.not_final_in_time"


class WrongNetwork(PeerFault):
    """A node serves another genesis than the one this client trusts."""

    code = "node.wrong_network"


class Remote(Refused):
    """The other side refused; `code` is its code."""

    def __init__(self, code: str, status: int, detail: str = "", **fields: Any) -> None:
        self.code = code  # type: ignore[misc]  # the class variable is the default of a code that only the answer knows
        self.status = status  # type: ignore[misc]
        super().__init__(detail, **fields)


class RemoteUnavailable(Unavailable):
    """A node cannot answer now; `code` is its code."""

    def __init__(self, code: str, url: str) -> None:
        self.code = code  # type: ignore[misc]  # as above
        super().__init__(url=url)


class Failed(Refused):
    """A transaction became final and failed; `code` is the contract's code."""

    def __init__(self, code: str, tx_id: bytes) -> None:
        self.code = code  # type: ignore[misc]  # known only from the receipt
        super().__init__("the transaction is final and failed", tx_id=tx_id.hex())


def remote(status: int, problem: bytes, url: str, otherwise: type[BadAnswer] = BadAnswer) -> Remote | BadAnswer:
    """What a problem document (RFC 9457) of a node or gateway says; `otherwise` when it is none."""
    try:
        said = json.loads(problem)
        return Remote(str(said["code"]), status, str(said.get("detail", "")))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return otherwise("no problem document", url=url, status=status)
