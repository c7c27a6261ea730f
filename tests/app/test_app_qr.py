"""The picture on a card: every module as another implementation draws it, in all versions and masks there are."""

from __future__ import annotations

import json

import pytest
from tests.web.node import WEB, run_node

from hce.app import qr

LENGTHS = (1, 14, 15, 26, 42, 62, 63, 84, 106, 122, 152, 180, 213)
"""Ends and beginnings of versions."""
TEXTS = [("領取 http://localhost:7180/#/claim/" * 8).encode()[:length].decode(errors="ignore") for length in LENGTHS]
SCRIPT = """
import {{ encode }} from {path};
const texts = {texts};
const drawn = texts.map((text) => [0, 1, 2, 3, 4, 5, 6, 7].map((maskPattern) =>
  encode([...new TextEncoder().encode(text)], {{ ecc: "M", border: 0, maskPattern }}).data.map((row) => row.map(Number).join(""))));
console.log(JSON.stringify(drawn));
"""


def test_every_module_is_where_another_implementation_puts_it() -> None:
    path = json.dumps((WEB / "node_modules/uqr/dist/index.mjs").as_uri())
    expected = json.loads(run_node("--input-type=module", "-e", SCRIPT.format(path=path, texts=json.dumps(TEXTS))))
    for text, by_mask in zip(TEXTS, expected, strict=True):
        for mask, rows in enumerate(by_mask):
            assert ["".join("01"[dark] for dark in row) for row in qr.modules(text, mask)] == rows, (len(text), mask)


def test_what_is_too_long_is_refused() -> None:
    with pytest.raises(qr.QrTooLong):
        qr.modules("x" * 214)


def test_a_terminal_shows_all_of_it_with_a_margin() -> None:
    lines = qr.drawn(TEXTS[0]).split("\n")
    assert {len(line) for line in lines} == {21 + 2 * qr.QUIET_MODULES}
    assert set(lines[0]) == {"█"}


def test_paper_gets_dark_squares_on_white() -> None:
    picture = qr.svg(TEXTS[0])
    assert picture.count("h1v1h-1z") == sum(map(sum, qr.modules(TEXTS[0])))
    assert 'fill="#fff"' in picture
