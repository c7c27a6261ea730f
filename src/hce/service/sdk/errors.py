"""Errors a client meets. `Remote` carries the code of the node or gateway that refused."""

from __future__ import annotations

from typing import Any

from hce.foundation.types.errors import HceError, PeerFault, Refused, Unavailable


class NodeUnreachable(Unavailable):
    """No answer from a node within the time limit."""

    code = "node.unreachable"


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


def code_of(error: BaseException) -> str:
    """The stable code of any error: what the tour and tests compare."""
    return error.code if isinstance(error, HceError) else type(error).__name__
