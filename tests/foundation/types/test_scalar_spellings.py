"""A scalar with a pattern has one spelling: no trailing newline, no digits of other scripts."""

from __future__ import annotations

import pytest

from hce.foundation.codec.dagcbor import convert
from hce.foundation.types.errors import Malformed
from hce.foundation.types.scalars import IsoDate, amount_from_bytes, amount_to_bytes
from hce.service.terms.records import RecordKind


@pytest.mark.parametrize(
    "day", ["2026-01-01\n", "２０２６-01-01", "2026-1-1", "2026-13-01", "2026-01-32", " 2026-01-01", "٢٠٢٦-01-01"]
)
def test_a_day_has_one_spelling(day: str) -> None:
    assert convert(IsoDate, "2026-01-01") == "2026-01-01"
    with pytest.raises(Malformed):
        convert(IsoDate, day)


@pytest.mark.parametrize("kind", ["lab\n", "Lab", "1ab", "", "lab result", "läb"])
def test_a_record_kind_has_one_spelling(kind: str) -> None:
    assert convert(RecordKind, "lab-result") == "lab-result"
    with pytest.raises(Malformed):
        convert(RecordKind, kind)


@pytest.mark.parametrize("amount", [0, 1, 255, 256, 182_500_000 * 10**18, 2**256 - 1])
def test_an_amount_survives_and_has_one_spelling(amount: int) -> None:
    raw = amount_to_bytes(amount)
    assert amount_from_bytes(raw) == amount
    with pytest.raises(ValueError, match="minimal"):
        amount_from_bytes(b"\x00" + raw)


def test_an_amount_outside_256_bits_is_no_amount() -> None:
    for amount in (-1, 2**256):
        with pytest.raises(ValueError, match="range"):
            amount_to_bytes(amount)
