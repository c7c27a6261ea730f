"""What cryptography refuses, by name."""

from __future__ import annotations

from hce.foundation.types.errors import Malformed, Refused


class BadSealKey(Malformed):
    """A public key that nobody can seal to: wrong length, ML-KEM coefficients out of range, or an X25519 point of small order."""

    code = "seal.bad_key"


class SealBroken(Refused):
    """The ciphertext does not open: wrong key, wrong info, wrong header or a changed byte. Which of them is not told."""

    code = "seal.broken"


class WordsInvalid(Malformed):
    """Not a BIP-39 sentence in English or simplified Chinese. Never says which words were given."""

    code = "words.invalid"


class BadPoint(Malformed):
    """Bytes that are not the canonical encoding of a ristretto255 point, or the identity; or a scalar that is not reduced."""

    code = "threshold.bad_point"


class BadCapsule(Refused):
    """A lock-B capsule whose points or proof are wrong."""

    code = "threshold.bad_capsule"


class NotEnough(Refused):
    """Fewer partial decryptions of distinct members than the threshold."""

    code = "threshold.not_enough"


class BadEthSignature(Malformed):
    """No account signed this: values out of range, high s, or no point to recover."""

    code = "secp.bad_signature"
