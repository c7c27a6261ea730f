"""A gateway's own files after a power cut: the index torn at any place of its journal, the keyring in the middle of being replaced."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from hce.service.index.store import Index, Patient
from hce.service.keyring.keyring import Keyring
from hce.service.keyring.sealedfile import SEALED_NAME

PATIENTS = 6


def patient(number: int) -> Patient:
    return Patient(f"p{number}", "Ada Example", b"{}", None, bytes([number]) * 32, b"card" * 300, b"token")


@pytest.mark.parametrize("left", ["nothing", "zeros", "garbage"])
def test_an_index_torn_anywhere_in_its_journal_holds_whole_transactions_in_order(tmp_path: Path, left: str) -> None:
    index = Index(tmp_path / "index.sqlite")
    ends = []
    journal = tmp_path / "index.sqlite-wal"
    for number in range(PATIENTS):
        index.put_patient(patient(number))
        ends.append(journal.stat().st_size)
    database, wal = (tmp_path / "index.sqlite").read_bytes(), journal.read_bytes()
    index.close()
    chance = random.Random(left)
    places = sorted({*range(ends[2], ends[5], 509), *ends[2:], *(end - 1 for end in ends[2:]), *(end + 1 for end in ends[2:-1])})
    for number, at in enumerate(places):
        folder = tmp_path / f"torn-{number}"
        folder.mkdir()
        (folder / "index.sqlite").write_bytes(database)
        tails = {"nothing": b"", "zeros": bytes(len(wal) - at + 4096), "garbage": chance.randbytes(len(wal) - at + 50)}
        torn = wal[:at] + tails[left]
        (folder / "index.sqlite-wal").write_bytes(torn)
        again = Index(folder / "index.sqlite")
        count = sum(torn[:end] == wal[:end] for end in ends)
        assert [one.patient_id for one in again.patients()] == [f"p{one}" for one in range(count)], at
        again.put_patient(patient(77))
        again.close()
        again = Index(folder / "index.sqlite")
        assert len(again.patients()) == count + 1
        again.close()
        shutil.rmtree(folder)


def test_a_keyring_is_the_old_one_while_the_new_is_torn_at_every_byte(tmp_path: Path) -> None:
    with Keyring.create(tmp_path) as keyring:
        person = keyring.add_clinician("Dr Li")
        before = (tmp_path / SEALED_NAME).read_bytes()
        keyring.add_clinician("Dr Ana")
    after = (tmp_path / SEALED_NAME).read_bytes()
    (tmp_path / SEALED_NAME).write_bytes(before)
    for at in range(0, len(after), 5):
        (tmp_path / (SEALED_NAME + ".new")).write_bytes(after[:at])
        with Keyring.open(tmp_path) as keyring:
            assert [one.name for one in keyring.clinicians()] == ["Dr Li"]
    with Keyring.open(tmp_path) as keyring:
        keyring.bind_credential(person.public, b"c" * 32)
    with Keyring.open(tmp_path) as keyring:
        assert keyring.clinician(b"c" * 32).public == person.public
