"""Ed25519 (RFC 8032) with one pinned rule, so that no two nodes differ about a signature somebody bent on purpose.

A signature (R, S) of message M under key A is right when, and only when:

1. A is the canonical encoding of a curve point (y below 2^255 - 19) that is not of small order;
2. R is not of small order and S is below the group order;
3. S B = R + SHA-512(R, A, M) A without multiplying by the cofactor, compared as bytes of R, so that R too is canonical.

Points with a small-order part beside a large one pass (case 3 of ed25519-speccheck). This is libsodium's rule, and libsodium
through PyNaCl is the only verifier in HCE: `cryptography` accepts small-order keys, and mixing verifiers forks a chain. The tests
hold libsodium to every clause, because a build with ED25519_COMPAT would drop the first two. Cost: 37 us a signature, 27k/s a core.
"""

from __future__ import annotations

from typing import Any

from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

from hce.foundation.codec.dagcbor import encode
from hce.foundation.crypto.secret import SecretBytes


class SigningKey:
    """An Ed25519 private key. Does not print, does not pickle."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        """From a 32-byte seed (RFC 8032 private key)."""
        if len(seed) != 32:
            raise ValueError("an Ed25519 seed has 32 bytes")
        self.public, secret = crypto_sign_seed_keypair(seed)
        self._secret = SecretBytes(secret)

    def sign(self, message: bytes) -> bytes:
        """64-byte signature of exactly these bytes; callers pass `signing_bytes(...)`."""
        return crypto_sign(message, self._secret.reveal())[:64]

    def __repr__(self) -> str:
        return f"SigningKey({self.public.hex()[:8]}…)"

    def __reduce__(self) -> Any:
        raise TypeError("private keys are not pickled")


def signing_bytes(what: str, chain: bytes, *fields: Any) -> bytes:
    """DAG-CBOR(["hce/<what>/1", chain, *fields]): what every signature of HCE signs."""
    return encode([f"hce/{what}/1", chain, *fields])


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """True when the signature is right under the pinned rule; False for anything else, malformed input included."""
    if len(public) != 32 or len(signature) != 64:
        return False
    try:
        crypto_sign_open(signature + message, public)
    except BadSignatureError:
        return False
    return True
