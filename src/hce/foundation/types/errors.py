"""The one error tree. The base class says who is at fault; `code` is the i18n key, the HTTP problem type and the metric label.

A subclass lives in the room that raises it. Every `Refused` code has words in zh-CN and en (`hce/app/words`), and a test
checks that none is missing.
"""

from __future__ import annotations

from typing import Any, ClassVar


class HceError(Exception):
    """An error with a stable code and named fields. `detail` is for developers and never holds secrets or patient data."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    """HTTP status when the error reaches a client."""

    def __init__(self, detail: str = "", /, **fields: Any) -> None:
        self.detail = detail
        self.fields = fields
        shown = ", ".join(f"{name}={value!r}" for name, value in fields.items())
        super().__init__(": ".join(part for part in (self.code, detail, shown) if part))


class Refused(HceError):
    """The caller asked for something the rules do not allow. Nothing was changed."""

    code = "refused"
    status = 403


class Malformed(Refused):
    """Bytes that do not follow `docs/formats.md`."""

    code = "malformed"
    status = 400


class TooLarge(Refused):
    """More than a bound in `limits.py` allows."""

    code = "too_large"
    status = 413


class NotFound(Refused):
    """Nothing under that name, or nothing the caller may know of."""

    code = "not_found"
    status = 404


class Unavailable(HceError):
    """The answer exists but cannot be given now (starting, syncing, overloaded). Trying again later is right."""

    code = "unavailable"
    status = 503


class PeerFault(HceError):
    """Another machine sent something no honest one would send."""

    code = "peer.fault"
    status = 502


class Corrupt(HceError):
    """What our own disk returned is not what was written."""

    code = "disk.corrupt"


class Bug(AssertionError):
    """A promise the code makes to itself is broken. The process stops rather than guess."""
