"""Where a measurement takes place: a network of its own, and organisations whose keys follow from the seed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from hce.app.bench.figures import Usage, usage_of
from hce.app.bench.plan import SENDERS, secret_of
from hce.app.bench.signing import MAX_FEE_WEI, organisation_key, sender_key
from hce.app.bench.wire import Wire
from hce.app.devnet.genesis import HCET
from hce.app.devnet.home import Home
from hce.app.devnet.people import CERTIFICATE_BACKDATED_MS, CERTIFICATE_LIFE_MS, fill_tank, vote
from hce.app.devnet.run import port_count
from hce.app.preflight import free_ports
from hce.app.supervisor import Supervisor
from hce.app.up import running
from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.crypto.secp import EthSigningKey
from hce.service.sdk.errors import Remote
from hce.service.sdk.network import FINAL_WAIT_MS, Network
from hce.service.sdk.wallet import sign_transfer
from hce.service.terms.genesis import Params
from hce.service.terms.payloads import OrganisationCertificate, Power, org_id

Tell = Callable[..., None]
"""`tell(key, **fields)`: what happens now, as a key of the words."""

TANK_AHCE = 1_000 * HCET
"""For more than a hundred million grants."""
SENDER_AHCE = 1_000 * HCET
POWERS: list[Power] = ["read", "write"]


class Stage(Struct, frozen=True):
    """A running network to measure."""

    home: Home
    supervisor: Supervisor
    network: Network
    tell: Tell

    @property
    def nodes(self) -> int:
        return len(self.network.genesis.nodes)

    def usage(self) -> list[Usage]:
        """Of each node now, in node order."""
        return [usage_of(self.supervisor.pid(f"node-{index}")) for index in range(self.nodes)]


@asynccontextmanager
async def stage_of(nodes: int, params: Params, tell: Tell) -> AsyncIterator[Stage]:
    """A network in a temporary folder for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="hce-bench-") as folder:
        home = Home(Path(folder))
        ports = free_ports(port_count(nodes))
        async with (
            running(home, params, nodes, ports, tell) as supervisor,
            await Network.join(home.network()["nodes"], home.genesis(), transport=Wire()) as network,
        ):
            yield Stage(home, supervisor, network, tell)


async def found(stage: Stage, seed: int, number: int) -> None:
    """Votes an organisation in whose keys follow from the seed, and fills its tank."""
    network = stage.network
    key, inbox = organisation_key(seed, number), OpeningKey.from_seed(secret_of(seed, "inbox", number))
    now_ms = int(time.time() * 1_000)
    start_ms, end_ms = now_ms - CERTIFICATE_BACKDATED_MS, now_ms + CERTIFICATE_LIFE_MS
    name = f"Measured Hospital {number}"
    certificate = OrganisationCertificate(key.public, inbox.public, name, "CN", "hospital", POWERS, start_ms, end_ms)
    await vote(stage.home, network, certificate)
    await fill_tank(stage.home, network, org_id(network.chain, key.public), TANK_AHCE)


async def fund_senders(stage: Stage, seed: int) -> None:
    """Coins for the accounts that send transfers, all in one block or two."""
    network = stage.network
    wallet = EthSigningKey(stage.home.wallet().secret)
    account = await network.any_node(lambda node: node.account(wallet.address))
    raws = [
        sign_transfer(
            wallet,
            network.genesis.eip155_id,
            account["nonce"] + number,
            sender_key(seed, number).address,
            SENDER_AHCE,
            MAX_FEE_WEI,
        )
        for number in range(SENDERS)
    ]
    answers = await network.any_node(lambda node: node.submit_list(raws))
    for answer in answers:
        if answer.id is None:
            raise Remote(answer.code, 409)
    last = answers[-1].id or b""
    await network.any_node(lambda node: node.value_tx(last, FINAL_WAIT_MS))
