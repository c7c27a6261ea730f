"""Tests run with the same releases that people get."""

from __future__ import annotations

import re
from pathlib import Path

LOCKS = Path(__file__).parent.parent / "requirements"


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (LOCKS / name).read_text(), re.MULTILINE))


def test_product_and_tests_lock_the_same_release_of_each_package() -> None:
    product, tested = pins("product.txt"), pins("test.txt")
    assert product
    assert product.items() <= tested.items()
