"""CIDs name bytes; what is no CID of ours has no digest."""

from __future__ import annotations

import hashlib

import libipld
import pytest

from hce.foundation.codec.cid import cid_of_dag_cbor, cid_of_raw, digest_of_cid, is_named


def test_a_cid_names_codec_and_hash() -> None:
    for cid, codec in ((cid_of_dag_cbor(b"x"), 0x71), (cid_of_raw(b"x"), 0x55)):
        read = libipld.decode_cid(cid)
        assert (read["version"], read["codec"], read["hash"]["code"]) == (1, codec, 0x12)
        assert digest_of_cid(cid) == read["hash"]["digest"] == hashlib.sha256(b"x").digest()


@pytest.mark.parametrize(
    "raw", [b"", bytes(36), b"\x01\x70\x12\x20" + bytes(32), cid_of_raw(b"x")[:-1], cid_of_raw(b"x") + b"\x00"]
)
def test_what_is_no_cid_of_ours_has_no_digest(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a CIDv1"):
        digest_of_cid(raw)


def test_a_name_of_either_codec_fits_its_bytes_and_no_others() -> None:
    for cid in (cid_of_raw(b"content"), cid_of_dag_cbor(b"content")):
        assert is_named(cid, b"content")
        assert not is_named(cid, b"other")
    assert not is_named(b"\x12\x20" + cid_of_raw(b"content")[4:], b"content")
