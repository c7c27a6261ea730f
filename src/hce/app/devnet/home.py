"""Where a network's files lie, and the two small formats that describe them.

HOME/genesis.cbor                   what everybody trusts
HOME/network.json                   addresses of nodes, gateways and the portal on this machine
HOME/face.json                      their addresses for other machines, and the certificate; only when there are any (`app/face.py`)
HOME/nodes/0/keys.cbor  share.cbor  0600: the node's four keys, its share of lock B's key
HOME/nodes/0/data/                  chain, mailbox, blobs
HOME/gateways/riverside/            keyring, index, gateway.json, token (0600)
HOME/operators.cbor                 0600: demo wallet (development only)
HOME/logs/
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from hce.app.face import Door, Face, door_of
from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.store.disk import replace_file
from hce.foundation.types.errors import Corrupt, Refused
from hce.foundation.types.scalars import Bytes32
from hce.service.terms.genesis import Genesis

DEFAULT_FOLDER = "run"
"""Where a network lies when nobody says otherwise."""
PORTAL_PORT_OFFSET = 80
"""The portal listens this far above the nodes."""


class HomeMissing(Refused):
    """There is no HCE network in that folder."""

    code = "home.missing"
    status = 404


class HomeBroken(Corrupt):
    """A file that describes the network is not what was written."""

    code = "home.broken"


class NodeKeys(Struct, frozen=True, array_like=True):
    """A node's four private keys (protocol section 3)."""

    operator: Bytes32
    """secp256k1; holds the lock on the value chain."""
    consensus: Bytes32
    link: Bytes32
    service: Bytes32

    def __repr__(self) -> str:
        """Never a key."""
        return "NodeKeys(…)"


class DemoWallet(Struct, frozen=True, array_like=True):
    """The promotion account of the demo network; pays for tanks."""

    secret: Bytes32

    def __repr__(self) -> str:
        """Never the key."""
        return "DemoWallet(…)"


class Home:
    """Paths inside one network's folder. Makes no file by itself."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.genesis_path = root / "genesis.cbor"
        self.network_path = root / "network.json"
        self.face_path = root / "face.json"
        self.logs = root / "logs"

    def node(self, index: int) -> Path:
        return self.root / "nodes" / str(index)

    def gateway(self, name: str) -> Path:
        return self.root / "gateways" / name

    @property
    def option(self) -> str:
        """What to add to a printed command so that it finds this network: nothing in the usual place."""
        shorter = min(str(self.root), os.path.relpath(self.root), key=len)
        return "" if self.root == Path.cwd() / DEFAULT_FOLDER else f" --home {shlex.quote(shorter)}"

    @property
    def exists(self) -> bool:
        return self.network_path.exists()

    def genesis(self) -> Genesis:
        if not self.genesis_path.exists():
            raise HomeMissing(path=str(self.root))
        return decode_as(Genesis, self.genesis_path.read_bytes())

    def network(self) -> dict[str, Any]:
        """{"nodes": [url, ...], "links": ["host:port", ...], "gateways": {name: url}, "portal": url}; a lone node has no links."""
        if not self.network_path.exists():
            raise HomeMissing(path=str(self.root))
        try:
            found: dict[str, Any] = json.loads(self.network_path.read_text())
            return {"nodes": [str(url) for url in found["nodes"]], "gateways": dict(found["gateways"]), **found}
        except (ValueError, KeyError, TypeError) as error:
            raise HomeBroken(path=str(self.network_path)) from error

    @property
    def portal(self) -> str:
        """The one origin of the portal: for other machines where there is a face, else on this machine."""
        face = self.face()
        return self.portal_here if face is None else face.portal

    @property
    def portal_here(self) -> str:
        """By name, because browsers give passkeys and cryptography to `localhost` and not to 127.0.0.1.

        A network that was made before there was a portal has it at the usual distance from its first node.
        """
        described = self.network()
        first = urlsplit(described["nodes"][0]).port or 0
        return str(described.get("portal") or f"http://localhost:{first + PORTAL_PORT_OFFSET}")

    def face(self) -> Face | None:
        """How other machines reach this network; None when they do not. Raises `HomeBroken`."""
        if not self.face_path.exists():
            return None
        try:
            return msgspec.json.decode(self.face_path.read_bytes(), type=Face)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise HomeBroken(path=str(self.face_path)) from error

    def keep_face(self, face: Face | None) -> None:
        """For the processes that are started from now on."""
        if face is None:
            self.face_path.unlink(missing_ok=True)
        else:
            replace_file(self.face_path, msgspec.json.encode(face))

    def node_door(self, index: int) -> Door | None:
        """Where that node listens for other machines."""
        face = self.face()
        return None if face is None else door_of(face, face.nodes[index])

    def gateway_door(self, name: str) -> Door | None:
        face = self.face()
        return None if face is None else door_of(face, face.gateways[name])

    def portal_door(self) -> Door | None:
        face = self.face()
        return None if face is None else door_of(face, face.portal)

    def link_addresses(self) -> list[tuple[str, int]]:
        """(host, port) of each node's link, in node order."""
        split = (urlsplit("//" + address) for address in self.network()["links"])
        return [(str(address.hostname), int(address.port or 0)) for address in split]

    def node_keys(self, index: int) -> NodeKeys:
        return decode_as(NodeKeys, (self.node(index) / "keys.cbor").read_bytes())

    def wallet(self) -> DemoWallet:
        return decode_as(DemoWallet, (self.root / "operators.cbor").read_bytes())


def write_private(path: Path, value: Any) -> None:
    """DAG-CBOR into a file only its owner can read."""
    replace_file(path, encode(value))
