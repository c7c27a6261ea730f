"""A keyring on a real disk: found again, sealed, and closed to everybody else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hce.foundation.codec.dagcbor import encode
from hce.service.keyring import sealedfile
from hce.service.keyring.errors import (
    AccountClaimed,
    KeyNotFound,
    KeyringCorrupt,
    KeyringExists,
    KeyringFull,
    KeyringInUse,
    KeyringMissing,
    MasterKeyExposed,
    MasterKeyMissing,
    WrongMasterKey,
    WrongPassphrase,
)
from hce.service.keyring.keyring import Claimant, ClaimCard, Keyring
from hce.service.keyring.sealedfile import MASTER_NAME, SEALED_NAME

QUICK = 10
"""scrypt log2 N of tests: 1 MiB."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway" / "keys"


def test_every_key_is_found_again_after_a_restart(path: Path) -> None:
    with Keyring.create(path) as keyring:
        organisation = keyring.organisation()
        clinician = keyring.add_clinician("Dr Li")
        keyring.bind_credential(clinician.public, b"c" * 32)
        reader = keyring.new_reader_key()
        account = keyring.new_custodial("unknown, bed 4", ["urn:oid:1.2|77"])
        owner = keyring.custodial_keys(account.account_id, 2).owner.public
    with Keyring.open(path) as again:
        assert again.organisation().signing.public == organisation.signing.public
        assert again.organisation().inbox.public == organisation.inbox.public
        assert again.clinician(b"c" * 32).public == clinician.public
        assert [(one.name, one.credential_id) for one in again.clinicians()] == [("Dr Li", b"c" * 32)]
        assert again.reader_key(reader.public).public == reader.public
        assert again.reader_keys() == {reader.public}
        assert again.custodial_keys(account.account_id, 2).owner.public == owner
        assert again.custodial_keys(account.account_id, 3).owner.public != owner
        assert again.find_custodial("urn:oid:1.2|77") == [account]
        assert again.find_custodial("urn:oid:1.2|78") == []
        assert again.custodial_accounts() == [account]


def test_a_card_is_one_for_each_account_and_belongs_to_its_first_claimant(path: Path) -> None:
    with Keyring.create(path) as keyring:
        account, other = keyring.new_custodial("newborn", []), keyring.new_custodial("twin", [])
        keyring.put_card(account.account_id, b"1" * 32, 500)
        keyring.put_card(other.account_id, b"2" * 32, 500)
        keyring.put_card(account.account_id, b"3" * 32, 700)
        assert keyring.card(b"1" * 32) is None
        keyring.use_card(b"3" * 32, Claimant(b"o" * 32, b"r" * 32))
        with pytest.raises(KeyNotFound):
            keyring.use_card(b"1" * 32, Claimant(b"o" * 32, b"r" * 32))
    with Keyring.open(path) as again:
        assert again.card(b"3" * 32) == ClaimCard(account.account_id, b"3" * 32, 700, Claimant(b"o" * 32, b"r" * 32))
        assert again.card(b"2" * 32) == ClaimCard(other.account_id, b"2" * 32, 500, None)
        again.claimed(account.account_id)
        for act in (lambda: again.put_card(account.account_id, b"4" * 32, 900), lambda: again.custodial_seed(account.account_id)):
            with pytest.raises(AccountClaimed):
                act()


def test_a_keyring_of_before_there_were_cards_opens(path: Path) -> None:
    old = ["hce/keyring-content/1", bytes(32), [], [], [[b"a" * 16, "newborn", [], b"s" * 64]]]
    sealedfile.SealedFile.create(path, encode(old), None, os.urandom, QUICK).close()
    with Keyring.open(path) as keyring:
        keyring.put_card(b"a" * 16, b"1" * 32, 500)
    with Keyring.open(path) as again:
        assert again.card(b"1" * 32) is not None
        assert again.custodial_seed(b"a" * 16).seed == b"s" * 64


def test_a_claimed_account_has_no_keys_here_any_more(path: Path) -> None:
    with Keyring.create(path) as keyring:
        account = keyring.new_custodial("newborn", [])
        keyring.claimed(account.account_id)
    with Keyring.open(path) as again:
        assert [one.claimed for one in again.custodial_accounts()] == [True]
        with pytest.raises(AccountClaimed):
            again.custodial_keys(account.account_id)


def test_what_is_not_there_is_refused_by_name(path: Path) -> None:
    with pytest.raises(KeyringMissing):
        Keyring.open(path)
    with Keyring.create(path) as keyring:
        with pytest.raises(KeyNotFound):
            keyring.clinician(b"c" * 32)
        with pytest.raises(KeyNotFound):
            keyring.bind_credential(b"k" * 32, b"c" * 32)
        with pytest.raises(KeyNotFound):
            keyring.reader_key(b"k" * 32)
        with pytest.raises(KeyNotFound):
            keyring.custodial_keys(b"a" * 16)


