"""Secrets in a heap of bytes, however they are spelled; and a spy in the page that learns every key and every plaintext it ever holds.

A heap is read as it is, and as what its hex, base64, percent signs and escapes stand for, each of these once more, because a body may be
base64 in JSON in a URL. DAG-CBOR and msgpack hold byte strings as they are. Compressed or sealed bytes are what they are: noise.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

HEX = re.compile(rb"[0-9a-fA-F]{16,}")
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}")
ESCAPE = re.compile(rb"\\u([0-9a-fA-F]{4})")
NUMBERS = re.compile(rb"\d{1,3}(?:\s*,\s*\d{1,3}){15,}")
URL_SAFE = bytes.maketrans(b"-_", b"+/")
LEAST = 8
"""Shorter things are found by chance."""

SPY = """(() => {
    if (globalThis.SubtleCrypto === undefined) return;
    const tell = (what, data) => {
        const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        window.spied(what, [...bytes].map((one) => one.toString(16).padStart(2, "0")).join(""));
    };
    const subtle = SubtleCrypto.prototype;
    const { importKey, deriveBits, decrypt, unwrapKey, exportKey } = subtle;
    subtle.importKey = function (format, data, algorithm, extractable, uses) {
        const open = uses.length === 0 || (uses.length === 1 && uses[0] === "verify");
        if (!open && format !== "jwk") tell(`key for ${algorithm.name ?? algorithm}`, data);
        if (!open && format === "jwk") tell("key as JWK", new TextEncoder().encode(data.d ?? data.k ?? ""));
        return importKey.call(this, format, data, algorithm, extractable, uses);
    };
    const spy = (name, made) => {
        subtle[name] = async function (...given) {
            const found = await made.apply(this, given);
            tell(name, found);
            return found;
        };
    };
    spy("deriveBits", deriveBits);
    spy("decrypt", decrypt);
    spy("exportKey", (...given) => exportKey.apply(crypto.subtle, given));
    subtle.unwrapKey = () => { throw new Error("the spy does not know unwrapKey"); };
})();"""
"""Runs before any script of the page; blank pages have no cryptography. What may be public is not told: keys that verify, and those
without any use (public halves)."""


class Spy:
    """`held`: bytes of every secret the platform's cryptography was given or gave to a page -> what they were."""

    def __init__(self) -> None:
        self.held: dict[bytes, str] = {}

    async def over(self, context: Any) -> None:
        await context.expose_function("spied", self._told)
        await context.add_init_script(SPY)

    def _told(self, what: str, told: str) -> None:
        secret = bytes.fromhex(told)
        if what.startswith("key for Ed25519") and len(secret) > 32:
            secret = secret[-32:]  # PKCS #8 ends with the seed
        if len(secret) >= 16:
            self.held.setdefault(secret, what)

    def secrets(self) -> dict[str, bytes]:
        return {f"{what}, {place}": secret for place, (secret, what) in enumerate(self.held.items())}


def leaked(secrets: Mapping[str, bytes], heaps: Iterable[bytes], depth: int = 2) -> set[str]:
    """Names of those that lie in one of the heaps, encoded up to so many times."""
    assert all(len(secret) >= LEAST for secret in secrets.values())
    readable = [reading for heap in heaps for reading in readings(heap, depth)]
    return {name for name, secret in secrets.items() if any(one in heap for one in _spelled(secret) for heap in readable)}


def readings(heap: bytes, depth: int = 2) -> list[bytes]:
    """The heap, and what its encodings stand for."""
    found = [heap]
    if depth:
        for inner in _decoded(heap):
            found += readings(inner, depth - 1)
    return found


def words_in_a_row(words: str, count: int = 3) -> dict[str, bytes]:
    """So many neighbouring words, in the ways a list may be written."""
    each = words.split()
    rows = [each[place : place + count] for place in range(len(each) - count + 1)]
    return {
        f"words {place} {mark!r}": mark.join(row).encode()
        for place, row in enumerate(rows)
        for mark in (" ", "", ",", "\n", '","', "+")
    }


def files_under(folder: Path) -> dict[str, bytes]:
    """All files of a folder, by their path in it."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def _spelled(secret: bytes) -> list[bytes]:
    """As it is; text also in two bytes for each letter, as browsers keep it in memory and on disk."""
    try:
        return [secret, secret.decode().encode("utf-16-le"), secret.decode().encode("utf-16-be"), secret[::-1]]
    except UnicodeDecodeError:
        return [secret, secret[::-1]]


def _decoded(heap: bytes) -> list[bytes]:
    from_hex = b"|".join(
        binascii.unhexlify(run[shift : len(run) - (len(run) - shift) % 2]) for run in HEX.findall(heap) for shift in (0, 1)
    )
    runs = [run.translate(URL_SAFE) for run in BASE64.findall(heap)]
    from_base64 = b"|".join(_base64(run[shift:]) for run in runs for shift in range(4))
    from_numbers = b"|".join(bytes(int(one) % 256 for one in run.split(b",")) for run in NUMBERS.findall(heap))
    from_percent = unquote_to_bytes(heap.replace(b"+", b" ")) if b"%" in heap else b""
    from_escapes = ESCAPE.sub(lambda one: chr(int(one[1], 16)).encode("utf-8", "replace"), heap) if b"\\u" in heap else b""
    return [found for found in (from_hex, from_base64, from_numbers, from_percent, from_escapes) if found]


def _base64(run: bytes) -> bytes:
    whole = run[:-1] if len(run) % 4 == 1 else run
    return base64.b64decode(whole + b"=" * (-len(whole) % 4))
