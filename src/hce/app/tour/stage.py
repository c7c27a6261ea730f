"""Who is on stage: the network, the two gateways, a patient with own keys, and a practice whose every key is in this process."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal

from msgspec import Struct

from hce.app.devnet.genesis import HCET
from hce.app.devnet.home import Home
from hce.app.devnet.people import CERTIFICATE_BACKDATED_MS, CERTIFICATE_LIFE_MS, fill_tank, vote
from hce.app.gateway_client import GatewayClient
from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.crypto.words import seed_from_words, words_from_entropy
from hce.foundation.types.clock import SystemClock
from hce.foundation.types.errors import HceError
from hce.service.sdk.mail import Mail
from hce.service.sdk.network import Network
from hce.service.sdk.owner import Owner, decode_offer
from hce.service.sdk.reader import Reader
from hce.service.sdk.reading import OpenedRecord
from hce.service.terms.grants import AccessRequest, GrantParcel
from hce.service.terms.payloads import CredentialBody, OrganisationCertificate, Power, credential_id, org_id
from hce.service.terms.transactions import add_signature, parse
from hce.service.vault.compartments import CompartmentKeys
from hce.service.vault.granting import MadeGrant, open_parcel

ENTROPY_BYTES = 16
PRACTICE_TANK_AHCE = 1 * HCET
FIRST_DAY, LAST_DAY = "1900-01-01", "2100-12-31"
"""A grant over everything a person has."""

DAY_MS = 24 * 3_600_000

Act = Callable[[str], Awaitable[None]]
"""Does something to a process of the network, by its name."""
Tell = Callable[..., None]
"""`tell(key, **fields)`: a line of the story, as a key of the words."""
Language = Literal["en", "zh-CN"]
Result = dict[str, Any]


class Stage(Struct, frozen=True):
    """Handed to every scene."""

    home: Home
    network: Network
    hospital: GatewayClient
    clinic: GatewayClient
    restart: Act
    """Stops a process when it runs, and starts it."""
    kill: Act
    """Ends a process without warning, as a power cut would."""
    finality_ms: list[int]
    """Measured while the story is played: from submitting to final."""


class Person(Struct, frozen=True):
    """The patient of the story."""

    words: str
    owner: Owner

    def __repr__(self) -> str:
        """Never the words."""
        return f"Person({self.owner.compartment_id.hex()})"


def new_person(network: Network, language: Language) -> Person:
    """Twelve fresh words and the compartment that follows from them."""
    words = words_from_entropy(os.urandom(ENTROPY_BYTES), language)
    return Person(words, Owner(network, SystemClock(), CompartmentKeys(seed_from_words(words), 0)))


class Practice:
    """A small organisation whose keys live in this process, so that the story can also try what no gateway would."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.key = SigningKey(os.urandom(32))
        self.inbox = OpeningKey.from_seed(os.urandom(32))
        self.person = SigningKey(os.urandom(32))
        self.org_id = org_id(network.chain, self.key.public)
        self.credential_id = b""
        self._readers: dict[bytes, SigningKey] = {}

    async def certify(self, home: Home, name: str, powers: list[Power]) -> None:
        """The operators vote it in, its tank is filled, its one clinician is certified."""
        now_ms = int(time.time() * 1_000)
        certificate = OrganisationCertificate(
            self.key.public,
            self.inbox.public,
            name,
            "CN",
            "hospital",
            powers,
            now_ms - CERTIFICATE_BACKDATED_MS,
            now_ms + CERTIFICATE_LIFE_MS,
        )
        await vote(home, self.network, certificate)
        await fill_tank(home, self.network, self.org_id, PRACTICE_TANK_AHCE)
        body = CredentialBody(
            self.org_id,
            self.person.public,
            "clinician",
            "Dr. Sam Harbour",
            powers,
            certificate.not_before_ms,
            certificate.expires_at_ms,
        )
        await self.network.transact("credential.issue", body, self.org_id, [("organisation", self.key), ("payer", self.key)])
        self.credential_id = credential_id(self.network.chain, body)

    def ask(self) -> AccessRequest:
        """A request for everything, for treatment."""
        reader = SigningKey(os.urandom(32))
        self._readers[reader.public] = reader
        return AccessRequest(
            self.network.chain,
            self.credential_id,
            reader.public,
            self.inbox.public,
            "treatment",
            "read",
            FIRST_DAY,
            LAST_DAY,
        )

    async def accept(self, made: MadeGrant) -> Reader:
        """Finds the owner's offer in the inbox, countersigns it, waits until it is final; the reader under it."""
        inbox = Mail(self.network, SystemClock(), [self.org_id], self.key)
        offers = [decode_offer(item) for item in await inbox.items("inbox")]
        offer = next(one for one in offers if one.parcel == made.parcel)
        raw = add_signature(offer.grant_tx, "payer", self.key)
        await self.network.submit(raw, parse(raw, self.network.chain).id)
        return self.reader(made)

    def reader(self, made: MadeGrant) -> Reader:
        """The reader of a grant made for this practice."""
        parcel: GrantParcel = open_parcel(self.inbox, made.parcel, self.network.chain, set(self._readers))
        return Reader(
            self.network,
            SystemClock(),
            parcel,
            self._readers[parcel.body.reader_key],
            self.credential_id,
            self.person,
            (self.org_id, self.key),
        )


async def attempt(scene: Callable[[], Awaitable[bool]]) -> bool | str:
    """True or False as the scene found, or the code of the error it met."""
    try:
        return await scene()
    except HceError as error:
        return error.code


async def refusal(scene: Callable[[], Awaitable[object]]) -> str:
    """The code something was refused with; "accepted" when it was not refused."""
    try:
        await scene()
    except HceError as error:
        return error.code
    return "accepted"


def contents_of(records: Iterable[OpenedRecord]) -> dict[str, bytes]:
    """Name -> bytes of all resources in these records."""
    return {item.name: item.content for record in records for item in record.manifest.items}


def node_name(index: int) -> str:
    """What the supervisor calls a node's process."""
    return f"node-{index}"