def test_a_passphrase_opens_it_and_another_does_not(path: Path) -> None:
    with Keyring.create(path, "Käse 1", scrypt_log2_n=QUICK) as keyring:
        public = keyring.organisation().signing.public
    assert not (path / MASTER_NAME).exists()
    with Keyring.open(path, "Ka\u0308se 1") as again:
        assert again.organisation().signing.public == public
    for wrong in ("käse 1", "", None):
        with pytest.raises(WrongPassphrase):
            Keyring.open(path, wrong)


def test_a_master_key_others_can_read_is_refused(path: Path) -> None:
    Keyring.create(path).close()
    assert stat.S_IMODE((path / MASTER_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE((path / SEALED_NAME).stat().st_mode) == 0o600
    (path / MASTER_NAME).chmod(0o640)
    with pytest.raises(MasterKeyExposed):
        Keyring.open(path)


def test_a_lost_or_foreign_master_key_is_named(path: Path, tmp_path: Path) -> None:
    Keyring.create(path).close()
    Keyring.create(tmp_path / "other").close()
    (path / MASTER_NAME).write_bytes((tmp_path / "other" / MASTER_NAME).read_bytes())
    with pytest.raises(WrongMasterKey):
        Keyring.open(path)
    (path / MASTER_NAME).write_bytes(b"short")
    with pytest.raises(WrongMasterKey):
        Keyring.open(path)
    (path / MASTER_NAME).unlink()
    with pytest.raises(MasterKeyMissing):
        Keyring.open(path)


def test_a_new_keyring_never_replaces_an_old_one(path: Path) -> None:
    Keyring.create(path).close()
    (path / MASTER_NAME).unlink()
    with pytest.raises(KeyringExists):
        Keyring.create(path)


def test_a_crash_between_the_two_first_files_is_no_dead_end(path: Path) -> None:
    Keyring.create(path).close()
    master = (path / MASTER_NAME).read_bytes()
    (path / SEALED_NAME).unlink()
    Keyring.create(path).close()
    assert (path / MASTER_NAME).read_bytes() == master
    Keyring.open(path).close()


def test_one_process_at_a_time(path: Path) -> None:
    with Keyring.create(path):
        with pytest.raises(KeyringInUse):
            Keyring.open(path)
        with pytest.raises(KeyringInUse):
            Keyring.create(path)
    Keyring.open(path).close()


@pytest.mark.parametrize("place", [0, 60, 120, -1])
def test_a_damaged_file_is_named_and_never_half_opened(path: Path, place: int) -> None:
    Keyring.create(path).close()
    damaged = bytearray((path / SEALED_NAME).read_bytes())
    damaged[place] ^= 1
    (path / SEALED_NAME).write_bytes(bytes(damaged))
    with pytest.raises((KeyringCorrupt, WrongMasterKey)):
        Keyring.open(path)
    (path / SEALED_NAME).write_bytes(bytes(damaged)[:-10])
    with pytest.raises(KeyringCorrupt):
        Keyring.open(path)


def test_a_failed_write_leaves_the_old_keyring(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Keyring.create(path) as keyring:
        keyring.add_clinician("Dr Li")

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(sealedfile.os, "fsync", full)
            with pytest.raises(OSError, match="No space"):
                keyring.add_clinician("Dr Wang")
        assert [one.name for one in keyring.clinicians()] == ["Dr Li"]
    with Keyring.open(path) as again:
        assert [one.name for one in again.clinicians()] == ["Dr Li"]
        again.add_clinician("Dr Wang")


def test_it_is_bounded(path: Path) -> None:
    with Keyring.create(path, max_entries=1) as keyring:
        keyring.add_clinician("Dr Li")
        with pytest.raises(KeyringFull):
            keyring.new_reader_key()


def test_nothing_secret_is_on_the_disk_or_printed(path: Path) -> None:
    drawn: list[bytes] = []

    def recording(count: int) -> bytes:
        drawn.append(os.urandom(count))
        return drawn[-1]

    with Keyring.create(path, random=recording) as keyring:
        organisation_seed = drawn[0]
        keyring.add_clinician("Dr Li")
        clinician_seed = drawn[-2]
        account = keyring.new_custodial("Zhang San", ["id-card|110101"])
        account_seed = drawn[-2]
        assert len(account_seed) == 64
        stored = (path / SEALED_NAME).read_bytes()
        shown = repr(keyring) + repr(account) + repr(keyring._content) + repr(keyring._file) + repr(keyring.organisation())
    for secret in (organisation_seed, clinician_seed, account_seed, b"Zhang San", b"110101", b"Dr Li"):
        assert secret not in stored
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown
