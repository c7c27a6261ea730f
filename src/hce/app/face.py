"""A network's face: the name under which browsers on other machines reach its portal, nodes and gateways, all of them over TLS.

On the loopback address everything speaks plain HTTP, because nothing there leaves the machine. Under any other name nothing does: a page
whose script could be changed on the way would give its keys to whoever changed it, and a page that came over TLS may ask nobody who
does not answer over TLS (mixed content). So one certificate serves all ports of the network, each beside its loopback port.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from msgspec import Struct
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hce.foundation.types.errors import Refused
from hce.service.http import NoSuchPath, problem

PORT_OFFSET = 200
"""The port for other machines lies this far above the loopback one."""
EVERYWHERE = "0.0.0.0"  # noqa: S104  # the purpose of a face; only with a certificate
HSTS = "max-age=31536000"
"""A browser that was here once asks this name over TLS only, for a year."""
OPERATORS_ONLY = frozenset({"/metrics"})
"""Not for other machines."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


class TlsMissing(Refused):
    """A name that is not this machine's own, and no certificate for it."""

    code = "tls.missing"


class TlsUnusable(Refused):
    """Certificate and key cannot be served under this name."""

    code = "tls.unusable"


class Outside(Struct, frozen=True):
    """What somebody asked for at the start: under which name, on which address, with which certificate."""

    name: str
    address: str = EVERYWHERE
    certificate: Path | None = None
    """PEM, with the chain that leads to an authority browsers know."""
    key: Path | None = None


class Face(Struct, frozen=True, forbid_unknown_fields=True):
    """HOME/face.json, rewritten at every start. Addresses as browsers elsewhere use them."""

    address: str
    certificate: str
    key: str
    nodes: list[str]
    gateways: dict[str, str]
    portal: str


class Door(Struct, frozen=True):
    """Where one process listens for other machines."""

    address: str
    port: int
    tls: ssl.SSLContext
    hsts: bool


def is_loopback(name: str) -> bool:
    """Whether a host name or address never leaves this machine."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def certified(outside: Outside | None, now: datetime) -> tuple[str, str] | None:
    """(certificate, key) to serve with; None when nothing is served elsewhere. Raises `TlsMissing`, `TlsUnusable`."""
    if outside is None:
        return None
    if not _NAME.fullmatch(outside.name):
        raise TlsUnusable("no host name, in small letters and without port", name=outside.name)
    if outside.certificate is None or outside.key is None:
        if is_loopback(outside.name) and outside.certificate is outside.key:
            return None
        raise TlsMissing(name=outside.name)
    context_of(str(outside.certificate), str(outside.key))
    _require_fit(outside.certificate, outside.name, now)
    return str(outside.certificate.resolve()), str(outside.key.resolve())


def face_of(outside: Outside, pair: tuple[str, str], nodes: list[int], gateways: dict[str, int], portal: int) -> Face:
    """From ports for other machines; `pair` as `certified` gives it."""
    at = f"https://{outside.name}:"
    named = {name: f"{at}{port}" for name, port in gateways.items()}
    return Face(outside.address, *pair, [f"{at}{port}" for port in nodes], named, f"{at}{portal}")


def door_of(face: Face, url: str) -> Door:
    """Where the process behind one of the face's addresses listens. Raises `TlsUnusable`."""
    split = urlsplit(url)
    return Door(face.address, split.port or 443, context_of(face.certificate, face.key), not is_loopback(split.hostname or ""))


def context_of(certificate: str, key: str) -> ssl.SSLContext:
    """Raises `TlsUnusable` when the files cannot be read or do not belong together."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise TlsUnusable(str(error), certificate=certificate, key=key) from error
    return context


class Elsewhere:
    """ASGI middleware for answers to other machines: what is the operator's alone is not there, and TLS stays TLS."""

    def __init__(self, app: ASGIApp, hsts: bool) -> None:
        self._app = app
        self._hsts = hsts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_hsts(message: Message) -> None:
            if self._hsts and message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("strict-transport-security", HSTS)
            await send(message)

        if scope["type"] == "http" and scope["path"] in OPERATORS_ONLY:
            answer = await problem(Request(scope), NoSuchPath())
            await answer(scope, receive, with_hsts)
        else:
            await self._app(scope, receive, with_hsts)


def _require_fit(certificate: Path, name: str, now: datetime) -> None:
    """The first certificate of the file is for this name, now."""
    try:
        leaf = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise TlsUnusable(str(error), certificate=str(certificate)) from error
    listed = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    if name not in listed and "*." + name.partition(".")[2] not in listed:
        raise TlsUnusable("it is for another name", name=name, certificate=", ".join(listed))
    if not leaf.not_valid_before_utc <= now < leaf.not_valid_after_utc:
        raise TlsUnusable("it is not valid now", not_after=leaf.not_valid_after_utc.isoformat(), certificate=str(certificate))


def _no_password() -> str:
    """Else OpenSSL asks the terminal."""
    raise ValueError("the key has a passphrase: give one without")
