"""A world of `conftest.py` as one node sees it, with its mailbox on a real disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import structs

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.hashing import digest
from hce.foundation.crypto.sign import SigningKey
from hce.service.keyholders.checked import CheckedCapsules
from hce.service.keyholders.revoked import RevokedSet
from hce.service.keyholders.service import Keyholder
from hce.service.mailbox.final import FinalState
from hce.service.mailbox.service import Mailbox
from hce.service.terms import mailbox, states
from hce.service.terms.genesis import Params
from hce.service.terms.states import HealthReader

NODE_KEY = SigningKey(b"\x11" * 32)


class Scene:
    """One world, its state as a node sees it, and as many keyholders as are asked for."""

    def __init__(self, world: Any, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.table, self.request = world.bind()
        self.revoked = RevokedSet.open(folder / "revoked")
        self.now_ms_value = world.now.local_ms
        self.mailbox = self.open_mailbox("mailbox")

    def now_ms(self) -> int:
        return self.now_ms_value

    @contextmanager
    def state(self) -> Iterator[FinalState]:
        now = self.world.now
        yield FinalState(HealthReader(self.table.get), now.height, now.block_time_ms, now.syncing)

    def open_mailbox(self, name: str, **options: Any) -> Mailbox:
        return Mailbox.open(
            self.folder / name,
            chain=self.world.chain,
            node_index=0,
            service_key=NODE_KEY,
            state=self.state,
            clock=self,
            map_size=4 << 20,
            **options,
        )

    def keyholder(self, index: int = 0, **changes: Any) -> Keyholder:
        parts: dict[str, Any] = {
            "chain": self.world.chain,
            "node_index": index,
            "share": self.world.dealt.shares[index],
            "service_key": NODE_KEY,
            "state": self.state,
            "mailbox": self.mailbox,
            "clock": self,
            "params": Params(),
            "sharing_epoch": 0,
            "revoked": self.revoked,
            "capsules": CheckedCapsules(),
        }
        return Keyholder(**(parts | changes))

    def revoke_on_chain(self) -> None:
        key = states.key_grant(self.request.access.grant_id)
        grant = decode_as(states.GrantState, self.table[key])
        self.table[key] = encode(structs.replace(grant, revoked_height=1_000))

    def log(self, owner: bytes | None = None) -> list[mailbox.MailItem]:
        """The owner reads the log of the grant; or what is in the log of another owner with the same log key."""
        key = SigningKey(seed("log-read"))
        self.now_ms_value += 1
        nonce = self.now_ms_value.to_bytes(32, "big")
        read = mailbox.MailboxRead(
            self.world.chain, 0, "log", [key.public, owner or self.world.owner.public], None, 0, 100, [], self.now_ms_value, nonce
        )
        page = self.mailbox.read(mailbox.SignedRead(read, key.sign(mailbox.read_message(read))))
        assert isinstance(page, mailbox.MailPage)
        return page.items


def seed(name: str) -> bytes:
    return digest("hce/test/seed", name)
