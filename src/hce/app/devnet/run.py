"""Brings a demo network up under a supervisor, step by step, new or continued."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from hce.app.devnet.genesis import make_network
from hce.app.devnet.home import PORTAL_PORT_OFFSET, Home
from hce.app.devnet.making import make_whole
from hce.app.devnet.people import ORGANISATIONS, certify, make_gateways
from hce.app.devnet.publishing import publish_portal
from hce.app.face import Face, Outside, face_of
from hce.app.portal.bundle import bundle_hash, read_bundle
from hce.app.supervisor import ProcessFailed, ProcessPlan, Supervisor
from hce.app.words import explain_with_fields
from hce.foundation.types.errors import HceError, Refused
from hce.foundation.types.quorum import quorum
from hce.service.sdk.network import Network
from hce.service.terms.genesis import Params

GATEWAY_PORT_OFFSET = 50
"""Gateways listen this far above the nodes."""
LINK_PORT_OFFSET = 20
"""Links between nodes listen this far above the nodes."""

Tell = Callable[..., None]
"""`tell(key, **fields)`: progress for a person, as a key of the words."""


class TooManyNodes(Refused):
    """More nodes than a network may have, or none."""

    code = "node.too_many"
    status = 400


MAX_NODES = 9
"""Super nodes of a network (white paper 3)."""


def ports_of(nodes: int, port_base: int) -> list[int]:
    """Every port a network with this base listens on: nodes, gateways, links, portal."""
    return [
        *(port_base + index for index in range(nodes)),
        *(port_base + GATEWAY_PORT_OFFSET + place for place in range(len(ORGANISATIONS))),
        *(port_base + LINK_PORT_OFFSET + index for index in range(_links(nodes))),
        port_base + PORTAL_PORT_OFFSET,
    ]


def _links(nodes: int) -> int:
    """How many nodes listen for others: a lone one does not."""
    return nodes if nodes > 1 else 0


def process_count(nodes: int) -> int:
    """Nodes, gateways and the portal."""
    return nodes + len(ORGANISATIONS) + 1


def port_count(nodes: int) -> int:
    """How many ports `create` wants."""
    return process_count(nodes) + _links(nodes)


def create(home: Home, ports: list[int], nodes: int, params: Params) -> bool:
    """A new network's files; whether leftovers of an earlier try went. `ports` as `ports_of` lists them. `TooManyNodes`, `HomeOccupied`."""
    if not 1 <= nodes <= MAX_NODES:
        raise TooManyNodes(expected=MAX_NODES, actual=nodes)
    node_urls = [f"http://127.0.0.1:{port}" for port in ports[:nodes]]
    first_link = nodes + len(ORGANISATIONS)
    gateways = {name: f"http://127.0.0.1:{port}" for name, port in zip(ORGANISATIONS, ports[nodes:first_link], strict=True)}
    links = [f"127.0.0.1:{port}" for _, port in zip(range(_links(nodes)), ports[first_link:-1], strict=True)]
    portal = f"http://localhost:{ports[-1]}"

    def make(place: Home) -> None:
        make_network(place, node_urls, links, gateways, params, int(time.time() * 1_000), os.urandom, portal)
        make_gateways(place)

    return make_whole(home, make)


def plans(home: Home) -> tuple[list[ProcessPlan], list[ProcessPlan]]:
    """(nodes, gateways) of the network in this folder."""
    described = home.network()
    root = str(home.root)
    nodes = [
        ProcessPlan(f"node-{index}", ["node", "run", "--home", root, "--index", str(index), "--port", _port(url)], url)
        for index, url in enumerate(described["nodes"])
    ]
    gateways = [
        ProcessPlan(f"gateway-{name}", ["gateway", "--home", root, "--name", name, "--port", _port(url)], url)
        for name, url in described["gateways"].items()
    ]
    return nodes, gateways


def ports_in(home: Home) -> list[int]:
    """Ports the network in this folder listens on."""
    nodes, gateways = plans(home)
    links = [port for _, port in home.link_addresses()]
    return [int(_port(plan.url)) for plan in [*nodes, *gateways, portal_plan(home)]] + links


def portal_plan(home: Home) -> ProcessPlan:
    """The portal of the network in this folder."""
    return ProcessPlan("portal", ["portal", "--home", str(home.root), "--port", _port(home.portal_here)], home.portal_here)


async def bring_up(home: Home, supervisor: Supervisor, tell: Tell) -> None:
    """All nodes at once, then the organisations' certificates, then their gateways. Raises `ProcessFailed`."""
    nodes, gateways = plans(home)
    for plan in nodes:
        tell("up.node_starting", name=plan.name)
    await start_all(supervisor, nodes, tell)
    async with await Network.join([plan.url for plan in nodes], home.genesis()) as network:
        await network.started()
        names = list(home.network()["gateways"])
        await asyncio.gather(*(certify(home, network, name) for name in names))
        for name in names:
            tell("up.organisation", name=ORGANISATIONS[name].name if name in ORGANISATIONS else name)
    for plan in gateways:
        tell("up.gateway_starting", name=plan.name)
        await supervisor.start(plan)


async def bring_up_portal(home: Home, supervisor: Supervisor, tell: Tell) -> None:
    """The page's hash onto the chain, unless it stands there, then the page's process. What keeps it from the chain is told of and keeps
    nobody from the page. Raises `PortalNotBuilt`, `ProcessFailed`."""
    bundle = bundle_hash(read_bundle())
    try:
        async with await Network.join(home.network()["nodes"], home.genesis()) as network:
            published = await publish_portal(home, network, bytes.fromhex(bundle))
        tell("up.published", number=published.release.number, height=published.height)
    except HceError as error:
        tell("up.not_published", reason=explain_with_fields(error))
    await supervisor.start(portal_plan(home))


def face_for(outside: Outside, pair: tuple[str, str], outer: Callable[[int], int], home: Home) -> Face:
    """The face of the network in this folder; `outer`: loopback port -> the port for other machines."""
    described = home.network()
    nodes = [outer(int(_port(url))) for url in described["nodes"]]
    gateways = {name: outer(int(_port(url))) for name, url in described["gateways"].items()}
    return face_of(outside, pair, nodes, gateways, outer(int(_port(home.portal_here))))


async def start_all(supervisor: Supervisor, plans: list[ProcessPlan], tell: Tell) -> None:
    """Starts the nodes side by side. One that fails is told of and left down; without a quorum its `ProcessFailed` is raised."""
    outcomes = await asyncio.gather(*map(supervisor.start, plans), return_exceptions=True)
    failed = [(plan, outcome) for plan, outcome in zip(plans, outcomes, strict=True) if outcome is not None]
    for plan, outcome in failed:
        if not isinstance(outcome, ProcessFailed) or len(plans) - len(failed) < quorum(len(plans)):
            raise outcome
        tell("up.given_up", name=plan.name, reason=explain_with_fields(outcome))


def _port(url: str) -> str:
    return str(urlsplit(url).port)
