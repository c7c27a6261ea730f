"""This node's share of lock B's key: one small file, readable by its owner only."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal

from msgspec import Struct

from hce.foundation.codec.dagcbor import decode_as, encode
from hce.foundation.crypto.errors import BadPoint
from hce.foundation.crypto.ristretto import base_times, read_scalar
from hce.foundation.crypto.secret import SecretBytes
from hce.foundation.crypto.threshold import KeyShare
from hce.foundation.store.disk import Sync, replace_file
from hce.foundation.types.errors import Malformed
from hce.foundation.types.scalars import Bytes32, ChainId, Epoch, NodeIndex
from hce.service.keyholders.errors import ShareExposed, ShareUnfit
from hce.service.terms.states import KeyholderState

MAX_SHARE_FILE_BYTES = 1_024
DOMAIN: Literal["hce/keyshare/1"] = "hce/keyshare/1"


class KeyShareFile(Struct, frozen=True, array_like=True):
    """The file's content. `secret` is a ristretto255 scalar, little-endian."""

    domain: Literal["hce/keyshare/1"]
    chain: ChainId
    key_id: Bytes32
    sharing_epoch: Epoch
    index: NodeIndex
    secret: Bytes32

    def __repr__(self) -> str:
        return f"KeyShareFile(index={self.index}, sharing_epoch={self.sharing_epoch})"


def write_share(path: Path, share: KeyShare, chain: bytes, key_id: bytes, sharing_epoch: int, sync: Sync = os.fsync) -> None:
    """Write a new share file, durable, mode 0600. A share is never overwritten: FileExistsError."""
    if path.exists():
        raise FileExistsError(path.name)
    content = KeyShareFile(DOMAIN, chain, key_id, sharing_epoch, share.index, share.secret.reveal())
    replace_file(path, encode(content), sync=sync)


def load_share(path: Path, chain: bytes, keyholders: KeyholderState) -> KeyShare:
    """The share, checked against what the chain says of it. `ShareExposed`, `ShareUnfit`, or FileNotFoundError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if mode & 0o077:
            raise ShareExposed(file=path.name, expected="0o600", actual=oct(mode))
        raw = os.read(descriptor, MAX_SHARE_FILE_BYTES)
    finally:
        os.close(descriptor)
    try:
        content = decode_as(KeyShareFile, raw)
        public = base_times(read_scalar(content.secret))
    except (Malformed, BadPoint) as error:
        raise ShareUnfit("no key share", file=path.name) from error
    if (content.chain, content.key_id, content.sharing_epoch) != (chain, keyholders.key_id, keyholders.sharing_epoch):
        raise ShareUnfit("of another chain, key or sharing epoch", file=path.name)
    if content.index >= len(keyholders.member_keys) or keyholders.member_keys[content.index] != public:
        raise ShareUnfit("not the member's share", file=path.name, index=content.index)
    return KeyShare(content.index, SecretBytes(content.secret))
