"""Bytes that must not leak by accident: they do not print, compare in constant time, do not pickle."""

from __future__ import annotations

import hmac
from typing import Any


class SecretBytes:
    """Holds secret bytes. `reveal()` is the only way out, so that a reader finds every use by searching one word."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def reveal(self) -> bytes:
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretBytes) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        raise TypeError("secrets are not dictionary keys")

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return f"SecretBytes({len(self._value)} bytes)"

    def __reduce__(self) -> Any:
        raise TypeError("secrets are not pickled")
