"""The gateway's keys: the organisation's, its clinicians' and devices', one reader key per grant, and custodial accounts.

Everything is held in memory while open and written whole on every change; a change is durable before the method returns, and in
memory only if it is durable. Custodial accounts are people without a key of their own yet (unconscious, newborn, no phone): the
hospital holds their seed until they claim it, then every key rotates to the person's own seed and the one here is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.derive import derive_seed
from hce.foundation.crypto.seal import OpeningKey
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.sign import SigningKey
from hce.foundation.types.errors import Malformed
from hce.foundation.types.scalars import Bytes16, Bytes32, Bytes64, Digest, PublicKey, TimeMs
from hce.service.keyring.errors import AccountClaimed, KeyNotFound, KeyringCorrupt, KeyringFull
from hce.service.keyring.sealedfile import SCRYPT_LOG2_N, SealedFile
from hce.service.terms.handovers import EarlierSeed
from hce.service.vault.compartments import SYSTEM_RANDOM, CompartmentKeys, Random

CONTENT_DOMAIN: Final = "hce/keyring-content/2"
SEED_BYTES = 32
ACCOUNT_SEED_BYTES = 64
"""As long as a BIP-39 seed, so that both give compartments by one rule."""
MAX_ENTRIES = 20_000
"""People, reader keys, accounts and cards together; the file then has about 5 MiB and is written in about 50 ms."""


class _StoredPerson(Struct, frozen=True, array_like=True):
    name: str
    seed: Bytes32
    credential_id: Bytes32 | None
    earlier: list[Bytes32] = []
    """Credentials this one replaced: grants name them until they end."""

    def __repr__(self) -> str:
        return "_StoredPerson(…)"


class _StoredAccount(Struct, frozen=True, array_like=True):
    account_id: Bytes16
    label: str
    identifiers: list[str]
    seed: Bytes64 | None
    """None once claimed."""

    def __repr__(self) -> str:
        return "_StoredAccount(…)"


class Claimant(Struct, frozen=True, array_like=True):
    """Who used a card: from then on it is worth something to them alone."""

    owner_key: PublicKey
    recovery_digest: Digest


class ClaimCard(Struct, frozen=True, array_like=True):
    """A card that was printed for a custodial account: its public half. One for each account."""

    account_id: Bytes16
    card_key: PublicKey
    expires_ms: TimeMs
    """First instant at which nobody who has not used it can."""
    claimant: Claimant | None


class _Content(Struct, frozen=True, array_like=True):
    domain: Literal["hce/keyring-content/2"]
    organisation_seed: Bytes32
    people: list[_StoredPerson]
    reader_seeds: list[Bytes32]
    accounts: Annotated[list[_StoredAccount], Meta(max_length=MAX_ENTRIES)]
    cards: Annotated[list[ClaimCard], Meta(max_length=MAX_ENTRIES)]

    def __repr__(self) -> str:
        return "_Content(…)"


class _ContentBeforeCards(Struct, frozen=True, array_like=True):
    """As keyrings were before there were cards; written anew with the next change."""

    domain: Literal["hce/keyring-content/1"]
    organisation_seed: Bytes32
    people: list[_StoredPerson]
    reader_seeds: list[Bytes32]
    accounts: Annotated[list[_StoredAccount], Meta(max_length=MAX_ENTRIES)]

    def __repr__(self) -> str:
        return "_ContentBeforeCards(…)"


class OrganisationKeys(NamedTuple):
    signing: SigningKey
    inbox: OpeningKey
    """Grant parcels are sealed to it: `seal_key` of the organisation's certificate."""


class Clinician(NamedTuple):
    """A clinician or device as listed: public."""

    name: str
    person_key: bytes
    credential_id: bytes | None
    """None until `bind_credential`."""


class CustodialAccount(NamedTuple):
    """A custodial account as listed. `label` and `identifiers` are the patient's: they stay on the gateway."""

    account_id: bytes
    label: str
    identifiers: tuple[str, ...]
    claimed: bool

    def __repr__(self) -> str:
        return f"CustodialAccount({self.account_id.hex()}, claimed={self.claimed})"


