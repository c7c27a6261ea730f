"""An import in a process of its own that is killed at one moment: `python killed_import.py FOLDER GATEWAY_FOLDER before|after`.

`before`: nothing of the commit has left the process. `after`: a node has it, and nobody here has heard that it is final.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from hce.app.devnet.home import Home
from hce.foundation.types.clock import SystemClock
from hce.service.gateway.importing import import_bundle
from hce.service.gateway.practice import Practice
from hce.service.gateway.securing import Outbox
from hce.service.index.store import Index
from hce.service.keyring.keyring import Keyring
from hce.service.sdk.network import Network

VALID_BLOCKS = 15


async def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Doomed(Network):
    async def submit(self, raw: bytes, name: bytes) -> Any:
        if raw.count(b"record.commit"):
            if MOMENT == "after":
                await self.nodes[0].submit_health(raw)
            await die()
        return await super().submit(raw, name)


async def main(home: Home, folder: Path) -> None:
    index = Index(folder / "index.sqlite")
    with Keyring.open(folder / "keyring") as keyring, Outbox.open(folder / "outbox", map_size=1 << 20) as outbox:
        async with await _Doomed.join(home.network()["nodes"], home.genesis()) as network:
            practice = Practice(network, keyring, index, outbox, SystemClock(), VALID_BLOCKS)
            async for _ in import_bundle(practice, (folder / "bundle.json").read_bytes()):
                pass


if __name__ == "__main__":
    MOMENT = sys.argv[3]
    asyncio.run(main(Home(Path(sys.argv[1])), Path(sys.argv[2])))
