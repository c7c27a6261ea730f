"""What can go wrong between two nodes, and who is to blame."""

from __future__ import annotations

from hce.foundation.types.errors import Corrupt, PeerFault, Refused, Unavailable


class FrameInvalid(PeerFault):
    """Bytes that are no frame, or a frame beyond the bound of its kind."""

    code = "link.frame_invalid"


class HelloInvalid(PeerFault):
    """The peer speaks another version, belongs to another network, or names another index than its certificate."""

    code = "link.hello_invalid"


class PeerUnknown(PeerFault):
    """A certificate that is not exactly the one of a node that may be at the other end."""

    code = "link.peer_unknown"


class PeerSilent(PeerFault):
    """Connected, but nothing whole came for too long."""

    code = "link.peer_silent"


class CertificateMismatch(Corrupt):
    """The genesis names a link key and holds a certificate for another one."""

    code = "link.certificate_mismatch"


class LinkDown(Unavailable):
    """No connection to that node, or it ended before the answer came."""

    code = "link.down"


class LinkBusy(Unavailable):
    """Too many requests are under way on that link."""

    code = "link.busy"


class AnswerLate(Unavailable):
    """The peer did not answer a request in time."""

    code = "link.answer_late"


class RequestFailed(Unavailable):
    """The peer answered a request with an error; `remote_code` is its code."""

    code = "link.request_failed"

    def __init__(self, remote_code: str, remote_detail: str, peer: int) -> None:
        super().__init__(remote_detail, remote_code=remote_code, peer=peer)
        self.remote_code = remote_code


class MethodUnknown(Refused):
    """Nothing is served under that name."""

    code = "link.method_unknown"
    status = 404


class LinkAddressTaken(Unavailable):
    """Another program listens where this node's link should."""

    code = "link.address_taken"