class Keyring:
    """An open keyring; use it as a context manager or `close` it. One process at a time, one thread at a time."""

    def __init__(self, file: SealedFile, content: _Content, random: Random, max_entries: int) -> None:
        self._file = file
        self._content = content
        self._random = random
        self._max_entries = max_entries

    @classmethod
    def create(
        cls,
        path: Path,
        passphrase: str | None = None,
        random: Random = SYSTEM_RANDOM,
        max_entries: int = MAX_ENTRIES,
        scrypt_log2_n: int = SCRYPT_LOG2_N,
    ) -> Keyring:
        """A new keyring with a new organisation key in directory `path`. Raises `KeyringExists`, `KeyringInUse`."""
        content = _Content(CONTENT_DOMAIN, random(SEED_BYTES), [], [], [], [])
        file = SealedFile.create(path, encode(content), passphrase, random, scrypt_log2_n)
        return cls(file, content, random, max_entries)

    @classmethod
    def open(
        cls, path: Path, passphrase: str | None = None, random: Random = SYSTEM_RANDOM, max_entries: int = MAX_ENTRIES
    ) -> Keyring:
        """The keyring in directory `path`. Raises `KeyringMissing`, `WrongPassphrase`, `MasterKeyExposed` and their siblings."""
        file, raw = SealedFile.open(path, passphrase, random)
        try:
            content = _content_of(raw)
        except Malformed as error:
            file.close()
            raise KeyringCorrupt("content") from error
        return cls(file, content, random, max_entries)

    def organisation(self) -> OrganisationKeys:
        root = SecretBytes(self._content.organisation_seed)
        return OrganisationKeys(
            SigningKey(derive_seed(root, "organisation/key").reveal()),
            OpeningKey.from_seed(derive_seed(root, "organisation/inbox").reveal()),
        )

    def add_clinician(self, name: str) -> SigningKey:
        """A new key for a clinician or device; certify its public half, then `bind_credential`."""
        seed = self._random(SEED_BYTES)
        self._change(people=[*self._content.people, _StoredPerson(name, seed, None)])
        return SigningKey(seed)

    def bind_credential(self, person_key: bytes, credential_id: bytes) -> None:
        """Note which credential was issued for a key; a renewed one replaces it, the older still finds the key. Raises `KeyNotFound`."""
        place = next((i for i, person in enumerate(self._content.people) if SigningKey(person.seed).public == person_key), None)
        if place is None:
            raise KeyNotFound("person", person_key=person_key.hex())
        people = list(self._content.people)
        before = people[place].credential_id
        earlier = [*people[place].earlier, before] if before not in (None, credential_id) else people[place].earlier
        people[place] = msgspec.structs.replace(people[place], credential_id=credential_id, earlier=earlier)
        self._change(people=people)

    def clinician(self, credential_id: bytes) -> SigningKey:
        """Raises `KeyNotFound`."""
        for person in self._content.people:
            if credential_id in (person.credential_id, *person.earlier):
                return SigningKey(person.seed)
        raise KeyNotFound("credential", credential_id=credential_id.hex())

    def clinicians(self) -> list[Clinician]:
        return [Clinician(person.name, SigningKey(person.seed).public, person.credential_id) for person in self._content.people]

    def new_reader_key(self) -> SigningKey:
        """A fresh key for one access request; it will sign the access entries of the grant that names it."""
        seed = self._random(SEED_BYTES)
        self._change(reader_seeds=[*self._content.reader_seeds, seed])
        return SigningKey(seed)

    def reader_key(self, public: bytes) -> SigningKey:
        """Raises `KeyNotFound`."""
        for key in map(SigningKey, self._content.reader_seeds):
            if key.public == public:
                return key
        raise KeyNotFound("reader key", reader_key=public.hex())

    def reader_keys(self) -> set[bytes]:
        """Public halves, for `open_parcel`."""
        return {SigningKey(seed).public for seed in self._content.reader_seeds}

    def new_custodial(self, label: str, identifiers: Sequence[str]) -> CustodialAccount:
        """An account kept for a patient; `identifiers` are what they will be found by."""
        stored = _StoredAccount(self._random(16), label, list(identifiers), self._random(ACCOUNT_SEED_BYTES))
        self._change(accounts=[*self._content.accounts, stored])
        return _listed(stored)

    def custodial_keys(self, account_id: bytes, index: int = 0) -> CompartmentKeys:
        """Keys of one compartment of a custodial account. Raises `KeyNotFound`, `AccountClaimed`."""
        seed = self._account(account_id).seed
        if seed is None:
            raise AccountClaimed(account_id=account_id.hex())
        return CompartmentKeys(SecretBytes(seed), index)

    def custodial_seed(self, account_id: bytes, index: int = 0) -> EarlierSeed:
        """What `custodial_keys` follow from, for whoever has taken the account over. Raises `KeyNotFound`, `AccountClaimed`."""
        seed = self._account(account_id).seed
        if seed is None:
            raise AccountClaimed(account_id=account_id.hex())
        return EarlierSeed(seed, index)

    def put_card(self, account_id: bytes, card_key: bytes, expires_ms: int) -> None:
        """A card for an account, in the place of one printed before. Raises `KeyNotFound`, `AccountClaimed`."""
        if self._account(account_id).seed is None:
            raise AccountClaimed(account_id=account_id.hex())
        others = [card for card in self._content.cards if card.account_id != account_id]
        self._change(cards=[*others, ClaimCard(account_id, card_key, expires_ms, None)])

    def card(self, card_key: bytes) -> ClaimCard | None:
        return next((card for card in self._content.cards if card.card_key == card_key), None)

    def use_card(self, card_key: bytes, claimant: Claimant) -> None:
        """Notes who used a card, before anything is done for them. Raises `KeyNotFound`."""
        if self.card(card_key) is None:
            raise KeyNotFound("card")
        used = [
            msgspec.structs.replace(card, claimant=claimant) if card.card_key == card_key else card for card in self._content.cards
        ]
        self._change(cards=used)

    def is_claimed(self, account_id: bytes) -> bool:
        """Raises `KeyNotFound`."""
        return self._account(account_id).seed is None

    def custodial_accounts(self) -> list[CustodialAccount]:
        return [_listed(account) for account in self._content.accounts]

    def find_custodial(self, identifier: str) -> list[CustodialAccount]:
        """Accounts of a patient with this identifier: more than one is a question for a human, not for us."""
        return [_listed(account) for account in self._content.accounts if identifier in account.identifiers]

    def claimed(self, account_id: bytes) -> None:
        """The patient's own keys are in force on chain (every compartment rotated): drop the seed. Raises `KeyNotFound`."""
        gone = msgspec.structs.replace(self._account(account_id), seed=None)
        self._change(accounts=[gone if account.account_id == account_id else account for account in self._content.accounts])

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Keyring:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Keyring({len(self._content.people)} people, {len(self._content.accounts)} accounts)"

    def _account(self, account_id: bytes) -> _StoredAccount:
        for account in self._content.accounts:
            if account.account_id == account_id:
                return account
        raise KeyNotFound("account", account_id=account_id.hex())

    def _change(
        self,
        people: list[_StoredPerson] | None = None,
        reader_seeds: list[bytes] | None = None,
        accounts: list[_StoredAccount] | None = None,
        cards: list[ClaimCard] | None = None,
    ) -> None:
        """Durable first, then in memory; a failed write changes nothing."""
        old = self._content
        changed = _Content(
            CONTENT_DOMAIN,
            old.organisation_seed,
            old.people if people is None else people,
            old.reader_seeds if reader_seeds is None else reader_seeds,
            old.accounts if accounts is None else accounts,
            old.cards if cards is None else cards,
        )
        entries = len(changed.people) + len(changed.reader_seeds) + len(changed.accounts) + len(changed.cards)
        if entries > self._max_entries:
            raise KeyringFull(actual=entries, max_entries=self._max_entries)
        encoded = encode(changed)
        decode_as(_Content, encoded)  # the bounds of every field, before the disk has it
        self._file.write(encoded)
        self._content = changed


def _content_of(raw: bytes) -> _Content:
    """What a sealed file holds. Raises `Malformed`."""
    try:
        return decode_as(_Content, raw)
    except Malformed:
        old = decode_as(_ContentBeforeCards, raw)
        return _Content(CONTENT_DOMAIN, old.organisation_seed, old.people, old.reader_seeds, old.accounts, [])


def _listed(account: _StoredAccount) -> CustodialAccount:
    return CustodialAccount(account.account_id, account.label, tuple(account.identifiers), account.seed is None)
