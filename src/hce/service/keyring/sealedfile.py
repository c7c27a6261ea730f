"""One sealed file: replaced whole, atomically, and durable before the caller goes on.

    file    DAG-CBOR [domain, scrypt parameters or null, check, salt, sealed]
    sealed  AES-256-GCM(HKDF(master, "content", salt), padded content, AAD = DAG-CBOR of everything before it)

The key of each write comes from a fresh salt, so it seals once. `check` is derived from the master key and tells a wrong key from a
damaged file. The master key is 32 random bytes in a file of its own, mode 0600, or scrypt of a passphrase. Whoever has both files,
or one and the passphrase, has everything; they belong on different backups.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import stat
import unicodedata
from pathlib import Path
from typing import Annotated, Final, Literal

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Meta, Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.aead import aead_open, aead_seal, pad, unpad
from hce.foundation.crypto.derive import hkdf
from hce.foundation.crypto.errors import SealBroken
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.store.disk import PRIVATE_FILE, make_directory, sync_directory, write_all
from hce.foundation.types.errors import Malformed
from hce.foundation.types.scalars import Bytes32
from hce.service.keyring.errors import (
    KeyringCorrupt,
    KeyringExists,
    KeyringInUse,
    KeyringMissing,
    MasterKeyExposed,
    MasterKeyMissing,
    WrongMasterKey,
    WrongPassphrase,
)
from hce.service.vault.compartments import SYSTEM_RANDOM, Random

SEALED_NAME = "keyring.sealed"
MASTER_NAME = "master.key"
LOCK_NAME = "keyring.lock"
FILE_DOMAIN: Final = "hce/keyring/1"
MASTER_BYTES = 32
SCRYPT_LOG2_N = 16
"""64 MiB and about 0.2 s a try (OWASP password storage, 2025: N = 2^16, r = 8, p = 2)."""
SCRYPT_R = 8
SCRYPT_P = 2
MAX_FILE_BYTES = 16 * 1024 * 1024


class ScryptParameters(Struct, frozen=True, array_like=True):
    """RFC 7914. Bounded, so that a foreign file cannot ask for all the memory there is."""

    salt: Bytes32
    log2_n: Annotated[int, Meta(ge=10, le=20)]
    r: Annotated[int, Meta(ge=1, le=16)]
    p: Annotated[int, Meta(ge=1, le=16)]


class FileHead(Struct, frozen=True, array_like=True):
    domain: Literal["hce/keyring/1"]
    scrypt: ScryptParameters | None
    check: Bytes32
    salt: Bytes32


class SealedFileBytes(Struct, frozen=True, array_like=True):
    head: FileHead
    sealed: bytes


class SealedFile:
    """An open keyring file. Holds the directory's lock until `close`, so that no other process writes over what this one knows."""

    def __init__(self, directory: Path, master: SecretBytes, scrypt: ScryptParameters | None, lock: int, random: Random) -> None:
        self._directory = directory
        self._master = master
        self._scrypt = scrypt
        self._lock = lock
        self._random = random

    @classmethod
    def create(
        cls,
        directory: Path,
        content: bytes,
        passphrase: str | None = None,
        random: Random = SYSTEM_RANDOM,
        scrypt_log2_n: int = SCRYPT_LOG2_N,
    ) -> SealedFile:
        """A new file with this content. Raises `KeyringExists`, `KeyringInUse`, `MasterKeyExposed`, `WrongMasterKey`."""
        make_directory(directory)
        lock = _take_lock(directory)
        try:
            if (directory / SEALED_NAME).exists():
                raise KeyringExists
            if passphrase is None:
                scrypt = None
                if not (directory / MASTER_NAME).exists():  # it exists after a crash right here, or where an operator put it
                    _write_durably(directory, MASTER_NAME, random(MASTER_BYTES))
                master = _read_master(directory)
            else:
                scrypt = ScryptParameters(random(MASTER_BYTES), scrypt_log2_n, SCRYPT_R, SCRYPT_P)
                master = _stretch(passphrase, scrypt)
            made = cls(directory, master, scrypt, lock, random)
            made.write(content)
        except BaseException:
            os.close(lock)
            raise
        return made

    @classmethod
    def open(cls, directory: Path, passphrase: str | None = None, random: Random = SYSTEM_RANDOM) -> tuple[SealedFile, bytes]:
        """The open file and its content. Raises every error of this room but `KeyringExists`."""
        if not (directory / SEALED_NAME).exists():
            raise KeyringMissing
        lock = _take_lock(directory)
        try:
            stored = _read(directory / SEALED_NAME)
            head = stored.head
            master = _read_master(directory) if head.scrypt is None else _stretch(_given(passphrase), head.scrypt)
            if not hmac.compare_digest(_check_of(master), head.check):
                raise WrongMasterKey if head.scrypt is None else WrongPassphrase
            content = _unseal(master, stored)
        except BaseException:
            os.close(lock)
            raise
        return cls(directory, master, head.scrypt, lock, random), content

    def write(self, content: bytes) -> None:
        """Replace the content. Durable on return; after a crash the file holds the old content or the new, never a mixture."""
        head = FileHead(FILE_DOMAIN, self._scrypt, _check_of(self._master), self._random(MASTER_BYTES))
        sealed = aead_seal(_content_key(self._master, head.salt), pad(content), encode(head))
        _write_durably(self._directory, SEALED_NAME, encode(SealedFileBytes(head, sealed)))

    def close(self) -> None:
        """Let others open it. Harmless when repeated."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _take_lock(directory: Path) -> int:
    descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise KeyringInUse from error
    return descriptor


def _read(path: Path) -> SealedFileBytes:
    try:
        return decode_as(SealedFileBytes, path.read_bytes(), max_bytes=MAX_FILE_BYTES)
    except Malformed as error:
        raise KeyringCorrupt("not a sealed file") from error


def _read_master(directory: Path) -> SecretBytes:
    """The master key, from a file nobody else can read."""
    try:
        descriptor = os.open(directory / MASTER_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise MasterKeyMissing from error
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & 0o077:
            raise MasterKeyExposed(expected="0600", actual=f"{mode:04o}")
        raw = os.read(descriptor, MASTER_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(raw) != MASTER_BYTES:
        raise WrongMasterKey("length")
    return SecretBytes(raw)


def _given(passphrase: str | None) -> str:
    if passphrase is None:
        raise WrongPassphrase("none given")
    return passphrase


def _stretch(passphrase: str, parameters: ScryptParameters) -> SecretBytes:
    """scrypt of the passphrase in NFKC, so that two keyboards spell it alike."""
    spelled = unicodedata.normalize("NFKC", passphrase).encode()
    kdf = Scrypt(salt=parameters.salt, length=MASTER_BYTES, n=1 << parameters.log2_n, r=parameters.r, p=parameters.p)
    return SecretBytes(kdf.derive(spelled))


def _check_of(master: SecretBytes) -> bytes:
    return hkdf(master, encode(["hce/keyring-check/1"]))


def _content_key(master: SecretBytes, salt: bytes) -> bytes:
    return hkdf(master, encode(["hce/keyring-content/1"]), salt=salt)


def _unseal(master: SecretBytes, stored: SealedFileBytes) -> bytes:
    try:
        return unpad(aead_open(_content_key(master, stored.head.salt), stored.sealed, encode(stored.head)))
    except SealBroken as error:
        raise KeyringCorrupt("the content does not open") from error


def _write_durably(directory: Path, name: str, data: bytes) -> None:
    """Write beside, flush, rename over, flush the directory."""
    beside = directory / (name + ".new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        write_all(descriptor, data, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(beside, directory / name)
    sync_directory(directory)
