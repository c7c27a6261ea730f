"""ristretto255 against RFC 9496, and the checks that libsodium leaves to its caller."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hce.foundation.crypto.errors import BadPoint
from hce.foundation.crypto.ristretto import (
    FIELD_PRIME,
    ORDER,
    Point,
    base_times,
    hash_to_point,
    hash_to_scalar,
    minus,
    plus,
    read_point,
    read_scalar,
    scalar_of,
    scalar_plus,
    scalar_times,
    times,
)
from hce.foundation.crypto.sodium import rbcl

IDENTITY = bytes(32)


def test_multiples_of_the_generator(vectors: Callable[[str], Any]) -> None:
    multiples = [bytes.fromhex(raw) for raw in vectors("rfc9496/ristretto255.json")["multiples_of_the_generator"]]
    generator = read_point(multiples[1])
    running: Point = generator
    for number in range(1, 16):
        assert base_times(scalar_of(number)) == times(generator, scalar_of(number)) == running == multiples[number]
        running = plus(running, generator)
    with pytest.raises(BadPoint):
        base_times(scalar_of(0))


def test_bad_encodings_are_refused(vectors: Callable[[str], Any]) -> None:
    bad = vectors("rfc9496/ristretto255.json")["bad_encodings"]
    assert sum(map(len, bad.values())) == 29
    for reason, spellings in bad.items():
        for raw in spellings:
            with pytest.raises(BadPoint):
                pytest.fail(f"{reason}: {read_point(bytes.fromhex(raw)).hex()}")


def test_element_derivation(vectors: Callable[[str], Any]) -> None:
    for wide, expected in vectors("rfc9496/ristretto255.json")["element_derivation"]:
        assert rbcl.crypto_core_ristretto255_from_hash(bytes.fromhex(wide)).hex() == expected


def test_the_identity_is_no_point() -> None:
    g = base_times(scalar_of(1))
    with pytest.raises(BadPoint):
        read_point(IDENTITY)
    with pytest.raises(BadPoint):
        minus(g, g)
    with pytest.raises(BadPoint):
        times(g, scalar_of(0))


def test_bit_255_of_a_point_is_not_ignored() -> None:
    """libsodium inside rbcl 1.1.2 ignores it, so a point would have two spellings."""
    g = base_times(scalar_of(1))
    second_spelling = g[:31] + bytes([g[31] | 0x80])
    with pytest.raises(BadPoint):
        read_point(second_spelling)


@pytest.mark.parametrize("raw", [b"", bytes(31), bytes(33), FIELD_PRIME.to_bytes(32, "little"), b"\xff" * 32])
def test_wrong_lengths_never_reach_libsodium(raw: bytes) -> None:
    with pytest.raises(BadPoint):
        read_point(raw)


def test_scalars_are_reduced_or_refused() -> None:
    assert read_scalar((ORDER - 1).to_bytes(32, "little")) == scalar_of(-1)
    for number in (ORDER, ORDER + 1, 2**256 - 1):
        with pytest.raises(BadPoint):
            read_scalar(number.to_bytes(32, "little"))
    with pytest.raises(BadPoint):
        read_scalar(bytes(31))


def test_arithmetic_in_the_exponent() -> None:
    a, b = hash_to_scalar("hce/test/a"), hash_to_scalar("hce/test/b")
    assert plus(base_times(a), base_times(b)) == base_times(scalar_plus(a, b))
    assert times(base_times(a), b) == base_times(scalar_times(a, b))
    assert minus(base_times(scalar_plus(a, b)), base_times(b)) == base_times(a)


def test_hashes_are_separated_by_domain_and_parts() -> None:
    scalars = {hash_to_scalar("x"), hash_to_scalar("y"), hash_to_scalar("x", b""), hash_to_scalar("x", b"", b"")}
    points = {hash_to_point("x"), hash_to_point("y"), hash_to_point("x", b"")}
    assert (len(scalars), len(points)) == (4, 3)


def test_loading_the_library_leaves_no_file_behind(tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    command = "import tempfile, hce.foundation.crypto.ristretto; print(tempfile.gettempdir())"
    said = subprocess.run(
        [sys.executable, "-c", command], env=os.environ | {"TMPDIR": str(folder)}, capture_output=True, check=True
    )
    assert said.stdout.decode().strip() == str(folder), "others still use the usual place"
    assert list(folder.iterdir()) == []
