"""The demo organisations and how they come to life: votes of the super nodes, full tanks, first records. All names are invented."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from importlib.resources import files

from hce.app.devnet.genesis import HCET
from hce.app.devnet.home import Home
from hce.app.gateway import GatewaySettings, make_gateway, read_settings
from hce.foundation.crypto.secp import EthSigningKey
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.quorum import two_thirds
from hce.service.gateway.practice import StaffMember
from hce.service.gateway.welcome import WELCOMES_PER_HOUR
from hce.service.keyring.keyring import Keyring
from hce.service.sdk.network import Network
from hce.service.terms.payloads import OrganisationCertificate, OrganisationVote, org_id, tank_address
from hce.service.terms.states import key_organisation

TANK_AHCE = 100 * HCET
"""First filling of a demo organisation's tank: some millions of records."""
CERTIFICATE_LIFE_MS = 5 * 365 * 24 * 3_600_000
CERTIFICATE_BACKDATED_MS = 24 * 3_600_000
"""Clocks differ; a certificate made now is valid everywhere now."""

ORGANISATIONS: dict[str, GatewaySettings] = {
    "riverside": GatewaySettings(
        name="Riverside Hospital",
        name_zh="河畔医院",
        country="CN",
        kind="hospital",
        powers=["emergency", "read", "write"],
        staff=[
            StaffMember("Dr. Lin Mei 林梅", ["emergency", "read", "write"]),
            StaffMember("Dr. Omar Haddad 哈达德", ["read", "write"]),
        ],
        welcomes_per_hour=WELCOMES_PER_HOUR,
    ),
    "oldtown": GatewaySettings(
        name="Old Town Clinic",
        name_zh="老城诊所",
        country="CN",
        kind="hospital",
        powers=["read", "write"],
        staff=[StaffMember("Dr. Ana Keller 安娜·凯勒", ["read", "write"])],
    ),
}


def make_gateways(home: Home) -> None:
    """Folders of the demo organisations."""
    for name, settings in ORGANISATIONS.items():
        make_gateway(home.gateway(name), settings)


async def certify(home: Home, network: Network, name: str) -> bytes:
    """The operators vote an organisation in and its tank is filled; its id. Done before: nothing happens."""
    folder = home.gateway(name)
    settings = read_settings(folder)
    with Keyring.open(folder / "keyring") as keyring:
        keys = keyring.organisation()
    organisation = org_id(network.chain, keys.signing.public)
    if (await network.reader(key_organisation(organisation))).organisation(organisation) is None:
        now_ms = int(time.time() * 1_000)
        certificate = OrganisationCertificate(
            org_key=keys.signing.public,
            seal_key=keys.inbox.public,
            name=f"{settings.name} {settings.name_zh}",
            country=settings.country,
            kind=settings.kind,
            powers=sorted(settings.powers),
            not_before_ms=now_ms - CERTIFICATE_BACKDATED_MS,
            expires_at_ms=now_ms + CERTIFICATE_LIFE_MS,
        )
        await vote(home, network, certificate)
        await fill_tank(home, network, organisation, TANK_AHCE)
    return organisation


async def vote(home: Home, network: Network, certificate: OrganisationCertificate) -> None:
    """Two thirds of the operators say yes. Only a demo network holds all their keys in one place."""
    keys = [SigningKey(home.node_keys(index).service) for index in range(two_thirds(len(network.genesis.nodes)))]
    votes = [(key, OrganisationVote(certificate, True, key.public)) for key in keys]
    await asyncio.gather(*(network.transact("organisation.vote", vote, None, [("node", key)]) for key, vote in votes))


async def fill_tank(home: Home, network: Network, organisation: bytes, amount_ahce: int) -> None:
    """A plain signed transfer from the demo wallet."""
    await network.transfer(EthSigningKey(home.wallet().secret), tank_address(organisation), amount_ahce)


def demo_bundles() -> Sequence[tuple[str, bytes]]:
    """(name, bytes) of the Bundles that ship with HCE."""
    folder = files("hce.app.devnet").joinpath("bundles")
    found = [entry for entry in folder.iterdir() if entry.name.endswith(".json")]
    return [(entry.name, entry.read_bytes()) for entry in sorted(found, key=lambda entry: entry.name)]
